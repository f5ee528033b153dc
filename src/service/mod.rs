//! `PfaMirrorService`: everything that can be asked of the mirror, its sandboxes and summaries.
//! Its `impl` is split by noun, a file each. All SQL of the service stands in this folder and in
//! the migrations; nothing here knows HTTP.

pub mod analyze;
pub mod demo;
pub mod ingest;
pub mod kpis;
pub mod organizations;
pub mod readiness;
pub mod records;
pub mod refresh;
pub mod sync_log;
pub mod timeline;

use sqlx::PgPool;
use uuid::Uuid;

/// The service: cheap to clone, safe to share.
#[derive(Debug, Clone)]
pub struct PfaMirrorService {
    pool: PgPool,
}

impl PfaMirrorService {
    /// A service on a migrated database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
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
