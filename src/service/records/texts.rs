//! Texts of records that were read lately, whole ones or some fields of them; and of drafts, each with its `_meta`, on pages that show little
//! else.
//!
//! PostgreSQL spends three fifths of a page's time on writing JSONB as text. A grid asks for the same page again and
//! again: after every edit, after every publication, in a colleague's sandbox; and nearly all of its records are
//! the same then. So their texts are remembered, each with the version that it is of. A page that was asked for before
//! is read without the texts of the mirror, still in one snapshot and, as indexes hold the version, mostly from an index
//! alone; texts that nobody remembers are asked for after it. So is a page for which a category is sorted, whose texts come
//! only after it is known which ones are shown. Exports that are asked for again and again, and are small enough, are remembered
//! from their second time on, line by line or in one piece: most are asked for once. That no record changes without its version, and no draft
//! without its revision, not even when it is updated by hand, is the database's care (`pfa_mirror_counts_changes`, `pfa_overlay_counts_changes`).

use crate::domain::field::Field;
use crate::domain::row::{Meta, push_fields, push_record};
use crate::domain::sort::Sort;
use crate::error::Result;
use crate::service::records::PageQuery;
use crate::service::records::columns;
use crate::service::records::order::sorts_a_category;
use crate::service::records::row::{META_WIDTH, read_cells, read_meta};
use crate::service::records::statement::Texts;
use crate::service::records::text_of::TextOf;
use crate::service::records::transcript::{LINE, Transcript};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use std::collections::HashMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// What is kept of an entry beside its text, in bytes.
const OVERHEAD: usize = 120;
/// What a record takes in memory with its text, about.
const RECORD: usize = 1024;

/// An export larger than this is not remembered: from the first text on that is missing, the rest of it waits in memory, though only
/// what is not missing.
pub(super) const MOST_EXPORTED: usize = 32 * 1024 * 1024;

/// A larger transcript is not kept, however large the memory: it is not sent before it is whole.
const LARGEST_TRANSCRIPT: usize = MOST_EXPORTED / 2 * 3;

/// An export of which more than this part is missing was forgotten.
const MOST_MISSING: usize = 4;

/// How often an export was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Never, or it is too large: its texts are not worth remembering.
    Never,
    /// Once, or its texts were forgotten: this time they are remembered.
    Once,
    /// Twice: its texts are remembered.
    Often,
    /// Once or more, and not too much for one piece: its lines are remembered together from this time on.
    InOnePiece,
}

/// How many rows were exported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exported {
    pub rows: usize,
    /// Of how many the text was not remembered.
    pub missing: usize,
    /// Whether the lines of the mirror were remembered together.
    pub in_one_piece: bool,
}

/// What texts are of: the mirror of an organization, or of one that was restored in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin(u64);

impl Origin {
    /// An organization in a mirror with this name.
    pub fn new(organization: &str, mirror: &str) -> Self {
        Self(xxh3_64(format!("{organization:?} {mirror}").as_bytes()))
    }

    /// Of its records these fields only, if any are told.
    pub fn of_fields(self, fields: Option<&[Field]>) -> Self {
        fields.map_or(self, |fields| Self(xxh3_64(format!("{:x} {fields:?}", self.0).as_bytes())))
    }
}

/// Remembered texts of records of all organizations, and which pages were asked for, both bounded.
#[derive(Debug)]
pub(in crate::service) struct RecordTexts {
    texts: Cache<Key, Arc<str>, Bytes>,
    /// Pages by their fingerprints, also those of a sandbox where texts of drafts are remembered.
    pages: Cache<u64, ()>,
    /// Exports likewise.
    exports: Cache<u64, Asked>,
    /// Lines of exports of some fields, in one piece.
    transcripts: Cache<u64, Arc<Transcript>, TranscriptBytes>,
}

type Key = (Origin, TextOf);

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Key, Arc<str>> for Bytes {
    fn weight(&self, _: &Key, text: &Arc<str>) -> u64 {
        (text.len() + OVERHEAD) as u64
    }
}

#[derive(Debug, Clone)]
struct TranscriptBytes;

impl Weighter<u64, Arc<Transcript>> for TranscriptBytes {
    fn weight(&self, _: &u64, transcript: &Arc<Transcript>) -> u64 {
        (transcript.bytes() + OVERHEAD) as u64
    }
}

impl RecordTexts {
    /// Remembers texts of so many bytes altogether, and transcripts of half as many; none with 0.
    pub fn new(bytes: usize) -> Self {
        let records = bytes / RECORD;
        Self {
            texts: Cache::with_weighter(records, bytes as u64, Bytes),
            // When the texts of a page are not there any more, asking for them costs one more statement.
            pages: Cache::new(records),
            exports: Cache::new(records),
            // The cache is divided among many entries, and one of few parts takes no large ones: a few are expected.
            transcripts: Cache::with_weighter(16, (bytes / 2) as u64, TranscriptBytes),
        }
    }

    /// How a page is best read: without texts when it was asked for before, by anybody, or when it looks at far more records
    /// than it shows, to sort them or to leave them out.
    pub(super) fn best_for(&self, query: &PageQuery) -> Texts {
        let shows_few = sorts_a_category(query) || query.offset > i64::from(query.limit);
        let is_without = query.fields.is_none() && (shows_few || self.pages.get(&page_of(query)).is_some());
        if is_without { Texts::Remembered } else { Texts::Read }
    }

    /// How texts of drafts are best read on a page that shows little else: not at all when it was asked for before in this sandbox.
    pub(super) fn best_for_drafts(&self, query: &PageQuery) -> Texts {
        if self.pages.get(&drafts_of(query)).is_some() { Texts::Remembered } else { Texts::Read }
    }

    /// Notes that a page was read, and whether it had texts of drafts to remember.
    pub(super) fn note_page(&self, query: &PageQuery, has_drafts: bool) {
        if query.fields.is_none() {
            self.pages.insert(page_of(query), ());
        }
        if has_drafts {
            self.pages.insert(drafts_of(query), ());
        }
    }

    /// How often an export was asked for.
    pub(super) fn asked(&self, query: &PageQuery) -> Asked {
        self.exports.get(&export_of(query)).unwrap_or(Asked::Never)
    }

    /// Notes that an export of so many bytes was read. One of which many texts were forgotten, for the sake of others, is read with its texts once more.
    pub(super) fn note_export(&self, query: &PageQuery, exported: Exported, bytes: usize) {
        let Exported { rows, missing, in_one_piece } = exported;
        let most = usize::try_from(self.texts.capacity() / 2).unwrap_or(usize::MAX);
        if bytes > MOST_EXPORTED || bytes + rows * OVERHEAD > most {
            self.exports.remove(&export_of(query));
            return;
        }
        let is_small = is_transcribed(query) && bytes + rows * LINE <= self.most_transcribed();
        let next = match self.asked(query) {
            Asked::Never if is_small => Asked::InOnePiece,
            Asked::InOnePiece if in_one_piece => Asked::InOnePiece,
            Asked::Never => Asked::Once,
            _ if missing > rows / MOST_MISSING => Asked::Once,
            _ => Asked::Often,
        };
        self.exports.insert(export_of(query), next);
    }

    /// The lines of an export as they were, if they are remembered.
    pub(super) fn transcript(&self, query: &PageQuery, origin: Origin) -> Option<Arc<Transcript>> {
        self.transcripts.get(&export_of(query)).filter(|transcript| transcript.is_of(origin.of_fields(query.fields.as_deref())))
    }

    /// How large a transcript may be; the cache leaves a part of its room to what comes new.
    pub(super) fn most_transcribed(&self) -> usize {
        usize::try_from(self.transcripts.capacity() / 10 * 9).unwrap_or(usize::MAX).min(LARGEST_TRANSCRIPT)
    }

    /// Keeps a transcript in place of the one before.
    pub(super) fn note_transcript(&self, query: &PageQuery, transcript: Arc<Transcript>) {
        self.transcripts.insert(export_of(query), transcript);
    }

    /// A text.
    pub(super) fn get(&self, origin: Origin, of: TextOf) -> Option<Arc<str>> {
        self.texts.get(&(origin, of))
    }

    /// Remembers a text, if it is not remembered yet.
    pub(super) fn remember(&self, origin: Origin, of: TextOf, text: &str) {
        if self.texts.capacity() > 0 && self.get(origin, of).is_none() {
            self.texts.insert((origin, of), text.into());
        }
    }

    /// Reads what a query shows of records, and remembers it; nothing when one of these texts is not there any more.
    pub(super) async fn read(
        &self,
        connection: &mut PgConnection,
        query: &PageQuery,
        origin: Origin,
        unknown: &[TextOf],
    ) -> Result<Option<Vec<Arc<str>>>> {
        let rows = columns::records(query, unknown).build().fetch_all(connection).await?;
        if let Some(row) = rows.first()
            && origin != Origin::new(&query.reader.organization, row.try_get(0)?)
        {
            return Ok(None);
        }
        let fields = query.fields.as_deref();
        let origin = origin.of_fields(fields);
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let meta = read_meta(row, BEFORE_META)?;
            let of = TextOf::new(row.try_get(1)?, meta.id, row.try_get(2)?);
            let text: Arc<str> = match fields {
                Some(fields) => text_of_fields(row, fields)?.into(),
                None if of.is_overlaid() => text_with_meta(row.try_get(BODY)?, &meta).into(),
                None => row.try_get::<&str, _>(BODY)?.into(),
            };
            self.remember(origin, of, &text);
            found.insert(of, text);
        }
        Ok(unknown.iter().map(|of| found.get(of).cloned()).collect())
    }
}

/// What stands before the columns of `_meta`: the mirror's name, whether it is an overlay's, the version or revision.
const BEFORE_META: usize = 3;
/// Where the text begins, or the fields.
const BODY: usize = BEFORE_META + META_WIDTH;

fn text_with_meta(text: &str, meta: &Meta<'_>) -> String {
    let mut whole = String::new();
    push_record(&mut whole, text, meta);
    whole
}

fn text_of_fields(row: &PgRow, fields: &[Field]) -> Result<String> {
    let mut text = String::new();
    push_fields(&mut text, fields, read_cells(row, BODY, fields)?, None);
    Ok(text)
}

/// A page as every reader of the organization may ask for it: the sandbox is of no account.
fn page_of(query: &PageQuery) -> u64 {
    let PageQuery { reader, filter, sort, cursor, offset, limit, .. } = query;
    let begin = cursor.as_ref().map(|cursor| (&cursor.values, cursor.id));
    xxh3_64(format!("{:?} {filter:?} {sort:?} {begin:?} {offset} {limit}", reader.organization).as_bytes())
}

/// A page as it is in a sandbox.
fn drafts_of(query: &PageQuery) -> u64 {
    xxh3_64(format!("{:x} {:?}", page_of(query), query.reader.session).as_bytes())
}

/// Whether the order of an export is one in which rows of overlays can be put between lines.
fn is_transcribed(query: &PageQuery) -> bool {
    query.fields.is_some() && query.sort == Sort::default()
}

/// An export likewise.
fn export_of(query: &PageQuery) -> u64 {
    xxh3_64(format!("{:x} {:?}", page_of(query), query.fields).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cursor::Cursor;
    use crate::domain::filter::Filter;
    use crate::domain::sort::Sort;
    use crate::service::Reader;
    use crate::service::records::transcript::{Record, Sum};
    use uuid::Uuid;

    fn second_page(organization: &str, session: Option<Uuid>, limit: u32, after: u128) -> PageQuery {
        let reader = Reader { organization: organization.to_owned(), user: format!("{session:?}"), session };
        let (filter, sort) = (Filter::default(), Sort::default());
        let mut query = PageQuery::new(reader, filter, sort, limit);
        query.cursor = Some(Cursor::new(query.fingerprint(), vec![None], Uuid::from_u128(after)));
        query
    }

    fn version(id: u128, version: i64) -> TextOf {
        TextOf::new(false, Uuid::from_u128(id), version)
    }

    #[test]
    fn drafts_are_those_of_a_sandbox() {
        let texts = RecordTexts::new(1024 * 1024);
        let [mine, yours] = [1, 2].map(|session| second_page("HOLNG", Some(Uuid::from_u128(session)), 100, 1));
        texts.note_page(&mine, false);
        assert_eq!(texts.best_for_drafts(&mine), Texts::Read);
        texts.note_page(&mine, true);
        assert_eq!([&mine, &yours].map(|page| texts.best_for_drafts(page)), [Texts::Remembered, Texts::Read]);
    }

    #[test]
    fn a_page_is_the_same_in_every_sandbox_whatever_its_size() {
        let texts = RecordTexts::new(32 * 1024 * 1024);
        let best = |query: &PageQuery| texts.best_for(query);
        let page = second_page("HOLNG", None, 5_000, 1);
        assert_eq!(best(&page), Texts::Read);
        texts.note_page(&page, false);
        assert_eq!(best(&second_page("HOLNG", Some(Uuid::from_u128(7)), 5_000, 1)), Texts::Remembered);
        for other in [second_page("HOLNG", None, 5_000, 2), second_page("HOLNG", None, 100, 1), second_page("RIO", None, 5_000, 1)] {
            assert_eq!(best(&other), Texts::Read);
        }
        let lean = PageQuery { fields: Some(Vec::new()), ..page };
        assert_eq!(best(&lean), Texts::Read);
    }

    #[test]
    fn memory_is_bounded_and_a_text_is_of_its_version() {
        let texts = RecordTexts::new(100_000);
        let origin = Origin::new("HOLNG", "16384 2026-11-26");
        for id in 0..1_000 {
            texts.remember(origin, version(id, 1), &"x".repeat(1_000));
        }
        assert!((50_000..=100_000).contains(&texts.texts.weight()), "{} bytes", texts.texts.weight());
        let kept = (0..1_000).find(|id| texts.get(origin, version(*id, 1)).is_some()).unwrap();
        for (organization, mirror) in [("RIO", "16384 2026-11-26"), ("HOLNG", "16999 2026-11-26"), ("HOLNG", "16384 2026-11-27")] {
            assert_eq!(texts.get(Origin::new(organization, mirror), version(kept, 1)), None);
        }
        let revision = TextOf::new(true, Uuid::from_u128(kept), 1);
        assert_eq!([version(kept, 2), revision].map(|of| texts.get(origin, of)), [None, None]);
        texts.remember(origin, revision, "{}");
        assert_eq!(texts.get(origin, revision).as_deref(), Some("{}"));
    }

    fn transcript(origin: Origin, line: &str, lines: u128) -> Arc<Transcript> {
        let mut transcript = Transcript::new(origin);
        (0..lines).for_each(|id| transcript.push(Record { id: Uuid::from_u128(id), version: 1, date: None }, line));
        Arc::new(transcript.finished(Sum::default()))
    }

    #[test]
    fn the_largest_transcript_is_kept_and_is_of_its_export_and_origin() {
        let texts = RecordTexts::new(400_000);
        let origin = Origin::new("HOLNG", "16384");
        let query = PageQuery { fields: Some(vec![Field::Class]), ..second_page("HOLNG", None, 0, 1) };
        let of_fields = origin.of_fields(query.fields.as_deref());
        let largest = transcript(of_fields, &"x".repeat(1_000), (texts.most_transcribed() / (1_000 + LINE)) as u128);
        assert!((178_000..=texts.most_transcribed()).contains(&largest.bytes()), "{}", largest.bytes());
        texts.note_transcript(&query, largest);
        let kept = |query: &PageQuery, mirror| texts.transcript(query, Origin::new("HOLNG", mirror)).map(|kept| kept.bytes() > 178_000);
        assert_eq!(kept(&query, "16384"), Some(true));
        let another = PageQuery { fields: Some(vec![Field::Source]), ..query.clone() };
        assert_eq!([kept(&query, "16999"), kept(&another, "16384")], [None, None]);
        texts.note_transcript(&query, transcript(of_fields, "y", 1));
        assert_eq!(kept(&query, "16384"), Some(false), "it takes the place of the one before");
    }

    #[test]
    fn an_export_is_remembered_in_one_piece_when_it_can_be() {
        let texts = RecordTexts::new(400_000);
        let fields = Some(vec![Field::Class]);
        let first = PageQuery { fields, cursor: None, ..second_page("HOLNG", None, 0, 1) };
        let whole = PageQuery { fields: None, ..first.clone() };
        let by_class = PageQuery { sort: Sort::parse("class").unwrap(), ..first.clone() };
        let asked = |query: &PageQuery, missing, bytes| {
            texts.note_export(query, Exported { rows: 100, missing, in_one_piece: texts.asked(query) == Asked::InOnePiece }, bytes);
            texts.asked(query)
        };
        assert_eq!([(); 2].map(|()| asked(&first, 0, 10_000)), [Asked::InOnePiece; 2]);
        assert_eq!([0, 0, 26, 0].map(|missing| asked(&whole, missing, 10_000)), [Asked::Once, Asked::Often, Asked::Once, Asked::Often]);
        assert_eq!([(); 2].map(|()| asked(&by_class, 0, 10_000)), [Asked::Once, Asked::Often]);
        assert_eq!(asked(&first, 0, 180_000), Asked::InOnePiece, "a sandbox adds to it what it likes");
        texts.note_export(&first, Exported { rows: 100, missing: 0, in_one_piece: false }, 10_000);
        assert_eq!([texts.asked(&first), asked(&first, 0, 10_000)], [Asked::Often; 2], "its lines have grown");
        assert_eq!(asked(&first, 0, 400_000), Asked::Never, "it is too large");
        assert_eq!(asked(&first, 0, 179_000), Asked::Once, "it is too large for one piece");
    }

    #[test]
    fn without_memory_nothing_is_remembered() {
        let texts = RecordTexts::new(0);
        let origin = Origin::new("HOLNG", "16384");
        texts.remember(origin, version(0, 1), "{}");
        assert_eq!(texts.get(origin, version(0, 1)), None);
    }
}
