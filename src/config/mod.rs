//! Settings: one struct, every field with a flag and an environment name. The environment is read
//! nowhere else.

mod pems;

pub use pems::PemsSettings;

use clap::{ArgAction, Args, ValueEnum};
use secrecy::SecretString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Settings of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// PostgreSQL 15 or newer to use, as `postgres://user:password@host/database`. Without it the
    /// service starts a private PostgreSQL of its own in the data directory.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", global = true, value_parser = database_url)]
    pub database_url: Option<SecretString>,

    /// Address to listen on.
    #[arg(long, env = "PFA_BIND", value_name = "ADDRESS", default_value = "127.0.0.1:8080", global = true, value_parser = address)]
    pub bind: SocketAddr,

    /// Directory of the private PostgreSQL.
    #[arg(long, env = "PFA_DATA_DIR", value_name = "DIR", default_value = ".pfa", global = true)]
    pub data_dir: PathBuf,

    /// What to log, as tracing directives: info, debug, `pfa_vanguard=debug,warn`.
    #[arg(long, env = "PFA_LOG", value_name = "DIRECTIVES", default_value = "info", global = true, value_parser = log_directives)]
    pub log: String,

    /// How to write the log.
    #[arg(long, env = "PFA_LOG_FORMAT", value_name = "FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,

    /// Most connections for readings, and a quarter more for summaries; two to four times the
    /// database's cores is a good number.
    #[arg(long, env = "PFA_POOL_SIZE", value_name = "N", default_value = "8", global = true, value_parser = number_within::<2, 1_000>)]
    pub pool_size: u32,

    /// Seconds that a request may wait for its turn; one that would wait longer is refused at once.
    #[arg(long, env = "PFA_QUEUE_SECONDS", value_name = "SECONDS", default_value = "10", global = true, value_parser = number_within::<1, 600>)]
    pub queue_seconds: u32,

    /// Megabytes of records' texts that are remembered, so that pages that are asked for again come faster; lines of exports take up to
    /// half as much more.
    #[arg(long, env = "PFA_TEXT_MEMORY_MB", value_name = "MB", default_value = "32", global = true, value_parser = number_within::<0, 65_536>)]
    pub text_memory_mb: u32,

    /// Milliseconds after which a statement of a request is cancelled.
    #[arg(long, env = "PFA_STATEMENT_TIMEOUT_MS", value_name = "MS", default_value = "30000", global = true, value_parser = number_within::<100, 3_600_000>)]
    pub statement_timeout_ms: u32,

    /// When to refresh the summaries: a cron expression with seconds.
    #[arg(long, env = "PFA_REFRESH_CRON", value_name = "CRON", default_value = "0 */15 * * * *", global = true, value_parser = cron_expression)]
    pub refresh_cron: String,

    /// Days without an edit after which an open sandbox is reported as idle.
    #[arg(long, env = "PFA_IDLE_SESSION_DAYS", value_name = "DAYS", default_value = "30", global = true, value_parser = number_within::<1, 36_500>)]
    pub idle_session_days: u32,

    /// Discard idle sandboxes, with their drafts. Otherwise they are only reported.
    #[arg(long, env = "PFA_DISCARD_IDLE_SESSIONS", value_name = "BOOL", default_value = "false", action = ArgAction::Set, global = true)]
    pub discard_idle_sessions: bool,

    /// Where PEMS is and how it is asked.
    #[command(flatten)]
    pub pems: PemsSettings,

    /// Who may call. `off` trusts the header X-User-Id and is accepted on a loopback address only.
    #[arg(long, env = "PFA_AUTH", value_name = "MODE", default_value = "off", global = true)]
    pub auth: AuthMode,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How callers are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// By the header X-User-Id, `dev` without it.
    Off,
    /// By a signed token (not available in this version).
    #[value(hide = true)]
    Jwt,
}

/// A setting that is wrong in combination with another.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name}: {problem}")]
pub struct SettingError {
    /// The environment name.
    pub name: &'static str,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl Settings {
    /// Checks what only serving needs: authentication against the address, and PEMS.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn check_for_serving(&self) -> Result<(), SettingError> {
        self.pems.client()?;
        match self.auth {
            AuthMode::Jwt => Err(SettingError { name: "PFA_AUTH", problem: "jwt is not available in this version; allowed: off".into() }),
            AuthMode::Off if !self.bind.ip().is_loopback() => Err(SettingError {
                name: "PFA_AUTH",
                problem: format!("off trusts every caller and is accepted on a loopback address only, but PFA_BIND is {}", self.bind),
            }),
            AuthMode::Off => Ok(()),
        }
    }

    /// Bytes of records' texts that are remembered.
    #[must_use]
    pub const fn text_memory(&self) -> usize {
        self.text_memory_mb as usize * 1024 * 1024
    }

    /// How long a statement of a request may take.
    #[must_use]
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms.into())
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080".to_owned())
}

fn number_within<const LEAST: u32, const MOST: u32>(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| format!("must be a number from {LEAST} to {MOST}"))
}

fn database_url(text: &str) -> Result<SecretString, String> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err("must begin with postgres:// or postgresql://".into());
    }
    // The driver's own message could repeat the password.
    sqlx::postgres::PgConnectOptions::from_str(text)
        .map_err(|_| "is no valid PostgreSQL URL; special characters of a password must be percent-encoded".to_owned())?;
    Ok(SecretString::from(text))
}

fn log_directives(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn cron_expression(text: &str) -> Result<String, String> {
    crate::jobs::check_cron(text)?;
    Ok(text.to_owned())
}
