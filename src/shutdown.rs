//! Stopping: a soft signal that stops taking work, and a grace period for work under way.

use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long work under way may go on after the signal to stop.
pub const GRACE_PERIOD: Duration = Duration::from_secs(10);

/// The signal to stop and the tasks that must end before the process does.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the process should stop.
    pub token: CancellationToken,
    /// Tasks to wait for.
    pub tasks: TaskTracker,
}

impl Shutdown {
    /// Cancels the token at the first SIGINT or SIGTERM.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn on_signal(&self) -> std::io::Result<()> {
        let token = self.token.clone();
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::spawn(async move {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(signal = name, "stopping; once more ends at once");
                token.cancel();
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                // The watchdog stops the private PostgreSQL when this process is gone.
                std::process::exit(130);
            });
        }
        #[cfg(not(unix))]
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                token.cancel();
            }
        });
        Ok(())
    }

    /// Waits for the tracked tasks, at most for the grace period.
    pub async fn drain(&self) {
        self.tasks.close();
        if tokio::time::timeout(GRACE_PERIOD, self.tasks.wait()).await.is_err() {
            tracing::warn!("some work did not end within the grace period");
        }
    }
}
