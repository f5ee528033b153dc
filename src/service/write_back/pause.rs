//! Pausing the write-back of an organization, and how it stands.

use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};

/// How the write-back of an organization stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteBackState {
    /// Since when it is paused; none while it is not.
    pub paused_at: Option<DateTime<Utc>>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Why.
    pub pause_reason: Option<String>,
    /// Changes that wait, those for a later attempt included.
    pub waiting: i64,
    /// Changes that are under way.
    pub syncing: i64,
    /// Changes in conflict with PEMS.
    pub conflicts: i64,
    /// Changes that were given up.
    pub failed: i64,
    /// When the oldest of the waiting ones was committed.
    pub oldest_waiting_at: Option<DateTime<Utc>>,
}

impl PfaMirrorService {
    /// How the write-back of an organization stands.
    ///
    /// # Errors
    /// When the organization is not there, or the database fails.
    pub async fn read_write_back(&self, organization: &str) -> Result<WriteBackState> {
        sqlx::query_as!(
            WriteBackState,
            r#"
            select o.write_back_paused_at as paused_at, o.write_back_paused_by as paused_by, o.write_back_pause_reason as pause_reason,
                   count(*) filter (where d.sync_state = 'committed')         as "waiting!",
                   count(*) filter (where d.sync_state = 'syncing')           as "syncing!",
                   count(*) filter (where d.conflict_stage = 'writeBack')     as "conflicts!",
                   count(*) filter (where d.sync_state = 'failed')            as "failed!",
                   min(d.committed_at) filter (where d.sync_state = 'committed') as oldest_waiting_at
              from organizations o
              left join pfa_modification d
                on d.organization_id = o.organization_id
               and d.sync_state in ('committed', 'syncing', 'conflict', 'failed')
             where o.organization_id = $1
             group by o.organization_id
            "#,
            organization
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::OrganizationNotFound(organization.to_owned()))
    }

    /// Pauses the write-back of an organization: nothing of it is claimed any more; what is under way
    /// ends. Paused again, it stays as it was paused first.
    ///
    /// # Errors
    /// When the organization is not there, or the database fails.
    pub async fn pause_write_back(&self, organization: &str, user: &str, reason: Option<&str>) -> Result<WriteBackState> {
        sqlx::query!(
            "update organizations set write_back_paused_at = now(), write_back_paused_by = $2, write_back_pause_reason = $3
              where organization_id = $1 and write_back_paused_at is null",
            organization,
            user,
            reason,
        )
        .execute(&self.pool)
        .await?;
        self.read_write_back(organization).await
    }

    /// Lets the write-back of an organization go on.
    ///
    /// # Errors
    /// When the organization is not there, or the database fails.
    pub async fn resume_write_back(&self, organization: &str) -> Result<WriteBackState> {
        sqlx::query!(
            "update organizations set write_back_paused_at = null, write_back_paused_by = null, write_back_pause_reason = null
              where organization_id = $1 and write_back_paused_at is not null",
            organization,
        )
        .execute(&self.pool)
        .await?;
        self.read_write_back(organization).await
    }
}
