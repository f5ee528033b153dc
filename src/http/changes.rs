//! `GET /orgs/{org}/sessions/{session}/changes`.

use crate::domain::conflict::Comparison;
use crate::domain::cost::round_to_cents;
use crate::http::Shared;
use crate::http::extract::{Caller, Path};
use crate::http::list::{ListInfo, ListPage, ListParameters};
use crate::http::number::serialize_decimal;
use crate::http::parameters::Parameters;
use crate::http::problem::{FieldError, Problem};
use crate::http::sessions::read_sandbox;
use crate::service::changes::{Change, Costs};
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A page of changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeList {
    /// By pfaId.
    pub data: Vec<ChangeAnswer>,
    /// Where the page stands.
    pub page: ListInfo,
}

/// The change of one record.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeAnswer {
    /// The record.
    pub pfa_id: String,
    /// draft or conflict.
    pub sync_state: String,
    /// Why it was made.
    pub reason: Option<String>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
    /// Whether a commit now would publish it: no field is in conflict and the merge breaks no rule.
    pub would_merge: bool,
    /// Every changed field.
    pub fields: Vec<FieldChange>,
    /// Rules that the merge with what is published would break.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What the change adds to the costs of the record as published.
    pub cost_difference: CostDifference,
}

/// A changed field.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldChange {
    /// Its key.
    pub field: String,
    /// What it was when the sandbox first touched it.
    pub base: Value,
    /// What the sandbox makes of it.
    pub ours: Value,
    /// What is published now.
    pub theirs: Value,
    /// Whether a person must decide.
    pub conflict: bool,
}

/// Differences of costs in US dollars, rounded to cents.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CostDifference {
    /// By original dates.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub plan_cost: Decimal,
    /// By forecast dates.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub forecast_cost: Decimal,
    /// By actual dates.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub actual_cost: Decimal,
    /// Of forecast − plan.
    #[serde(serialize_with = "serialize_decimal")]
    #[schema(value_type = f64)]
    pub variance: Decimal,
}

impl CostDifference {
    fn between(before: Costs, after: Costs) -> Self {
        let (plan, forecast) = (after.plan - before.plan, after.forecast - before.forecast);
        Self {
            plan_cost: round_to_cents(plan),
            forecast_cost: round_to_cents(forecast),
            actual_cost: round_to_cents(after.actual - before.actual),
            variance: round_to_cents(forecast - plan),
        }
    }
}

impl From<Change> for ChangeAnswer {
    fn from(change: Change) -> Self {
        let would_merge = change.faults.is_empty() && !change.fields.iter().any(|field| field.conflict);
        let field = |Comparison { field, base, ours, theirs, conflict }| FieldChange { field, base, ours, theirs, conflict };
        Self {
            pfa_id: change.pfa_id,
            sync_state: change.sync_state,
            reason: change.reason,
            updated_at: change.updated_at,
            would_merge,
            fields: change.fields.into_iter().map(field).collect(),
            errors: change.faults.into_iter().map(FieldError::from).collect(),
            cost_difference: CostDifference::between(change.before, change.after),
        }
    }
}

/// What the sandbox would change: base, ours and theirs of every changed field, whether it would
/// merge, and what it costs.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/sessions/{session}/changes", tag = "sandboxes", operation_id = "listChanges",
    params(("org" = String, Path, description = "Code of the organization"), ("session" = Uuid, Path, description = "The session"), ListParameters),
    responses((status = 200, body = ChangeList), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list_changes(
    State(state): State<Shared>,
    Path((organization, session)): Path<(String, String)>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<JsonAnswer<ChangeList>, Problem> {
    let page = ListPage::<String>::read(&mut parameters, &format!("changes {organization:?} {session:?}"));
    parameters.finish()?;
    let sandbox = read_sandbox(organization, caller, &session)?;
    let mut changes = state.service.list_changes(&sandbox, page.after.as_deref(), page.wanted()).await?;
    let info = page.cut(&mut changes, |change| change.pfa_id.clone());
    Ok(JsonAnswer(ChangeList { data: changes.into_iter().map(ChangeAnswer::from).collect(), page: info }))
}
