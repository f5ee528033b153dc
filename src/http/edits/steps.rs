//! Undo and redo.

use crate::http::Shared;
use crate::http::body::{NoKeys, OptionalJson};
use crate::http::extract::{Caller, Path};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::http::sessions::{SessionAnswer, read_sandbox};
use crate::service::edits::{Direction, Step};
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// What was undone or redone, and the session then.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepAnswer {
    /// The step.
    pub step: StepDetails,
    /// The session after it.
    #[serde(flatten)]
    pub session: SessionAnswer,
}

/// A step.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepDetails {
    /// edit, bulk, drop or resolve.
    pub kind: String,
    /// Why it was done.
    pub reason: Option<String>,
    /// Records that it changed.
    pub records: i64,
    /// When it was done.
    pub at: DateTime<Utc>,
}

impl From<Step> for StepDetails {
    fn from(Step { kind, reason, records, created_at }: Step) -> Self {
        Self { kind, reason, records, at: created_at }
    }
}

/// Undoes the newest step: an edit, a bulk edit, a dropped draft or a resolution.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sessions/{session}/undo", tag = "sandboxes", operation_id = "undoStep",
    params(("org" = String, Path, description = "Code of the organization"), ("session" = Uuid, Path, description = "The session")),
    responses((status = 200, body = StepAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Nothing to undo, or the session was committed"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn undo_step(
    state: State<Shared>,
    path: Path<(String, String)>,
    caller: Caller,
    parameters: Parameters,
    _: OptionalJson<NoKeys>,
) -> Result<JsonAnswer<StepAnswer>, Problem> {
    move_step(state, path, caller, parameters, Direction::Undo).await
}

/// Does the step that was undone last again.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sessions/{session}/redo", tag = "sandboxes", operation_id = "redoStep",
    params(("org" = String, Path, description = "Code of the organization"), ("session" = Uuid, Path, description = "The session")),
    responses((status = 200, body = StepAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Nothing to redo, or the session was committed"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn redo_step(
    state: State<Shared>,
    path: Path<(String, String)>,
    caller: Caller,
    parameters: Parameters,
    _: OptionalJson<NoKeys>,
) -> Result<JsonAnswer<StepAnswer>, Problem> {
    move_step(state, path, caller, parameters, Direction::Redo).await
}

async fn move_step(
    State(state): State<Shared>,
    Path((organization, session)): Path<(String, String)>,
    caller: Caller,
    parameters: Parameters,
    direction: Direction,
) -> Result<JsonAnswer<StepAnswer>, Problem> {
    parameters.finish()?;
    let sandbox = read_sandbox(organization, caller, &session)?;
    let step = state.service.move_step(&sandbox, direction).await?;
    let session = state.service.find_session(&sandbox).await?;
    Ok(JsonAnswer(StepAnswer { step: step.into(), session: session.into() }))
}
