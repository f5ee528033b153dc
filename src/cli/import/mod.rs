//! `import`: loads records of one organization from a file.

mod source;
mod table;

use super::CommandError;
use super::generate::{refresh_after_load, vacuum_after_load};
use super::lines::say;
use super::progress::Progress;
use crate::app::App;
use crate::config::Settings;
use crate::domain::record::Record;
use crate::error::in_one_line;
use crate::service::PfaMirrorService;
use crate::service::ingest::{Applied, Batch, Load};
use crate::service::sync::runs::{RunDirection, RunOutcome, RunType};
use clap::{Args, ValueEnum};
use source::{Line, Source};
use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;
use tokio::sync::mpsc;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

/// So many bad lines are told one by one.
const TOLD_LINES: u64 = 100;
/// So many unreadable values are told one by one.
const TOLD_FINDINGS: usize = 20;

/// Options of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Code of the organization; it is created if it is new.
    #[arg(long = "org", value_name = "CODE", value_parser = organization_code)]
    organization: String,
    /// How the file is written.
    #[arg(long)]
    format: Format,
    /// Load nothing if any line is bad.
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
    let file_error = |source| CommandError::File { path: args.file.display().to_string(), source };
    let file = File::open(&args.file).map_err(file_error)?;
    let bytes = file.metadata().map_err(file_error)?.len();
    let source = Source::open(file, args.format).map_err(file_error)?;

    let app = App::open(settings).await?;
    let started = Instant::now();
    let outcome = import(&app.service, args, source, bytes).await;
    app.close().await;
    report(args, &outcome?, started.elapsed().as_secs_f64())
}

/// Loads all good lines, or none, in one transaction, and writes the log of it.
async fn import(service: &PfaMirrorService, args: &ImportArgs, source: Source, bytes: u64) -> Result<RunOutcome, CommandError> {
    service.save_organization(&args.organization, &args.organization).await?;
    let load = service.begin_load(&[&args.organization]).await?;
    let id = service.begin_run(&args.organization, RunType::Import, RunDirection::Read, None).await?;
    let mut outcome = RunOutcome::default();
    match fill(service, load, args, source, bytes, id, &mut outcome).await {
        Ok(()) => {
            service.finish_run(&args.organization, id, &outcome).await?;
            if outcome.applied.inserted + outcome.applied.updated > 0 {
                refresh_after_load(service).await;
            }
            Ok(outcome)
        }
        Err(error) => {
            outcome.error = Some(in_one_line(&error));
            service.finish_run(&args.organization, id, &outcome).await?;
            Err(error)
        }
    }
}

async fn fill(
    service: &PfaMirrorService,
    mut load: Load,
    args: &ImportArgs,
    source: Source,
    bytes: u64,
    id: Uuid,
    outcome: &mut RunOutcome,
) -> Result<(), CommandError> {
    let mut progress = Progress::begin("Importing", bytes);
    let (sender, mut receiver) = mpsc::channel::<Vec<Line>>(2);
    let reading = tokio::task::spawn_blocking(move || source.read_chunks(|chunk| sender.blocking_send(chunk).is_ok()));
    let mut seen = HashSet::new();
    while let Some(chunk) = receiver.recv().await {
        progress.add(chunk.iter().map(|line| line.bytes).sum());
        let records = sort_out(chunk, &mut seen, outcome);
        load.stage(&records).await?;
    }
    let read = reading.await.map_err(|error| CommandError::Incomplete(format!("reading failed: {error}")))?;
    read.map_err(|source| CommandError::File { path: args.file.display().to_string(), source })?;
    if args.strict && outcome.errored > 0 {
        progress.end();
        outcome.error = Some("strict: nothing was loaded because of bad lines".to_owned());
        return Ok(());
    }
    outcome.applied = load.apply(&Batch::import(&args.organization, id, "import")).await?;
    load.commit(|index| progress.step(&format!("building {index}"))).await?;
    if outcome.applied.inserted > 100_000 {
        progress.step("vacuum");
        vacuum_after_load(service).await;
    }
    progress.end();
    Ok(())
}

/// The records of a chunk; bad lines are told and counted, findings kept.
fn sort_out(chunk: Vec<Line>, seen: &mut HashSet<u128>, outcome: &mut RunOutcome) -> Vec<Record> {
    let mut records = Vec::with_capacity(chunk.len());
    for line in chunk {
        let reason = match line.record {
            Ok((record, findings)) if seen.insert(xxh3_128(record.pfa_id.as_bytes())) => {
                for finding in findings {
                    if outcome.findings.len() < TOLD_FINDINGS {
                        let (field, value, problem) = (&finding.field, &finding.value, &finding.problem);
                        eprintln!("line {}: {field} {value:?} {problem}; null stands for it", line.number);
                    }
                    outcome.add_finding(finding);
                }
                records.push(record);
                continue;
            }
            Ok((record, _)) => format!("pfaId {:?} stands in the file before", record.pfa_id),
            Err(reason) => reason,
        };
        outcome.errored += 1;
        if outcome.errored <= TOLD_LINES {
            eprintln!("line {}: {reason}", line.number);
        }
    }
    records
}

fn report(args: &ImportArgs, outcome: &RunOutcome, seconds: f64) -> Result<(), CommandError> {
    let Applied { inserted, updated, unchanged, .. } = outcome.applied;
    say(&format!(
        "{}: {inserted} records inserted, {updated} updated, {unchanged} unchanged; bad lines: {}; unreadable values: {}; {seconds:.1} s.",
        args.organization, outcome.errored, outcome.findings_total
    ));
    match (&outcome.error, outcome.errored) {
        (Some(error), _) => Err(CommandError::Incomplete(error.clone())),
        (None, 0) => Ok(()),
        (None, bad) => Err(CommandError::Incomplete(format!("bad lines: {bad}; the others are loaded"))),
    }
}
