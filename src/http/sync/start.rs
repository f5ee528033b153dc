//! `POST /orgs/{org}/sync/runs`: start a reading, a write-back or a comparison.

use super::runs::RunAnswer;
use crate::error::Error;
use crate::http::Shared;
use crate::http::body::Json;
use crate::http::extract::{Caller, Path};
use crate::http::parameters::Parameters;
use crate::http::problem::{FieldError, Problem};
use crate::service::sync::{SyncRequest, SyncScope};
use crate::service::write_back::{WriteRequest, WriteScope};
use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::ToSchema;

/// Most ids of a manual run.
const MOST_IDS: usize = 10_000;

/// What a run is started with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StartRun {
    /// full: everything, and what PEMS does not have any more is discontinued; incremental: what PEMS changed
    /// since the last run; manual: the records of `pfaIds`; verify: compare and change nothing. Of a write-back
    /// full is everything that waits, incremental what is due.
    #[serde(rename = "type")]
    pub run_type: StartType,
    /// read: from PEMS into the mirror; write: committed changes to PEMS.
    #[serde(default)]
    pub direction: StartDirection,
    /// The records of a manual run.
    #[serde(default)]
    pub pfa_ids: Vec<String>,
    /// Per cent of the records that a full reading may find vanished; the service's setting unless given.
    pub max_vanished_percent: Option<u32>,
}

/// Kinds of runs that can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum StartType {
    /// Everything.
    Full,
    /// What changed.
    Incremental,
    /// Some records.
    Manual,
    /// Nothing: a comparison.
    Verify,
}

/// Directions of runs that can be started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum StartDirection {
    /// From PEMS into the mirror.
    #[default]
    Read,
    /// Committed changes to PEMS.
    Write,
}

/// What a body asks for.
enum Start {
    Read(SyncScope),
    Write(WriteScope),
}

/// Starts a run, which goes on by itself: look at it under its id. One at a time reads an organization,
/// and one writes for it.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sync/runs", tag = "sync", operation_id = "startRun", request_body = StartRun,
    params(("org" = String, Path, description = "Code of the organization")),
    responses((status = 202, body = RunAnswer, headers(("Location" = String, description = "The run"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "Another run or import is under way, the write-back is paused, or PEMS is off"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn start_run(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    Caller(user): Caller,
    parameters: Parameters,
    Json(body): Json<StartRun>,
) -> Result<(StatusCode, HeaderMap, JsonAnswer<RunAnswer>), Problem> {
    parameters.finish()?;
    let start = read_start(body, state.most_vanished_percent)?;
    let pems = state.pems.as_ref().ok_or(Error::PemsOff)?;
    let (code, requested_by) = (organization.clone(), Some(user));
    let run = match start {
        Start::Read(scope) => state.service.start_read(pems, SyncRequest { organization, scope, requested_by }).await?,
        Start::Write(scope) => {
            state.service.start_write(pems, state.write_back, WriteRequest { organization, scope, requested_by }).await?
        }
    };
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/orgs/{code}/sync/runs/{}", run.id)) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::ACCEPTED, headers, JsonAnswer(run.into())))
}

fn read_start(body: StartRun, most_vanished_percent: u32) -> Result<Start, Problem> {
    let StartRun { run_type, direction, pfa_ids, max_vanished_percent } = body;
    let mut errors = Vec::new();
    let mut refuse = |field: &str, message: &str| {
        errors.push(FieldError { field: field.to_owned(), message: message.to_owned(), allowed: Vec::new() });
    };
    match (run_type, pfa_ids.len()) {
        (StartType::Manual, 0) => refuse("pfaIds", "names no record; a manual run needs some"),
        (StartType::Manual, count) if count > MOST_IDS => refuse("pfaIds", "names more than 10000 records"),
        (StartType::Manual, _) | (_, 0) => {}
        _ => refuse("pfaIds", "belongs to a manual run"),
    }
    if max_vanished_percent.is_some_and(|percent| percent > 100) {
        refuse("maxVanishedPercent", "must be a number from 0 to 100");
    }
    if max_vanished_percent.is_some() && (run_type, direction) != (StartType::Full, StartDirection::Read) {
        refuse("maxVanishedPercent", "belongs to a full reading");
    }
    if (run_type, direction) == (StartType::Verify, StartDirection::Write) {
        refuse("direction", "a comparison reads");
    }
    if !errors.is_empty() {
        return Err(Problem::invalid_parameters(errors));
    }
    Ok(match (direction, run_type) {
        (StartDirection::Read, StartType::Full) => {
            Start::Read(SyncScope::Full { most_vanished_percent: max_vanished_percent.unwrap_or(most_vanished_percent) })
        }
        (StartDirection::Read, StartType::Incremental) => Start::Read(SyncScope::Incremental),
        (StartDirection::Read, StartType::Manual) => Start::Read(SyncScope::Records(pfa_ids)),
        (_, StartType::Verify) => Start::Read(SyncScope::Verify),
        (StartDirection::Write, StartType::Full) => Start::Write(WriteScope::Everything),
        (StartDirection::Write, StartType::Incremental) => Start::Write(WriteScope::Due),
        (StartDirection::Write, StartType::Manual) => Start::Write(WriteScope::Records(pfa_ids)),
    })
}
