//! `GET /orgs/{org}/sync/pending`.

use crate::http::Shared;
use crate::http::extract::{Caller, Path};
use crate::http::list::{ListInfo, ListPage, ListParameters};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::pending::PendingWriteBack;
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of waiting write-backs.
#[derive(Debug, Serialize, ToSchema)]
pub struct PendingList {
    /// Oldest commit first.
    pub data: Vec<PendingAnswer>,
    /// Where the page stands.
    pub page: ListInfo,
}

/// A committed change that PEMS does not have yet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingAnswer {
    /// Its id.
    pub id: Uuid,
    /// The mirror row.
    pub mirror_id: Uuid,
    /// The record.
    pub pfa_id: String,
    /// The changed fields.
    #[schema(value_type = Object)]
    pub delta: Box<RawValue>,
    /// Their keys, sorted.
    pub modified_fields: Vec<String>,
    /// committed.
    pub sync_state: String,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: i32,
    /// Not before this.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// What went wrong the last time.
    pub last_error: Option<String>,
}

impl From<PendingWriteBack> for PendingAnswer {
    fn from(pending: PendingWriteBack) -> Self {
        let PendingWriteBack {
            id,
            mirror_id,
            pfa_id,
            delta,
            modified_fields,
            sync_state,
            committed_at,
            attempts,
            next_attempt_at,
            last_error,
        } = pending;
        Self { id, mirror_id, pfa_id, delta, modified_fields, sync_state, committed_at, attempts, next_attempt_at, last_error }
    }
}

/// Committed changes that wait for PEMS, in the order of their commits.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/sync/pending", tag = "sync", operation_id = "listPending",
    params(("org" = String, Path, description = "Code of the organization"), ListParameters),
    responses((status = 200, body = PendingList), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn list_pending(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    _: Caller,
    mut parameters: Parameters,
) -> Result<JsonAnswer<PendingList>, Problem> {
    let page = ListPage::read(&mut parameters, &format!("pending {organization:?}"));
    parameters.finish()?;
    let mut pending = state.service.list_pending(&organization, page.after, page.wanted()).await?;
    let info = page.cut(&mut pending, |pending| (pending.committed_at, pending.id));
    Ok(JsonAnswer(PendingList { data: pending.into_iter().map(PendingAnswer::from).collect(), page: info }))
}
