//! Whether the service can answer: database reachable, schema in place, summaries of a known age.

use crate::error::Result;
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};

/// What readiness looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The newest migration that is applied.
    pub migration: Option<i64>,
    /// When the last refresh ended well.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// Whether the newest refresh that was not skipped failed.
    pub last_refresh_failed: bool,
}

impl PfaMirrorService {
    /// Asks the database for its state.
    ///
    /// # Errors
    /// When the database is away or was never migrated.
    pub async fn check_readiness(&self) -> Result<Readiness> {
        let readiness = sqlx::query_as!(
            Readiness,
            r#"
            select (select max(version) from _sqlx_migrations where success) as migration,
                   (select max(completed_at) from pfa_refresh_log where outcome = 'completed') as refreshed_at,
                   coalesce((select outcome = 'failed' from pfa_refresh_log where outcome <> 'skipped'
                              order by started_at desc, id desc limit 1), false) as "last_refresh_failed!"
            "#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(readiness)
    }
}
