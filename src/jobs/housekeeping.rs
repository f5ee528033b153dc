//! Every night: what arrived in PEMS long ago moves to the archive, and old log rows go.

use crate::error::{Error, in_one_line};
use crate::service::PfaMirrorService;
use crate::service::maintenance::Task;

/// Archives and prunes; what fails is logged and waits for the next night.
pub async fn run_housekeeping(service: &PfaMirrorService) {
    for task in [Task::Archive, Task::PruneLogs] {
        match service.maintain(task, None).await {
            Ok(run) => tracing::info!(task = task.word(), affected = run.affected, duration_ms = %run.duration_ms, "housekeeping"),
            Err(Error::Stopping) => return,
            Err(Error::MaintenanceRunning) => tracing::info!(task = task.word(), "another process is at it"),
            Err(error) => tracing::error!(task = task.word(), error = in_one_line(&error), "housekeeping failed"),
        }
    }
}
