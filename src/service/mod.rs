//! `PfaMirrorService`: everything that can be asked of the mirror, its sandboxes and summaries.
//! Its `impl` is split by noun, a file each. All SQL of the service stands in this folder and in
//! the migrations; nothing here knows HTTP.

pub mod analyze;
pub mod changes;
pub mod commit;
pub mod conflicts;
pub mod database;
pub mod demo;
mod editions;
pub mod edits;
pub mod history;
pub mod ingest;
pub mod kpis;
pub mod maintenance;
mod names;
pub mod organizations;
pub mod pending;
mod publication;
pub mod readiness;
pub mod records;
pub mod refresh;
pub mod sessions;
pub mod sync;
pub mod timeline;
pub mod write_back;

use crate::db::pool::summaries_beside;
use crate::db::ready::ReadyConnections;
use editions::Editions;
use kpis::Kpis;
use names::RecordNames;
use records::crowds::Crowds;
use records::rows::RowMarks;
use records::texts::RecordTexts;
use sqlx::PgPool;
use std::sync::Arc;
use timeline::Timeline;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// So many transactions of the write-back are open at once.
const WRITERS: usize = 2;
/// So many exports run at once, and never on more than half of the connections: each holds one as long as its
/// client takes.
const EXPORTERS: usize = 2;

/// The service: cheap to clone, safe to share.
#[derive(Debug, Clone)]
pub struct PfaMirrorService {
    pool: PgPool,
    /// For the published KPIs and timelines.
    summaries: ReadyConnections,
    /// KPIs and timelines that were computed already.
    kpis: Arc<Editions<Kpis>>,
    timelines: Arc<Editions<Timeline>>,
    /// Texts of records that were read lately.
    texts: Arc<RecordTexts>,
    /// Whose overlays have thousands of rows.
    crowds: Arc<Crowds>,
    /// Which record has which pfaId.
    names: Arc<RecordNames>,
    /// What is kept of one block of a grid for the next.
    marks: Arc<RowMarks>,
    /// Places for transactions of the write-back: while they wait for an organization's lock, which a load
    /// can hold for long, most connections are left to readers.
    writers: Arc<Semaphore>,
    /// Places for exports.
    exporters: Arc<Semaphore>,
    /// The place for maintenance.
    maintainers: Arc<Semaphore>,
    /// Work that a request has started and nobody waits for.
    background: TaskTracker,
    /// Tells long background work to end.
    stopping: CancellationToken,
}

/// So many bytes of records' texts are remembered, unless it is said otherwise.
const TEXT_MEMORY: usize = 32 * 1024 * 1024;

impl PfaMirrorService {
    /// A service on a migrated database. Call it within a runtime: a second, small pool is opened
    /// beside the one given, a quarter of its size.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        let summaries = summaries_beside(&pool);
        let half = pool.options().get_max_connections() as usize / 2;
        let [writers, exporters, maintainers] = [WRITERS, EXPORTERS.min(half).max(1), 1].map(|places| Arc::new(Semaphore::new(places)));
        Self {
            pool,
            summaries,
            kpis: Arc::default(),
            timelines: Arc::default(),
            texts: Arc::new(RecordTexts::new(TEXT_MEMORY)),
            crowds: Arc::new(Crowds::new(false)),
            names: Arc::default(),
            marks: Arc::default(),
            writers,
            exporters,
            maintainers,
            background: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// Remembers texts of records of so many bytes altogether, so that pages that are asked for again are read
    /// without them; with 0 nothing is remembered.
    #[must_use]
    pub fn with_text_memory(mut self, bytes: usize) -> Self {
        self.texts = Arc::new(RecordTexts::new(bytes));
        self
    }

    /// Reads every page that can be as one of which drafts are nearly all, for tests that compare: the pages are the same.
    #[must_use]
    pub fn with_crowds_everywhere(mut self) -> Self {
        self.crowds = Arc::new(Crowds::new(true));
        self
    }

    /// Whether the service is being closed.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Tells long work to end soon.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Stops background work and waits for it, then closes the connections of the service.
    pub async fn close(&self) {
        self.stopping.cancel();
        self.background.close();
        self.background.wait().await;
        self.summaries.close().await;
        self.pool.close().await;
    }
}

/// Who reads, where, and in which sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Code of the organization.
    pub organization: String,
    /// The caller.
    pub user: String,
    /// The caller's sandbox; without one the reading is what is published.
    pub session: Option<Uuid>,
}
