//! What an operator wants to know of the database: sizes, use of indexes, dead rows, connections. What is
//! dropped while they are looked at, as `reindex` does with the old index, has no size.

use crate::error::Result;
use crate::service::PfaMirrorService;
use chrono::{DateTime, Utc};

/// The database as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseReport {
    /// Version of PostgreSQL.
    pub version: String,
    /// Bytes of the whole database.
    pub bytes: i64,
    /// Per cent of the blocks that were found in PostgreSQL's memory since its statistics began; none before the first.
    pub cache_hit_percent: Option<f64>,
    /// Connections to this database, of all processes.
    pub connections: i64,
    /// So many connections the server allows.
    pub most_connections: i64,
    /// Tables and summaries, the largest first.
    pub tables: Vec<TableReport>,
    /// Indexes, the largest first.
    pub indexes: Vec<IndexReport>,
}

/// A table or a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexReport {
    /// Its name.
    pub name: String,
    /// The table.
    pub table: String,
    /// Its size.
    pub bytes: i64,
    /// How often it was read since the statistics began.
    pub scans: i64,
    /// Whether it is complete; one that is not is never read.
    pub is_valid: bool,
}

/// Connections of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolReport {
    /// Open ones.
    pub open: u32,
    /// Of them idle ones.
    pub idle: u32,
    /// So many there may be.
    pub most: u32,
}

impl PfaMirrorService {
    /// Looks at the database as a whole.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn inspect_database(&self) -> Result<DatabaseReport> {
        let whole = sqlx::query!(
            r#"
            select current_setting('server_version') as "version!", pg_database_size(datname) as "bytes!",
                   100.0::float8 * blks_hit / nullif(blks_hit + blks_read, 0) as cache_hit_percent,
                   numbackends::bigint as "connections!", current_setting('max_connections')::bigint as "most_connections!"
              from pg_stat_database
             where datname = current_database()
            "#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(DatabaseReport {
            version: whole.version,
            bytes: whole.bytes,
            cache_hit_percent: whole.cache_hit_percent,
            connections: whole.connections,
            most_connections: whole.most_connections,
            tables: self.inspect_tables().await?,
            indexes: self.inspect_indexes().await?,
        })
    }

    async fn inspect_tables(&self) -> Result<Vec<TableReport>> {
        let tables = sqlx::query_as!(
            TableReport,
            r#"
            select s.relname::text as "name!", greatest(s.n_live_tup, c.reltuples::bigint, 0) as "rows!", s.n_dead_tup as "dead_rows!",
                   coalesce(pg_relation_size(c.oid), 0) as "bytes!",
                   coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) as "toast_bytes!",
                   coalesce(pg_indexes_size(c.oid), 0) as "index_bytes!", greatest(s.last_vacuum, s.last_autovacuum) as vacuumed_at,
                   greatest(s.last_analyze, s.last_autoanalyze) as analyzed_at
              from pg_stat_user_tables s
              join pg_class c on c.oid = s.relid
             where s.schemaname = current_schema()
             order by pg_total_relation_size(c.oid) desc nulls last, s.relname
            "#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(tables)
    }

    async fn inspect_indexes(&self) -> Result<Vec<IndexReport>> {
        let indexes = sqlx::query_as!(
            IndexReport,
            r#"
            select s.indexrelname::text as "name!", s.relname::text as "table!", coalesce(pg_relation_size(s.indexrelid), 0) as "bytes!",
                   s.idx_scan as "scans!", i.indisvalid as "is_valid!"
              from pg_stat_user_indexes s
              join pg_index i on i.indexrelid = s.indexrelid
             where s.schemaname = current_schema()
             order by pg_relation_size(s.indexrelid) desc nulls last, s.indexrelname
            "#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(indexes)
    }

    /// The connections of this process: of requests and work, and of the published summaries.
    #[must_use]
    pub fn inspect_pools(&self) -> [PoolReport; 2] {
        let (pool, summaries) = (&self.pool, &self.summaries);
        [(pool.size(), pool.num_idle(), pool.options().get_max_connections()), (summaries.size(), summaries.idle(), summaries.most())]
            .map(|(open, idle, most)| PoolReport { open, idle: u32::try_from(idle).unwrap_or(u32::MAX), most })
    }
}
