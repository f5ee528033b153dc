//! `demo`: serve with sample data, and with a stand-in for PEMS.

mod stand_in;

use super::CommandError;
use super::lines::say;
use crate::app::{self, App, AppError};
use crate::cli::generate::{fill, refresh_after_load};
use crate::config::{SettingError, Settings};
use crate::domain::generate::{OrganizationPlan, Plan};
use crate::domain::record::canonicalise;
use crate::service::PfaMirrorService;
use crate::service::demo::LATER_LIFTING;
use stand_in::StandIn;
use std::net::SocketAddr;

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    if settings.pems.pems_url.is_some() {
        let problem = "the demo has a PEMS of its own and must not write to another; unset it, or use serve".to_owned();
        return Err(SettingError { name: "PFA_PEMS_URL", problem }.into());
    }
    settings.check_for_serving()?;
    let listener = app::listen(settings).await?;
    let app = App::open(settings).await?;
    let (settings, pems) = match prepare(&app.service, settings).await {
        Ok(prepared) => prepared,
        Err(error) => {
            app.close().await;
            return Err(error);
        }
    };
    let base = format!("http://{}", listener.local_addr().map_err(AppError::from)?);
    Ok(app.serve(&settings, listener, || say(&welcome(&base, pems))).await?)
}

fn welcome(base: &str, pems: SocketAddr) -> String {
    format!(
        "\nPFA Vanguard is ready at {base} (API pages: {base}/docs). Try:\n\n\
         \x20 curl '{base}/api/v1/orgs'\n\
         \x20 curl '{base}/api/v1/orgs/HOLNG/records?category=Lifting&source=Rental&status=forecast&sort=pfaId&limit=2&session={LATER_LIFTING}'\n\
         \x20 curl '{base}/api/v1/orgs/HOLNG/kpis?groupBy=category&session={LATER_LIFTING}'\n\n\
         Its PEMS is at http://{pems}; people there see and change records at /control/records:\n\n\
         \x20 curl 'http://{pems}/control/records/HOLNG/10098'\n\n\
         Ctrl-C stops both."
    )
}

/// Makes sure that there is something to show; gives the settings of the whole circle, and where its PEMS is.
async fn prepare(service: &PfaMirrorService, settings: &Settings) -> Result<(Settings, SocketAddr), CommandError> {
    let plan = Plan::demo();
    fill_what_is_missing(service, &plan).await?;
    let organizations: Vec<_> = plan.organizations.iter().map(|organization| organization.code.as_str()).collect();
    let pems = StandIn::start(service, &organizations).await?;
    Ok((pems.settings(settings)?, pems.address))
}

/// Fills what is missing; a second call finds all of it. Records that the generator did not make
/// are somebody's own: the demo's changes must not get among them.
async fn fill_what_is_missing(service: &PfaMirrorService, plan: &Plan) -> Result<(), CommandError> {
    let is_demo = service.has_demo_sandboxes().await?;
    let mut is_filled = true;
    for organization in &plan.organizations {
        // An interrupted start leaves organizations without records.
        let has_records = service.has_records(&organization.code).await?;
        if has_records && !is_demo && !is_generated(service, organization).await? {
            let code = &organization.code;
            return Err(CommandError::Incomplete(format!("{code} in this database is not the demo's: use serve, or another database")));
        }
        is_filled &= has_records;
    }
    if !is_filled {
        fill(service, plan).await?;
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
