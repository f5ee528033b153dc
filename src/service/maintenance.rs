//! Maintenance of the database, one task at a time in all processes, and the log of it.

use crate::error::{Error, Result, in_one_line};
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::sync::Arc;

/// A change that arrived in PEMS so many days ago moves to the archive.
const ARCHIVED_AFTER_DAYS: i32 = 30;
/// A log row may be dropped after so many days.
const LOGGED_DAYS: i32 = 90;
/// So many changes move in one statement.
const MOVED_AT_ONCE: i64 = 10_000;
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
    /// [`Error::MaintenanceRunning`] when one is under way anywhere; [`Error::Stopping`]; else when the database fails. What
    /// was begun stands in the log, as far as the database can be reached.
    pub async fn maintain(&self, task: Task, requested_by: Option<&str>) -> Result<MaintenanceRun> {
        // In this process nobody even asks the database.
        let place = Arc::clone(&self.maintainers).try_acquire_owned().map_err(|_| Error::MaintenanceRunning)?;
        let (service, requested_by) = (self.clone(), requested_by.map(str::to_owned));
        let work = async move {
            let run = service.run_task(task, requested_by.as_deref()).await;
            drop(place);
            run
        };
        self.background.spawn(work).await.unwrap_or(Err(Error::Stopping))
    }

    async fn run_task(&self, task: Task, requested_by: Option<&str>) -> Result<MaintenanceRun> {
        let mut connection = self.pool.acquire().await?;
        let is_free = sqlx::query_scalar!(r#"select pg_try_advisory_lock(hashtextextended('pfa maintenance', 0)) as "is_free!""#)
            .fetch_one(&mut *connection)
            .await?;
        if !is_free {
            return Err(Error::MaintenanceRunning);
        }
        // From here on the lock and the settings go with the connection, whatever happens.
        let mut connection = connection.detach();
        let started_at = Utc::now();
        let stopping = self.stopping.clone();
        let done = stopping.run_until_cancelled(perform(&mut connection, task)).await.unwrap_or(Err(Error::Stopping));
        let run = self.log_task(task, requested_by, started_at, &done).await;
        if done.is_ok() {
            // Not when PostgreSQL notices that the connection is closed, but now.
            sqlx::raw_sql("select pg_advisory_unlock_all()").execute(&mut connection).await?;
            connection.close().await?;
        }
        done?;
        run
    }

    /// Writes down what came of a task, on another connection than its own, which may be gone.
    async fn log_task(
        &self,
        task: Task,
        requested_by: Option<&str>,
        started_at: DateTime<Utc>,
        done: &Result<i64>,
    ) -> Result<MaintenanceRun> {
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
            done.as_ref().err().map(|error| in_one_line(error)),
        )
        .fetch_one(&self.pool)
        .await;
        if let Err(error) = &run {
            tracing::warn!(task = task.word(), error = in_one_line(error), "a maintenance task could not be logged in the database");
        }
        Ok(run?)
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

async fn perform(connection: &mut PgConnection, task: Task) -> Result<i64> {
    // It takes as long as it takes; but when this process is gone, nobody waits for it.
    sqlx::raw_sql("set statement_timeout = 0; set client_connection_check_interval = '2s'").execute(&mut *connection).await?;
    match task {
        Task::VacuumAnalyze => on_every_table(connection, "vacuum (analyze)").await,
        Task::Archive => archive(connection).await,
        Task::PruneLogs => prune_logs(connection).await,
        Task::Reindex => {
            drop_what_a_reindex_left(connection).await?;
            on_every_table(connection, "reindex table concurrently").await
        }
    }
}

/// Tables and summaries, one after the other; gives their number.
async fn on_every_table(connection: &mut PgConnection, command: &str) -> Result<i64> {
    let tables = sqlx::query!(
        r#"
        select format('%I', relname) as "name!", relkind = 'm' as "is_summary!"
          from pg_class
         where relnamespace = current_schema()::regnamespace
           and relkind in ('r', 'm')
           and (relname like 'pfa\_%' or relname = 'organizations')
         order by relname
        "#
    )
    .fetch_all(&mut *connection)
    .await?;
    let count = tables.len();
    for table in tables {
        let statement = AssertSqlSafe(format!("{command} {}", table.name));
        if table.is_summary {
            // The lock of a refresh: side by side they would wait for each other. A refresh that comes now is skipped.
            sqlx::raw_sql("select pg_advisory_lock(x'50464156'::int)").execute(&mut *connection).await?;
            sqlx::raw_sql(statement).execute(&mut *connection).await?;
            sqlx::raw_sql("select pg_advisory_unlock(x'50464156'::int)").execute(&mut *connection).await?;
        } else {
            sqlx::raw_sql(statement).execute(&mut *connection).await?;
        }
    }
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
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

/// Indexes that a reindex which was cut off has left behind, new or old ones: they are written or kept, but never read.
async fn drop_what_a_reindex_left(connection: &mut PgConnection) -> Result<()> {
    let left = sqlx::query_scalar!(
        r#"
        select format('%I.%I', c.relnamespace::regnamespace, c.relname) as "name!"
          from pg_index i
          join pg_class c on c.oid = i.indexrelid
         where not i.indisvalid
           and c.relnamespace in (current_schema()::regnamespace, 'pg_toast'::regnamespace)
           and c.relname ~ '_cc(new|old)[0-9]*$'
        "#
    )
    .fetch_all(&mut *connection)
    .await?;
    for name in left {
        sqlx::raw_sql(AssertSqlSafe(format!("drop index concurrently if exists {name}"))).execute(&mut *connection).await?;
    }
    Ok(())
}
