//! `/orgs/{org}/conflicts`: list them, resolve one or many.

use crate::domain::conflict::{FieldConflict, Resolution};
use crate::http::Shared;
use crate::http::body::Json;
use crate::http::extract::{Caller, Path};
use crate::http::list::{ListInfo, ListPage, ListParameters};
use crate::http::parameters::Parameters;
use crate::http::problem::{FieldError, Problem};
use crate::http::sessions::read_text;
use crate::service::conflicts::{Conflict, ConflictFilter, Outcome, RefusedResolution, Resolved, Stage};
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of conflicts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConflictList {
    /// Oldest first.
    pub data: Vec<ConflictAnswer>,
    /// Where the page stands.
    pub page: ListInfo,
}

/// A conflict.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConflictAnswer {
    /// Its id.
    pub id: Uuid,
    /// Its record.
    pub pfa_id: String,
    /// The session whose change it is.
    pub session_id: Uuid,
    /// Who made the change.
    pub user_id: String,
    /// commit: a commit refused the draft; writeBack: PEMS has another value than the committed change was made on.
    pub stage: String,
    /// The fields in conflict.
    pub fields: Vec<FieldConflictAnswer>,
    /// The rules that the merge with what is published would break.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// When it was found.
    pub created_at: DateTime<Utc>,
}

/// A field in conflict.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldConflictAnswer {
    /// Its key.
    pub field: String,
    /// What it was when the change first touched it.
    pub base: Value,
    /// What the change makes of it.
    pub ours: Value,
    /// What is published now.
    pub theirs: Value,
}

impl From<FieldConflict> for FieldConflictAnswer {
    fn from(FieldConflict { field, base, ours, theirs }: FieldConflict) -> Self {
        Self { field, base, ours, theirs }
    }
}

impl From<Conflict> for ConflictAnswer {
    fn from(conflict: Conflict) -> Self {
        Self {
            id: conflict.id,
            pfa_id: conflict.pfa_id,
            session_id: conflict.session_id,
            user_id: conflict.user_id,
            stage: conflict.stage,
            fields: conflict.conflicting.fields.into_iter().map(FieldConflictAnswer::from).collect(),
            rules: conflict.conflicting.rules,
            created_at: conflict.created_at,
        }
    }
}

/// Conflicts that the caller may decide: of the caller's own sandboxes, and everybody's that were published before.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/conflicts", tag = "conflicts", operation_id = "listConflicts",
    params(("org" = String, Path, description = "Code of the organization"),
        ("session" = Option<Uuid>, Query, description = "Only of this session: the caller's, or one that has published what is in conflict"),
        ("stage" = Option<String>, Query, description = "commit or writeBack"),
        ("pfaId" = Option<Vec<String>>, Query, description = "Only on these records"), ListParameters),
    responses((status = 200, body = ConflictList), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list_conflicts(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<JsonAnswer<ConflictList>, Problem> {
    let filter = read_filter(&mut parameters);
    let page = ListPage::read(&mut parameters, &format!("conflicts {organization:?} {caller:?} {filter:?}"));
    parameters.finish()?;
    let mut conflicts = state.service.list_conflicts(&organization, &caller.0, &filter, page.after, page.wanted()).await?;
    let info = page.cut(&mut conflicts, |conflict| (conflict.created_at, conflict.id));
    Ok(JsonAnswer(ConflictList { data: conflicts.into_iter().map(ConflictAnswer::from).collect(), page: info }))
}

/// How a conflict is resolved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveBody {
    /// mine, theirs or fields.
    #[schema(example = "fields")]
    pub resolution: String,
    /// With `fields`: `mine`, `theirs` or `{"value": …}` for each field in conflict.
    #[schema(value_type = Option<Object>, example = json!({"forecastStart": "mine", "dor": "theirs", "monthlyRate": {"value": 12000}}))]
    pub fields: Option<Map<String, Value>>,
    /// Why, for the history.
    pub reason: Option<String>,
}

/// A resolved conflict.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedAnswer {
    /// Its id.
    pub id: Uuid,
    /// Its record.
    pub pfa_id: String,
    /// What became of the change: draft, committed, or dropped when nothing of it is left.
    pub outcome: &'static str,
    /// What was chosen for each field: mine, theirs or value.
    pub resolution: BTreeMap<String, &'static str>,
}

impl From<Resolved> for ResolvedAnswer {
    fn from(Resolved { id, pfa_id, outcome, choices }: Resolved) -> Self {
        let outcome = match outcome {
            Outcome::Draft => "draft",
            Outcome::Committed => "committed",
            Outcome::Dropped => "dropped",
        };
        Self { id, pfa_id, outcome, resolution: choices }
    }
}

/// Resolves one conflict. A refused draft becomes a draft again on what is published now; a change
/// that was committed before is committed again.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/conflicts/{id}/resolve", tag = "conflicts", operation_id = "resolveConflict", request_body = ResolveBody,
    params(("org" = String, Path, description = "Code of the organization"), ("id" = Uuid, Path, description = "The conflict")),
    responses((status = 200, body = ResolvedAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn resolve_conflict(
    State(state): State<Shared>,
    Path((organization, id)): Path<(String, String)>,
    caller: Caller,
    mut parameters: Parameters,
    Json(body): Json<ResolveBody>,
) -> Result<JsonAnswer<ResolvedAnswer>, Problem> {
    let reason = read_text(&mut parameters, "reason", body.reason);
    let resolution = parameters.take(Resolution::read(&body.resolution, body.fields));
    let resolution = parameters.finish_edit(resolution)?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::from(crate::error::Error::ConflictNotFound))?;
    let resolved = state.service.resolve_conflict(&organization, &caller.0, id, &resolution, reason.as_deref()).await?;
    Ok(JsonAnswer(resolved.into()))
}

/// Which conflicts are resolved, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveManyBody {
    /// The parameters of the list as keys: session, stage, pfaId; a list repeats one. Or ids.
    #[schema(value_type = Object, example = json!({"session": "00000000-0000-4000-8000-000000000001", "stage": "commit"}))]
    pub select: Map<String, Value>,
    /// mine, theirs or fields.
    #[schema(example = "mine")]
    pub resolution: String,
    /// With `fields`: `mine`, `theirs` or `{"value": …}` for each field in conflict.
    #[schema(value_type = Option<Object>)]
    pub fields: Option<Map<String, Value>>,
    /// Why, for the history.
    pub reason: Option<String>,
}

/// What a resolution of many did.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResolvedManyAnswer {
    /// Conflicts that the selection matched.
    pub matched: usize,
    /// Resolved ones.
    pub resolved: Vec<ResolvedAnswer>,
    /// Those that were left alone, and why.
    pub refused: Vec<RefusedResolutionAnswer>,
}

/// A conflict that could not be resolved so.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedResolutionAnswer {
    /// Its id.
    pub id: Uuid,
    /// Its record.
    pub pfa_id: String,
    /// Every field at fault.
    pub errors: Vec<FieldError>,
}

impl From<RefusedResolution> for RefusedResolutionAnswer {
    fn from(RefusedResolution { id, pfa_id, faults }: RefusedResolution) -> Self {
        Self { id, pfa_id, errors: faults.into_iter().map(FieldError::from).collect() }
    }
}

/// Resolves all conflicts that a selection matches, in one transaction; those that cannot be resolved
/// so are listed and left alone.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/conflicts/resolve", tag = "conflicts", operation_id = "resolveConflicts", request_body = ResolveManyBody,
    params(("org" = String, Path, description = "Code of the organization")),
    responses((status = 200, body = ResolvedManyAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn resolve_conflicts(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    caller: Caller,
    mut parameters: Parameters,
    Json(body): Json<ResolveManyBody>,
) -> Result<JsonAnswer<ResolvedManyAnswer>, Problem> {
    let reason = read_text(&mut parameters, "reason", body.reason);
    let resolution = parameters.take(Resolution::read(&body.resolution, body.fields));
    let filter = read_selection(&mut parameters, body.select);
    let resolution = parameters.finish_edit(resolution)?;
    let many = state.service.resolve_conflicts(&organization, &caller.0, &filter, &resolution, reason.as_deref()).await?;
    Ok(JsonAnswer(ResolvedManyAnswer {
        matched: many.resolved.len() + many.refused.len(),
        resolved: many.resolved.into_iter().map(ResolvedAnswer::from).collect(),
        refused: many.refused.into_iter().map(RefusedResolutionAnswer::from).collect(),
    }))
}

fn read_filter(parameters: &mut Parameters) -> ConflictFilter {
    let stages = Stage::ALL.map(Stage::word);
    ConflictFilter {
        ids: Vec::new(),
        pfa_ids: parameters.all("pfaId"),
        session: parameters.read("session", "a session id (UUID)", |text| Uuid::try_parse(text).ok()),
        stage: parameters.choose("stage", &stages, |word| Stage::ALL.into_iter().find(|stage| stage.word() == word)),
    }
}

/// A selection says what it selects: nothing at all would be everything.
fn read_selection(faults: &mut Parameters, select: Map<String, Value>) -> ConflictFilter {
    if select.is_empty() {
        faults.refuse("select", "must have ids, session, stage or pfaId");
    }
    let mut inner = Parameters::of_object(select);
    let ids: Option<Vec<_>> = inner.all("ids").iter().map(|text| Uuid::try_parse(text).ok()).collect();
    if ids.is_none() {
        inner.refuse("ids", "must be ids of conflicts (UUID)");
    }
    let filter = ConflictFilter { ids: ids.unwrap_or_default(), ..read_filter(&mut inner) };
    faults.absorb("select", inner);
    filter
}
