//! When things run by themselves. A job takes no input, runs once at a time, reports, and is a
//! plain async function that tests call.

mod refresh;

pub use refresh::run_refresh;

use crate::service::PfaMirrorService;
use crate::shutdown::Shutdown;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// The running scheduler; [`Jobs::stop`] ends it.
pub struct Jobs {
    scheduler: JobScheduler,
}

impl Jobs {
    /// Schedules the refresh of the summaries.
    ///
    /// # Errors
    /// When the scheduler cannot take the expression.
    pub async fn start(service: PfaMirrorService, refresh_cron: &str, shutdown: &Shutdown) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        // The scheduler starts a job again while it is running, and does not wait for running ones
        // at its end; so the guard and the task tracker are ours.
        let running = Arc::new(Mutex::new(()));
        let tasks = shutdown.tasks.clone();
        let job = Job::new_async(refresh_cron, move |_, _| {
            let (service, tasks) = (service.clone(), tasks.clone());
            let turn = Arc::clone(&running).try_lock_owned();
            Box::pin(async move {
                let Ok(turn) = turn else {
                    tracing::warn!("the refresh before this one is still running");
                    return;
                };
                tasks.spawn(async move {
                    run_refresh(&service).await;
                    drop(turn);
                });
            })
        })?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Self { scheduler })
    }

    /// Stops starting jobs; those under way are waited for by the shutdown's task tracker.
    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the scheduler did not stop cleanly");
        }
    }
}

/// Whether a text is a cron expression that the scheduler takes: seconds first, six or seven fields.
///
/// # Errors
/// What is wrong with it.
pub fn check_cron(text: &str) -> Result<(), String> {
    Job::new(text, |_, _| {}).map(drop).map_err(|_| "is no cron expression with seconds, such as '0 */15 * * * *'".to_owned())
}
