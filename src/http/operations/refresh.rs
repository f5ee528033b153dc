//! `/ops/refresh`: refresh the summaries now, and the last refreshes.

use crate::http::Shared;
use crate::http::extract::Caller;
use crate::http::number::serialize_decimal;
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::refresh::RefreshRun;
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

/// So many runs are listed.
const LISTED_RUNS: i64 = 50;

/// One run of the refresh.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefreshAnswer {
    /// Ascending number.
    pub id: i64,
    /// Why it ran: schedule, request, import or manual.
    pub reason: String,
    /// completed, skipped (another one was running) or failed.
    pub outcome: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub duration_ms: Decimal,
    /// Whether it failed; the log of the service says why.
    pub failed: bool,
}

impl From<RefreshRun> for RefreshAnswer {
    fn from(run: RefreshRun) -> Self {
        let RefreshRun { id, reason, outcome, started_at, duration_ms, error } = run;
        Self { id, reason, outcome, started_at, duration_ms, failed: error.is_some() }
    }
}

/// The last runs of the refresh.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefreshList {
    /// Newest first.
    pub data: Vec<RefreshAnswer>,
}

/// Refreshes the summaries now. Readers are not blocked; one refresh runs at a time.
#[utoipa::path(post, path = "/api/v1/ops/refresh", tag = "operations", operation_id = "refreshSummaries",
    responses((status = 200, body = RefreshAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another refresh is running")))]
pub(in crate::http) async fn refresh_summaries(
    State(state): State<Shared>,
    _: Caller,
    parameters: Parameters,
) -> Result<JsonAnswer<RefreshAnswer>, Problem> {
    parameters.finish()?;
    Ok(JsonAnswer(state.service.refresh_views("request").await?.into()))
}

/// The last refreshes of all processes.
#[utoipa::path(get, path = "/api/v1/ops/refresh", tag = "operations", operation_id = "listRefreshes",
    responses((status = 200, body = RefreshList), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn list_refreshes(
    State(state): State<Shared>,
    _: Caller,
    parameters: Parameters,
) -> Result<JsonAnswer<RefreshList>, Problem> {
    parameters.finish()?;
    let runs = state.service.list_refresh_runs(LISTED_RUNS).await?;
    Ok(JsonAnswer(RefreshList { data: runs.into_iter().map(RefreshAnswer::from).collect() }))
}
