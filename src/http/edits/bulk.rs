//! `POST …/edits`: a selection of records × an operation.

use crate::domain::kpi::Split;
use crate::domain::operation::{MOST_DAYS, Operation};
use crate::domain::patch::read_patch;
use crate::error::Error;
use crate::http::Shared;
use crate::http::body::{Json, only_object};
use crate::http::extract::{Caller, Path};
use crate::http::number::serialize_decimal;
use crate::http::parameters::Parameters;
use crate::http::problem::{Problem, RefusedAnswer};
use crate::http::records::read_tree;
use crate::http::sessions::{read_sandbox, read_text};
use crate::service::edits::{BulkEdit, EditOutcome, MOST_RECORDS, Selection};
use axum::Json as JsonAnswer;
use axum::extract::State;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A bulk edit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditBody {
    /// Which records.
    #[serde(deserialize_with = "only_object")]
    pub select: SelectBody,
    /// What is done to them.
    #[serde(deserialize_with = "only_object")]
    pub operation: OperationBody,
    /// Why, for the history.
    pub reason: Option<String>,
    /// `skipInvalid` (default) leaves records alone that the rules forbid to edit so; `atomic` refuses all instead.
    #[schema(example = "skipInvalid")]
    pub mode: Option<String>,
    /// Report what would happen and change nothing.
    #[serde(default)]
    pub preview: bool,
}

/// Which records: by id, or all that the grid's filter matches in the sandbox.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectBody {
    /// Natural keys.
    pub pfa_ids: Option<Vec<String>>,
    /// The grid's parameters as keys, of which a list repeats one; or a tree, as `POST …/records/query` takes it.
    #[schema(value_type = Option<Object>, example = json!({"category": ["Lifting"], "overlaps": "2025-01-01..2025-12-31"}))]
    pub filter: Option<Map<String, Value>>,
}

/// An operation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationBody {
    /// `set` (`fields`), `shiftDates` (`days`; the forecast, of an actualized record only actualEnd),
    /// `setDuration` (`days`; forecastEnd = forecastStart + days) or `resetToPlan`.
    #[serde(rename = "type")]
    #[schema(example = "shiftDates")]
    pub kind: String,
    /// Fields to set; null clears.
    #[schema(value_type = Option<Object>)]
    pub fields: Option<Map<String, Value>>,
    /// Days to shift by, or of the duration.
    pub days: Option<i32>,
}

/// What a bulk edit did, or would do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditsAnswer {
    /// Records selected.
    pub matched: usize,
    /// Records whose draft changed.
    pub changed: usize,
    /// Records that were so already.
    pub unchanged: usize,
    /// Records that the rules forbid to edit so; left alone.
    pub refused: Vec<RefusedAnswer>,
    /// Ids that name no record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_found: Vec<String>,
    /// Whether nothing was changed.
    pub preview: bool,
    /// What the edit adds to the sandbox's KPIs.
    pub kpi_difference: KpiDifference,
}

/// Differences of KPIs: US dollars rounded to cents, and counts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KpiDifference {
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
    /// Records more, or less.
    pub record_count: i64,
    /// Of them actualized.
    pub actualized_count: i64,
}

impl KpiDifference {
    fn between(before: Split, after: Split) -> Self {
        let difference = (after - before).total();
        Self {
            plan_cost: difference.plan_cost,
            forecast_cost: difference.forecast_cost,
            actual_cost: difference.actual_cost,
            variance: difference.variance,
            record_count: difference.record_count,
            actualized_count: difference.actualized_count,
        }
    }
}

/// Edits many records of a sandbox at once: one transaction, one step to undo.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/sessions/{session}/edits", tag = "sandboxes", operation_id = "editRecords", request_body = EditBody,
    params(("org" = String, Path, description = "Code of the organization"), ("session" = Uuid, Path, description = "The session")),
    responses((status = 200, body = EditsAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The session was committed"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "The body or the selection is too large"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn edit_records(
    State(state): State<Shared>,
    Path((organization, session)): Path<(String, String)>,
    caller: Caller,
    parameters: Parameters,
    Json(body): Json<EditBody>,
) -> Result<JsonAnswer<EditsAnswer>, Problem> {
    let edit = read_edit(parameters, body)?;
    let sandbox = read_sandbox(organization, caller, &session)?;
    let EditOutcome { matched, changed, unchanged, refused, not_found, before, after } =
        state.service.edit_records(&sandbox, &edit).await?;
    let refused = refused.iter().map(RefusedAnswer::from).collect();
    let kpi_difference = KpiDifference::between(before, after);
    Ok(JsonAnswer(EditsAnswer { matched, changed, unchanged, refused, not_found, preview: edit.is_preview, kpi_difference }))
}

/// Reads the body, or tells every fault of it and of the parameters.
fn read_edit(mut faults: Parameters, body: EditBody) -> Result<BulkEdit, Problem> {
    // Counted first: the ids are not looked at any further.
    if body.select.pfa_ids.as_ref().is_some_and(|pfa_ids| pfa_ids.len() > MOST_RECORDS) {
        return Err(Error::SelectionTooLarge(MOST_RECORDS).into());
    }
    let reason = read_text(&mut faults, "reason", body.reason);
    let is_atomic = match body.mode.as_deref() {
        None | Some("skipInvalid") => false,
        Some("atomic") => true,
        Some(other) => {
            faults.refuse_value("mode", other, &["skipInvalid", "atomic"]);
            false
        }
    };
    let selection = read_selection(&mut faults, body.select);
    let operation = read_operation(&mut faults, body.operation);
    let (selection, operation) = faults.finish_edit(selection.zip(operation))?;
    Ok(BulkEdit { selection, operation, reason, is_atomic, is_preview: body.preview })
}

fn read_selection(faults: &mut Parameters, select: SelectBody) -> Option<Selection> {
    match (select.pfa_ids, select.filter) {
        (Some(pfa_ids), None) => Some(Selection::PfaIds(pfa_ids.into_iter().collect())),
        (None, Some(filter)) => Some(Selection::Filter(read_tree(faults, "select.filter", filter))),
        _ => {
            faults.refuse("select", "must have either pfaIds or filter");
            None
        }
    }
}

/// The fields that `set` sets are told as fields of the record.
fn read_operation(faults: &mut Parameters, operation: OperationBody) -> Option<Operation> {
    let most = format!("a whole number from -{MOST_DAYS} to {MOST_DAYS}");
    match (operation.kind.as_str(), operation.fields, operation.days) {
        ("set", Some(fields), None) => {
            let (patch, found) = read_patch(fields);
            faults.add(found);
            return Some(Operation::Set(patch));
        }
        ("set", _, _) => faults.refuse("operation.fields", "must be the fields to set, without days"),
        ("shiftDates", None, Some(days)) if days.unsigned_abs() <= MOST_DAYS.unsigned_abs() => return Some(Operation::ShiftDates(days)),
        ("shiftDates", _, _) => faults.refuse("operation.days", format!("must be {most}, without fields")),
        ("setDuration", None, Some(days)) if (0..=MOST_DAYS).contains(&days) => return Some(Operation::SetDuration(days)),
        ("setDuration", _, _) => faults.refuse("operation.days", format!("must be a whole number from 0 to {MOST_DAYS}, without fields")),
        ("resetToPlan", None, None) => return Some(Operation::ResetToPlan),
        ("resetToPlan", _, _) => faults.refuse("operation.type", "resetToPlan takes neither fields nor days"),
        (other, _, _) => faults.refuse_value("operation.type", other, &["set", "shiftDates", "setDuration", "resetToPlan"]),
    }
    None
}
