//! Merged records: the grid page, the single record and exports.

mod export;
mod order;
mod predicates;
mod statement;

use crate::domain::cursor::{Cursor, fingerprint};
use crate::domain::field::Field;
use crate::domain::filter::Filter;
use crate::domain::sort::Sort;
use crate::error::{Error, Result, refusal};
use crate::service::{PfaMirrorService, Reader};
use sqlx::{PgConnection, Row};
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
    /// At most so many rows.
    pub limit: u32,
    /// Begin after this place.
    pub cursor: Option<Cursor>,
    /// Whether and how to count.
    pub count: CountKind,
}

impl PageQuery {
    /// What a cursor is bound to: organization, session, filter and order.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&format!("{:?} {:?} {:?} {:?}", self.reader.organization, self.reader.session, self.filter, self.sort))
    }
}

/// One page of merged records.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows as a JSON array, each with its `_meta`, untouched since the database wrote them.
    pub rows: String,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
    /// The number of matching records, when asked for.
    pub count: Option<i64>,
}

impl PfaMirrorService {
    /// One page of merged records, in one statement.
    ///
    /// # Errors
    /// When the organization or session is not there, or the database fails.
    pub async fn list_records(&self, query: &PageQuery) -> Result<Page> {
        let row = statement::page(query).build().fetch_one(&self.pool).await?;
        refusal(row.try_get("refusal")?, &query.reader.organization)?;

        let rows = splice_meta(row.try_get::<Option<&str>, _>("rows")?.unwrap_or_default());
        let next = match row.try_get::<Option<Vec<Option<String>>>, _>("last")? {
            Some(last) if row.try_get("has_more")? => Some(next_cursor(query, last)?),
            _ => None,
        };
        let count = match query.count {
            CountKind::None => None,
            CountKind::Exact => row.try_get("count")?,
            CountKind::Estimated => Some(self.estimate_records(query).await?),
        };
        Ok(Page { rows, next, count })
    }

    /// Runs the statement of a page and returns its measured plan, as `EXPLAIN (FORMAT JSON)` has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn explain_records(&self, query: &PageQuery) -> Result<serde_json::Value> {
        Ok(statement::explain(query).build_query_scalar().fetch_one(&self.pool).await?)
    }

    /// The planner's guess at the number of matching records; nothing is read.
    async fn estimate_records(&self, query: &PageQuery) -> Result<i64> {
        let plan: serde_json::Value = statement::estimate(query).build_query_scalar().fetch_one(&self.pool).await?;
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
    let found = sqlx::query!(
        r#"
        select pfa_refusal($1, $2, $3) as refusal,
               (select concat(r.data, e'\x1e', pfa_meta(r.id, r.version, r.sync_state, r.modified_fields, r.modified_by, r.modified_at))
                  from pfa_merged($1, $2) r
                 -- The natural key never changes, so the mirror's index finds the row for every reader.
                 where r.id = (select id from pfa_mirror where organization_id = $1 and pfa_id = $4)) as record
        "#,
        reader.organization,
        reader.session,
        reader.user,
        pfa_id,
    )
    .fetch_one(connection)
    .await?;
    refusal(found.refusal.as_deref(), &reader.organization)?;
    Ok(found.record.map(|record| splice_meta(&record)).map(|array| array[1..array.len() - 1].to_owned()))
}

/// Ids of the records that a filter matches for a reader, at most so many.
pub(super) async fn matching_records(connection: &mut PgConnection, reader: &Reader, filter: &Filter, most: usize) -> Result<Vec<Uuid>> {
    Ok(statement::matching(reader, filter, most).build_query_scalar().fetch_all(connection).await?)
}

fn next_cursor(query: &PageQuery, mut last: Vec<Option<String>>) -> Result<Cursor> {
    let id = last.pop().flatten().and_then(|id| Uuid::parse_str(&id).ok());
    let id = id.ok_or_else(|| Error::Database(sqlx::Error::Decode("the page has no last id".into())))?;
    Ok(Cursor::new(query.fingerprint(), last, id))
}

/// Puts the `_meta` objects into their records.
///
/// The database sends `record RS meta`, joined by `US` (both control characters, which JSON text
/// never holds). Cutting the closing brace there would cost it 2 µs a row (`left()` counts
/// characters); here it is one copy of the bytes.
fn splice_meta(rows: &str) -> String {
    let mut array = String::with_capacity(rows.len() + rows.len() / 40 + 16);
    array.push('[');
    for (index, row) in rows.split('\x1f').filter(|row| !row.is_empty()).enumerate() {
        let (record, meta) = row.split_once('\x1e').unwrap_or((row, "null"));
        if index > 0 {
            array.push(',');
        }
        array.push_str(record.strip_suffix('}').unwrap_or(record));
        array.push_str(", \"_meta\": ");
        array.push_str(meta);
        array.push('}');
    }
    array.push(']');
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_goes_into_each_record() {
        assert_eq!(splice_meta(""), "[]");
        assert_eq!(
            splice_meta("{\"a\": 1}\x1e{\"v\": 1}\x1f{\"a\": 2}\x1e{}"),
            "[{\"a\": 1, \"_meta\": {\"v\": 1}},{\"a\": 2, \"_meta\": {}}]"
        );
    }
}
