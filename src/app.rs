//! Putting the parts together: database, schema, service, routes, jobs.

use crate::config::{SettingError, Settings};
use crate::db::{Database, OpenError, migrate};
use crate::error::Error;
use crate::http::admission::Admission;
use crate::http::{AppState, router, server};
use crate::jobs::{Jobs, Schedule};
use crate::service::PfaMirrorService;
use crate::shutdown::{GRACE_PERIOD, Shutdown};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long closing waits for statements under way.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Why the service did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A statement failed.
    #[error(transparent)]
    Service(#[from] Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address with PFA_BIND")]
    Bind {
        /// The address of the settings.
        address: std::net::SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The listener or the signals failed.
    #[error("serving failed: {0}")]
    Serve(#[from] io::Error),
    /// The scheduler failed.
    #[error("the scheduler failed: {0}")]
    Schedule(#[from] tokio_cron_scheduler::JobSchedulerError),
    /// The metrics recorder failed.
    #[error("metrics cannot be recorded: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The schema is behind and may not be brought up to date.
    #[error("{0} migrations are waiting and --no-migrate was given; run `pfa-vanguard migrate`")]
    MigrationsWaiting(usize),
    /// The private PostgreSQL ended under us.
    #[error("the private PostgreSQL has ended: {0}")]
    DatabaseEnded(String),
}

/// An open, migrated database and the service on it.
#[derive(Debug)]
pub struct App {
    /// The database.
    pub database: Database,
    /// The service.
    pub service: PfaMirrorService,
}

impl App {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// When there is no database or a migration fails.
    pub async fn open(settings: &Settings) -> Result<Self, AppError> {
        let database = Database::open(settings).await?;
        if let Err(error) = migrate::migrate(&database.pool).await {
            database.close().await;
            return Err(error.into());
        }
        Self::on(database, settings).await
    }

    /// Opens the database and refuses one whose schema is behind this build.
    ///
    /// # Errors
    /// When there is no database or migrations are waiting.
    pub async fn open_without_migrating(settings: &Settings) -> Result<Self, AppError> {
        let database = Database::open(settings).await?;
        match migrate::count_pending(&database.pool).await {
            Ok(0) => Self::on(database, settings).await,
            outcome => {
                database.close().await;
                Err(outcome.map_or_else(AppError::from, AppError::MigrationsWaiting))
            }
        }
    }

    async fn on(database: Database, settings: &Settings) -> Result<Self, AppError> {
        let service = PfaMirrorService::new(database.pool.clone()).with_text_memory(settings.text_memory());
        if let Err(error) = service.close_dead_runs().await {
            database.close().await;
            return Err(error.into());
        }
        Ok(Self { database, service })
    }

    /// Calls `on_ready` when everything is set, then serves until a signal comes or the private
    /// PostgreSQL ends; then lets work under way end and closes everything.
    ///
    /// # Errors
    /// When a part cannot be started, or the private PostgreSQL ended by itself.
    pub async fn serve(self, settings: &Settings, listener: TcpListener, on_ready: impl FnOnce()) -> Result<(), AppError> {
        let shutdown = Shutdown::default();
        let outcome = self.run(settings, listener, on_ready, &shutdown).await;
        shutdown.token.cancel();
        self.service.stop();
        shutdown.drain().await;
        self.close().await;
        tracing::info!("stopped");
        outcome
    }

    async fn run(&self, settings: &Settings, listener: TcpListener, on_ready: impl FnOnce(), shutdown: &Shutdown) -> Result<(), AppError> {
        shutdown.on_signal()?;
        let metrics = PrometheusBuilder::new().install_recorder()?;
        shutdown.tasks.spawn(keep_metrics_small(metrics.clone(), shutdown.token.clone()));
        let pems = settings.pems.client()?;
        let state = AppState {
            service: self.service.clone(),
            admission: Admission::new(settings.pool_size, Duration::from_secs(settings.queue_seconds.into())),
            pems: pems.clone(),
            most_vanished_percent: settings.pems.sync_max_vanished_percent,
            write_back: settings.pems.write_back(),
            metrics,
        };
        let router = router::router(state);
        let jobs = Jobs::start(self.service.clone(), pems, schedule_of(settings), shutdown).await?;
        tracing::info!(address = %listener.local_addr()?, "serving");
        on_ready();
        let outcome = tokio::select! {
            served = server::serve(listener, router, shutdown) => served.map_err(AppError::from),
            log = wait_for_database(&self.database) => {
                tracing::error!(log, "the private PostgreSQL has ended");
                Err(AppError::DatabaseEnded(log))
            }
            () = async { shutdown.token.cancelled().await; tokio::time::sleep(GRACE_PERIOD).await } => {
                tracing::warn!("some requests did not end within the grace period");
                Ok(())
            }
        };
        jobs.stop().await;
        outcome
    }

    /// Closes the connections, then the private server. A statement that does not end is not waited
    /// for: the server's shutdown cancels it, and a server of somebody else notices that we are gone.
    pub async fn close(self) {
        if tokio::time::timeout(CLOSE_TIME, self.service.close()).await.is_err() {
            tracing::warn!("some statements did not end and are left behind");
        }
        self.database.close().await;
    }
}

fn schedule_of(settings: &Settings) -> Schedule {
    Schedule {
        refresh_cron: settings.refresh_cron.clone(),
        idle_session_days: settings.idle_session_days,
        discards_idle_sessions: settings.discard_idle_sessions,
        sync_cron: settings.pems.sync_cron.clone(),
        full_sync_cron: settings.pems.full_sync_cron.clone(),
        most_vanished_percent: settings.pems.sync_max_vanished_percent,
        push_interval: Duration::from_secs(settings.pems.push_interval_seconds.into()),
        write_back: settings.pems.write_back(),
    }
}

/// Takes the address before anything slow begins, so that a taken port is told at once.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn listen(settings: &Settings) -> Result<TcpListener, AppError> {
    TcpListener::bind(settings.bind).await.map_err(|source| AppError::Bind { address: settings.bind, source })
}

/// Samples of histograms gather until somebody scrapes them or this folds them.
async fn keep_metrics_small(metrics: PrometheusHandle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        metrics.run_upkeep();
    }
}

/// Ends when the private PostgreSQL does; never without one.
async fn wait_for_database(database: &Database) -> String {
    match &database.embedded {
        Some(server) => server.wait_for_exit().await.to_string(),
        None => std::future::pending().await,
    }
}
