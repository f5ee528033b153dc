//! Logging set-up.

use crate::config::{LogFormat, Settings};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Sends logs to standard error in the format asked for. A second call changes nothing.
pub fn start_logging(settings: &Settings) {
    // At level info the scheduler talks about its inner life, and PostgreSQL about what exists already.
    let directives = format!("tokio_cron_scheduler=warn,sqlx::postgres::notice=warn,{}", settings.log);
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started = match settings.log_format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
