//! Merged records: the grid page, the single record and exports.

mod aggregates;
mod columns;
pub(super) mod crowds;
mod edge;
mod export;
mod holes;
mod moment;
mod order;
mod overlay;
mod page;
mod page_statement;
mod predicates;
mod row;
pub mod rows;
mod statement;
mod text_of;
pub(super) mod texts;
mod transcript;

use crate::domain::cursor::{Cursor, fingerprint};
use crate::domain::field::Field;
use crate::domain::filter::Filter;
use crate::domain::row::push_record;
use crate::domain::sort::Sort;
use crate::error::{Result, refusal};
use crate::service::{PfaMirrorService, Reader};
use chrono::{DateTime, Utc};
use crowds::Crowd;
use page_statement::Way;
use row::{META_WIDTH, read_meta};
use sqlx::{PgConnection, Row as _};
use statement::Texts;
use uuid::Uuid;

/// How the number of matching records is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CountKind {
    /// Not at all.
    #[default]
    None,
    /// As the planner guesses it: free, but rough.
    Estimated,
    /// By counting in the same snapshot as the page.
    Exact,
}

impl CountKind {
    /// The word in parameters and answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Estimated => "estimated",
            Self::Exact => "exact",
        }
    }
}

/// A question for one page of the merged grid.
#[derive(Debug, Clone, PartialEq)]
pub struct PageQuery {
    /// Who reads.
    pub reader: Reader,
    /// Which records.
    pub filter: Filter,
    /// In which order.
    pub sort: Sort,
    /// Only these fields, or whole records.
    pub fields: Option<Vec<Field>>,
    /// Leave out so many rows, which are read nevertheless.
    pub offset: i64,
    /// At most so many rows.
    pub limit: u32,
    /// Begin after this place.
    pub cursor: Option<Cursor>,
    /// Whether and how to count.
    pub count: CountKind,
}

impl PageQuery {
    /// The first page of whole records, uncounted.
    #[must_use]
    pub fn new(reader: Reader, filter: Filter, sort: Sort, limit: u32) -> Self {
        Self { reader, filter, sort, fields: None, offset: 0, limit, cursor: None, count: CountKind::None }
    }

    /// What a cursor is bound to: organization, session, filter and order.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&format!("{:?} {:?} {:?} {:?}", self.reader.organization, self.reader.session, self.filter, self.sort))
    }

    /// The statement that reads the page with its texts, as PostgreSQL gets it; values are bound.
    #[must_use]
    pub fn statement(&self) -> String {
        page_statement::page(self, Way { texts: Texts::Read, drafts: None, crowd: Crowd::Unlikely }).into_sql().as_str().to_owned()
    }

    /// The statements of an export whose texts are remembered, as PostgreSQL gets them; values are bound.
    #[must_use]
    pub fn export_statements(&self) -> Vec<String> {
        let statements = export::remembered_statements(self).into_iter();
        statements.map(|statement| statement.into_sql().as_str().to_owned()).collect()
    }
}

/// One page of merged records.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows as a JSON array, each with its `_meta`; the records' own text is as the database wrote it.
    pub rows: String,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
    /// The number of matching records, when asked for.
    pub count: Option<i64>,
    /// What the page is of.
    pub state: ReadingState,
}

/// What a reading is of: while this is the same, the same question has the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadingState {
    /// The organization's change number; it grows with every publication.
    pub change_number: i64,
    /// When that was: a restored database goes through the same numbers again, at other times.
    pub published_at: DateTime<Utc>,
    /// How often the reader's sandbox was edited.
    pub edit_count: Option<i64>,
}

impl PfaMirrorService {
    /// What state a reading would be of now, without reading any record.
    ///
    /// # Errors
    /// When the organization or session is not there, or the database fails.
    pub async fn find_state(&self, reader: &Reader) -> Result<ReadingState> {
        Ok(self.find_edition(reader).await?.state)
    }

    /// Whether the organization is there, and the session, if one is named, the reader's own.
    ///
    /// # Errors
    /// When one is not, or the database fails.
    pub(super) async fn check_reader(&self, reader: &Reader) -> Result<()> {
        self.find_state(reader).await.map(drop)
    }

    /// The plan of a page's statement, as `EXPLAIN (FORMAT JSON)` has it; measured by running it, or as it would be run.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn explain_records(&self, query: &PageQuery, is_measured: bool) -> Result<serde_json::Value> {
        let mut connection = self.pool.acquire().await?;
        let way = self.find_way(&mut connection, query).await?;
        Ok(page_statement::explain(query, way, is_measured).build_query_scalar().fetch_one(&mut *connection).await?)
    }

    /// The planner's guess at the number of matching records; nothing is read.
    async fn estimate_records(&self, query: &PageQuery) -> Result<i64> {
        let plan: serde_json::Value =
            statement::estimate(query).build_query_scalar().persistent(query.filter.conditions.is_empty()).fetch_one(&self.pool).await?;
        Ok(plan.pointer("/0/Plan/Plan Rows").and_then(serde_json::Value::as_i64).unwrap_or_default())
    }

    /// One merged record as JSON text with its `_meta`, or nothing when there is none.
    ///
    /// # Errors
    /// When the organization or session is not there, or the database fails.
    pub async fn find_record(&self, reader: &Reader, pfa_id: &str) -> Result<Option<String>> {
        let mut connection = self.pool.acquire().await?;
        read_record(&mut connection, reader, pfa_id).await
    }
}

/// One merged record, as [`PfaMirrorService::find_record`] has it, within a transaction of the caller.
pub(super) async fn read_record(connection: &mut PgConnection, reader: &Reader, pfa_id: &str) -> Result<Option<String>> {
    let found = sqlx::query(
        "select pfa_refusal($1, $2, $3), r.id, r.version, nullif(r.sync_state, 'pristine'), r.modified_fields, r.modified_by, r.modified_at,
                r.data::text
           from (values (1)) one
           left join lateral (
                    select * from pfa_merged($1, $2) merged
                     -- The natural key never changes, so the mirror's index finds the row for every reader.
                     where merged.id = (select id from pfa_mirror where organization_id = $1 and pfa_id = $4)) r on true",
    )
    .bind(&reader.organization)
    .bind(reader.session)
    .bind(&reader.user)
    .bind(pfa_id)
    .fetch_one(connection)
    .await?;
    refusal(found.try_get(0)?, &reader.organization)?;
    let Some(record) = found.try_get::<Option<&str>, _>(1 + META_WIDTH)? else { return Ok(None) };
    let mut json = String::with_capacity(record.len() + 256);
    push_record(&mut json, record, &read_meta(&found, 1)?);
    Ok(Some(json))
}

/// Ids of the records that a filter matches for a reader, at most so many.
pub(super) async fn matching_records(connection: &mut PgConnection, reader: &Reader, filter: &Filter, most: usize) -> Result<Vec<Uuid>> {
    Ok(statement::matching(reader, filter, most)
        .build_query_scalar()
        .persistent(filter.conditions.is_empty())
        .fetch_all(connection)
        .await?)
}
