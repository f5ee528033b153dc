//! The OpenAPI document and the pages that show it. Every asset is in the binary.

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// What the document says beside the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "PFA Vanguard",
        description = "A fast mirror of PEMS equipment plans with private sandboxes, merged inside PostgreSQL.\n\nUnknown parameters and keys are errors. Errors are RFC 9457 problem+json with a stable `code`. Times are RFC 3339 UTC, dates YYYY-MM-DD, money is in US dollars. The header X-User-Id names the caller; without it the caller is `dev`."
    ),
    tags(
        (name = "organizations", description = "Whose plans are mirrored"),
        (name = "records", description = "Merged records: mirror, published changes, and a sandbox's own drafts"),
        (name = "summaries", description = "KPIs and timeline, exact at any moment"),
        (name = "sandboxes", description = "Private workspaces: open, edit, preview, undo, commit"),
        (name = "conflicts", description = "Changes that met others, field by field"),
        (name = "sync", description = "The way to PEMS"),
        (name = "operations", description = "Refresh, measure, look at the database, keep it in order"),
        (name = "health", description = "For operators and their tools"),
    )
)]
pub struct ApiDocument;

/// Adds what every route that works with the database may answer: the line before it is too long, the database is away, or
/// the body does not come.
pub(super) fn add_common_answers(document: &mut Document) {
    for (_, item) in document.paths.paths.iter_mut().filter(|(path, _)| path.starts_with("/api/")) {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let has_body = operation.request_body.is_some();
            let answers = &mut operation.responses.responses;
            answers
                .entry("503".into())
                .or_insert_with(|| problem("Too much to do, or the database is away; `Retry-After` says when to come back"));
            if has_body {
                answers.entry("408".into()).or_insert_with(|| problem("The body did not come in time"));
            }
        }
    }
}

fn problem(description: &str) -> RefOr<Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build().into()
}

/// `/openapi.json`, `/docs`, and the way there from `/`.
pub fn routes<S: Clone + Send + Sync + 'static>(document: &Document) -> Router<S> {
    // Without this the page would ask a validator on another host.
    let config = Config::default().validator_url("none");
    let ui = SwaggerUi::new("/docs").config(config).url("/openapi.json", document.clone());
    Router::new().merge(ui).route("/", get(async || Redirect::temporary("/docs/")))
}
