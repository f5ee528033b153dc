//! Conditional answers: an ETag from the content, 304 when the client already has it.

use crate::domain::tag::tag_of;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A JSON answer with a strong ETag, or 304 without a body.
pub(super) fn tagged_json(request: &HeaderMap, body: String) -> Response {
    respond(request, &tag_of(&body), body)
}

/// A JSON answer whose ETag is weak: it stands for `meaning`, not for every byte of the body.
pub(super) fn weakly_tagged_json(request: &HeaderMap, meaning: &str, body: String) -> Response {
    respond(request, &format!("W/{}", tag_of(meaning)), body)
}

/// 304 when the client already has an answer that means this.
pub(super) fn not_modified(request: &HeaderMap, meaning: &str) -> Option<Response> {
    let tag = format!("W/{}", tag_of(meaning));
    has_tag(request, &tag).then(|| respond(request, &tag, String::new()))
}

fn respond(request: &HeaderMap, tag: &str, body: String) -> Response {
    let mut response = if has_tag(request, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    // Clients may keep the answer but must ask whether it still holds; it is one caller's reading.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static(super::extract::USER_HEADER));
    response
}

/// Weak comparison, as RFC 9110 has it for If-None-Match.
fn has_tag(request: &HeaderMap, tag: &str) -> bool {
    let strip = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|candidate| candidate.trim() == "*" || strip(candidate) == strip(tag))
}
