//! `refresh`.

use super::CommandError;
use super::lines::say;
use crate::app::App;
use crate::config::Settings;

pub(super) async fn run(settings: &Settings) -> Result<(), CommandError> {
    let app = App::open(settings).await?;
    let outcome = app.service.refresh_views("manual").await;
    app.close().await;
    say(&format!("Refreshed the summaries in {} ms.", outcome?.duration_ms));
    Ok(())
}
