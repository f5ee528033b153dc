//! `POST /orgs/{org}/sessions/{session}/commit`.

use crate::http::Shared;
use crate::http::body::{NoKeys, OptionalJson};
use crate::http::conflicts::FieldConflictAnswer;
use crate::http::extract::{Caller, Path};
use crate::http::parameters::Parameters;
use crate::http::problem::{FieldError, Problem};
use crate::http::sessions::read_sandbox;
use crate::service::commit::{Commit, CommitConflict, CommitMode, CommitReport};
use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// The header whose value makes a repeated commit give the same answer.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// After commits of so many drafts the summaries are refreshed at once.
const LARGE_COMMIT: i64 = 1_000;

/// What a commit did, or would do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitAnswer {
    /// Drafts that are published.
    pub committed: i64,
    /// How many of them were merged with what others published meanwhile.
    pub merged: i64,
    /// Drafts in conflict.
    pub conflicts: Vec<CommitConflictAnswer>,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Whether the session is closed now.
    pub closed: bool,
}

/// A draft in conflict.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitConflictAnswer {
    /// Its id, for resolving.
    pub id: Uuid,
    /// Its record.
    pub pfa_id: String,
    /// The fields in conflict.
    pub fields: Vec<FieldConflictAnswer>,
    /// The rules that the merge with what is published would break.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl From<CommitReport> for CommitAnswer {
    fn from(report: CommitReport) -> Self {
        let conflict = |CommitConflict { id, pfa_id, fields, rules }| CommitConflictAnswer {
            id,
            pfa_id,
            fields: fields.into_iter().map(FieldConflictAnswer::from).collect(),
            rules,
        };
        Self {
            committed: report.committed,
            merged: report.merged,
            conflicts: report.conflicts.into_iter().map(conflict).collect(),
            dry_run: report.dry_run,
            closed: report.closed,
        }
    }
}

/// Publishes all drafts of a sandbox at once. Disjoint changes of others are merged; a field that
/// somebody else changed to another value is a conflict.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sessions/{session}/commit", tag = "sandboxes", operation_id = "commitSession",
    params(("org" = String, Path, description = "Code of the organization"), ("session" = Uuid, Path, description = "The session"),
        ("dryRun" = Option<bool>, Query, description = "Report and change nothing"),
        ("mode" = Option<String>, Query, description = "atomic (default): one conflict refuses the commit; partial: clean drafts are committed, conflicts wait"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key gives the same answer again, for a week")),
    responses((status = 200, body = CommitAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Conflicts, with the report; or the session was committed"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The key was used for another commit")))]
pub(super) async fn commit_session(
    State(state): State<Shared>,
    Path((organization, session)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
    parameters: Parameters,
    _: OptionalJson<NoKeys>,
) -> Result<JsonAnswer<CommitAnswer>, Problem> {
    let commit = read_commit(&headers, parameters)?;
    let sandbox = read_sandbox(organization, caller, &session)?;
    let report = state.service.commit_session(&sandbox, &commit).await?;
    if report.committed >= LARGE_COMMIT && !report.dry_run {
        state.service.refresh_soon("commit");
    }
    let is_refused = report.refused && !report.dry_run;
    let answer = CommitAnswer::from(report);
    if is_refused { Err(refusal(answer)) } else { Ok(JsonAnswer(answer)) }
}

fn read_commit(headers: &HeaderMap, mut parameters: Parameters) -> Result<Commit, Problem> {
    let is_dry_run = parameters.choose("dryRun", &["true", "false"], |word| word.parse().ok()).unwrap_or(false);
    let modes = [CommitMode::Atomic, CommitMode::Partial];
    let mode = parameters.choose("mode", &modes.map(CommitMode::word), |word| modes.into_iter().find(|mode| mode.word() == word));
    parameters.finish()?;
    Ok(Commit { mode: mode.unwrap_or(CommitMode::Atomic), is_dry_run, idempotency_key: read_key(headers)? })
}

fn read_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Ok(key) if (1..=200).contains(&key.len()) && values.next().is_none() => Ok(Some(key.to_owned())),
        _ => Err(Problem::invalid_parameters(vec![FieldError {
            field: "Idempotency-Key".into(),
            message: "must be given once, with 1 to 200 visible ASCII characters".into(),
            allowed: Vec::new(),
        }])),
    }
}

fn refusal(answer: CommitAnswer) -> Problem {
    let count = answer.conflicts.len();
    let drafts = if count == 1 { "1 draft is".to_owned() } else { format!("{count} drafts are") };
    let detail = format!("{drafts} in conflict with what others published; nothing was committed and the session stays open");
    let report = match serde_json::to_value(answer) {
        Ok(Value::Object(report)) => report,
        _ => serde_json::Map::new(),
    };
    Problem::conflict("commit_conflict", detail).with(report)
}
