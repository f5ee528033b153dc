//! `/orgs/{org}/sync/write-back`: how it stands, pause it, resume it.

use crate::http::Shared;
use crate::http::body::OptionalJson;
use crate::http::extract::{Caller, Path};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::http::sessions::read_text;
use crate::service::write_back::WriteBackState;
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the write-back of an organization stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WriteBackAnswer {
    /// Code of the organization.
    pub organization: String,
    /// Whether nothing is written, by somebody's decision.
    pub paused: bool,
    /// Since when.
    pub paused_at: Option<DateTime<Utc>>,
    /// By whom.
    pub paused_by: Option<String>,
    /// Why.
    pub pause_reason: Option<String>,
    /// Changes that wait, those for a later attempt included.
    pub waiting: i64,
    /// Changes that are under way.
    pub syncing: i64,
    /// Changes in conflict with PEMS.
    pub conflicts: i64,
    /// Changes that PEMS would not take.
    pub failed: i64,
    /// When the oldest of the waiting ones was committed.
    pub oldest_waiting_at: Option<DateTime<Utc>>,
}

impl WriteBackAnswer {
    fn new(organization: String, state: WriteBackState) -> Self {
        let WriteBackState { paused_at, paused_by, pause_reason, waiting, syncing, conflicts, failed, oldest_waiting_at } = state;
        let paused = paused_at.is_some();
        Self { organization, paused, paused_at, paused_by, pause_reason, waiting, syncing, conflicts, failed, oldest_waiting_at }
    }
}

/// How the write-back of an organization stands.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/sync/write-back", tag = "sync", operation_id = "getWriteBack",
    params(("org" = String, Path, description = "Code of the organization")),
    responses((status = 200, body = WriteBackAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn get_write_back(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    _: Caller,
    parameters: Parameters,
) -> Result<JsonAnswer<WriteBackAnswer>, Problem> {
    parameters.finish()?;
    let found = state.service.read_write_back(&organization).await?;
    Ok(JsonAnswer(WriteBackAnswer::new(organization, found)))
}

/// Why the write-back is paused.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseBody {
    /// For whoever finds it paused.
    pub reason: Option<String>,
}

/// Pauses the write-back: nothing is taken any more, what is under way ends. Commits go on and wait.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sync/write-back/pause", tag = "sync", operation_id = "pauseWriteBack", request_body = Option<PauseBody>,
    params(("org" = String, Path, description = "Code of the organization")),
    responses((status = 200, body = WriteBackAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn pause_write_back(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    Caller(user): Caller,
    mut parameters: Parameters,
    OptionalJson(body): OptionalJson<PauseBody>,
) -> Result<JsonAnswer<WriteBackAnswer>, Problem> {
    let reason = read_text(&mut parameters, "reason", body.reason);
    parameters.finish()?;
    let paused = state.service.pause_write_back(&organization, &user, reason.as_deref()).await?;
    Ok(JsonAnswer(WriteBackAnswer::new(organization, paused)))
}

/// Lets the write-back go on.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sync/write-back/resume", tag = "sync", operation_id = "resumeWriteBack",
    params(("org" = String, Path, description = "Code of the organization")),
    responses((status = 200, body = WriteBackAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn resume_write_back(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    _: Caller,
    parameters: Parameters,
) -> Result<JsonAnswer<WriteBackAnswer>, Problem> {
    parameters.finish()?;
    let resumed = state.service.resume_write_back(&organization).await?;
    Ok(JsonAnswer(WriteBackAnswer::new(organization, resumed)))
}
