//! Liveness, readiness and metrics.

use crate::db::migrate;
use crate::error::Error;
use crate::http::Shared;
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// How long readiness waits for the database.
const PROBE_TIME: Duration = Duration::from_secs(2);

/// The process is alive.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    /// Always `ok`.
    pub status: &'static str,
    /// Version of the service.
    pub version: &'static str,
}

/// Whether the process is alive; asks nothing of the database.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "checkLiveness", responses((status = 200, body = Liveness)))]
pub(super) async fn check_liveness() -> Json<Liveness> {
    Json(Liveness { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// What readiness looks at.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessAnswer {
    /// `ready`, or `notReady` while the schema is behind this version.
    pub status: &'static str,
    /// The newest migration that is applied.
    pub migration: Option<i64>,
    /// When the summaries were last refreshed.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// How many seconds ago that was.
    pub refresh_age_seconds: Option<i64>,
    /// Whether the newest refresh failed.
    pub last_refresh_failed: bool,
}

/// Whether the service can answer: database, migrations, age of the last refresh.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "checkReadiness",
    responses((status = 200, body = ReadinessAnswer), (status = 503, body = ReadinessAnswer)))]
pub(super) async fn check_readiness(State(state): State<Shared>) -> Result<impl IntoResponse, Problem> {
    // Probes give up sooner than requests do.
    let readiness = tokio::time::timeout(PROBE_TIME, state.service.check_readiness()).await.map_err(|_| Error::StatementTimeout)??;
    let is_ready = readiness.migration >= migrate::newest();
    let answer = ReadinessAnswer {
        status: if is_ready { "ready" } else { "notReady" },
        migration: readiness.migration,
        refreshed_at: readiness.refreshed_at,
        refresh_age_seconds: readiness.refreshed_at.map(|at| (Utc::now() - at).num_seconds().max(0)),
        last_refresh_failed: readiness.last_refresh_failed,
    };
    Ok((if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(answer)))
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "readMetrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn read_metrics(State(state): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], state.metrics.render())
}
