//! `POST /orgs/{org}/records/query`: rows as a grid's row model asks for them.

use super::row_model::{QueryBody, read_row_query};
use crate::http::Shared;
use crate::http::body::Json;
use crate::http::extract::{Caller, Path};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::records::rows::RowBlock;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Some rows of a grid.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryAnswer {
    /// Records as in the merged page; or groups, with the keys that lead to them, their figures under the keys of the value columns,
    /// and `_group` (`level`, `recordCount`).
    pub rows: Vec<BTreeMap<String, Value>>,
    /// How many rows there are at this level.
    pub row_count: i64,
    /// What all records of the filter amount to, whatever is opened and shown: `recordCount`, and the figures.
    pub grand_totals: BTreeMap<String, Value>,
    /// What the answer is of: blocks of one scroll belong together while this stays the same.
    pub moment: String,
}

/// Rows of a grid, from one number to another.
///
/// What a server-side row model asks for (AG Grid's requests are taken as they are): groups until all of them are opened, then records.
/// A filter can be a tree (`and`, `or`, `not` over the grid's parameters and over comparisons) or a filter model, and both together.
/// Rows, their number and the totals are of one moment.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/records/query", tag = "records", operation_id = "queryRecords", request_body = QueryBody,
    params(("org" = String, Path, description = "Code of the organization"),
        ("session" = Option<Uuid>, Query, description = "Read inside this sandbox of the caller; also a key of the body")),
    responses((status = 200, body = QueryAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn query_records(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    caller: Caller,
    parameters: Parameters,
    Json(body): Json<QueryBody>,
) -> Result<Response, Problem> {
    let query = read_row_query(organization, caller, parameters, body)?;
    let RowBlock { rows, row_count, grand_totals, moment } = state.service.query_rows(&query).await?;
    let body = format!("{{\"rows\":{rows},\"rowCount\":{row_count},\"grandTotals\":{grand_totals},\"moment\":\"{moment}\"}}");
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
