//! `/orgs/{org}/sync/dead-letters`: changes that PEMS would not take; send them again or drop them.

use crate::domain::conflict::Comparison;
use crate::http::Shared;
use crate::http::body::Json;
use crate::http::extract::{Caller, Path};
use crate::http::list::{ListInfo, ListPage, ListParameters};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::http::sessions::read_text;
use crate::service::write_back::{DeadLetter, DeadLetterFilter};
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterList {
    /// Oldest first.
    pub data: Vec<DeadLetterAnswer>,
    /// Where the page stands.
    pub page: ListInfo,
}

/// A change that PEMS would not take.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterAnswer {
    /// Its id.
    pub id: Uuid,
    /// Its record.
    pub pfa_id: String,
    /// The session whose change it is.
    pub session_id: Uuid,
    /// Who made the change.
    pub user_id: String,
    /// The changed fields.
    pub delta: Map<String, Value>,
    /// Each beside what it was and what is published now.
    pub fields: Vec<DeadLetterField>,
    /// When it was committed.
    pub committed_at: Option<DateTime<Utc>>,
    /// When it was given up.
    pub failed_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: i32,
    /// Why it was given up.
    pub error: Option<String>,
}

/// A field of a change that PEMS would not take.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterField {
    /// Its key.
    pub field: String,
    /// What it was when the change first touched it.
    pub base: Value,
    /// What the change makes of it.
    pub ours: Value,
    /// What is published now.
    pub theirs: Value,
    /// Whether sending it again would be a conflict.
    pub conflict: bool,
}

impl From<Comparison> for DeadLetterField {
    fn from(Comparison { field, base, ours, theirs, conflict }: Comparison) -> Self {
        Self { field, base, ours, theirs, conflict }
    }
}

impl From<DeadLetter> for DeadLetterAnswer {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { id, pfa_id, session_id, user_id, delta, fields, committed_at, failed_at, attempts, error } = letter;
        let fields = fields.into_iter().map(DeadLetterField::from).collect();
        Self { id, pfa_id, session_id, user_id, delta, fields, committed_at, failed_at, attempts, error }
    }
}

/// Changes that PEMS would not take, or that were tried too often.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/sync/dead-letters", tag = "sync", operation_id = "listDeadLetters",
    params(("org" = String, Path, description = "Code of the organization"),
        ("pfaId" = Option<Vec<String>>, Query, description = "Only on these records"), ListParameters),
    responses((status = 200, body = DeadLetterList), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn list_dead_letters(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    _: Caller,
    mut parameters: Parameters,
) -> Result<JsonAnswer<DeadLetterList>, Problem> {
    let filter = DeadLetterFilter { ids: Vec::new(), pfa_ids: parameters.all("pfaId") };
    let page = ListPage::read(&mut parameters, &format!("dead letters {organization:?} {filter:?}"));
    parameters.finish()?;
    let mut letters = state.service.list_dead_letters(&organization, &filter, page.after, page.wanted()).await?;
    let info = page.cut(&mut letters, |letter| (letter.failed_at, letter.id));
    Ok(JsonAnswer(DeadLetterList { data: letters.into_iter().map(DeadLetterAnswer::from).collect(), page: info }))
}

/// Which dead letters, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterBody {
    /// `ids`, `pfaId`, or `all: true`.
    #[schema(value_type = Object, example = json!({"pfaId": ["10245"]}))]
    pub select: Map<String, Value>,
    /// Why, for the history; needed to drop.
    pub reason: Option<String>,
}

/// What became of dead letters that were sent again.
#[derive(Debug, Serialize, ToSchema)]
pub struct RetriedAnswer {
    /// Committed again: they wait for PEMS.
    pub committed: u64,
    /// In conflict with what was published meanwhile.
    pub conflicts: u64,
}

/// Sends dead letters again, on top of what was published meanwhile; what others changed to something
/// else is a conflict.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sync/dead-letters/retry", tag = "sync", operation_id = "retryDeadLetters", request_body = DeadLetterBody,
    params(("org" = String, Path, description = "Code of the organization")),
    responses((status = 200, body = RetriedAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn retry_dead_letters(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    Caller(user): Caller,
    mut parameters: Parameters,
    Json(body): Json<DeadLetterBody>,
) -> Result<JsonAnswer<RetriedAnswer>, Problem> {
    let reason = read_text(&mut parameters, "reason", body.reason);
    let filter = read_selection(&mut parameters, body.select);
    parameters.finish()?;
    let retried = state.service.retry_dead_letters(&organization, &user, &filter, reason.as_deref()).await?;
    Ok(JsonAnswer(RetriedAnswer { committed: retried.committed, conflicts: retried.conflicts }))
}

/// How many dead letters were dropped.
#[derive(Debug, Serialize, ToSchema)]
pub struct DroppedAnswer {
    /// So many.
    pub dropped: u64,
}

/// Drops dead letters for good; the history of their records tells who and why.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sync/dead-letters/drop", tag = "sync", operation_id = "dropDeadLetters", request_body = DeadLetterBody,
    params(("org" = String, Path, description = "Code of the organization")),
    responses((status = 200, body = DroppedAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn drop_dead_letters(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    Caller(user): Caller,
    mut parameters: Parameters,
    Json(body): Json<DeadLetterBody>,
) -> Result<JsonAnswer<DroppedAnswer>, Problem> {
    let reason = read_text(&mut parameters, "reason", body.reason);
    if reason.is_none() {
        parameters.refuse("reason", "is needed: what is dropped is gone");
    }
    let filter = read_selection(&mut parameters, body.select);
    parameters.finish()?;
    let dropped = state.service.drop_dead_letters(&organization, &user, &filter, reason.as_deref().unwrap_or_default()).await?;
    Ok(JsonAnswer(DroppedAnswer { dropped }))
}

/// A selection says what it selects; everything is said with `all`.
fn read_selection(faults: &mut Parameters, mut select: Map<String, Value>) -> DeadLetterFilter {
    let is_all = select.remove("all");
    match (&is_all, select.is_empty()) {
        (None, true) => faults.refuse("select", "must have ids, pfaId or all"),
        (Some(Value::Bool(true)), true) | (None, false) => {}
        (Some(Value::Bool(true)), false) => faults.refuse("select", "has all beside something else"),
        (Some(_), _) => faults.refuse("select.all", "must be true"),
    }
    let mut inner = Parameters::of_object(select);
    let ids: Option<Vec<_>> = inner.all("ids").iter().map(|text| Uuid::try_parse(text).ok()).collect();
    if ids.is_none() {
        inner.refuse("ids", "must be ids of dead letters (UUID)");
    }
    let filter = DeadLetterFilter { ids: ids.unwrap_or_default(), pfa_ids: inner.all("pfaId") };
    faults.absorb("select", inner);
    filter
}
