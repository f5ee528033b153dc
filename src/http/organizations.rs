//! `GET /orgs`.

use crate::http::Shared;
use crate::http::etag::weakly_tagged_json;
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
    /// When the last reading from PEMS, or import, ended well; some records by hand, or a comparison, are none.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// How long ago that was, in seconds.
    pub last_sync_age_seconds: Option<i64>,
    /// When its summaries were last refreshed.
    pub last_refresh_at: Option<DateTime<Utc>>,
}

/// Organizations with record counts, last sync and last refresh.
#[utoipa::path(get, path = "/api/v1/orgs", tag = "organizations", operation_id = "listOrganizations",
    responses((status = 200, body = OrganizationList), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list_organizations(
    State(state): State<Shared>,
    _: Caller,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish()?;
    let organizations = state.service.list_organizations().await?;
    let list = |now: Option<DateTime<Utc>>| {
        let data = organizations.iter().map(|organization| OrganizationOverview {
            code: organization.code.clone(),
            name: organization.name.clone(),
            record_count: organization.record_count,
            last_sync_at: organization.last_sync_at,
            last_sync_age_seconds: now.zip(organization.last_sync_at).map(|(now, at)| (now - at).num_seconds().max(0)),
            last_refresh_at: organization.last_refresh_at,
        });
        serde_json::to_string(&OrganizationList { data: data.collect() }).unwrap_or_default()
    };
    // Ages grow by themselves, so the tag leaves them out.
    Ok(weakly_tagged_json(&headers, &list(None), list(Some(Utc::now()))))
}
