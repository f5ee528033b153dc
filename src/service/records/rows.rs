//! Rows as a grid asks for them that scrolls through a tree of groups: by their numbers, from one to another, groups until all
//! of them are opened, then records; with the number of rows at this level and what everything amounts to.
//!
//! All of it is of one moment, read in one snapshot. What a grid asks for with every block is kept until something is published or
//! edited: the totals, and where the block before has ended, so that scrolling on does not read the rows before it.

use super::PageQuery;
use super::aggregates::{groups, read_figures, totals};
use super::moment::{Moment, SNAPSHOT};
use super::row::read_cell;
use crate::domain::condition::{Condition, Operand};
use crate::domain::cursor::Cursor;
use crate::domain::field::Field;
use crate::domain::filter::Filter;
use crate::domain::measure::{Measure, Measured};
use crate::domain::row::{Cell, push_values};
use crate::domain::sort::Direction;
use crate::error::Result;
use crate::service::PfaMirrorService;
use quick_cache::sync::Cache;
use sqlx::{PgConnection, Row as _};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// So many totals and places are kept; they have a few hundred bytes.
const KEPT: usize = 10_000;
/// What stands before the figures of a group: the number of groups, its key and its number of records.
const GROUP_WIDTH: usize = 3;

/// A question for some rows of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct RowQuery {
    /// Which records, in which order, and which rows of them; those of groups are counted the same.
    pub page: PageQuery,
    /// The columns of the groups, from the outermost.
    pub group_by: Vec<Field>,
    /// The keys of the groups that are opened; null is a key.
    pub opened: Vec<Option<Operand>>,
    /// What is aggregated, each under a key of its own.
    pub measures: Vec<Measure>,
    /// What groups are ordered by, before their keys.
    pub ranks: Vec<(Rank, Direction)>,
}

/// What groups are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Their keys.
    Key,
    /// The figure at this place of [`RowQuery::figures`].
    Figure(usize),
}

/// Some rows of a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowBlock {
    /// Groups or records as a JSON array.
    pub rows: String,
    /// How many rows there are at this level.
    pub row_count: i64,
    /// What all records of the filter amount to, as a JSON object.
    pub grand_totals: String,
    /// What the answer is of: while this is the same, answers belong together.
    pub moment: String,
}

impl RowQuery {
    /// The column of the groups that are asked for; none when it is records.
    #[must_use]
    pub fn level(&self) -> Option<Field> {
        self.group_by.get(self.opened.len()).copied()
    }

    /// The figures of groups: the measures of columns that they are not grouped by, whose keys stand there already.
    #[must_use]
    pub fn figures(&self) -> Vec<Measure> {
        let is_key = |measure: &Measure| self.group_by.iter().any(|field| Measured::Field(*field) == measure.of);
        self.measures.iter().copied().filter(|measure| !is_key(measure)).collect()
    }

    /// The records within the groups that are opened.
    fn inner_filter(&self) -> Filter {
        let mut filter = self.page.filter.clone();
        for (field, key) in self.group_by.iter().zip(&self.opened) {
            filter.narrow(Condition::equals(*field, key.clone()));
        }
        filter
    }
}

/// What all records of a filter amount to.
#[derive(Debug)]
struct Totals {
    record_count: i64,
    json: String,
}

/// What is kept of one block for the next.
#[derive(Debug)]
pub(in crate::service) struct RowMarks {
    totals: Cache<u64, (Moment, Arc<Totals>)>,
    /// Where the row with a number comes after, by the question and the number.
    places: Cache<(u64, i64), (Moment, Arc<Cursor>)>,
}

impl Default for RowMarks {
    fn default() -> Self {
        Self { totals: Cache::new(KEPT), places: Cache::new(KEPT) }
    }
}

impl PfaMirrorService {
    /// Some rows of a grid, how many there are, and what everything amounts to.
    ///
    /// # Errors
    /// When the organization or session is not there, or the database fails.
    pub async fn query_rows(&self, query: &RowQuery) -> Result<RowBlock> {
        let mut snapshot = self.pool.begin_with(SNAPSHOT).await?;
        let moment = Moment::find(&mut snapshot, &query.page).await?;
        let grand = self.read_totals(&mut snapshot, moment, &query.page, &query.measures).await?;
        let inner = PageQuery { filter: query.inner_filter(), ..query.page.clone() };
        let (rows, row_count) = if let Some(field) = query.level() {
            read_groups(&mut snapshot, query, field, &inner.filter).await?
        } else {
            let count = match query.opened.as_slice() {
                [] => grand.record_count,
                _ => self.read_totals(&mut snapshot, moment, &inner, &[]).await?.record_count,
            };
            (self.read_block(&mut snapshot, moment, inner).await?, count)
        };
        snapshot.commit().await?;
        Ok(RowBlock { rows, row_count, grand_totals: grand.json.clone(), moment: moment.tag() })
    }

    async fn read_totals(
        &self,
        connection: &mut PgConnection,
        moment: Moment,
        page: &PageQuery,
        measures: &[Measure],
    ) -> Result<Arc<Totals>> {
        let PageQuery { reader, filter, .. } = page;
        let key = xxh3_64(format!("{:?} {:?} {filter:?} {measures:?}", reader.organization, reader.session).as_bytes());
        if let Some((kept, totals)) = self.marks.totals.get(&key)
            && kept == moment
        {
            return Ok(totals);
        }
        let row = totals(page, measures).build().persistent(false).fetch_one(connection).await?;
        let record_count = row.try_get(0)?;
        let mut json = String::from("{");
        push_values(&mut json, [("recordCount", Cell::Count(record_count))]);
        push_figures(&mut json, measures, &read_figures(&row, 1, measures)?);
        json.push('}');
        let totals = Arc::new(Totals { record_count, json });
        self.marks.totals.insert(key, (moment, Arc::clone(&totals)));
        Ok(totals)
    }

    /// Records from where the block before has ended, if that is known.
    async fn read_block(&self, connection: &mut PgConnection, moment: Moment, mut page: PageQuery) -> Result<String> {
        let (question, first) = (page.fingerprint(), page.offset);
        let last = first + i64::from(page.limit);
        if let Some((kept, place)) = self.marks.places.get(&(question, first))
            && kept == moment
        {
            page.cursor = Some(place.as_ref().clone());
            page.offset = 0;
        }
        let read = self.read_records(connection, &page).await?;
        if let Some(next) = read.next {
            self.marks.places.insert((question, last), (moment, Arc::new(next)));
        }
        Ok(read.rows)
    }
}

/// The groups as a JSON array, and how many there are.
async fn read_groups(connection: &mut PgConnection, query: &RowQuery, field: Field, filter: &Filter) -> Result<(String, i64)> {
    let rows = groups(query, field, filter).build().persistent(false).fetch_all(connection).await?;
    let count = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    let figures = query.figures();
    let mut json = String::from("[");
    for row in rows {
        // Where no group stands at this place, one row tells the number.
        let Some(records) = row.try_get(2)? else { break };
        json.push_str(if json.len() == 1 { "{" } else { ", {" });
        let opened = query.opened.iter().map(|key| cell_of(key.as_ref()));
        let keys = opened.chain([read_cell(&row, 1, field)?]);
        push_values(&mut json, query.group_by.iter().map(|field| field.key()).zip(keys));
        push_figures(&mut json, &figures, &read_figures(&row, GROUP_WIDTH, &figures)?);
        let level = i64::try_from(query.opened.len()).unwrap_or_default();
        json.push_str(", \"_group\": {");
        push_values(&mut json, [("level", Cell::Count(level)), ("recordCount", Cell::Count(records))]);
        json.push_str("}}");
    }
    json.push(']');
    Ok((json, count))
}

fn push_figures(json: &mut String, measures: &[Measure], figures: &[Cell<'_>]) {
    if !measures.is_empty() {
        json.push_str(", ");
    }
    push_values(json, measures.iter().map(|measure| measure.of.key()).zip(figures.iter().copied()));
}

fn cell_of(operand: Option<&Operand>) -> Cell<'_> {
    match operand {
        None => Cell::Null,
        Some(Operand::Text(text)) => Cell::Text(text),
        Some(Operand::Date(date)) => Cell::Date(*date),
        Some(Operand::Amount(amount)) => Cell::Amount(*amount),
        Some(Operand::Flag(flag)) => Cell::Flag(*flag),
    }
}
