//! HTTP: routes, parameters, problems. Handlers extract, make one service call and respond; no SQL.

pub mod admission;
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
pub mod problem;
pub mod records;
pub mod router;
pub mod server;
pub mod sessions;
pub mod sync;
pub mod timeline;

use crate::http::admission::Admission;
use crate::pems::PemsClient;
use crate::service::PfaMirrorService;
use crate::service::write_back::WriteBackOptions;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;

/// What handlers work with; one pointer, because every layer of a route copies it for each request.
pub(crate) type Shared = Arc<AppState>;

/// The parts of it.
pub struct AppState {
    /// The service.
    pub service: PfaMirrorService,
    /// Who may work with it at once.
    pub admission: Admission,
    /// PEMS, unless it is off.
    pub pems: Option<PemsClient>,
    /// How many per cent of an organization's records a full sync may find vanished, unless it is told otherwise.
    pub most_vanished_percent: u32,
    /// How changes are written back.
    pub write_back: WriteBackOptions,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
}
