//! `import`: loads records from a file.

mod cell;
mod load;
mod report;
mod source;
mod sqlite;
mod table;
mod text;

use super::CommandError;
use super::generate::{refresh_after_load, vacuum_after_load};
use crate::app::{App, AppError};
use crate::config::{SettingError, Settings};
use crate::error::{Error, in_one_line};
use crate::service::PfaMirrorService;
use backon::{ExponentialBuilder, Retryable as _};
use clap::{Args, ValueEnum};
use load::{load_file, log_refusal};
use report::Report;
use source::Source;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// An import is tried again so often, and no pause before it is longer.
const MOST_REPETITIONS: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// After fewer records the planner statistics are as good as before; autovacuum comes in time.
const WRITTEN_FOR_STATISTICS: u64 = 1_000;

/// Options of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Code of the organization; it is created if it is new. Of a SQLite file, which has the organizations
    /// itself, only the rows of this one are loaded.
    #[arg(long = "org", value_name = "CODE", value_parser = organization_code, required_if_eq_any([("format", "ndjson"), ("format", "csv")]))]
    organization: Option<String>,
    /// Of a SQLite file: the organizationId whose rows are loaded, as records of --org.
    #[arg(long = "source-org", value_name = "ID", requires = "organization")]
    source_organization: Option<String>,
    /// How the file is written.
    #[arg(long)]
    format: Format,
    /// Load nothing if any line is bad or any value is unreadable.
    #[arg(long)]
    strict: bool,
    /// The file.
    file: PathBuf,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line, with the keys of the dictionary.
    Ndjson,
    /// Comma-separated with a header line; headers are matched loosely, `$` and thousands separators are dropped.
    Csv,
    /// The SQLite file of the former application, with its table `PfaRecord`.
    Sqlite,
}

pub(super) fn organization_code(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins_well && text.len() <= 64 && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 letters, digits, dots, dashes or underscores and begin with a letter or digit".into())
    }
}

pub(super) async fn run(settings: &Settings, args: &ImportArgs) -> Result<(), CommandError> {
    if args.source_organization.is_some() && args.format != Format::Sqlite {
        return Err(SettingError { name: "--source-org", problem: "is for --format sqlite".to_owned() }.into());
    }
    // A name that leads to no file is a slip, and nothing that the log should know.
    check_file(args).map_err(|source| file_error(args, source))?;
    let app = App::open(settings).await?;
    let started = Instant::now();
    let report = import(&app, settings, args).await;
    app.close().await;
    report?.tell(args, started.elapsed().as_secs_f64())
}

fn check_file(args: &ImportArgs) -> io::Result<()> {
    let is_directory = File::open(&args.file)?.metadata()?.is_dir();
    if is_directory { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
}

fn file_error(args: &ImportArgs, source: io::Error) -> CommandError {
    CommandError::File { path: args.file.display().to_string(), source }
}

/// Loads the file, and brings statistics and summaries up to date.
async fn import(app: &App, settings: &Settings, args: &ImportArgs) -> Result<Report, CommandError> {
    let service = &app.service;
    let source = match Source::open(args) {
        Ok(source) => source,
        Err(error) => {
            let error = file_error(args, error);
            if let Some(organization) = &args.organization
                && let Err(error) = log_refusal(service, organization, &in_one_line(&error)).await
            {
                tracing::debug!(error = in_one_line(&error), "the log of a refused file could not be written");
            }
            return Err(error);
        }
    };
    for organization in source.organizations() {
        if service.has_records(&organization).await? {
            eprintln!("{organization} has records already; a backup gives a way back: {}", backup_command(app, settings));
            break;
        }
    }
    let report = load_with_repetitions(service, args, source).await?;
    if report.written() >= WRITTEN_FOR_STATISTICS {
        vacuum_after_load(service).await;
    }
    if report.written() > 0 {
        refresh_after_load(service).await;
    }
    Ok(report)
}

/// Passing errors of the database cost a pause and another try, from the begin of the file: what was
/// staged went with the connection.
async fn load_with_repetitions(service: &PfaMirrorService, args: &ImportArgs, source: Source) -> Result<Report, CommandError> {
    let pauses = ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE).with_max_times(MOST_REPETITIONS);
    let (mut opened, tries) = (Some(source), Cell::new(0));
    let load = || {
        tries.set(tries.get() + 1);
        let source = opened.take().map_or_else(|| Source::open(args).map_err(|error| file_error(args, error)), Ok);
        async move { load_file(service, args, source?).await }
    };
    load.retry(pauses)
        .when(|error| is_passing(error, tries.get() > 1))
        .notify(|error, pause| eprintln!("{}; trying again in {} s", in_one_line(error), pause.as_secs()))
        .await
}

fn is_passing(error: &CommandError, is_repeated: bool) -> bool {
    let CommandError::App(AppError::Service(error)) = error else { return false };
    match error {
        Error::Busy | Error::StatementTimeout | Error::DatabaseUnavailable(_) => true,
        // The load that lost its connection holds its lock until the server notices.
        Error::LoadRunning(_) => is_repeated,
        _ => false,
    }
}

/// How to save everything that the database holds.
fn backup_command(app: &App, settings: &Settings) -> String {
    match &app.database.embedded {
        None => "pg_dump --format=custom --file=pfa_vanguard.dump \"$DATABASE_URL\"".to_owned(),
        Some(server) => format!(
            "PGPASSWORD=$(cat {}/password) {}/pg_dump --format=custom --file=pfa_vanguard.dump --host={} --username=postgres pfa_vanguard (while serve runs)",
            settings.data_dir.display(),
            server.bin_dir().display(),
            server.connection().socket_dir.display(),
        ),
    }
}
