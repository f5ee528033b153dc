//! `GET /orgs/{org}/records`, `…/records/{pfaId}`, `…/records/export` and `POST …/records/query`.

pub(super) mod export;
mod filter_model;
mod grid;
pub(super) mod query;
mod row_model;
mod tree;

pub use grid::{PageParameters, SelectionParameters};
pub(super) use tree::read_tree;

use crate::error::Error;
use crate::http::Shared;
use crate::http::etag::{not_modified, tagged_json, weakly_tagged_json};
use crate::http::extract::{Caller, Path};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::Reader;
use crate::service::records::{CountKind, Page, PageQuery, ReadingState};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of merged records.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordPage {
    /// The rows.
    pub data: Vec<MergedRecord>,
    /// Where the page stands.
    pub page: PageInfo,
}

/// A merged record: the keys of the dictionary, unknown keys of PEMS, and `_meta`.
#[derive(Debug, Serialize, ToSchema)]
pub struct MergedRecord {
    /// What the service knows about the row.
    #[serde(rename = "_meta")]
    pub meta: RecordMeta,
    /// The record's own keys.
    #[serde(flatten)]
    pub record: BTreeMap<String, Value>,
}

/// What the service knows about a row.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordMeta {
    /// Id of the mirror row.
    pub id: Uuid,
    /// Version of the mirror row; it grows only when its data changes.
    pub version: i64,
    /// `pristine`, `draft`, `committed`, `syncing`, `conflict` or `failed`.
    #[schema(example = "pristine")]
    pub sync_state: String,
    /// Keys that modifications change, sorted.
    pub modified_fields: Vec<String>,
    /// Who made the modification that gives the state.
    pub modified_by: Option<String>,
    /// When.
    pub modified_at: Option<DateTime<Utc>>,
}

/// Where a page stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageInfo {
    /// At most so many rows.
    pub limit: u32,
    /// Pass it as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
    /// Number of matching records, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// How it was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_kind: Option<&'static str>,
}

/// A page of the merged grid.
///
/// Published records; with `session` the sandbox's own drafts on top. Filters, order and count act
/// on the merged values. Discontinued records are hidden unless asked for.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/records", tag = "records", operation_id = "listRecords",
    params(("org" = String, Path, description = "Code of the organization"), SelectionParameters, PageParameters),
    responses((status = 200, body = RecordPage), (status = 304, description = "The client has this page"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn list_records(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    caller: Caller,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let query = grid::read_page_query(organization, caller, parameters)?;
    // A client that has a page already costs a look at three small rows.
    if headers.contains_key(header::IF_NONE_MATCH)
        && let Some(meaning) = meaning(&query, state.service.find_state(&query.reader).await?)
        && let Some(answer) = not_modified(&headers, &meaning)
    {
        return Ok(answer);
    }
    let page = state.service.list_records(&query).await?;
    let meaning = meaning(&query, page.state);
    let body = page_json(&query, page);
    Ok(match meaning {
        Some(meaning) => weakly_tagged_json(&headers, &meaning, body),
        None => weakly_tagged_json(&headers, &body.clone(), body),
    })
}

/// What a page means: the question, what it was asked of, and how this version writes it. An estimated count changes with the planner's
/// statistics, which have no number.
fn meaning(query: &PageQuery, state: ReadingState) -> Option<String> {
    (query.count != CountKind::Estimated).then(|| format!("{} {query:?} {state:?}", env!("CARGO_PKG_VERSION")))
}

/// Rows are JSON text already; only the page's own fields are serialised. A large page moves within its memory instead of
/// asking for as much again.
fn page_json(query: &PageQuery, page: Page) -> String {
    let info = PageInfo {
        limit: query.limit,
        next_cursor: page.next.map(|cursor| cursor.encode()),
        count: page.count,
        count_kind: (query.count != CountKind::None).then(|| query.count.word()),
    };
    let mut body = page.rows;
    body.insert_str(0, "{\"data\":");
    body.push_str(",\"page\":");
    body.push_str(&serde_json::to_string(&info).unwrap_or_default());
    body.push('}');
    body
}

/// One merged record.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/records/{pfaId}", tag = "records", operation_id = "getRecord",
    params(("org" = String, Path, description = "Code of the organization"), ("pfaId" = String, Path, description = "Natural key of the record"),
        ("session" = Option<Uuid>, Query, description = "Read inside this sandbox of the caller")),
    responses((status = 200, body = MergedRecord), (status = 304, description = "The client has this record"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn get_record(
    State(state): State<Shared>,
    Path((organization, pfa_id)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let reader = read_reader(organization, caller, &mut parameters);
    parameters.finish()?;
    let record = state.service.find_record(&reader, &pfa_id).await?;
    let record = record.ok_or(Error::RecordNotFound(pfa_id))?;
    Ok(tagged_json(&headers, record))
}

/// Who reads and in which sandbox; every reading route takes `session`.
pub(super) fn read_reader(organization: String, caller: Caller, parameters: &mut Parameters) -> Reader {
    let session = parameters.read("session", "a session id (UUID)", |text| Uuid::try_parse(text).ok());
    Reader { organization, user: caller.0, session }
}
