//! `GET /orgs/{org}/records/export`.

use super::grid::{self, SelectionParameters};
use crate::http::Shared;
use crate::http::extract::{Caller, Path};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Version, header};
use axum::response::Response;
use futures_util::TryStreamExt as _;

/// All matching records of the merged grid, as a file.
///
/// They are sent while they are read. With `fields` a row has only these, without `_meta`; CSV has every
/// field of the dictionary otherwise. In CSV a text that a spreadsheet would run as a formula begins with a
/// quote. When the connection ends before the answer does, the file is not whole.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/records/export", tag = "records", operation_id = "exportRecords",
    params(("org" = String, Path, description = "Code of the organization"),
        ("format" = Option<String>, Query, description = "csv or ndjson, which is the default"), SelectionParameters),
    responses((status = 200, description = "The records", content((String = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Two exports are running"),
        (status = 505, body = Problem, content_type = "application/problem+json", description = "Asked over HTTP/1.0")))]
pub(in crate::http) async fn export_records(
    State(state): State<Shared>,
    Path(organization): Path<String>,
    caller: Caller,
    version: Version,
    parameters: Parameters,
) -> Result<Response, Problem> {
    if version < Version::HTTP_11 {
        return Err(Problem::http_version("an export needs HTTP/1.1: before it, an answer that was cut looks whole"));
    }
    let (query, format) = grid::read_export(organization, caller, parameters)?;
    let name = format!("attachment; filename=\"records.{}\"", format.word());
    let rows = state.service.export_records(query, format).await?;
    let mut response = Response::new(Body::from_stream(rows.inspect_err(|error| tracing::warn!(%error, "an export did not end well"))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(HeaderValue::try_from(name).map(|name| (header::CONTENT_DISPOSITION, name)));
    Ok(response)
}
