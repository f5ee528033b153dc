//! The history of a record: every published change, newest first.

use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

/// One published change, or the resolution of a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// Its id.
    pub id: Uuid,
    /// Version of the mirror row that it was made on, or that it made.
    pub version: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: String,
    /// session, sync or import.
    pub source: String,
    /// The session or the run.
    pub source_id: Option<Uuid>,
    /// Why.
    pub reason: Option<String>,
    /// What the changed fields were.
    pub before: Map<String, Value>,
    /// What they became.
    pub after: Map<String, Value>,
    /// What was chosen for each field in conflict.
    pub resolution: Option<Map<String, Value>>,
}

impl PfaMirrorService {
    /// The history of a record, newest first, after a place of the list.
    ///
    /// # Errors
    /// When the organization or record is not there, or the database fails.
    pub async fn list_history(
        &self,
        organization: &str,
        pfa_id: &str,
        after: Option<(DateTime<Utc>, Uuid)>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>> {
        self.check_organization(organization).await?;
        let record = sqlx::query_scalar!("select id from pfa_mirror where organization_id = $1 and pfa_id = $2", organization, pfa_id)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| Error::RecordNotFound(pfa_id.to_owned()))?;
        let (after_at, after_id) = after.unzip();
        let rows = sqlx::query!(
            r#"
            select id, version, changed_at as at, changed_by as by, source, source_id, reason,
                   before as "before: Json<Map<String, Value>>", after as "after: Json<Map<String, Value>>",
                   resolution as "resolution: Json<Map<String, Value>>"
              from pfa_mirror_history
             where organization_id = $1
               and mirror_id = $2
               and ($3::timestamptz is null or changed_at <= $3 and (changed_at < $3 or id > $4))
             order by changed_at desc, id
             limit $5
            "#,
            organization,
            record,
            after_at as _,
            after_id as _,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let entries = rows.into_iter().map(|row| HistoryEntry {
            id: row.id,
            version: row.version,
            at: row.at,
            by: row.by,
            source: row.source,
            source_id: row.source_id,
            reason: row.reason,
            before: row.before.0,
            after: row.after.0,
            resolution: row.resolution.map(|resolution| resolution.0),
        });
        Ok(entries.collect())
    }
}
