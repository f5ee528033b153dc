//! All routes, declared once: the same list makes the router and the OpenAPI document.

use crate::http::admission::{MAX_BODY_BYTES, admit};
use crate::http::problem::{Problem, render_problem};
use crate::http::sync::{dead_letters, pending, runs, start, write_back};
use crate::http::{
    AppState, Shared, changes, commit, conflicts, docs, edits, health, history, kpis, operations, organizations, records, sessions,
    timeline,
};
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::{DefaultOnFailure, TraceLayer};
use tracing::Level;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The header with the id of a request.
const REQUEST_ID: &str = "x-request-id";
/// Smallest answer that is compressed.
const LEAST_COMPRESSED_BYTES: u64 = 8 * 1024;
fn api() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(docs::ApiDocument::openapi())
        .routes(routes!(health::check_liveness))
        .routes(routes!(health::check_readiness))
        .routes(routes!(health::read_metrics))
        .routes(routes!(organizations::list_organizations))
        .routes(routes!(records::list_records))
        .routes(routes!(records::export::export_records))
        .routes(routes!(records::query::query_records))
        .routes(routes!(records::get_record))
        .routes(routes!(history::list_history))
        .routes(routes!(kpis::get_kpis))
        .routes(routes!(timeline::get_timeline))
        .routes(routes!(sessions::open_session, sessions::list_sessions))
        .routes(routes!(sessions::get_session, sessions::discard_session))
        .routes(routes!(edits::edit_record, edits::drop_draft))
        .routes(routes!(edits::edit_records))
        .routes(routes!(edits::undo_step))
        .routes(routes!(edits::redo_step))
        .routes(routes!(changes::list_changes))
        .routes(routes!(commit::commit_session))
        .routes(routes!(conflicts::list_conflicts))
        .routes(routes!(conflicts::resolve_conflict))
        .routes(routes!(conflicts::resolve_conflicts))
        .routes(routes!(pending::list_pending))
        .routes(routes!(dead_letters::list_dead_letters))
        .routes(routes!(dead_letters::retry_dead_letters))
        .routes(routes!(dead_letters::drop_dead_letters))
        .routes(routes!(start::start_run, runs::list_runs))
        .routes(routes!(runs::get_run))
        .routes(routes!(runs::cancel_run))
        .routes(routes!(write_back::get_write_back))
        .routes(routes!(write_back::pause_write_back))
        .routes(routes!(write_back::resume_write_back))
        .routes(routes!(operations::refresh::refresh_summaries, operations::refresh::list_refreshes))
        .routes(routes!(operations::analyze::analyze_queries))
        .routes(routes!(operations::database::inspect_database))
        .routes(routes!(operations::maintenance::run_maintenance))
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> Document {
    api_with_document().1
}

fn api_with_document() -> (Router<Shared>, Document) {
    let (router, mut document) = api().split_for_parts();
    docs::add_common_answers(&mut document);
    (router, document)
}

/// The whole service as one router.
pub fn router(state: AppState) -> Router {
    let (router, document) = api_with_document();
    let state = Arc::new(state);
    router
        .layer(middleware::from_fn_with_state(state.clone(), admit))
        .with_state(state)
        .merge(docs::routes(&document))
        .fallback(async || Problem::not_found("not_found", "this path leads nowhere"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(
            // From the outside in.
            ServiceBuilder::new()
                .map_request(keep_plain_answers_possible)
                .layer(compression())
                .map_request(check_request_id)
                .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
                // What a failure was is logged where it is known; a shed request is counted, not logged: they come in thousands.
                .layer(TraceLayer::new_for_http().make_span_with(request_span).on_failure(DefaultOnFailure::new().level(Level::DEBUG)))
                .map_response(render_problem)
                .layer(PropagateRequestIdLayer::x_request_id())
                .layer(middleware::from_fn(count_requests))
                .layer(CatchPanicLayer::custom(problem_of_panic))
                .layer(DefaultBodyLimit::max(MAX_BODY_BYTES)),
        )
}

/// For clients that ask for it. At the fastest level zstd takes 1.1 ms a megabyte and leaves 11 %, br 1.8 and 15 %, gzip 2.4 and 19 % (of
/// 5,000 rows, 3.7 MB, which take 30 ms on a line of 1 Gbit/s); below the size of some packets there is nothing to gain. A strong tag
/// stands for the very bytes, so what has one is left as it is.
fn compression() -> CompressionLayer<impl Predicate> {
    let has_no_strong_tag = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        headers.get(header::ETAG).is_none_or(|tag| tag.as_bytes().starts_with(b"W/"))
    };
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(LEAST_COMPRESSED_BYTES).and(has_no_strong_tag))
}

/// A client that refuses plain answers would get 406 for work that was done. It gets a plain one.
fn keep_plain_answers_possible(mut request: Request) -> Request {
    let is_refusal = |item: &str| item.rsplit_once("q=").is_some_and(|(_, weight)| weight.trim().parse() == Ok(0.0));
    let refuses = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.split(',').any(is_refusal));
    if request.headers().get_all(header::ACCEPT_ENCODING).iter().any(refuses) {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    request
}

fn request_span(request: &Request) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
}

/// Clients may invent methods; metrics must not grow with them.
fn method_label(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|name| method.as_str() == *name).unwrap_or("other")
}

/// Takes away a request id of the client that could not be repeated in answers and logs; then a new one is made.
fn check_request_id(mut request: Request) -> Request {
    let is_good = |value: &HeaderValue| value.to_str().is_ok_and(|text| (1..=128).contains(&text.trim().len()));
    if request.headers().get(REQUEST_ID).is_some_and(|value| !is_good(value)) {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

/// Counts and times requests by route, never by raw path.
async fn count_requests(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = method_label(request.method());
    let started = Instant::now();
    let response = next.run(request).await;
    let labels = [("method", method.to_owned()), ("route", route), ("status", response.status().as_u16().to_string())];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_duration_seconds", &labels).record(started.elapsed());
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands over the box")]
fn problem_of_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = message.unwrap_or("no message"), "a handler panicked");
    Problem::internal().into_response()
}
