//! The log of sync and import runs.

use crate::domain::record::Finding;
use crate::error::Result;
use crate::service::PfaMirrorService;
use crate::service::ingest::Applied;
use sqlx::types::Json;
use uuid::Uuid;

/// So many findings are kept with a run; the counts tell of the rest.
pub const KEPT_FINDINGS: usize = 1_000;

/// How an import ended.
#[derive(Debug, Clone, Default)]
pub struct ImportOutcome {
    /// What was written.
    pub applied: Applied,
    /// Lines that were no record.
    pub errored: u64,
    /// Unreadable values.
    pub findings: Vec<Finding>,
    /// Why nothing was loaded, when it failed.
    pub error: Option<String>,
}

impl PfaMirrorService {
    /// Opens the log row of an import. The caller holds the organization's load, so a row that is
    /// still running was left by a process that has ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_import_log(&self, organization: &str) -> Result<Uuid> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query!(
            "update pfa_sync_log set status = 'failed', error = 'the process that ran it has ended', completed_at = now()
              where organization_id = $1 and sync_direction = 'read' and status = 'running'",
            organization
        )
        .execute(&mut *transaction)
        .await?;
        let id = sqlx::query_scalar!(
            "insert into pfa_sync_log (organization_id, sync_type, sync_direction) values ($1, 'import', 'read') returning id",
            organization
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// Closes runs whose process has ended: they are running, but nobody holds their load. Returns their number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close_dead_runs(&self) -> Result<u64> {
        let closed = sqlx::query!(
            "update pfa_sync_log set status = 'failed', error = 'the process that ran it has ended', completed_at = now()
              where status = 'running' and sync_direction = 'read' and pg_try_advisory_xact_lock(pfa_load_lock(organization_id))"
        )
        .execute(&self.pool)
        .await?;
        Ok(closed.rows_affected())
    }

    /// Closes the log row of an import with what came of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_import_log(&self, organization: &str, id: Uuid, outcome: &ImportOutcome) -> Result<()> {
        let status = match outcome {
            ImportOutcome { error: Some(_), .. } => "failed",
            ImportOutcome { errored: 0, findings, .. } if findings.is_empty() => "completed",
            _ => "completed_with_errors",
        };
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let Applied { inserted, updated, unchanged } = outcome.applied;
        sqlx::query!(
            "update pfa_sync_log
                set status = $3, completed_at = now(), records_total = $4, records_processed = $5, records_inserted = $6,
                    records_updated = $7, records_unchanged = $8, records_errored = $9, findings = $10, error = $11
              where organization_id = $1 and id = $2",
            organization,
            id,
            status,
            count(outcome.applied.total() + outcome.errored),
            count(outcome.applied.total()),
            count(inserted),
            count(updated),
            count(unchanged),
            count(outcome.errored),
            Json(&outcome.findings[..outcome.findings.len().min(KEPT_FINDINGS)]) as _,
            outcome.error,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
