//! Write-backs that wait for PEMS, in the order of their commits.

use crate::error::Result;
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::types::Json;
use uuid::Uuid;

/// A committed change that PEMS does not have yet.
#[derive(Debug, Clone)]
pub struct PendingWriteBack {
    /// Its id.
    pub id: Uuid,
    /// The mirror row.
    pub mirror_id: Uuid,
    /// The record; empty if somebody has taken it away by hand.
    pub pfa_id: String,
    /// The changed fields, as the database wrote them.
    pub delta: Box<RawValue>,
    /// Their keys, sorted.
    pub modified_fields: Vec<String>,
    /// committed.
    pub sync_state: String,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: i32,
    /// Not before this.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// What went wrong the last time.
    pub last_error: Option<String>,
}

impl PfaMirrorService {
    /// Pending write-backs, oldest commit first, after a place of the list.
    ///
    /// # Errors
    /// When the organization is not there, or the database fails.
    pub async fn list_pending(
        &self,
        organization: &str,
        after: Option<(DateTime<Utc>, Uuid)>,
        limit: u32,
    ) -> Result<Vec<PendingWriteBack>> {
        let (after_at, after_id) = after.unzip();
        let oldest = sqlx::query!(
            r#"
            select d.id, d.mirror_id, d.delta as "delta: Json<Box<RawValue>>", d.modified_fields as "modified_fields!",
                   d.sync_state, d.committed_at as "committed_at!", d.attempts, d.next_attempt_at, d.last_error
              from pfa_modification d
             where d.organization_id = $1
               and d.sync_state = 'committed'
               -- Always a range of the index, also in a plan for any place.
               and (d.committed_at, d.id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::uuid, pfa_everybody()))
             order by d.committed_at, d.id
             limit $4
            "#,
            organization,
            after_at as _,
            after_id as _,
            i64::from(limit),
        );
        let pending = self.summaries.read(async |connection| oldest.fetch_all(connection).await).await?;
        if pending.is_empty() {
            self.check_organization(organization).await?;
        }
        let names = self.names.find(&self.summaries, organization, pending.iter().map(|row| row.mirror_id)).await?;
        let pending = pending.into_iter().map(|row| PendingWriteBack {
            id: row.id,
            mirror_id: row.mirror_id,
            pfa_id: names.get(&row.mirror_id).map(|name| name.as_ref().to_owned()).unwrap_or_default(),
            delta: row.delta.0,
            modified_fields: row.modified_fields,
            sync_state: row.sync_state,
            committed_at: row.committed_at,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at,
            last_error: row.last_error,
        });
        Ok(pending.collect())
    }
}
