//! One record of a sandbox: edit it, drop its draft.

use crate::domain::patch::read_patch;
use crate::http::Shared;
use crate::http::body::Json;
use crate::http::etag::tagged_json;
use crate::http::extract::{Caller, Path};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::http::records::MergedRecord;
use crate::http::sessions::{read_sandbox, read_text};
use crate::service::edits::RecordEdit;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A JSON merge patch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct PatchBody(Map<String, Value>);

/// Edits one record by a JSON merge patch (RFC 7386): null clears a field, a value sets it, what is
/// absent stays. A field set back to its base leaves the draft.
#[utoipa::path(patch, path = "/api/v1/orgs/{org}/sessions/{session}/records/{pfaId}", tag = "sandboxes", operation_id = "editRecord",
    params(("org" = String, Path, description = "Code of the organization"), ("session" = Uuid, Path, description = "The session"),
        ("pfaId" = String, Path, description = "Natural key of the record"),
        ("reason" = Option<String>, Query, description = "Why, for the history"),
        ("If-Match" = Option<String>, Header, description = "ETag of the record as it was read in this session")),
    request_body(content = Object, content_type = "application/merge-patch+json", example = json!({"forecastStart": "2025-04-01", "equipment": null})),
    responses((status = 200, body = MergedRecord), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The session was committed"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "The record has changed since it was read"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn edit_record(
    State(state): State<Shared>,
    Path((organization, session, pfa_id)): Path<(String, String, String)>,
    caller: Caller,
    headers: HeaderMap,
    mut parameters: Parameters,
    Json(PatchBody(body)): Json<PatchBody>,
) -> Result<Response, Problem> {
    let reason = parameters.one("reason");
    let reason = read_text(&mut parameters, "reason", reason);
    let (patch, faults) = read_patch(body);
    parameters.finish_beside(&faults)?;
    let sandbox = read_sandbox(organization, caller, &session)?;
    let edit = RecordEdit { pfa_id, patch, faults, reason, if_match: read_if_match(&headers) };
    let row = state.service.edit_record(&sandbox, &edit).await?;
    // The answer carries the new tag; a condition of the request was about the old one.
    Ok(tagged_json(&HeaderMap::new(), row))
}

/// Drops the draft of one record; a step that can be undone.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/sessions/{session}/records/{pfaId}", tag = "sandboxes", operation_id = "dropDraft",
    params(("org" = String, Path, description = "Code of the organization"), ("session" = Uuid, Path, description = "The session"),
        ("pfaId" = String, Path, description = "Natural key of the record")),
    responses((status = 204, description = "The sandbox sees the record as everybody does"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The session was committed")))]
pub(in crate::http) async fn drop_draft(
    State(state): State<Shared>,
    Path((organization, session, pfa_id)): Path<(String, String, String)>,
    caller: Caller,
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    parameters.finish()?;
    state.service.drop_draft(&read_sandbox(organization, caller, &session)?, &pfa_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The tags of If-Match. Weak ones never match, as RFC 9110 has it.
fn read_if_match(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut values = headers.get_all(header::IF_MATCH).iter().peekable();
    values.peek()?;
    let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    Some(tags.map(|tag| tag.trim().to_owned()).collect())
}
