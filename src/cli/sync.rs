//! `sync`: reads records of an organization from PEMS.

use super::CommandError;
use super::import::organization_code;
use super::lines::say;
use super::progress::Progress;
use crate::app::App;
use crate::config::{SettingError, Settings};
use crate::error::Error;
use crate::pems::{GridFilter, PemsClient};
use crate::service::PfaMirrorService;
use crate::service::ingest::Applied;
use crate::service::sync::runs::RunOutcome;
use crate::service::sync::{SyncRequest, SyncScope};
use clap::{Args, ValueEnum};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// So many findings are told one by one.
const TOLD_FINDINGS: usize = 20;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Options of `sync`.
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// Code of the organization; it is created if it is new and PEMS has records of it.
    #[arg(long = "org", value_name = "CODE", value_parser = organization_code)]
    organization: String,
    /// What to read.
    #[arg(long = "type", value_name = "TYPE")]
    kind: SyncType,
    /// Ids of the records, for manual.
    #[arg(long, value_name = "ID", value_delimiter = ',', required_if_eq("kind", "manual"))]
    ids: Vec<String>,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SyncType {
    /// Everything; what PEMS does not have any more is discontinued.
    Full,
    /// What PEMS changed since the last run.
    Incremental,
    /// The records of --ids.
    Manual,
}

pub(super) async fn run(settings: &Settings, args: &SyncArgs) -> Result<(), CommandError> {
    let scope = match args.kind {
        SyncType::Full | SyncType::Incremental if !args.ids.is_empty() => {
            return Err(SettingError { name: "--ids", problem: "goes with --type manual only".into() }.into());
        }
        SyncType::Full => SyncScope::Full { most_vanished_percent: settings.pems.sync_max_vanished_percent },
        SyncType::Incremental => SyncScope::Incremental,
        SyncType::Manual => SyncScope::Records(args.ids.clone()),
    };
    let started = Instant::now();
    let outcome = read(settings, &args.organization, scope, IfNew::Create).await?;
    report(&args.organization, &outcome, started.elapsed())
}

/// What becomes of an organization that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfNew {
    /// It is created.
    Create,
    /// That is an error.
    Refuse,
}

/// Reads PEMS, showing how far it is; Ctrl-C cancels.
pub(super) async fn read(settings: &Settings, organization: &str, scope: SyncScope, if_new: IfNew) -> Result<RunOutcome, CommandError> {
    let pems = settings.pems.client()?.ok_or(SettingError { name: "PFA_PEMS_URL", problem: "is needed to read from PEMS".into() })?;
    let app = App::open(settings).await?;
    let stop = CancellationToken::new();
    let interrupted = tokio::spawn({
        let stop = stop.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
            }
        }
    });
    let outcome = async {
        if if_new == IfNew::Create {
            let created = stop.run_until_cancelled(create_if_known(&app.service, &pems, organization)).await;
            created.unwrap_or(Err(Error::RunCancelled.into()))?;
        }
        let request = SyncRequest { organization: organization.to_owned(), scope, requested_by: None };
        let run = app.service.begin_read(request).await?;
        let progress = tokio::spawn(show_progress(app.service.clone(), organization.to_owned(), run.id));
        let outcome = app.service.read_pems(&pems, run, &stop).await;
        progress.abort();
        Ok(outcome?)
    }
    .await;
    interrupted.abort();
    app.close().await;
    outcome
}

/// Creates an organization of which PEMS has records: a slip of the pen is none.
async fn create_if_known(service: &PfaMirrorService, pems: &PemsClient, organization: &str) -> Result<(), CommandError> {
    if service.has_organization(organization).await? {
        return Ok(());
    }
    match pems.count_records(organization, &GridFilter::All).await {
        Ok(0) => Err(CommandError::Incomplete(format!("PEMS has no records of an organization {organization:?}; nothing was created"))),
        Ok(_) => Ok(service.save_organization(organization, organization).await?),
        Err(error) => Err(Error::from(error).into()),
    }
}

/// Shows what the log says, until it is stopped.
async fn show_progress(service: PfaMirrorService, organization: String, id: Uuid) {
    let mut shown: Option<(Progress, u64)> = None;
    loop {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let Ok(run) = service.find_run(&organization, id).await else { continue };
        let (processed, total) = (u64::try_from(run.processed).unwrap_or(0), u64::try_from(run.total).unwrap_or(0));
        if total > 0 {
            let (progress, done) = shown.get_or_insert_with(|| (Progress::begin("Reading from PEMS", total), 0));
            if processed > *done {
                progress.add(processed - *done);
                *done = processed;
            }
        }
    }
}

fn report(organization: &str, outcome: &RunOutcome, took: Duration) -> Result<(), CommandError> {
    tell_findings(outcome);
    let Applied { inserted, updated, unchanged, discontinued } = outcome.applied;
    say(&format!(
        "{organization}: {inserted} records inserted, {updated} updated, {unchanged} unchanged, {discontinued} discontinued; \
         bad records: {}; unreadable values: {}; {:.1} s.",
        outcome.errored,
        outcome.findings_total,
        took.as_secs_f64()
    ));
    match outcome.errored {
        0 => Ok(()),
        bad => Err(CommandError::Incomplete(format!("bad records: {bad}; the others are in the mirror"))),
    }
}

/// Tells the first findings, one a line.
pub(super) fn tell_findings(outcome: &RunOutcome) {
    for finding in outcome.findings.iter().take(TOLD_FINDINGS) {
        eprintln!("record {}: {} {:?} {}", finding.pfa_id, finding.field, finding.value, finding.problem);
    }
    if outcome.findings_total > TOLD_FINDINGS as u64 {
        eprintln!(
            "and {} more; the first thousand are in the log: GET /api/v1/orgs/…/sync/runs/{{id}}",
            outcome.findings_total - TOLD_FINDINGS as u64
        );
    }
}
