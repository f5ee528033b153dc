//! Which records a bulk edit touches: named ones, or those that the grid's filter matches in the sandbox.

use crate::domain::filter::Filter;
use crate::error::{Error, Result};
use crate::service::Reader;
use crate::service::records::matching_records;
use crate::service::sessions::Sandbox;
use sqlx::PgConnection;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Most records that one edit may touch.
pub const MOST_RECORDS: usize = 50_000;

/// A choice of records.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// By natural key.
    PfaIds(BTreeSet<String>),
    /// All that match, as the sandbox sees them.
    Filter(Filter),
}

/// The mirror ids of a selection, and the keys in it that name no record.
pub(super) async fn find_records(
    connection: &mut PgConnection,
    sandbox: &Sandbox,
    selection: &Selection,
) -> Result<(Vec<Uuid>, Vec<String>)> {
    let found = match selection {
        Selection::PfaIds(pfa_ids) => {
            let asked: Vec<_> = pfa_ids.iter().cloned().collect();
            let rows = sqlx::query!(
                "select id, pfa_id from pfa_mirror where organization_id = $1 and pfa_id = any ($2)",
                sandbox.organization,
                &asked
            )
            .fetch_all(connection)
            .await?;
            let known: BTreeSet<_> = rows.iter().map(|row| row.pfa_id.as_str()).collect();
            let not_found = asked.iter().filter(|pfa_id| !known.contains(pfa_id.as_str())).cloned().collect();
            (rows.iter().map(|row| row.id).collect(), not_found)
        }
        Selection::Filter(filter) => {
            let reader = Reader { organization: sandbox.organization.clone(), user: sandbox.user.clone(), session: Some(sandbox.session) };
            (matching_records(connection, &reader, filter, MOST_RECORDS + 1).await?, Vec::new())
        }
    };
    if found.0.len() > MOST_RECORDS { Err(Error::SelectionTooLarge(MOST_RECORDS)) } else { Ok(found) }
}
