//! `generate`: fills the mirror with generated records.

use super::CommandError;
use super::lines::say;
use super::progress::Progress;
use crate::app::App;
use crate::config::Settings;
use crate::domain::generate::{OrganizationPlan, Plan};
use crate::domain::record::{Finding, Record, canonicalise};
use crate::error::{Error, in_one_line};
use crate::service::PfaMirrorService;
use crate::service::ingest::{Applied, Batch, Load};
use crate::service::sync::runs::{RunDirection, RunOutcome, RunType};
use clap::Args;
use std::time::Instant;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Records that are copied at once.
const CHUNK: usize = 5_000;

/// Options of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Records in all.
    #[arg(long, default_value_t = 20_280, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    records: u64,
    /// Organizations that they are spread over; few are large, as in real life.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    orgs: u32,
    /// The same seed makes the same records.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

pub(super) async fn run(settings: &Settings, args: &GenerateArgs) -> Result<(), CommandError> {
    let app = App::open(settings).await?;
    let started = Instant::now();
    let outcome = fill(&app.service, &Plan::skewed(args.records, args.orgs, args.seed)).await;
    app.close().await;
    let Applied { inserted, updated, unchanged, .. } = outcome?;
    say(&format!("{inserted} records inserted, {updated} updated, {unchanged} unchanged in {:.1} s.", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Loads a plan in one transaction and refreshes the summaries.
pub(super) async fn fill(service: &PfaMirrorService, plan: &Plan) -> Result<Applied, CommandError> {
    for organization in &plan.organizations {
        service.save_organization(&organization.code, &organization.name).await?;
    }
    let mut progress = Progress::begin("Generating records", plan.organizations.iter().map(|organization| organization.records).sum());
    let codes: Vec<_> = plan.organizations.iter().map(|organization| organization.code.as_str()).collect();
    let mut load = service.begin_load(&codes).await?;
    let mut outcomes = Vec::new();
    for organization in &plan.organizations {
        progress.step(&organization.code);
        let id = service.begin_run(&organization.code, RunType::Import, RunDirection::Read, None).await?;
        let outcome = fill_organization(&mut load, organization, id, &mut progress).await?;
        outcomes.push((organization.code.clone(), id, outcome));
    }
    load.commit(|index| progress.step(&format!("building {index}"))).await?;
    let mut total = Applied::default();
    for (code, id, outcome) in outcomes {
        total += outcome.applied;
        service.finish_run(&code, id, &outcome).await?;
    }
    progress.step("vacuum and refresh");
    vacuum_after_load(service).await;
    refresh_after_load(service).await;
    progress.end();
    Ok(total)
}

/// The load stands whatever the refresh does; answers are exact without it.
pub(super) async fn refresh_after_load(service: &PfaMirrorService) {
    match service.refresh_views("import").await {
        Ok(_) => {}
        Err(Error::RefreshRunning) => tracing::info!("another refresh is running; the next one will have these records"),
        Err(error) => tracing::warn!(error = in_one_line(&error), "the summaries could not be refreshed; they will be on schedule"),
    }
}

/// A mirror without fresh statistics is slower, not wrong; autovacuum comes to it in time.
pub(super) async fn vacuum_after_load(service: &PfaMirrorService) {
    if let Err(error) = service.vacuum_mirror().await {
        tracing::warn!(error = in_one_line(&error), "the mirror could not be vacuumed; autovacuum will do it");
    }
}

async fn fill_organization(
    load: &mut Load,
    plan: &OrganizationPlan,
    id: Uuid,
    progress: &mut Progress,
) -> Result<RunOutcome, CommandError> {
    // Drawing and reading records takes a core of its own while the database copies.
    let (sender, mut receiver) = mpsc::channel::<(Vec<Record>, Vec<Finding>)>(2);
    let records = plan.records();
    let drawing = tokio::task::spawn_blocking(move || draw(records, &sender));
    let mut outcome = RunOutcome::default();
    while let Some((chunk, findings)) = receiver.recv().await {
        load.stage(&chunk).await?;
        progress.add(chunk.len() as u64);
        for finding in findings {
            outcome.add_finding(finding);
        }
    }
    drawing.await.map_err(|error| CommandError::Incomplete(format!("the generator failed: {error}")))?;
    outcome.applied = load.apply(&Batch::import(&plan.code, id, "generate")).await?;
    Ok(outcome)
}

fn draw(records: impl Iterator<Item = serde_json::Map<String, serde_json::Value>>, sender: &mpsc::Sender<(Vec<Record>, Vec<Finding>)>) {
    let mut records = records.filter_map(|raw| canonicalise(raw).ok());
    loop {
        let (chunk, findings): (Vec<_>, Vec<_>) = records.by_ref().take(CHUNK).unzip();
        if chunk.is_empty() || sender.blocking_send((chunk, findings.into_iter().flatten().collect())).is_err() {
            return;
        }
    }
}
