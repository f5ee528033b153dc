//! When things run by themselves. A job takes no input, runs once at a time, reports, and is a
//! plain async function that tests call.

mod dead_runs;
mod housekeeping;
mod idle_sessions;
mod refresh;
mod sync;
mod write_back;

pub use dead_runs::run_dead_runs;
pub use housekeeping::run_housekeeping;
pub use idle_sessions::run_idle_sessions;
pub use refresh::run_refresh;
pub use sync::run_sync;
pub use write_back::run_write_back;

use crate::pems::PemsClient;
use crate::service::PfaMirrorService;
use crate::service::sync::SyncScope;
use crate::service::write_back::WriteBackOptions;
use crate::shutdown::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use uuid::Uuid;

/// The running scheduler; [`Jobs::stop`] ends it.
pub struct Jobs {
    scheduler: JobScheduler,
}

/// When idle sandboxes are looked for.
const IDLE_SESSIONS_CRON: &str = "0 7 * * * *";

/// When runs are looked for whose process has ended.
const DEAD_RUNS_CRON: &str = "30 * * * * *";

/// When what is done with is put away: at night, in UTC.
const HOUSEKEEPING_CRON: &str = "0 20 2 * * *";

/// A cron expression for every second.
const EVERY_SECOND: &str = "* * * * * *";

/// What runs when.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// When the summaries are refreshed, as a cron expression.
    pub refresh_cron: String,
    /// Days without an edit after which a sandbox is idle.
    pub idle_session_days: u32,
    /// Whether idle sandboxes are discarded.
    pub discards_idle_sessions: bool,
    /// When PEMS is read, as a cron expression.
    pub sync_cron: String,
    /// When everything is read, as a cron expression.
    pub full_sync_cron: String,
    /// Per cent of an organization's records that such a reading may find vanished.
    pub most_vanished_percent: u32,
    /// How often changes are looked for that are due for PEMS.
    pub push_interval: Duration,
    /// How they are written back.
    pub write_back: WriteBackOptions,
}

/// When a job runs.
#[derive(Debug, Clone, Copy)]
enum When<'a> {
    Cron(&'a str),
    Every(Duration),
}

impl Jobs {
    /// Schedules the refresh of the summaries, the looks for idle sandboxes and dead runs, the housekeeping and, unless
    /// PEMS is off, the syncs and the write-back.
    ///
    /// # Errors
    /// When the scheduler cannot take the expression.
    pub async fn start(
        service: PfaMirrorService,
        pems: Option<PemsClient>,
        schedule: Schedule,
        shutdown: &Shutdown,
    ) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let refreshing = service.clone();
        let mut jobs = vec![repeat(When::Cron(&schedule.refresh_cron), "refresh", shutdown, move || {
            let service = refreshing.clone();
            async move { run_refresh(&service).await }
        })?];
        if let Some(pems) = pems {
            let full = SyncScope::Full { most_vanished_percent: schedule.most_vanished_percent };
            let syncs = [("sync", &schedule.sync_cron, SyncScope::Incremental), ("full sync", &schedule.full_sync_cron, full)];
            for (name, cron, scope) in syncs {
                let (service, pems) = (service.clone(), pems.clone());
                jobs.push(repeat(When::Cron(cron), name, shutdown, move || {
                    let (service, pems, scope) = (service.clone(), pems.clone(), scope.clone());
                    async move { run_sync(&service, &pems, &scope).await }
                })?);
            }
            let (writing, pems_to_write) = (service.clone(), pems);
            jobs.push(repeat(When::Every(schedule.push_interval), "write-back", shutdown, move || {
                let (service, pems) = (writing.clone(), pems_to_write.clone());
                async move { run_write_back(&service, &pems, &schedule.write_back).await }
            })?);
        }
        let running = service.clone();
        jobs.push(repeat(When::Cron(DEAD_RUNS_CRON), "dead runs", shutdown, move || {
            let service = running.clone();
            async move { run_dead_runs(&service).await }
        })?);
        let keeping = service.clone();
        jobs.push(repeat(When::Cron(HOUSEKEEPING_CRON), "housekeeping", shutdown, move || {
            let service = keeping.clone();
            async move { run_housekeeping(&service).await }
        })?);
        jobs.push(repeat(When::Cron(IDLE_SESSIONS_CRON), "idle sessions", shutdown, move || {
            let service = service.clone();
            async move { run_idle_sessions(&service, schedule.idle_session_days, schedule.discards_idle_sessions).await }
        })?);
        for job in jobs {
            scheduler.add(job).await?;
        }
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

/// A job that never runs beside itself and is waited for at the end: the scheduler starts a job again
/// while it is running, and does not wait for running ones.
fn repeat<F, W>(when: When<'_>, name: &'static str, shutdown: &Shutdown, work: F) -> Result<Job, JobSchedulerError>
where
    F: Fn() -> W + Send + Sync + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let running = Arc::new(Mutex::new(()));
    let tasks = shutdown.tasks.clone();
    let pace = Pace::of(when);
    let run = move |_: Uuid, _: JobScheduler| -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if !pace.is_due(Instant::now()) {
            return Box::pin(std::future::ready(()));
        }
        let (tasks, work) = (tasks.clone(), work());
        let turn = Arc::clone(&running).try_lock_owned();
        Box::pin(async move {
            let Ok(turn) = turn else {
                tracing::debug!(job = name, "the run before this one is still going on");
                return;
            };
            tasks.spawn(async move {
                work.await;
                drop(turn);
            });
        })
    };
    match when {
        When::Cron(cron) => Job::new_async(cron, run),
        // The scheduler's own repetition counts on from the last time, and a job whose next time has passed by then, as after
        // a standstill longer than the interval, never runs again. A cron expression looks for the next time after now.
        When::Every(_) => Job::new_async(EVERY_SECOND, run),
    }
}

/// Which of the seconds a job begins in.
struct Pace {
    interval: Option<Duration>,
    begun: std::sync::Mutex<Option<Instant>>,
}

impl Pace {
    fn of(when: When<'_>) -> Self {
        let interval = match when {
            When::Cron(_) => None,
            When::Every(interval) => Some(interval),
        };
        Self { interval, begun: std::sync::Mutex::new(None) }
    }

    /// Whether the job begins now; then its interval does, too.
    fn is_due(&self, now: Instant) -> bool {
        let Some(interval) = self.interval else { return true };
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        // The seconds come a little early or late.
        let is_due = begun.is_none_or(|begun| now.duration_since(begun) + Duration::from_millis(500) >= interval);
        if is_due {
            *begun = Some(now);
        }
        is_due
    }
}

/// Whether a text is a cron expression that the scheduler takes: seconds first, six or seven fields.
///
/// # Errors
/// What is wrong with it.
pub fn check_cron(text: &str) -> Result<(), String> {
    Job::new(text, |_, _| {}).map(drop).map_err(|_| "is no cron expression with seconds, such as '0 */15 * * * *'".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_keeps_its_interval_by_the_seconds() {
        let (pace, start) = (Pace::of(When::Every(Duration::from_secs(3))), Instant::now());
        // Seconds as they come: a little late, a little early; then a standstill.
        let seconds = [0.0, 1.1, 2.2, 2.9, 4.0, 5.3, 6.0, 60.0, 61.0, 62.0, 63.0];
        let begun: Vec<_> = seconds.into_iter().filter(|second| pace.is_due(start + Duration::from_secs_f64(*second))).collect();
        assert_eq!(begun, [0.0, 2.9, 6.0, 60.0, 63.0]);
    }
}
