//! The log of runs: syncs, imports, write-backs. A run that is going on holds a lock; a row that is
//! running without it was left behind by a process that has ended.

use crate::domain::record::Finding;
use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use crate::service::ingest::Applied;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

/// So many findings are kept with a run; the counts tell of the rest.
pub const KEPT_FINDINGS: usize = 1_000;

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunType {
    /// All records of PEMS.
    Full,
    /// Those that PEMS changed lately.
    Incremental,
    /// Some records, by hand; or a write-back by hand.
    Manual,
    /// A file, or the generator.
    Import,
    /// A comparison that changes nothing.
    Verify,
}

impl RunType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Full, Self::Incremental, Self::Manual, Self::Import, Self::Verify];

    /// The word in parameters, answers and the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::Manual => "manual",
            Self::Import => "import",
            Self::Verify => "verify",
        }
    }
}

/// Whether a run reads from PEMS or writes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunDirection {
    /// Into the mirror.
    Read,
    /// Back to PEMS.
    Write,
}

impl RunDirection {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];

    /// The word in parameters, answers and the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct RunOutcome {
    /// What was written.
    pub applied: Applied,
    /// Lines or records that could not be taken.
    pub errored: u64,
    /// Unreadable values; the first [`KEPT_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many there are in all.
    pub findings_total: u64,
    /// Why nothing was changed, when it failed.
    pub error: Option<String>,
    /// Whether somebody cancelled it.
    pub is_cancelled: bool,
    /// The newest stamp of PEMS that was read.
    pub read_up_to: Option<String>,
}

impl RunOutcome {
    /// Keeps a finding, and counts it in any case.
    pub fn add_finding(&mut self, finding: Finding) {
        self.findings_total += 1;
        if self.findings.len() < KEPT_FINDINGS {
            self.findings.push(finding);
        }
    }

    fn status(&self) -> &'static str {
        match self {
            Self { is_cancelled: true, .. } => "cancelled",
            Self { error: Some(_), .. } => "failed",
            Self { errored: 0, findings_total: 0, .. } => "completed",
            _ => "completed_with_errors",
        }
    }
}

/// A run as the log has it.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: Uuid,
    /// What it does.
    pub run_type: String,
    /// Into the mirror or back to PEMS.
    pub direction: String,
    /// How it stands.
    pub status: String,
    /// Who started it; nobody for the schedule and the command line.
    pub requested_by: Option<String>,
    /// Records in all, as far as that is known.
    pub total: i64,
    /// Records that came so far.
    pub processed: i64,
    /// New records.
    pub inserted: i64,
    /// Changed records.
    pub updated: i64,
    /// Records that were the same.
    pub unchanged: i64,
    /// Records that PEMS did not have any more.
    pub discontinued: i64,
    /// Records that could not be taken.
    pub errored: i64,
    /// Unreadable values; the first of them.
    pub findings: Json<Vec<Finding>>,
    /// How many there are in all.
    pub findings_total: i64,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether somebody wants it to stop.
    pub is_cancelling: bool,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
}

impl PfaMirrorService {
    /// Opens the log row of a run. The caller holds the run's lock, so a row that is still running was
    /// left by a process that has ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_run(
        &self,
        organization: &str,
        run_type: RunType,
        direction: RunDirection,
        requested_by: Option<&str>,
    ) -> Result<Uuid> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query!(
            "update pfa_sync_log set status = 'failed', error = 'the process that ran it has ended', completed_at = now()
              where organization_id = $1 and sync_direction = $2 and status = 'running'",
            organization,
            direction.word(),
        )
        .execute(&mut *transaction)
        .await?;
        let id = sqlx::query_scalar!(
            "insert into pfa_sync_log (organization_id, sync_type, sync_direction, requested_by) values ($1, $2, $3, $4) returning id",
            organization,
            run_type.word(),
            direction.word(),
            requested_by,
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// Tells how far a run is.
    ///
    /// # Errors
    /// [`Error::RunCancelled`] when somebody wants it to stop; or the database fails.
    pub async fn report_progress(&self, organization: &str, id: Uuid, processed: u64, total: u64) -> Result<()> {
        let is_cancelling = sqlx::query_scalar!(
            r#"update pfa_sync_log set records_processed = $3, records_total = $4
                where organization_id = $1 and id = $2
            returning cancel_requested_at is not null as "is_cancelling!""#,
            organization,
            id,
            count(processed),
            count(total),
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(Error::RunNotFound)?;
        if is_cancelling { Err(Error::RunCancelled) } else { Ok(()) }
    }

    /// Closes the log row of a run with what came of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_run(&self, organization: &str, id: Uuid, outcome: &RunOutcome) -> Result<()> {
        let mut connection = self.pool.acquire().await?;
        write_outcome(&mut connection, organization, id, outcome).await
    }

    /// Logs a run of the schedule that failed before it could begin. While that goes on, it is one run that ends later and
    /// later, with the newest error: the schedule asks every few seconds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_failure(&self, organization: &str, run_type: RunType, direction: RunDirection, error: &str) -> Result<()> {
        sqlx::query!(
            "with last as (
                 select *
                   from pfa_sync_log
                  where organization_id = $1 and sync_direction = $3
                  order by started_at desc, id
                  limit 1
             ), again as (
                 update pfa_sync_log l
                    set completed_at = clock_timestamp(), error = $4
                   from last
                  where l.organization_id = $1
                    and l.id = last.id
                    and last.status = 'failed'
                    and last.sync_type = $2
                    and last.requested_by is null
                    -- One that had begun has counted something.
                    and last.records_total = 0
                 returning l.id
             )
             insert into pfa_sync_log (organization_id, sync_type, sync_direction, status, error, completed_at)
             select $1, $2, $3, 'failed', $4, clock_timestamp()
              where not exists (select from again)",
            organization,
            run_type.word(),
            direction.word(),
            error,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Closes runs whose process has ended: they are running, but nobody holds their lock. Returns their number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close_dead_runs(&self) -> Result<u64> {
        let closed = sqlx::query!(
            "update pfa_sync_log set status = 'failed', error = 'the process that ran it has ended', completed_at = now()
              where status = 'running'
                and case sync_direction when 'read' then pg_try_advisory_xact_lock(pfa_load_lock(organization_id))
                                        else pg_try_advisory_xact_lock(pfa_push_lock(organization_id)) end"
        )
        .execute(&self.pool)
        .await?;
        Ok(closed.rows_affected())
    }

    /// Asks a run to stop, whichever process runs it; one that has ended stays as it is.
    ///
    /// # Errors
    /// [`Error::RunNotFound`]; or the database fails.
    pub async fn cancel_run(&self, organization: &str, id: Uuid) -> Result<Run> {
        sqlx::query!(
            "update pfa_sync_log set cancel_requested_at = coalesce(cancel_requested_at, now())
              where organization_id = $1 and id = $2 and status = 'running'",
            organization,
            id,
        )
        .execute(&self.pool)
        .await?;
        self.find_run(organization, id).await
    }

    /// One run.
    ///
    /// # Errors
    /// [`Error::RunNotFound`]; or the database fails.
    pub async fn find_run(&self, organization: &str, id: Uuid) -> Result<Run> {
        self.select_runs(organization, Some(id), None, 1).await?.pop().ok_or(Error::RunNotFound)
    }

    /// Runs of an organization, newest first, after a place of the list. Their findings are left out.
    ///
    /// # Errors
    /// When the organization is not there, or the database fails.
    pub async fn list_runs(&self, organization: &str, after: Option<(DateTime<Utc>, Uuid)>, limit: u32) -> Result<Vec<Run>> {
        self.select_runs(organization, None, after, limit).await
    }

    async fn select_runs(
        &self,
        organization: &str,
        id: Option<Uuid>,
        after: Option<(DateTime<Utc>, Uuid)>,
        limit: u32,
    ) -> Result<Vec<Run>> {
        let (after_at, after_id) = after.unzip();
        let runs = sqlx::query_as!(
            Run,
            r#"
            select id, sync_type as run_type, sync_direction as direction, status, requested_by, records_total as total,
                   records_processed as processed, records_inserted as inserted, records_updated as updated,
                   records_unchanged as unchanged, records_discontinued as discontinued, records_errored as errored,
                   case when $2::uuid is null then '[]' else findings end as "findings!: Json<Vec<Finding>>", findings_total, error,
                   status = 'running' and cancel_requested_at is not null as "is_cancelling!", started_at, completed_at
              from pfa_sync_log
             where organization_id = $1
               and ($2::uuid is null or id = $2)
               and ($3::timestamptz is null or started_at <= $3 and (started_at < $3 or id > $4))
             order by started_at desc, id
             limit $5
            "#,
            organization,
            id as _,
            after_at as _,
            after_id as _,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        if runs.is_empty() {
            self.check_organization(organization).await?;
        }
        Ok(runs)
    }
}

/// Writes how a run ended, in the transaction that makes its changes last, so that the log is true
/// whatever happens to the process a moment later.
pub(in crate::service) async fn write_outcome(
    connection: &mut PgConnection,
    organization: &str,
    id: Uuid,
    outcome: &RunOutcome,
) -> Result<()> {
    let Applied { inserted, updated, unchanged, discontinued } = outcome.applied;
    let total = outcome.applied.total() + outcome.errored;
    sqlx::query!(
        "update pfa_sync_log
            set status = $3, completed_at = clock_timestamp(), records_total = greatest(records_total, $4),
                records_processed = greatest(records_processed, $5), records_inserted = $6, records_updated = $7,
                records_unchanged = $8, records_discontinued = $9, records_errored = $10, findings = $11, findings_total = $12,
                error = $13, read_up_to = $14
          where organization_id = $1 and id = $2 and status = 'running'",
        organization,
        id,
        outcome.status(),
        count(total),
        count(outcome.applied.total()),
        count(inserted),
        count(updated),
        count(unchanged),
        count(discontinued),
        count(outcome.errored),
        Json(&outcome.findings) as _,
        count(outcome.findings_total),
        outcome.error,
        outcome.read_up_to,
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
