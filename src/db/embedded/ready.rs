//! Readiness: the server takes connections and our database exists.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::error::EmbeddedError;
use super::log::Log;
use super::watchdog::Watched;

/// For an ordinary start.
const START_BOUND: Duration = Duration::from_mins(1);
/// For a start that replays the log after a crash, which may be gigabytes. Giving up early would be worse than
/// waiting: an interrupted replay begins anew, so a bound that is too short would never let it end.
const RECOVERY_BOUND: Duration = Duration::from_mins(10);
/// A server that is "starting" for so long is replaying its log.
const RECOVERY_NOTICE: Duration = Duration::from_secs(3);
/// For one connection to a socket of this machine.
const CONNECT_BOUND: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Why a server that was launched cannot be used.
pub(super) enum NotReady {
    Ended(ExitStatus),
    TimedOut(Duration),
    Database(sqlx::Error),
}

impl NotReady {
    /// The error for the caller, with what the log says since `mark`.
    pub(super) fn explain(self, log: &Log, mark: u64, database: &str) -> EmbeddedError {
        let log_tail = log.tail(mark);
        let path = log.path().to_owned();
        match self {
            Self::Ended(status) => EmbeddedError::StartFailed { status, log: path, log_tail },
            Self::TimedOut(bound) => EmbeddedError::StartTimedOut { seconds: bound.as_secs(), log: path, log_tail },
            Self::Database(source) => EmbeddedError::Database { database: database.to_owned(), source },
        }
    }
}

/// Waits until the server takes connections and creates the database if it is absent.
pub(super) async fn prepare(watched: &Watched, cluster: &Path, connection: &Connection, progress: &impl Fn(&str)) -> Result<(), NotReady> {
    let begin = Instant::now();
    let mut noticed = false;
    let maintenance = connection.connect_options_for("postgres");
    let mut admin = loop {
        if let Some(status) = watched.try_exit() {
            return Err(NotReady::Ended(status));
        }
        // The file keeps connection attempts that come too early out of the log. A stale one may say
        // "ready" too, so only a real connection counts.
        let state = read_state(cluster);
        if state == "ready" {
            let attempt = PgConnection::connect_with(&maintenance);
            match tokio::time::timeout(CONNECT_BOUND, attempt).await {
                Ok(Ok(admin)) => break admin,
                Err(_) | Ok(Err(sqlx::Error::Io(_))) => {}
                // 57P03: the server is starting up.
                Ok(Err(sqlx::Error::Database(error))) if error.code().as_deref() == Some("57P03") => {}
                Ok(Err(error)) => return Err(NotReady::Database(error)),
            }
        }
        let recovering = state == "starting";
        if recovering && !noticed && begin.elapsed() > RECOVERY_NOTICE {
            progress("PostgreSQL recovers from a crash, this can take minutes");
            noticed = true;
        }
        let bound = if recovering { RECOVERY_BOUND } else { START_BOUND };
        if begin.elapsed() > bound {
            return Err(NotReady::TimedOut(bound));
        }
        sleep(POLL).await;
    };
    let created = create_database(&mut admin, &connection.database).await;
    let closed = admin.close().await;
    created.and(closed).map_err(NotReady::Database)
}

/// The eighth line of `postmaster.pid` is the state of the server: "starting", "ready", "stopping", …
fn read_state(cluster: &Path) -> String {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).unwrap_or_default();
    text.lines().nth(7).unwrap_or_default().trim().to_owned()
}

async fn create_database(admin: &mut PgConnection, database: &str) -> Result<(), sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1)").bind(database).fetch_one(&mut *admin).await?;
    if !exists {
        // A name cannot be bound; inside quotes only the quote itself is special.
        let quoted = format!("\"{}\"", database.replace('"', "\"\""));
        sqlx::query(AssertSqlSafe(format!("create database {quoted}"))).execute(admin).await?;
    }
    Ok(())
}
