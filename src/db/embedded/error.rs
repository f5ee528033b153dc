//! What can go wrong with the private PostgreSQL server.
//!
//! Each message is one sentence that a person can act on. No message holds a secret.
//! Where PostgreSQL itself said why, the end of its log follows the sentence.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why the private PostgreSQL server could not be started, kept or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// Another live process holds the lock of this data directory.
    #[error("data directory {} is in use by process {owner}; stop it, use its HTTP API, or let both use one server by DATABASE_URL", .dir.display())]
    InUse {
        /// The locked directory.
        dir: PathBuf,
        /// The process id that the owner wrote into the lock file, or "unknown".
        owner: String,
    },
    /// No usable PostgreSQL on this machine, and none could be downloaded.
    #[error(
        "no usable PostgreSQL was found ({reason}); do one of three things: install it, for example with \
         `apt-get install postgresql`; or run `docker compose -f docker-compose.postgres.yml up -d` and set \
         DATABASE_URL to it; or set DATABASE_URL to a PostgreSQL server that you already have"
    )]
    NoBinaries {
        /// What was tried and why each try failed.
        reason: String,
    },
    /// The cluster on disk was made by another major version.
    #[error(
        "the database in {} was made by PostgreSQL {cluster_major}, but this machine has PostgreSQL {found}; \
         install PostgreSQL {cluster_major}, or move the database with pg_dump", .cluster.display()
    )]
    VersionMismatch {
        /// The cluster directory.
        cluster: PathBuf,
        /// The major version that made the cluster.
        cluster_major: u32,
        /// The versions that were found, with their directories.
        found: String,
    },
    /// We are root and there is no account to run PostgreSQL as.
    #[error(
        "PostgreSQL refuses to run as root and this machine has neither an account `postgres` nor `nobody`; \
         create one of them or start the service as an ordinary user"
    )]
    NoAccount,
    /// We are root and the account for PostgreSQL cannot enter a directory.
    #[error("PostgreSQL runs as user id {uid}, which may not enter {}; open it with chmod o+x on it and its parents", .dir.display())]
    Unreachable {
        /// The directory.
        dir: PathBuf,
        /// The account.
        uid: u32,
    },
    /// The data directory points to a place that is gone.
    #[error(
        "{} says that the database is in {}, which does not exist; bring it back, or delete the first file to begin with an empty database",
        .pointer.display(), .home.display()
    )]
    HomeMissing {
        /// The pointer file.
        pointer: PathBuf,
        /// Where it points to.
        home: PathBuf,
    },
    /// The cluster exists and its password does not.
    #[error(
        "the database in {} exists but its password file {} is missing; bring the file back, or delete the \
         database directory to begin with an empty one", .cluster.display(), .file.display()
    )]
    PasswordMissing {
        /// The password file.
        file: PathBuf,
        /// The cluster directory.
        cluster: PathBuf,
    },
    /// `initdb` ended with an error.
    #[error("PostgreSQL could not create its data directory ({status}):\n{log_tail}")]
    Initdb {
        /// How it ended.
        status: ExitStatus,
        /// The end of its output.
        log_tail: String,
    },
    /// The server ended while it was starting.
    #[error("PostgreSQL ended while it was starting ({status}), see {}:\n{log_tail}", .log.display())]
    StartFailed {
        /// How it ended.
        status: ExitStatus,
        /// The log file.
        log: PathBuf,
        /// The end of the log.
        log_tail: String,
    },
    /// The server did not take connections in time.
    #[error("PostgreSQL was not ready after {seconds} seconds, see {}:\n{log_tail}", .log.display())]
    StartTimedOut {
        /// The bound.
        seconds: u64,
        /// The log file.
        log: PathBuf,
        /// The end of the log.
        log_tail: String,
    },
    /// A server of an earlier owner would not end.
    #[error("PostgreSQL process {pid} of an earlier run still holds {} and does not end; stop it by hand", .cluster.display())]
    PreviousServer {
        /// Its process id.
        pid: i32,
        /// The cluster directory.
        cluster: PathBuf,
    },
    /// The server ended although nobody asked it to.
    #[error("the private PostgreSQL server ended by itself ({status}):\n{log_tail}")]
    Ended {
        /// How it ended.
        status: String,
        /// The end of the log.
        log_tail: String,
    },
    /// The server would end neither by a fast nor by an immediate shutdown and was killed.
    #[error("PostgreSQL did not stop in {seconds} seconds and was killed; it will recover at the next start")]
    StopTimedOut {
        /// The bound.
        seconds: u64,
    },
    /// The server runs, but our database could not be created in it.
    #[error("the database {database:?} could not be created in the private PostgreSQL server: {source}")]
    Database {
        /// The name of the database.
        database: String,
        /// The reason.
        source: sqlx::Error,
    },
    /// The operating system refused something.
    #[error("could not {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// Adds what was tried, and with which file, to an I/O error.
pub(super) trait Tried<T> {
    /// `action` is a verb phrase that `path` completes: "could not {action} {path}".
    fn tried(self, action: &'static str, path: &Path) -> Result<T, EmbeddedError>;
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, action: &'static str, path: &Path) -> Result<T, EmbeddedError> {
        self.map_err(|source| EmbeddedError::Io { action, path: path.to_owned(), source })
    }
}
