//! Runs whose process has ended: closed within a minute, also those whose lock PostgreSQL still held at the start.

use crate::error::in_one_line;
use crate::service::PfaMirrorService;

/// Closes runs that nobody goes on with.
pub async fn run_dead_runs(service: &PfaMirrorService) {
    match service.close_dead_runs().await {
        Ok(0) => {}
        Ok(closed) => tracing::warn!(closed, "runs whose process has ended were closed as failed"),
        Err(error) => tracing::error!(error = in_one_line(&error), "dead runs could not be looked for"),
    }
}
