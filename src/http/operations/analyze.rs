//! `POST /ops/analyze`: the promised readings, measured.

use crate::http::Shared;
use crate::http::body::Json;
use crate::http::extract::Caller;
use crate::http::number::serialize_decimal;
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::analyze::Measurement;
use axum::Json as JsonAnswer;
use axum::extract::State;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to measure.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnalyzeRequest {
    /// Code of the organization.
    #[schema(example = "HOLNG")]
    pub organization: String,
    /// Only this category.
    pub category: Option<String>,
    /// Only this source.
    pub source: Option<String>,
}

/// What the promised readings took.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnalyzeAnswer {
    /// One entry a reading.
    pub data: Vec<MeasurementAnswer>,
}

/// What one reading took, against its target.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeasurementAnswer {
    /// Which reading.
    pub query: String,
    /// What it may take, in milliseconds.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub target_ms: Decimal,
    /// What planning took, in milliseconds.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub planning_ms: Decimal,
    /// What it took, in milliseconds.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub execution_ms: Decimal,
    /// Rows that it returned.
    pub rows: i64,
    /// Indexes that its plan used.
    pub indexes: Vec<String>,
    /// Whether it stayed within the target.
    pub within_target: bool,
}

impl From<Measurement> for MeasurementAnswer {
    fn from(measurement: Measurement) -> Self {
        let Measurement { query, target_ms, planning_ms, execution_ms, rows, indexes, within_target } = measurement;
        Self { query, target_ms, planning_ms, execution_ms, rows, indexes, within_target }
    }
}

/// Runs the promised readings on an organization's data and reports times, rows and indexes.
#[utoipa::path(post, path = "/api/v1/ops/analyze", tag = "operations", operation_id = "analyzeQueries", request_body = AnalyzeRequest,
    responses((status = 200, body = AnalyzeAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn analyze_queries(
    State(state): State<Shared>,
    _: Caller,
    parameters: Parameters,
    Json(request): Json<AnalyzeRequest>,
) -> Result<JsonAnswer<AnalyzeAnswer>, Problem> {
    parameters.finish()?;
    let measurements = state.service.analyze_queries(&request.organization, request.category.as_deref(), request.source.as_deref()).await?;
    Ok(JsonAnswer(AnalyzeAnswer { data: measurements.into_iter().map(MeasurementAnswer::from).collect() }))
}
