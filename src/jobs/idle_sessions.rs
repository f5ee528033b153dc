//! Idle sandboxes: reported every hour, discarded when the settings say so.

use crate::error::in_one_line;
use crate::service::PfaMirrorService;

/// Reports idle sandboxes in the log and the metrics, and discards them when asked to.
pub async fn run_idle_sessions(service: &PfaMirrorService, idle_days: u32, discards: bool) {
    match service.check_idle_sessions(idle_days, discards).await {
        Ok(idle) => {
            let remaining = u32::try_from(idle.found - idle.discarded).unwrap_or(u32::MAX);
            metrics::gauge!("pfa_idle_sessions").set(f64::from(remaining));
            if idle.found > 0 {
                tracing::info!(idle_days, found = idle.found, discarded = idle.discarded, "idle sandboxes");
            }
        }
        Err(error) => tracing::error!(error = in_one_line(&error), "idle sandboxes could not be looked for"),
    }
}
