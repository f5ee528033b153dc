//! HTTP: routes, parameters, problems. Handlers extract, make one service call and respond; no SQL.

pub mod body;
pub mod changes;
pub mod commit;
pub mod conflicts;
pub mod docs;
pub mod edits;
pub mod etag;
pub mod extract;
pub mod health;
pub mod history;
pub mod kpis;
pub mod list;
pub mod number;
pub mod operations;
pub mod organizations;
pub mod parameters;
pub mod pending;
pub mod problem;
pub mod records;
pub mod router;
pub mod server;
pub mod sessions;
pub mod timeline;

use crate::service::PfaMirrorService;
use metrics_exporter_prometheus::PrometheusHandle;

/// What handlers work with.
#[derive(Clone)]
pub struct AppState {
    /// The service.
    pub service: PfaMirrorService,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
}
