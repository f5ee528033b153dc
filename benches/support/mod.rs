//! What the benches stand on: a cluster below `target/`, the service on loopback, and a clock.

mod client;
mod cluster;
mod records;

pub use client::Client;
pub use cluster::{setting, start};
pub use records::fill;

use metrics_exporter_prometheus::PrometheusBuilder;
use pfa_vanguard::http::admission::Admission;
use pfa_vanguard::http::{AppState, router};
use pfa_vanguard::service::PfaMirrorService;
use pfa_vanguard::service::write_back::WriteBackOptions;
use sqlx::PgPool;
use std::time::{Duration, Instant};

/// The whole service on a database, as a router.
pub fn api(pool: PgPool) -> axum::Router {
    let connections = pool.options().get_max_connections();
    api_of(PfaMirrorService::new(pool), connections)
}

/// A service as a router.
pub fn api_of(service: PfaMirrorService, connections: u32) -> axum::Router {
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    router::router(AppState {
        admission: Admission::new(connections, Duration::from_secs(10)),
        service,
        pems: None,
        most_vanished_percent: 10,
        write_back: WriteBackOptions::default(),
        metrics,
    })
}

/// Adds what a piece of work takes to a list.
pub async fn time<T>(times: &mut Vec<Duration>, work: impl Future<Output = T>) {
    let started = Instant::now();
    std::hint::black_box(work.await);
    times.push(started.elapsed());
}

/// Milliseconds at a share of sorted times: 0.5 is the median.
pub fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort();
    let last = times.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a short list")]
    let place = (last as f64 * share).round() as usize;
    times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
