//! The OpenAPI document and the pages that show it. Every asset is in the binary.

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
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
        (name = "operations", description = "Refresh and measure"),
        (name = "health", description = "For operators and their tools"),
    )
)]
pub struct ApiDocument;

/// `/openapi.json`, `/docs`, and the way there from `/`.
pub fn routes<S: Clone + Send + Sync + 'static>(document: &Document) -> Router<S> {
    // Without this the page would ask a validator on another host.
    let config = Config::default().validator_url("none");
    let ui = SwaggerUi::new("/docs").config(config).url("/openapi.json", document.clone());
    Router::new().merge(ui).route("/", get(async || Redirect::temporary("/docs/")))
}
