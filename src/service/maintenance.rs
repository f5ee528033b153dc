//! Maintenance of the database, one task at a time in all processes, and the log of it.

use crate::error::{Error, Result, in_one_line};
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A change that arrived in PEMS so many days ago moves to the archive.
const ARCHIVED_AFTER_DAYS: i32 = 30;
/// A log row may be dropped after so many days.
const LOGGED_DAYS: i32 = 90;
/// So many changes move in one statement.
const MOVED_AT_ONCE: i64 = 10_000;
/// What grows and shrinks with the work.
const TABLES: [&str; 10] = [
    "pfa_mirror",
    "pfa_overlay",
    "pfa_modification",
    "pfa_mirror_history",
    "pfa_edit_step",
    "pfa_edit_change",
    "pfa_summary_change",
    "pfa_sync_log",
    "pfa_kpi_summary",
    "pfa_timeline_bounds",
];

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Frees what deleted rows took and counts anew for the planner.
    VacuumAnalyze,
    /// Moves changes that arrived in PEMS long ago out of the way.
    Archive,
    /// Drops old log rows.
    PruneLogs,
    /// Builds all indexes anew, without blocking anybody.
    Reindex,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::VacuumAnalyze, Self::Archive, Self::PruneLogs, Self::Reindex];

    /// The word in paths, answers and the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::VacuumAnalyze => "vacuum-analyze",
            Self::Archive => "archive",
            Self::PruneLogs => "prune-logs",
            Self::Reindex => "reindex",
        }
    }
}

/// One run of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceRun {
    /// Ascending number.
    pub id: i64,
    /// Which task.
    pub task: String,
    /// Who started it; nobody for the schedule.
    pub requested_by: Option<String>,
    /// Rows moved or dropped, tables vacuumed or indexed anew.
    pub affected: i64,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: Decimal,
    /// What went wrong, when it failed.
    pub error: Option<String>,
}

impl PfaMirrorService {
    /// Does a task to its end, also when whoever asked does not wait for it.
    ///
    /// # Errors
    /// [`Error::MaintenanceRunning`] when one is under way anywhere; else when the database fails. Then the run stands in
    /// the log, as far as the database can be reached.
    pub async fn maintain(&self, task: Task, requested_by: Option<&str>) -> Result<MaintenanceRun> {
        let (service, requested_by) = (self.clone(), requested_by.map(str::to_owned));
        let work = async move {
            let stopping = service.stopping.clone();
            let done = stopping.run_until_cancelled(service.begin_task(task, requested_by.as_deref())).await;
            done.unwrap_or(Err(Error::RunCancelled))
        };
        // It ends early only with the process.
        self.background.spawn(work).await.unwrap_or(Err(Error::RunCancelled))
    }

    async fn begin_task(&self, task: Task, requested_by: Option<&str>) -> Result<MaintenanceRun> {
        // Whatever happens, the lock and the settings go with the connection; at once when all is well, else when PostgreSQL notices.
        let mut connection = self.pool.acquire().await?.detach();
        sqlx::raw_sql("set statement_timeout = 0").execute(&mut connection).await?;
        let is_free: bool =
            sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended('pfa maintenance', 0))").fetch_one(&mut connection).await?;
        let run = if is_free { log_task(&mut connection, task, requested_by).await } else { Err(Error::MaintenanceRunning) };
        sqlx::raw_sql("select pg_advisory_unlock_all()").execute(&mut connection).await?;
        connection.close().await?;
        run
    }

    /// The last run of each task.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_maintenance(&self) -> Result<Vec<MaintenanceRun>> {
        let runs = sqlx::query_as!(
            MaintenanceRun,
            r#"
            select distinct on (task) id, task, requested_by, affected, started_at, duration_ms as "duration_ms!", error
              from pfa_maintenance_log
             order by task, started_at desc, id desc
            "#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(runs)
    }
}

/// Does a task and writes down what came of it.
async fn log_task(connection: &mut PgConnection, task: Task, requested_by: Option<&str>) -> Result<MaintenanceRun> {
    let started_at = Utc::now();
    let done = perform(connection, task).await;
    let error = done.as_ref().err().map(|error| in_one_line(error));
    let run = sqlx::query_as!(
        MaintenanceRun,
        r#"
        insert into pfa_maintenance_log (task, requested_by, affected, started_at, completed_at, error)
        values ($1, $2, $3, $4, clock_timestamp(), $5)
        returning id, task, requested_by, affected, started_at, duration_ms as "duration_ms!", error
        "#,
        task.word(),
        requested_by,
        done.as_ref().copied().unwrap_or(0),
        started_at,
        error,
    )
    .fetch_one(connection)
    .await;
    done?;
    Ok(run?)
}

async fn perform(connection: &mut PgConnection, task: Task) -> Result<i64> {
    match task {
        Task::VacuumAnalyze => vacuum(connection).await,
        Task::Archive => archive(connection).await,
        Task::PruneLogs => prune_logs(connection).await,
        Task::Reindex => reindex(connection).await,
    }
}

async fn vacuum(connection: &mut PgConnection) -> Result<i64> {
    for table in TABLES {
        sqlx::raw_sql(AssertSqlSafe(format!("vacuum (analyze) {table}"))).execute(&mut *connection).await?;
    }
    Ok(TABLES.len().try_into().unwrap_or(i64::MAX))
}

async fn archive(connection: &mut PgConnection) -> Result<i64> {
    let mut moved = 0;
    loop {
        let now = sqlx::query_scalar!(
            r#"select pfa_archive_synced(make_interval(days => $1), $2) as "moved!""#,
            ARCHIVED_AFTER_DAYS,
            MOVED_AT_ONCE
        )
        .fetch_one(&mut *connection)
        .await?;
        moved += now;
        if now == 0 {
            return Ok(moved);
        }
    }
}

async fn prune_logs(connection: &mut PgConnection) -> Result<i64> {
    let dropped = sqlx::query_scalar!(r#"select pfa_prune_logs(make_interval(days => $1)) as "dropped!""#, LOGGED_DAYS);
    Ok(dropped.fetch_one(connection).await?)
}

async fn reindex(connection: &mut PgConnection) -> Result<i64> {
    // What a run that was cut off has left behind: indexes that are written but never read.
    let left = sqlx::query_scalar!(
        r#"select format('%I', c.relname) as "name!"
             from pg_index i join pg_class c on c.oid = i.indexrelid
            where not i.indisvalid and c.relnamespace = current_schema()::regnamespace and c.relname ~ '_ccnew[0-9]*$'"#
    )
    .fetch_all(&mut *connection)
    .await?;
    for name in left {
        sqlx::raw_sql(AssertSqlSafe(format!("drop index concurrently if exists {name}"))).execute(&mut *connection).await?;
    }
    for table in TABLES {
        sqlx::raw_sql(AssertSqlSafe(format!("reindex table concurrently {table}"))).execute(&mut *connection).await?;
    }
    Ok(TABLES.len().try_into().unwrap_or(i64::MAX))
}
