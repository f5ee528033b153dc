//! `GET /orgs/{org}/timeline`.

use crate::http::Shared;
use crate::http::etag::tagged_json;
use crate::http::extract::{Caller, Path};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::http::records::read_reader;
use crate::service::timeline::Bounds;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// First and last dates of each layer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineAnswer {
    /// Code of the organization.
    pub organization: String,
    /// When the summaries were last refreshed; the figures are exact all the same.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// Original dates.
    pub plan: TimelineBounds,
    /// Forecast dates.
    pub forecast: TimelineBounds,
    /// Actual dates.
    pub actual: TimelineBounds,
    /// Records that are not discontinued.
    pub record_count: i64,
    /// How many of them are actualized.
    pub actualized_count: i64,
}

/// The first start and the last end of a layer.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineBounds {
    /// Earliest start.
    pub start: Option<NaiveDate>,
    /// Latest end.
    pub end: Option<NaiveDate>,
}

impl From<Bounds> for TimelineBounds {
    fn from(Bounds { start, end }: Bounds) -> Self {
        Self { start, end }
    }
}

/// Plan, forecast and actual bounds, and record counts; with `session` as what-if.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/timeline", tag = "summaries", operation_id = "getTimeline",
    params(("org" = String, Path, description = "Code of the organization"),
        ("session" = Option<Uuid>, Query, description = "Read inside this sandbox of the caller")),
    responses((status = 200, body = TimelineAnswer), (status = 304, description = "The client has this answer"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get_timeline(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    caller: Caller,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let reader = read_reader(organization, caller, &mut parameters);
    parameters.finish()?;
    let timeline = state.service.find_timeline(&reader).await?;
    let answer = TimelineAnswer {
        organization: reader.organization,
        refreshed_at: timeline.refreshed_at,
        plan: timeline.plan.into(),
        forecast: timeline.forecast.into(),
        actual: timeline.actual.into(),
        record_count: timeline.record_count,
        actualized_count: timeline.actualized_count,
    };
    Ok(tagged_json(&headers, serde_json::to_string(&answer).unwrap_or_default()))
}
