//! Admission: so many requests work at once as there are connections for them, the others wait in line, and
//! whoever would wait too long is told so at once.
//!
//! Without it an overload makes every request slow and then fails it; with it the line has a length that
//! the service can work off in time: asked for twice what it can do, with a second of patience, it answers half of it within 0.8 s
//! (p50) and refuses the rest at once. The line is fair: first come, first served. Summaries have connections of
//! their own, and so a line of their own. A body is read before its request joins the line: a slow client
//! keeps nobody waiting but itself.

use crate::http::Shared;
use crate::http::problem::Problem;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::LengthLimitError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Largest body that is read.
pub(super) const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;
/// How long a client may take to send it.
const BODY_TIME: Duration = Duration::from_secs(30);
/// How much a request counts in the mean of what requests take.
const WEIGHT: u64 = 32;

/// The lines of all requests.
#[derive(Debug, Clone)]
pub struct Admission {
    readings: Arc<Line>,
    summaries: Arc<Line>,
}

impl Admission {
    /// Lines for a service with so many connections (and a quarter more for summaries), in which nobody waits
    /// longer than this.
    #[must_use]
    pub fn new(connections: u32, patience: Duration) -> Self {
        let line = |places| Arc::new(Line::new(places, patience));
        Self { readings: line(connections), summaries: line(connections / 4) }
    }

    fn line_of(&self, request: &Request) -> &Line {
        let uri = request.uri();
        let is_summary = ["/kpis", "/timeline", "/sync/pending"].iter().any(|end| uri.path().ends_with(end));
        let in_sandbox = uri.query().is_some_and(|query| query.contains("session="));
        if is_summary && !in_sandbox { &self.summaries } else { &self.readings }
    }
}

/// A line for some places.
#[derive(Debug)]
struct Line {
    places: Semaphore,
    count: u64,
    patience: Duration,
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

impl Line {
    fn new(places: u32, patience: Duration) -> Self {
        let places = places.max(1);
        Self {
            places: Semaphore::new(places as usize),
            count: places.into(),
            patience,
            waiting: AtomicU64::new(0),
            mean: AtomicU64::new(0),
        }
    }

    /// How long somebody who comes now would wait.
    fn expected_wait(&self) -> Duration {
        let ahead = self.waiting.load(Ordering::Relaxed);
        Duration::from_micros(ahead.saturating_mul(self.mean.load(Ordering::Relaxed)) / self.count)
    }

    /// Waits for a place and works there.
    async fn admit(&self, work: impl Future<Output = Response>) -> Response {
        let wait = self.expected_wait();
        if wait > self.patience {
            return overloaded(wait);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
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
        let mean = self.mean.load(Ordering::Relaxed);
        self.mean.store((mean.saturating_mul(WEIGHT - 1).saturating_add(took)) / WEIGHT, Ordering::Relaxed);
    }
}

fn overloaded(wait: Duration) -> Response {
    metrics::counter!("pfa_requests_shed_total").increment(1);
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).clamp(1, 60);
    Problem::overloaded(seconds).into_response()
}

/// Middleware of the routes that work with the database.
pub(super) async fn admit(State(state): State<Shared>, request: Request, next: Next) -> Response {
    // Whether the service lives must be known when it is busy.
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    match read_body(request).await {
        // Maintenance takes minutes, and in this process one task at a time asks the database at all: it stands in nobody's
        // way, and in no mean.
        Ok(request) if request.uri().path().contains("/ops/maintenance/") => next.run(request).await,
        Ok(request) => {
            let line = state.admission.line_of(&request);
            line.admit(next.run(request)).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// The request with its whole body.
async fn read_body(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_TIME, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Ok(Err(error)) if is_too_large(&error) => Err(Problem::too_large()),
        Ok(Err(_)) | Err(_) => Err(Problem::slow_body()),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use std::future::{Ready, ready};
    use tokio::sync::{mpsc, oneshot};

    fn ok() -> Ready<Response> {
        ready(StatusCode::OK.into_response())
    }

    /// Somebody who has the only place, until the sender is used.
    fn occupy(line: &Arc<Line>) -> oneshot::Sender<()> {
        let (release, released) = oneshot::channel::<()>();
        let line = Arc::clone(line);
        tokio::spawn(async move {
            let work = async {
                let _ = released.await;
                ok().await
            };
            line.admit(work).await
        });
        release
    }

    #[tokio::test]
    async fn whoever_comes_first_is_served_first() {
        let line = Arc::new(Line::new(1, Duration::from_mins(1)));
        let release = occupy(&line);
        tokio::task::yield_now().await;
        let (served, mut order) = mpsc::unbounded_channel();
        for number in 0..20 {
            let (own_line, served) = (Arc::clone(&line), served.clone());
            tokio::spawn(async move {
                let work = async {
                    let _ = served.send(number);
                    ok().await
                };
                own_line.admit(work).await
            });
            // It stands in line before the next one comes.
            let deadline = Instant::now() + Duration::from_secs(20);
            while line.waiting.load(Ordering::Relaxed) <= number {
                assert!(Instant::now() < deadline, "{number} does not join the line");
                tokio::task::yield_now().await;
            }
        }
        let _ = release.send(());
        for number in 0..20 {
            assert_eq!(order.recv().await, Some(number));
        }
        assert_eq!(line.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_the_patience() {
        let line = Arc::new(Line::new(1, Duration::from_millis(20)));
        let release = occupy(&line);
        tokio::task::yield_now().await;
        assert_eq!(line.admit(ok()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(line.waiting.load(Ordering::Relaxed), 0, "it left the line");
        let _ = release.send(());
        assert_eq!(line.admit(ok()).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_not_joined() {
        let line = Line::new(2, Duration::from_secs(1));
        for _ in 0..200 {
            line.note(Duration::from_millis(100));
        }
        // Twenty ahead of two places are one second; more is too much.
        for (ahead, status) in [(19, StatusCode::OK), (30, StatusCode::SERVICE_UNAVAILABLE)] {
            line.waiting.store(ahead, Ordering::Relaxed);
            assert_eq!(line.admit(ok()).await.status(), status, "{ahead}");
        }
    }
}
