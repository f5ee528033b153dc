//! Admission: so many requests work at once as there are connections, the others wait in line, and whoever
//! would wait too long is told so at once.
//!
//! Without it an overload makes every request slow and then fails it; with it the line has a length that
//! the service can work off in time. The line is fair: first come, first served.

use crate::http::AppState;
use crate::http::problem::Problem;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How much a request counts in the mean of what requests take.
const WEIGHT: u64 = 32;

/// The line.
#[derive(Debug, Clone)]
pub struct Admission {
    places: Arc<Semaphore>,
    count: u64,
    patience: Duration,
    line: Arc<Line>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: AtomicU64,
    /// Mean of what requests took lately, in microseconds.
    mean: AtomicU64,
}

/// Somebody in the line; leaves it however the waiting ends.
struct Waiting<'a>(&'a Line);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// A line for so many places, in which nobody waits longer than this.
    #[must_use]
    pub fn new(places: u32, patience: Duration) -> Self {
        let places = places.max(1);
        Self { places: Arc::new(Semaphore::new(places as usize)), count: places.into(), patience, line: Arc::default() }
    }

    /// How long somebody who comes now would wait.
    fn expected_wait(&self) -> Duration {
        let ahead = self.line.waiting.load(Ordering::Relaxed);
        Duration::from_micros(ahead.saturating_mul(self.line.mean.load(Ordering::Relaxed)) / self.count)
    }

    /// Waits for a place and works there.
    async fn admit(&self, work: impl Future<Output = Response>) -> Response {
        let wait = self.expected_wait();
        if wait > self.patience {
            return overloaded(wait);
        }
        self.line.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.line);
        let Ok(place) = tokio::time::timeout(self.patience, self.places.acquire()).await else {
            return overloaded(self.expected_wait());
        };
        drop(waiting);
        let started = Instant::now();
        let response = work.await;
        drop(place);
        self.note(started.elapsed());
        response
    }

    /// Takes a time into the mean. Of two at once one may be lost: it is a mean.
    fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mean = self.line.mean.load(Ordering::Relaxed);
        self.line.mean.store((mean.saturating_mul(WEIGHT - 1).saturating_add(took)) / WEIGHT, Ordering::Relaxed);
    }
}

fn overloaded(wait: Duration) -> Response {
    metrics::counter!("pfa_requests_shed_total").increment(1);
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).clamp(1, 60);
    Problem::overloaded(seconds).into_response()
}

/// Middleware of the routes that work with the database.
pub(super) async fn admit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    // Whether the service lives must be known when it is busy.
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    state.admission.admit(next.run(request)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use tokio::sync::oneshot;

    async fn ok() -> Response {
        StatusCode::OK.into_response()
    }

    #[tokio::test]
    async fn whoever_comes_first_is_served_first_and_nobody_waits_longer_than_the_patience() {
        let admission = Admission::new(1, Duration::from_millis(20));
        let (release, released) = oneshot::channel::<()>();
        let first = tokio::spawn({
            let admission = admission.clone();
            async move {
                let work = async {
                    let _ = released.await;
                    ok().await
                };
                admission.admit(work).await.status()
            }
        });
        tokio::task::yield_now().await;
        let late = admission.admit(ok()).await;
        assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(admission.line.waiting.load(Ordering::Relaxed), 0, "it left the line");
        let _ = release.send(());
        assert_eq!(first.await.expect("a task"), StatusCode::OK);
        assert_eq!(admission.admit(ok()).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_not_joined() {
        let admission = Admission::new(2, Duration::from_secs(1));
        for _ in 0..200 {
            admission.note(Duration::from_millis(100));
        }
        // Twenty ahead of two places are one second; more is too much.
        for (ahead, status) in [(19, StatusCode::OK), (30, StatusCode::SERVICE_UNAVAILABLE)] {
            admission.line.waiting.store(ahead, Ordering::Relaxed);
            assert_eq!(admission.admit(ok()).await.status(), status, "{ahead}");
        }
    }
}
