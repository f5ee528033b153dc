//! The `pfaId` of records by their ids. A record keeps both (`pfa_mirror_keeps_pfa_id`), so what was read once is remembered: a list of a
//! hundred modifications took four fifths of its time to look at the records for nothing else.

use crate::db::ready::ReadyConnections;
use crate::error::Result;
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// So many are remembered, each in about 120 bytes.
const MOST_REMEMBERED: usize = 20_000;

/// Remembered names of records of all organizations.
#[derive(Debug)]
pub(super) struct RecordNames {
    /// By organization and id: an id is unique in its organization only.
    names: Cache<(Arc<str>, Uuid), Arc<str>>,
}

impl Default for RecordNames {
    fn default() -> Self {
        Self { names: Cache::new(MOST_REMEMBERED) }
    }
}

impl RecordNames {
    /// The names of records, each once; who is not there has none.
    pub async fn find(
        &self,
        connections: &ReadyConnections,
        organization: &str,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<HashMap<Uuid, Arc<str>>> {
        let organization: Arc<str> = organization.into();
        let (mut names, mut unknown) = (HashMap::new(), Vec::new());
        for id in ids {
            match self.names.get(&(Arc::clone(&organization), id)) {
                Some(name) => drop(names.insert(id, name)),
                None => unknown.push(id),
            }
        }
        if unknown.is_empty() {
            return Ok(names);
        }
        let names_of =
            sqlx::query!("select id, pfa_id from pfa_mirror where organization_id = $1 and id = any ($2)", &*organization, &unknown);
        for record in connections.read(async |connection| names_of.fetch_all(connection).await).await? {
            let name: Arc<str> = record.pfa_id.into();
            self.names.insert((Arc::clone(&organization), record.id), Arc::clone(&name));
            names.insert(record.id, name);
        }
        Ok(names)
    }
}
