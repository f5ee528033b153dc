//! Texts of records that were read lately.
//!
//! PostgreSQL spends three fifths of a page's time on writing JSONB as text. A grid asks for the same page again and
//! again: after every edit, after every publication, in a colleague's sandbox; and nearly all of its records are
//! the same then. So their texts are remembered, each with the [`Stamp`] of the row that it was read from. A page that
//! was asked for before is read without the texts of the mirror, still in one snapshot, and those that nobody
//! remembers are asked for after it.

use crate::error::Result;
use crate::service::records::PageQuery;
use crate::service::records::statement::Texts;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _, ValueRef as _};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// What is kept of an entry beside its text, in bytes.
const OVERHEAD: usize = 120;
/// What a record takes in memory with its text, about; it sizes tables, the limit is in bytes.
const RECORD: usize = 1024;

/// Tells a row of the mirror from every other that the same record had in this database: its version, and the transaction
/// that wrote it, because somebody may mend a record by hand and leave the version as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    version: i64,
    transaction: u32,
}

/// A hole in a page: a record of which the text is not remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown {
    pub id: Uuid,
    pub stamp: Stamp,
}

/// Remembered texts of records of all organizations, and which pages were asked for, both bounded.
#[derive(Debug)]
pub(in crate::service) struct RecordTexts {
    texts: Cache<Key, (Stamp, Arc<str>), Bytes>,
    /// Pages by their fingerprints.
    pages: Cache<u64, ()>,
}

/// An organization, hashed, and a record of it.
type Key = (u64, Uuid);

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Key, (Stamp, Arc<str>)> for Bytes {
    fn weight(&self, _: &Key, (_, text): &(Stamp, Arc<str>)) -> u64 {
        (text.len() + OVERHEAD) as u64
    }
}

impl RecordTexts {
    /// Remembers texts of so many bytes altogether; none with 0.
    pub fn new(bytes: usize) -> Self {
        let records = bytes / RECORD;
        Self {
            texts: Cache::with_weighter(records, bytes as u64, Bytes),
            // When the texts of a page are not there any more, asking for them costs one more statement.
            pages: Cache::new(records),
        }
    }

    /// How a page is best read: without texts when it was asked for before, by anybody.
    pub(super) fn best_for(&self, query: &PageQuery) -> Texts {
        let was_asked_for = query.fields.is_none() && self.pages.get(&page_of(query)).is_some();
        if was_asked_for { Texts::Remembered } else { Texts::Read }
    }

    /// Notes that a page was read.
    pub(super) fn note_page(&self, query: &PageQuery) {
        if query.fields.is_none() {
            self.pages.insert(page_of(query), ());
        }
    }

    /// The text of a record as it stands in the row with this stamp.
    pub(super) fn get(&self, organization: &str, id: Uuid, stamp: Stamp) -> Option<Arc<str>> {
        self.texts.get(&(xxh3_64(organization.as_bytes()), id)).filter(|(known, _)| *known == stamp).map(|(_, text)| text)
    }

    /// Remembers the text of a record, if it is not remembered yet.
    pub(super) fn remember(&self, organization: &str, id: Uuid, stamp: Stamp, text: &str) {
        if self.get(organization, id, stamp).is_some() {
            return;
        }
        self.texts.insert((xxh3_64(organization.as_bytes()), id), (stamp, text.into()));
    }

    /// Reads the texts of records, and remembers them; nothing when one of them is not any more what its stamp says.
    pub(super) async fn read(&self, pool: &PgPool, organization: &str, unknown: &[Unknown]) -> Result<Option<Vec<Arc<str>>>> {
        let ids: Vec<Uuid> = unknown.iter().map(|record| record.id).collect();
        let rows = sqlx::query("select id, version, xmin, data::text from pfa_mirror where organization_id = $1 and id = any ($2)")
            .bind(organization)
            .bind(ids)
            .fetch_all(pool)
            .await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let (id, text): (Uuid, &str) = (row.try_get(0)?, row.try_get(3)?);
            if let Some(stamp) = read_stamp(row, 1, 2)? {
                self.remember(organization, id, stamp, text);
                found.insert(id, (stamp, Arc::<str>::from(text)));
            }
        }
        let text = |record: &Unknown| found.get(&record.id).filter(|(stamp, _)| *stamp == record.stamp).map(|(_, text)| text.clone());
        Ok(unknown.iter().map(text).collect())
    }
}

/// The stamp of a row with its version and transaction in these columns; none on a row of an overlay.
pub(super) fn read_stamp(row: &PgRow, version: usize, transaction: usize) -> Result<Option<Stamp>> {
    let raw = row.try_get_raw(transaction)?;
    if raw.is_null() {
        return Ok(None);
    }
    // sqlx knows no transaction ids: four bytes.
    let bytes = raw.as_bytes().ok().and_then(|bytes| bytes.try_into().ok());
    let transaction = bytes.map(u32::from_be_bytes).ok_or_else(|| sqlx::Error::Decode("a transaction id has four bytes".into()))?;
    Ok(Some(Stamp { version: row.try_get(version)?, transaction }))
}

/// A page as every reader of the organization may ask for it: the sandbox is of no account.
fn page_of(query: &PageQuery) -> u64 {
    let PageQuery { reader, filter, sort, cursor, limit, .. } = query;
    let begin = cursor.as_ref().map(|cursor| (&cursor.values, cursor.id));
    xxh3_64(format!("{:?} {filter:?} {sort:?} {begin:?} {limit}", reader.organization).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cursor::Cursor;
    use crate::domain::filter::Filter;
    use crate::domain::sort::Sort;
    use crate::service::Reader;
    use crate::service::records::CountKind;

    fn second_page(organization: &str, session: Option<Uuid>, limit: u32, after: u128) -> PageQuery {
        let reader = Reader { organization: organization.to_owned(), user: format!("{session:?}"), session };
        let (filter, sort) = (Filter::default(), Sort::default());
        let mut query = PageQuery { reader, filter, sort, fields: None, limit, cursor: None, count: CountKind::None };
        query.cursor = Some(Cursor::new(query.fingerprint(), vec![None], Uuid::from_u128(after)));
        query
    }

    #[test]
    fn a_page_is_the_same_in_every_sandbox_whatever_its_size() {
        let texts = RecordTexts::new(32 * 1024 * 1024);
        let best = |query: &PageQuery| texts.best_for(query);
        let page = second_page("HOLNG", None, 5_000, 1);
        assert_eq!(best(&page), Texts::Read);
        texts.note_page(&page);
        assert_eq!(best(&second_page("HOLNG", Some(Uuid::from_u128(7)), 5_000, 1)), Texts::Remembered);
        for other in [second_page("HOLNG", None, 5_000, 2), second_page("HOLNG", None, 100, 1), second_page("RIO", None, 5_000, 1)] {
            assert_eq!(best(&other), Texts::Read);
        }
        let lean = PageQuery { fields: Some(Vec::new()), ..page };
        assert_eq!(best(&lean), Texts::Read);
    }

    #[test]
    fn memory_is_bounded_and_a_text_is_of_its_stamp() {
        let texts = RecordTexts::new(100_000);
        let stamp = Stamp { version: 1, transaction: 7 };
        for id in 0..1_000 {
            texts.remember("HOLNG", Uuid::from_u128(id), stamp, &"x".repeat(1_000));
        }
        assert!((50_000..=100_000).contains(&texts.texts.weight()), "{} bytes", texts.texts.weight());
        let kept = (0..1_000).map(Uuid::from_u128).find(|id| texts.get("HOLNG", *id, stamp).is_some()).unwrap();
        assert_eq!(texts.get("HOLNG", kept, Stamp { version: 2, ..stamp }), None);
        assert_eq!(texts.get("HOLNG", kept, Stamp { transaction: 8, ..stamp }), None);
        assert_eq!(texts.get("RIO", kept, stamp), None);
        let later = Stamp { version: 2, transaction: 9 };
        texts.remember("HOLNG", kept, later, "{}");
        assert_eq!((texts.get("HOLNG", kept, stamp), texts.get("HOLNG", kept, later).as_deref()), (None, Some("{}")));
    }
}
