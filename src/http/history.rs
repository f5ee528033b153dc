//! `GET /orgs/{org}/records/{pfaId}/history`.

use crate::http::Shared;
use crate::http::extract::{Caller, Path};
use crate::http::list::{ListInfo, ListPage, ListParameters};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::history::HistoryEntry;
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of a record's history.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryList {
    /// Newest first.
    pub data: Vec<HistoryAnswer>,
    /// Where the page stands.
    pub page: ListInfo,
}

/// One published change, or the resolution of a conflict.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryAnswer {
    /// Version of the mirror row: the one that a session's change was made on, or that a sync or import made.
    pub version: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: String,
    /// session, sync or import.
    pub source: String,
    /// The session, or the run of the sync or import.
    pub source_id: Option<Uuid>,
    /// Why.
    pub reason: Option<String>,
    /// What changed for everybody; nothing when a draft's conflict was resolved.
    pub fields: Vec<FieldHistory>,
    /// For the resolution of a conflict, what was chosen for each field: mine, theirs or value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Map<String, Value>>,
}

/// What a field was and became.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldHistory {
    /// Its key.
    pub field: String,
    /// What it was.
    pub from: Value,
    /// What it became.
    pub to: Value,
}

impl From<HistoryEntry> for HistoryAnswer {
    fn from(mut entry: HistoryEntry) -> Self {
        let keys: BTreeSet<String> = entry.before.keys().chain(entry.after.keys()).cloned().collect();
        let fields = keys.into_iter().map(|field| FieldHistory {
            from: entry.before.remove(&field).unwrap_or_default(),
            to: entry.after.remove(&field).unwrap_or_default(),
            field,
        });
        Self {
            fields: fields.collect(),
            version: entry.version,
            at: entry.at,
            by: entry.by,
            source: entry.source,
            source_id: entry.source_id,
            reason: entry.reason,
            resolution: entry.resolution,
        }
    }
}

/// Every published change of a record: who, when, why, from what to what.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/records/{pfaId}/history", tag = "records", operation_id = "listHistory",
    params(("org" = String, Path, description = "Code of the organization"), ("pfaId" = String, Path, description = "Natural key of the record"), ListParameters),
    responses((status = 200, body = HistoryList), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list_history(
    State(state): State<Shared>,
    Path((organization, pfa_id)): Path<(String, String)>,
    _: Caller,
    mut parameters: Parameters,
) -> Result<JsonAnswer<HistoryList>, Problem> {
    let page = ListPage::read(&mut parameters, &format!("history {organization:?} {pfa_id:?}"));
    parameters.finish()?;
    let mut entries = state.service.list_history(&organization, &pfa_id, page.after, page.wanted()).await?;
    let info = page.cut(&mut entries, |entry| (entry.at, entry.id));
    Ok(JsonAnswer(HistoryList { data: entries.into_iter().map(HistoryAnswer::from).collect(), page: info }))
}
