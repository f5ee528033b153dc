//! The commands.

mod analyze;
mod demo;
mod fake_pems;
mod generate;
mod import;
mod lines;
mod migrate;
mod openapi;
mod progress;
mod refresh;
mod serve;
mod sync;
mod verify;

use crate::app::AppError;
use crate::config::{SettingError, Settings};
use crate::telemetry;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};
use std::process::ExitCode;

/// A fast mirror of PEMS equipment plans with private sandboxes, merged inside PostgreSQL.
///
/// `pfa-vanguard demo` starts everything on one machine with sample data. Every setting is a flag
/// or an environment variable; a file `.env` in the working directory or above it is read first.
#[derive(Debug, Parser)]
#[command(name = "pfa-vanguard", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API and refresh the summaries on schedule.
    Serve(serve::ServeArgs),
    /// Serve with 20,280 generated records and a few sandboxes: everything to look at, in one command.
    Demo,
    /// Bring the schema up to date and say what was done.
    Migrate,
    /// Fill the mirror with generated records.
    Generate(generate::GenerateArgs),
    /// Load records of one organization from a file.
    Import(import::ImportArgs),
    /// Read records from PEMS into the mirror.
    Sync(sync::SyncArgs),
    /// Compare the mirror of an organization with PEMS, changing nothing; fails when they differ.
    Verify(verify::VerifyArgs),
    /// Run a stand-in for PEMS with the demo's records, to try things out.
    FakePems(fake_pems::FakePemsArgs),
    /// Refresh the KPI and timeline summaries now.
    Refresh,
    /// Measure the promised readings on an organization's data.
    Analyze(analyze::AnalyzeArgs),
    /// Print the OpenAPI document.
    Openapi,
}

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    /// A wrong setting; exit code 2.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The service could not do it; exit code 1.
    #[error(transparent)]
    App(#[from] AppError),
    /// A file could not be read.
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    /// The command did its work, but not all of the input was good; exit code 1.
    #[error("{0}")]
    Incomplete(String),
}

impl CommandError {
    /// What a log says of it that everybody may read.
    fn told(&self) -> String {
        match self {
            Self::App(AppError::Service(error)) => error.told(),
            other => crate::error::in_one_line(other),
        }
    }
}

impl From<crate::error::Error> for CommandError {
    fn from(error: crate::error::Error) -> Self {
        Self::App(error.into())
    }
}

/// Reads `.env` and the arguments, runs the command, and tells how it ended.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(error) = dotenvy::dotenv()
        && !error.not_found()
    {
        // The driver's message would repeat the line, and with it a password.
        match error {
            dotenvy::Error::LineParse(..) => eprintln!("error: .env: a line is not NAME=value; values with spaces need quotes"),
            other => eprintln!("error: .env: {other}"),
        }
        return ExitCode::from(2);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return end_of_parsing(&error),
    };
    telemetry::start_logging(&cli.settings);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", crate::error::in_one_line(&error));
            ExitCode::from(if matches!(error, CommandError::Setting(_)) { 2 } else { 1 })
        }
    }
}

async fn run(Cli { command, settings }: Cli) -> Result<(), CommandError> {
    match command {
        Command::Serve(args) => serve::run(&settings, &args).await,
        Command::Demo => demo::run(&settings).await,
        Command::Migrate => migrate::run(&settings).await,
        Command::Generate(args) => generate::run(&settings, &args).await,
        Command::Import(args) => import::run(&settings, &args).await,
        Command::Sync(args) => sync::run(&settings, &args).await,
        Command::Verify(args) => verify::run(&settings, &args).await,
        Command::FakePems(args) => fake_pems::run(&args).await,
        Command::Refresh => refresh::run(&settings).await,
        Command::Analyze(args) => analyze::run(&settings, &args).await,
        Command::Openapi => openapi::run(),
    }
}

/// Help goes out as it is; a wrong value becomes one line that names the setting as it stands in
/// the environment.
fn end_of_parsing(error: &clap::Error) -> ExitCode {
    let is_value = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
    let (Some(ContextValue::String(argument)), true) = (error.get(ContextKind::InvalidArg), is_value) else {
        // Printing fails only when nobody can read it.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    };
    let flag = argument.split_whitespace().next().unwrap_or(argument);
    let command = Cli::command();
    let name = command
        .get_arguments()
        .find(|known| known.get_long().is_some_and(|long| flag == format!("--{long}")))
        .and_then(clap::Arg::get_env)
        .map_or_else(|| flag.to_owned(), |name| format!("{} ({flag})", name.to_string_lossy()));
    let value = match error.get(ContextKind::InvalidValue) {
        // They are passwords, or can hold one.
        Some(ContextValue::String(value)) if !["--database-url", "--pems-url", "--pems-password", "--pems-api-key"].contains(&flag) => {
            format!(" {value:?}")
        }
        _ => String::new(),
    };
    let reason = match (error.get(ContextKind::ValidValue), std::error::Error::source(error)) {
        (_, None) if value.is_empty() || value == " \"\"" => "needs a value".to_owned(),
        (Some(ContextValue::Strings(allowed)), _) => format!("is not one of {}", allowed.join(", ")),
        (_, Some(source)) => source.to_string().replace('\n', " "),
        _ => "is not acceptable".to_owned(),
    };
    eprintln!("error: {name}:{value} {reason}");
    ExitCode::from(2)
}
