//! `GET /ops/database`.

use super::maintenance::MaintenanceAnswer;
use crate::http::Shared;
use crate::http::extract::Caller;
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::service::database::{DatabaseReport, IndexReport, PoolReport, TableReport};
use axum::Json as JsonAnswer;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// The database as it is now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseAnswer {
    /// Version of PostgreSQL.
    pub version: String,
    /// Bytes of the whole database.
    pub bytes: i64,
    /// Per cent of the blocks that were found in PostgreSQL's memory since its statistics began.
    pub cache_hit_percent: Option<f64>,
    /// Connections to this database, of all processes.
    pub connections: i64,
    /// So many connections the server allows.
    pub most_connections: i64,
    /// Connections of this process: of requests and work, and of the published summaries.
    pub pools: PoolsAnswer,
    /// When the summaries were last refreshed.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// How many seconds ago that was.
    pub refresh_age_seconds: Option<i64>,
    /// The last run of each maintenance task.
    pub maintenance: Vec<MaintenanceAnswer>,
    /// Tables and summaries, the largest first.
    pub tables: Vec<TableAnswer>,
    /// Indexes, the largest first.
    pub indexes: Vec<IndexAnswer>,
}

/// Connections of this process.
#[derive(Debug, Serialize, ToSchema)]
pub struct PoolsAnswer {
    /// Of requests and work.
    pub main: PoolAnswer,
    /// Of the published summaries.
    pub summaries: PoolAnswer,
}

/// Connections of one pool.
#[derive(Debug, Serialize, ToSchema)]
pub struct PoolAnswer {
    /// Open ones.
    pub open: u32,
    /// Of them idle ones.
    pub idle: u32,
    /// So many there may be.
    pub most: u32,
}

/// A table or a summary.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableAnswer {
    /// Its name.
    pub name: String,
    /// Rows, as PostgreSQL estimates them.
    pub rows: i64,
    /// Rows that were deleted or replaced and still take room.
    pub dead_rows: i64,
    /// Bytes of the rows.
    pub bytes: i64,
    /// Bytes of values that are kept beside the rows.
    pub toast_bytes: i64,
    /// Bytes of the indexes.
    pub index_bytes: i64,
    /// When it was last vacuumed, by whomever.
    pub vacuumed_at: Option<DateTime<Utc>>,
    /// When its rows were last counted for the planner.
    pub analyzed_at: Option<DateTime<Utc>>,
}

/// An index.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IndexAnswer {
    /// Its name.
    pub name: String,
    /// The table.
    pub table: String,
    /// Its size.
    pub bytes: i64,
    /// How often it was read since PostgreSQL's statistics began.
    pub scans: i64,
    /// Whether it is complete; one that is not is never read: `reindex` drops what was left of it.
    pub valid: bool,
}

impl From<PoolReport> for PoolAnswer {
    fn from(PoolReport { open, idle, most }: PoolReport) -> Self {
        Self { open, idle, most }
    }
}

impl From<TableReport> for TableAnswer {
    fn from(table: TableReport) -> Self {
        let TableReport { name, rows, dead_rows, bytes, toast_bytes, index_bytes, vacuumed_at, analyzed_at } = table;
        Self { name, rows, dead_rows, bytes, toast_bytes, index_bytes, vacuumed_at, analyzed_at }
    }
}

impl From<IndexReport> for IndexAnswer {
    fn from(IndexReport { name, table, bytes, scans, is_valid }: IndexReport) -> Self {
        Self { name, table, bytes, scans, valid: is_valid }
    }
}

/// Sizes, use of indexes, dead rows, connections, the age of the summaries and the last maintenance.
#[utoipa::path(get, path = "/api/v1/ops/database", tag = "operations", operation_id = "inspectDatabase",
    responses((status = 200, body = DatabaseAnswer), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(in crate::http) async fn inspect_database(
    State(state): State<Shared>,
    _: Caller,
    parameters: Parameters,
) -> Result<JsonAnswer<DatabaseAnswer>, Problem> {
    parameters.finish()?;
    let report = state.service.inspect_database().await?;
    let refreshed_at = state.service.check_readiness().await?.refreshed_at;
    let maintenance = state.service.list_maintenance().await?;
    let [main, summaries] = state.service.inspect_pools().map(PoolAnswer::from);
    let DatabaseReport { version, bytes, cache_hit_percent, connections, most_connections, tables, indexes } = report;
    Ok(JsonAnswer(DatabaseAnswer {
        version,
        bytes,
        cache_hit_percent: cache_hit_percent.map(|percent| (percent * 100.0).round() / 100.0),
        connections,
        most_connections,
        pools: PoolsAnswer { main, summaries },
        refreshed_at,
        refresh_age_seconds: refreshed_at.map(|at| (Utc::now() - at).num_seconds().max(0)),
        maintenance: maintenance.into_iter().map(MaintenanceAnswer::from).collect(),
        tables: tables.into_iter().map(TableAnswer::from).collect(),
        indexes: indexes.into_iter().map(IndexAnswer::from).collect(),
    }))
}
