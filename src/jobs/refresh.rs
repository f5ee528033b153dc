//! The refresh of the KPI and timeline summaries.

use crate::error::{Error, in_one_line};
use crate::service::PfaMirrorService;

/// Refreshes the summaries and says how it went; a failure is logged and waits for the next time.
pub async fn run_refresh(service: &PfaMirrorService) {
    match service.refresh_views("schedule").await {
        Ok(run) => tracing::info!(duration_ms = %run.duration_ms, "summaries refreshed"),
        Err(Error::RefreshRunning) => tracing::info!("summaries are being refreshed by another process"),
        Err(error) => tracing::error!(error = in_one_line(&error), "the refresh of the summaries failed"),
    }
}
