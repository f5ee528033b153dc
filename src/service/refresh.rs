//! Refreshing the summaries, one at a time in all processes, and the log of it.

use crate::error::{Error, Result, in_one_line};
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

/// One run of the refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshRun {
    /// Ascending number.
    pub id: i64,
    /// Why it ran: schedule, request, import, manual.
    pub reason: String,
    /// completed, skipped (another one was running) or failed.
    pub outcome: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: Decimal,
    /// What went wrong, when it failed.
    pub error: Option<String>,
}

impl PfaMirrorService {
    /// Refreshes both summaries; readers are never blocked.
    ///
    /// # Errors
    /// [`Error::RefreshRunning`] when another refresh is running anywhere; else when the database
    /// fails. Either way the run stands in the log, as far as the database can be reached.
    pub async fn refresh_views(&self, reason: &str) -> Result<RefreshRun> {
        let started_at = Utc::now();
        match self.try_refresh(reason).await {
            Ok(run) => Ok(run),
            Err(Error::RefreshRunning) => Err(Error::RefreshRunning),
            Err(error) => {
                self.log_failed_refresh(reason, started_at, &in_one_line(&error)).await;
                Err(error)
            }
        }
    }

    /// Refreshes in the background, after something large was published; the schedule would do it later.
    pub fn refresh_soon(&self, reason: &'static str) {
        let service = self.clone();
        self.background.spawn(async move {
            match service.refresh_views(reason).await {
                Ok(run) => tracing::info!(reason, duration_ms = %run.duration_ms, "summaries refreshed"),
                Err(Error::RefreshRunning) => {}
                Err(error) => tracing::warn!(reason, error = in_one_line(&error), "the refresh of the summaries failed"),
            }
        });
    }

    async fn try_refresh(&self, reason: &str) -> Result<RefreshRun> {
        let mut transaction = self.pool.begin().await?;
        // A refresh may take longer than a reader would wait.
        sqlx::query!("select set_config('statement_timeout', '0', true)").fetch_one(&mut *transaction).await?;
        // All but the outcome is null when somebody else is refreshing and no row was logged.
        let run = sqlx::query!(
            r#"
            select id, reason, outcome as "outcome!", started_at, duration_ms, error
              from refresh_pfa_materialized_views($1)
            "#,
            reason
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        match (run.outcome.as_str(), run.id, run.started_at, run.duration_ms) {
            ("completed", Some(id), Some(started_at), Some(duration_ms)) => {
                Ok(RefreshRun { id, reason: reason.to_owned(), outcome: run.outcome, started_at, duration_ms, error: run.error })
            }
            _ => Err(Error::RefreshRunning),
        }
    }

    async fn log_failed_refresh(&self, reason: &str, started_at: DateTime<Utc>, error: &str) {
        let logged = sqlx::query!(
            "insert into pfa_refresh_log (reason, outcome, started_at, completed_at, error) values ($1, 'failed', $2, clock_timestamp(), $3)",
            reason,
            started_at,
            error,
        )
        .execute(&self.pool)
        .await;
        if let Err(error) = logged {
            tracing::warn!(error = in_one_line(&error), "the failed refresh could not be logged in the database");
        }
    }

    /// The last runs, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_refresh_runs(&self, limit: i64) -> Result<Vec<RefreshRun>> {
        let runs = sqlx::query_as!(
            RefreshRun,
            r#"
            select id, reason, outcome, started_at, duration_ms as "duration_ms!", error
              from pfa_refresh_log
             order by started_at desc, id desc
             limit $1
            "#,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(runs)
    }
}
