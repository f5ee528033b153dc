//! `GET /orgs`.

use crate::http::AppState;
use crate::http::etag::tagged_json;
use crate::http::extract::Caller;
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// The organizations that the caller may see.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrganizationList {
    /// By code.
    pub data: Vec<OrganizationOverview>,
}

/// An organization in the overview.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationOverview {
    /// Its code, as it stands in paths.
    #[schema(example = "HOLNG")]
    pub code: String,
    /// Its name.
    pub name: String,
    /// Published records that are not discontinued, as of the last refresh.
    pub record_count: i64,
    /// When the last sync or import ended well.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// When its summaries were last refreshed.
    pub last_refresh_at: Option<DateTime<Utc>>,
}

/// Organizations with record counts, last sync and last refresh.
#[utoipa::path(get, path = "/api/v1/orgs", tag = "organizations", operation_id = "listOrganizations",
    responses((status = 200, body = OrganizationList), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list_organizations(
    State(state): State<AppState>,
    _: Caller,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish()?;
    let data = state.service.list_organizations().await?.into_iter().map(|organization| OrganizationOverview {
        code: organization.code,
        name: organization.name,
        record_count: organization.record_count,
        last_sync_at: organization.last_sync_at,
        last_refresh_at: organization.last_refresh_at,
    });
    let list = OrganizationList { data: data.collect() };
    Ok(tagged_json(&headers, serde_json::to_string(&list).unwrap_or_default()))
}
