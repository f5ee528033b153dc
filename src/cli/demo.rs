//! `demo`: serve with sample data.

use super::CommandError;
use super::lines::say;
use crate::app::{self, App};
use crate::cli::generate::fill;
use crate::config::Settings;
use crate::domain::generate::Plan;
use crate::service::demo::LATER_LIFTING;

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    settings.check_for_serving()?;
    let listener = app::listen(settings).await?;
    let app = App::open(settings).await?;
    if app.service.list_organizations().await?.is_empty() {
        fill(&app.service, &Plan::demo()).await?;
    }
    app.service.save_demo_sandboxes().await?;
    app.service.refresh_views("manual").await?;

    let base = format!("http://{}", settings.bind);
    say(&format!(
        "\nPFA Vanguard is ready at {base} (API pages: {base}/docs). Try:\n\n\
         \x20 curl '{base}/api/v1/orgs'\n\
         \x20 curl '{base}/api/v1/orgs/HOLNG/records?category=Lifting&source=Rental&session={LATER_LIFTING}&limit=2'\n\
         \x20 curl '{base}/api/v1/orgs/HOLNG/kpis?groupBy=category'\n\n\
         Ctrl-C stops it."
    ));
    Ok(app.serve(settings, listener).await?)
}
