//! `demo`: serve with sample data.

use super::CommandError;
use super::lines::say;
use crate::app::{self, App, AppError};
use crate::cli::generate::fill;
use crate::config::Settings;
use crate::domain::generate::Plan;
use crate::service::PfaMirrorService;
use crate::service::demo::LATER_LIFTING;

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    settings.check_for_serving()?;
    let listener = app::listen(settings).await?;
    let app = App::open(settings).await?;
    let prepared = prepare(&app.service).await;
    if let Err(error) = prepared {
        app.database.close().await;
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

/// Fills what is missing; a second call finds all of it.
async fn prepare(service: &PfaMirrorService) -> Result<(), CommandError> {
    let plan = Plan::demo();
    for organization in &plan.organizations {
        // An interrupted start leaves organizations without records.
        if !service.has_records(&organization.code).await? {
            fill(service, &plan).await?;
            break;
        }
    }
    if service.save_demo_sandboxes().await? {
        service.refresh_views("manual").await?;
    }
    Ok(())
}
