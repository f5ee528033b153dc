//! `demo`: serve with sample data.

use super::CommandError;
use super::lines::say;
use crate::app::{self, App, AppError};
use crate::cli::generate::{fill, refresh_after_load};
use crate::config::Settings;
use crate::domain::generate::{OrganizationPlan, Plan};
use crate::domain::record::canonicalise;
use crate::service::PfaMirrorService;
use crate::service::demo::LATER_LIFTING;

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    settings.check_for_serving()?;
    let listener = app::listen(settings).await?;
    let app = App::open(settings).await?;
    let prepared = prepare(&app.service).await;
    if let Err(error) = prepared {
        app.close().await;
        return Err(error);
    }

    let base = format!("http://{}", listener.local_addr().map_err(AppError::from)?);
    Ok(app.serve(settings, listener, || say(&welcome(&base))).await?)
}

fn welcome(base: &str) -> String {
    format!(
        "\nPFA Vanguard is ready at {base} (API pages: {base}/docs). Try:\n\n\
         \x20 curl '{base}/api/v1/orgs'\n\
         \x20 curl '{base}/api/v1/orgs/HOLNG/records?category=Lifting&source=Rental&status=forecast&sort=pfaId&limit=2&session={LATER_LIFTING}'\n\
         \x20 curl '{base}/api/v1/orgs/HOLNG/kpis?groupBy=category&session={LATER_LIFTING}'\n\n\
         Ctrl-C stops it."
    )
}

/// Fills what is missing; a second call finds all of it. Records that the generator did not make
/// are somebody's own: the demo's changes must not get among them.
async fn prepare(service: &PfaMirrorService) -> Result<(), CommandError> {
    let plan = Plan::demo();
    let mut is_filled = true;
    for organization in &plan.organizations {
        // An interrupted start leaves organizations without records.
        let has_records = service.has_records(&organization.code).await?;
        if has_records && !is_generated(service, organization).await? {
            let code = &organization.code;
            return Err(CommandError::Incomplete(format!("{code} in this database is not the demo's: use serve, or another database")));
        }
        is_filled &= has_records;
    }
    if !is_filled {
        fill(service, &plan).await?;
    }
    if service.save_demo_sandboxes().await? {
        refresh_after_load(service).await;
    }
    Ok(())
}

/// Whether the first record that the generator makes is in the mirror as it was made.
async fn is_generated(service: &PfaMirrorService, plan: &OrganizationPlan) -> Result<bool, CommandError> {
    let first = plan.records().find_map(|raw| canonicalise(raw).ok());
    match first {
        Some((record, _)) => Ok(service.has_record(&plan.code, &record.pfa_id, &record.data.into()).await?),
        None => Ok(false),
    }
}
