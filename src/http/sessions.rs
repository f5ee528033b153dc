//! `/orgs/{org}/sessions`: open a sandbox, list mine, look, discard.

use crate::http::Shared;
use crate::http::body::OptionalJson;
use crate::http::extract::{Caller, Path};
use crate::http::list::{ListInfo, ListPage, ListParameters};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::sessions::{Sandbox, Session, SessionQuery};
use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Most characters of a name or a reason.
const MAX_NAME: usize = 500;

/// What a sandbox is opened with.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    /// What its owner calls it.
    #[schema(example = "what if we rent later")]
    pub name: Option<String>,
}

/// A sandbox session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionAnswer {
    /// Its id; readings take it as `session`.
    pub id: Uuid,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Code of the organization.
    pub organization: String,
    /// Its owner.
    pub user_id: String,
    /// open or committed.
    pub status: String,
    /// Records with a draft that is in no conflict.
    pub draft_count: i64,
    /// Changes of the session that wait for a decision.
    pub conflict_count: i64,
    /// Steps that can be undone.
    pub undo_depth: i64,
    /// Steps that can be redone.
    pub redo_depth: i64,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub last_edited_at: Option<DateTime<Utc>>,
    /// When it was committed.
    pub closed_at: Option<DateTime<Utc>>,
    /// Seconds since it was opened.
    pub age_seconds: i64,
    /// Whole days without an edit, while it is open.
    pub idle_days: i64,
    /// What it was opened on.
    pub base: SessionBase,
}

/// What a sandbox was opened on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionBase {
    /// The organization's change number when it was opened.
    pub change_number: i64,
    /// How often what everybody reads has changed since.
    pub published_since: i64,
}

impl From<Session> for SessionAnswer {
    fn from(session: Session) -> Self {
        let now = Utc::now();
        let idle_since = session.last_edited_at.unwrap_or(session.created_at);
        Self {
            age_seconds: (now - session.created_at).num_seconds().max(0),
            idle_days: if session.status == "open" { (now - idle_since).num_days().max(0) } else { 0 },
            base: SessionBase { change_number: session.base_change, published_since: session.published_since },
            id: session.id,
            name: session.name,
            organization: session.organization,
            user_id: session.user_id,
            status: session.status,
            draft_count: session.draft_count,
            conflict_count: session.conflict_count,
            undo_depth: session.undo_depth,
            redo_depth: session.redo_depth,
            created_at: session.created_at,
            last_edited_at: session.last_edited_at,
            closed_at: session.closed_at,
        }
    }
}

/// A page of sessions.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionList {
    /// Newest first.
    pub data: Vec<SessionAnswer>,
    /// Where the page stands.
    pub page: ListInfo,
}

/// Opens a sandbox.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sessions", tag = "sandboxes", operation_id = "openSession", request_body = Option<OpenSession>,
    params(("org" = String, Path, description = "Code of the organization")),
    responses((status = 201, body = SessionAnswer, headers(("Location" = String, description = "Path of the session"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn open_session(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    caller: Caller,
    mut parameters: Parameters,
    OptionalJson(body): OptionalJson<OpenSession>,
) -> Result<(StatusCode, HeaderMap, JsonAnswer<SessionAnswer>), Problem> {
    let name = read_text(&mut parameters, "name", body.name);
    parameters.finish()?;
    let session = state.service.open_session(&organization, &caller.0, name.as_deref()).await?;
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/orgs/{organization}/sessions/{}", session.id)) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, JsonAnswer(session.into())))
}

/// The caller's sessions, newest first; discarded ones are gone.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/sessions", tag = "sandboxes", operation_id = "listSessions",
    params(("org" = String, Path, description = "Code of the organization"),
        ("status" = Option<Vec<String>>, Query, description = "open, committed"), ListParameters),
    responses((status = 200, body = SessionList), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list_sessions(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<JsonAnswer<SessionList>, Problem> {
    let words = ["open", "committed"];
    let statuses = parameters.choose_all("status", &words, |word| words.contains(&word).then(|| word.to_owned()));
    let page = ListPage::read(&mut parameters, &format!("sessions {organization:?} {caller:?} {statuses:?}"));
    parameters.finish()?;
    let query = SessionQuery { statuses, after: page.after, limit: page.wanted() };
    let mut sessions = state.service.list_sessions(&organization, &caller.0, &query).await?;
    let info = page.cut(&mut sessions, |session| (session.created_at, session.id));
    Ok(JsonAnswer(SessionList { data: sessions.into_iter().map(SessionAnswer::from).collect(), page: info }))
}

/// One session of the caller: counts, age, base.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/sessions/{session}", tag = "sandboxes", operation_id = "getSession",
    params(("org" = String, Path, description = "Code of the organization"), ("session" = Uuid, Path, description = "The session")),
    responses((status = 200, body = SessionAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get_session(
    State(state): State<Shared>,
    Path((organization, session)): Path<(String, String)>,
    caller: Caller,
    parameters: Parameters,
) -> Result<JsonAnswer<SessionAnswer>, Problem> {
    parameters.finish()?;
    let sandbox = read_sandbox(organization, caller, &session)?;
    Ok(JsonAnswer(state.service.find_session(&sandbox).await?.into()))
}

/// Discards a session with all its drafts. A committed one stays.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/sessions/{session}", tag = "sandboxes", operation_id = "discardSession",
    params(("org" = String, Path, description = "Code of the organization"), ("session" = Uuid, Path, description = "The session")),
    responses((status = 204, description = "It is gone"), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It was committed")))]
pub(super) async fn discard_session(
    State(state): State<Shared>,
    Path((organization, session)): Path<(String, String)>,
    caller: Caller,
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    parameters.finish()?;
    state.service.discard_session(&read_sandbox(organization, caller, &session)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The sandbox that a path names; an id that is none leads to no session.
pub(super) fn read_sandbox(organization: String, caller: Caller, session: &str) -> Result<Sandbox, Problem> {
    let session = Uuid::try_parse(session).map_err(|_| Problem::from(crate::error::Error::SessionNotFound))?;
    Ok(Sandbox { organization, user: caller.0, session })
}

/// A name or a reason: blank is none.
pub(super) fn read_text(faults: &mut Parameters, field: &str, text: Option<String>) -> Option<String> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())?;
    if text.chars().count() > MAX_NAME || text.contains('\0') {
        faults.refuse(field, format!("must be at most {MAX_NAME} characters without NUL"));
    }
    Some(text)
}
