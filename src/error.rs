//! The one error of the service. It knows nothing of HTTP; `http::problem` gives it a status.

use crate::domain::fault::Fault;
use crate::domain::rules::Rule;
use crate::pems::PemsError;
use std::fmt;

/// What can go wrong below the HTTP layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such organization.
    #[error("organization {0:?} does not exist")]
    OrganizationNotFound(String),
    /// No such session in this organization, or it belongs to somebody else, or it was discarded.
    #[error("this session does not exist")]
    SessionNotFound,
    /// No such record in this organization.
    #[error("record {0:?} does not exist")]
    RecordNotFound(String),
    /// The session has no draft of this record.
    #[error("this session has no draft of record {0:?}")]
    DraftNotFound(String),
    /// No such conflict, or one of somebody else's sandbox.
    #[error("this conflict does not exist")]
    ConflictNotFound,
    /// The session was committed; nothing in it can be changed any more.
    #[error("this session was committed; open another one to go on")]
    SessionCommitted,
    /// There is no step to undo.
    #[error("there is nothing to undo: the session has no step, or what it had was committed meanwhile")]
    NothingToUndo,
    /// There is no undone step.
    #[error("there is nothing to redo: no step was undone, or another edit or a commit came after it")]
    NothingToRedo,
    /// Fields that an edit may not set so; nothing was saved.
    #[error("not acceptable: {}", field_names(.0))]
    InvalidEdit(Vec<Fault>),
    /// An atomic bulk edit that rules forbid on some of its records; nothing was saved.
    #[error("rules forbid this edit on {} of {matched} records; nothing was saved", refused.len())]
    EditRefused {
        /// How many records were selected.
        matched: usize,
        /// The records at fault.
        refused: Vec<RefusedEdit>,
    },
    /// A selection of more records than one edit may touch.
    #[error("the selection holds more than {0} records")]
    SelectionTooLarge(usize),
    /// The record is not what the caller has seen.
    #[error("the record has changed since it was read")]
    StaleRecord,
    /// An Idempotency-Key that was used for another commit.
    #[error("this Idempotency-Key was used for another commit")]
    IdempotencyKeyReused,
    /// Another refresh is running somewhere.
    #[error("another refresh is running")]
    RefreshRunning,
    /// Another maintenance task is running somewhere.
    #[error("another maintenance task is running")]
    MaintenanceRunning,
    /// The service ends; what was asked for was not done, or not to its end.
    #[error("the service is stopping")]
    Stopping,
    /// Another load of the same organization is running.
    #[error("another load of organization {0:?} is running")]
    LoadRunning(String),
    /// PEMS lacks so many records of the mirror that its answer is not to be trusted.
    #[error(
        "PEMS lacks {vanished} of {live} records, more than {most_percent} %; nothing was changed. If that is right, \
         run the full sync with a higher limit"
    )]
    TooManyVanished {
        /// Records that it lacks.
        vanished: i64,
        /// Records that are not discontinued.
        live: i64,
        /// How many it may lack, in per cent.
        most_percent: u32,
    },
    /// Pages of PEMS were missing or shorter than they should be.
    #[error("PEMS has {expected} records but its pages brought {came}; nothing was changed")]
    PagesNotWhole {
        /// Different records that came.
        came: u64,
        /// Records that PEMS counts.
        expected: u64,
    },
    /// Somebody else has the organization's write-back turn.
    #[error("another write-back of organization {0:?} is running")]
    WriteBackRunning(String),
    /// The organization's write-back is paused.
    #[error("the write-back of organization {0:?} is paused; resume it first")]
    WriteBackPaused(String),
    /// As many exports are running as may.
    #[error("as many exports are running as may at once; try again in a moment")]
    ExportsBusy,
    /// An export ended before its last record: its client went away or waited too long, or the service stopped.
    #[error("the export ended before its last record")]
    ExportCut,
    /// Somebody cancelled the run.
    #[error("the run was cancelled")]
    RunCancelled,
    /// No such sync run.
    #[error("this run does not exist")]
    RunNotFound,
    /// There is no PEMS in the settings.
    #[error("PEMS is off: the service has no PFA_PEMS_URL")]
    PemsOff,
    /// PEMS does not do what it is asked.
    #[error(transparent)]
    Pems(#[from] PemsError),
    /// The statement took longer than `PFA_STATEMENT_TIMEOUT_MS`.
    #[error("the database did not answer within the time allowed for a statement")]
    StatementTimeout,
    /// Others changed the same at the same moment; the transaction may be tried again.
    #[error("the database was too busy with the same records; try again")]
    Busy,
    /// The database cannot be reached, or has no connection left for us in time.
    #[error("the database is not available: {0}")]
    DatabaseUnavailable(#[source] sqlx::Error),
    /// Anything else that the database says: a defect, never shown to clients.
    #[error("unexpected database error: {0}")]
    Database(#[source] sqlx::Error),
    /// A migration that cannot be applied, or one that this build does not know.
    #[error("the schema cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl Error {
    /// What a log says of it that everybody may read: the database's own words are for the log of the service.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Database(_) | Self::Migration(_) => "the database failed; the log of the service has more".to_owned(),
            Self::DatabaseUnavailable(_) => "the database was not available; the log of the service has more".to_owned(),
            other => in_one_line(other),
        }
    }
}

/// A record that a bulk edit left alone, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedEdit {
    /// The record.
    pub pfa_id: String,
    /// The rules that forbid it.
    pub rules: Vec<Rule>,
    /// The fields that the draft would have changed.
    pub changed: Vec<String>,
}

impl RefusedEdit {
    /// Every field at fault.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.rules.iter().flat_map(|rule| rule.faults(&self.changed)).collect()
    }

    /// The same, without rules that look at one of these fields: what they would say of their values nobody knows.
    #[must_use]
    pub fn faults_beside(&self, faults: &[Fault]) -> Vec<Fault> {
        let is_open = |rule: &&Rule| !rule.fields().iter().any(|field| faults.iter().any(|fault| fault.field == field.key()));
        self.rules.iter().filter(is_open).flat_map(|rule| rule.faults(&self.changed)).collect()
    }
}

fn field_names(faults: &[Fault]) -> String {
    let names: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
    names.join(", ")
}

/// Shorthand for results of the service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Classes of SQLSTATE: connection failures, refused users or passwords, missing databases, too
/// many connections, a server that starts up or shuts down.
const UNAVAILABLE: [&str; 5] = ["08", "28", "3D", "53", "57P"];

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::DatabaseUnavailable(error)
            }
            sqlx::Error::Database(database) => match database.code().as_deref() {
                Some("57014") => Self::StatementTimeout,
                Some("40001" | "40P01" | "55P03") => Self::Busy,
                Some(code) if UNAVAILABLE.iter().any(|class| code.starts_with(class)) => Self::DatabaseUnavailable(error),
                _ => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}

/// A refusal that the admission check of a reading statement reports (see `pfa_refusal`).
pub(crate) fn refusal(what: Option<&str>, organization: &str) -> Result<()> {
    match what {
        None => Ok(()),
        Some("organization") => Err(Error::OrganizationNotFound(organization.to_owned())),
        Some(_) => Err(Error::SessionNotFound),
    }
}

/// Joins an error and its causes into one line for people and logs.
#[must_use]
pub fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    struct Chain<'a>(&'a (dyn std::error::Error + 'static));
    impl fmt::Display for Chain<'_> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mut text = self.0.to_string();
            let mut source = self.0.source();
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            formatter.write_str(&text.replace('\n', " "))
        }
    }
    Chain(error).to_string()
}
