//! A page put together row by row while the database still reads: its records are JSON text already, which
//! is copied, never parsed.

use super::crowds::Crowd;
use super::holes::Holes;
use super::moment::Moment;
use super::page_statement::{self, Way};
use super::row::{META_WIDTH, read_cells, read_key, read_meta};
use super::text_of::TextOf;
use super::texts::{Origin, RecordTexts};
use super::{CountKind, Page, PageQuery};
use crate::domain::cursor::Cursor;
use crate::domain::row::{Meta, open_record, push_fields, push_record};
use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use futures_util::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

/// What stands before the columns of a page's rows: the admission's.
const ADMISSION_WIDTH: usize = 5;
/// Where the fields begin, or the record's text.
const BODY: usize = ADMISSION_WIDTH + META_WIDTH;

impl PfaMirrorService {
    /// One page of merged records, of one moment: which rows, in which versions, one statement tells.
    ///
    /// # Errors
    /// When the organization or session is not there, or the database fails.
    pub async fn list_records(&self, query: &PageQuery) -> Result<Page> {
        let mut page = self.read_records(&mut *self.pool.acquire().await?, query).await?;
        if query.count == CountKind::Estimated {
            page.count = Some(self.estimate_records(query).await?);
        }
        Ok(page)
    }

    /// The page, without an estimated count.
    pub(super) async fn read_records(&self, connection: &mut PgConnection, query: &PageQuery) -> Result<Page> {
        let way = self.find_way(connection, query).await?;
        let mut reading = self.read_page(connection, query, way).await?;
        if !reading.holes.is_empty() {
            let origin = reading.admission()?.moment.origin;
            match self.texts.read(connection, query, origin, reading.holes.texts()).await? {
                Some(texts) => reading.json = reading.holes.fill(&reading.json, &texts),
                // A record has changed meanwhile: what was read is of no moment any more.
                None => reading = self.read_page(connection, query, way.with_texts()).await?,
            }
        }
        self.texts.note_page(query, way.drafts.is_some());
        let page = reading.finish()?;
        if let Err(error) = self.crowds.count(connection, &query.reader, page.state).await {
            // The page is there; the next one counts again.
            tracing::warn!(%error, "an overlay could not be counted");
        }
        Ok(page)
    }

    /// How the page is best read.
    pub(super) async fn find_way(&self, connection: &mut PgConnection, query: &PageQuery) -> Result<Way> {
        let crowd = self.crowds.met_by(connection, query).await?;
        let has_drafts = crowd == Crowd::Dense && query.fields.is_none();
        let drafts = has_drafts.then(|| self.texts.best_for_drafts(query));
        Ok(Way { texts: self.texts.best_for(query), drafts, crowd })
    }

    async fn read_page<'a>(&'a self, connection: &mut PgConnection, query: &'a PageQuery, way: Way) -> Result<Reading<'a>> {
        let mut reading = Reading::new(query, &self.texts, way.drafts.is_some());
        let mut statement = page_statement::page(query, way);
        // Filters that somebody puts together would push the others out of the connection's statements.
        let mut rows = statement.build().persistent(query.filter.conditions.is_empty()).fetch(connection);
        while let Some(row) = rows.try_next().await? {
            reading.push(row)?;
        }
        Ok(reading)
    }
}

/// A page that is being read.
struct Reading<'a> {
    query: &'a PageQuery,
    texts: &'a RecordTexts,
    tells_revisions: bool,
    json: String,
    rows: usize,
    has_more: bool,
    holes: Holes,
    /// What the first row says.
    admission: Option<Admission>,
    /// The last row of the page.
    last: Option<PgRow>,
}

/// What the first row says of the reading as a whole.
#[derive(Clone, Copy)]
struct Admission {
    moment: Moment,
    count: Option<i64>,
}

impl<'a> Reading<'a> {
    fn new(query: &'a PageQuery, texts: &'a RecordTexts, tells_revisions: bool) -> Self {
        // A record has about 650 bytes, its `_meta` 150. Most pages are full, and few are larger.
        let bytes = if query.fields.is_some() { 300 } else { 900 } * query.limit.min(1_000) as usize;
        Self {
            query,
            texts,
            tells_revisions,
            json: String::with_capacity(bytes),
            rows: 0,
            has_more: false,
            holes: Holes::default(),
            admission: None,
            last: None,
        }
    }

    /// Adds a row, the admission first; the one beyond the limit tells that there are more.
    fn push(&mut self, row: PgRow) -> Result<()> {
        let Some(admission) = &self.admission else {
            let moment = Moment::read(&row, &self.query.reader)?;
            self.admission = Some(Admission { moment, count: row.try_get(ADMISSION_WIDTH - 1)? });
            return Ok(());
        };
        if self.rows == self.query.limit as usize {
            self.has_more = true;
            return Ok(());
        }
        let origin = admission.moment.origin;
        self.json.push(if self.rows == 0 { '[' } else { ',' });
        self.rows += 1;
        let revision = if self.tells_revisions { row.try_get(BODY + 1)? } else { None };
        match (&self.query.fields, revision) {
            (None, Some(revision)) => self.push_draft(&row, revision, origin)?,
            (None, None) => self.push_record(row.try_get(BODY)?, &read_meta(&row, ADMISSION_WIDTH)?, origin),
            (Some(fields), _) => {
                let meta = read_meta(&row, ADMISSION_WIDTH)?;
                push_fields(&mut self.json, fields, read_cells(&row, BODY, fields)?, Some(&meta));
            }
        }
        self.last = Some(row);
        Ok(())
    }

    /// Adds a draft: as it was read, or as it is remembered, or its place.
    fn push_draft(&mut self, row: &PgRow, revision: i64, origin: Origin) -> Result<()> {
        let of = TextOf::new(true, row.try_get(ADMISSION_WIDTH)?, revision);
        if let Some(text) = row.try_get(BODY)? {
            let begin = self.json.len();
            push_record(&mut self.json, text, &read_meta(row, ADMISSION_WIDTH)?);
            self.texts.remember(origin, of, &self.json[begin..]);
            return Ok(());
        }
        match self.texts.get(origin, of) {
            Some(text) => self.json.push_str(open_record(&text)),
            None => self.holes.leave(self.json.len(), of),
        }
        self.json.push('}');
        Ok(())
    }

    /// Adds a whole record: with its text, or the one that is remembered, or none yet.
    fn push_record(&mut self, text: Option<&str>, meta: &Meta<'_>, origin: Origin) {
        let of = TextOf::mirrored(meta);
        if let Some(text) = text {
            // A draft's text may change without a version.
            if meta.shown.is_none() {
                self.texts.remember(origin, of, text);
            }
            return push_record(&mut self.json, text, meta);
        }
        let text = self.texts.get(origin, of);
        if text.is_none() {
            self.holes.leave(self.json.len(), of);
        }
        push_record(&mut self.json, text.as_deref().unwrap_or_default(), meta);
    }

    /// Nothing was read for whom it is not there.
    fn admission(&self) -> Result<Admission> {
        let reader = &self.query.reader;
        let admission = self.admission.ok_or_else(|| Error::OrganizationNotFound(reader.organization.clone()))?;
        admission.moment.check(reader)?;
        Ok(admission)
    }

    fn finish(mut self) -> Result<Page> {
        let admission = self.admission()?;
        let next = match self.last {
            Some(last) if self.has_more => Some(next_cursor(self.query, &last)?),
            _ => None,
        };
        self.json.push_str(if self.rows == 0 { "[]" } else { "]" });
        Ok(Page { rows: self.json, next, count: admission.count, state: admission.moment.state })
    }
}

/// Where the page ends: the sort keys stand last.
fn next_cursor(query: &PageQuery, last: &PgRow) -> Result<Cursor> {
    let keys = query.sort.keys();
    let first = last.len() - keys.len();
    let values: Result<Vec<_>> = keys.iter().enumerate().map(|(index, key)| read_key(last, first + index, key.field)).collect();
    Ok(Cursor::new(query.fingerprint(), values?, last.try_get(ADMISSION_WIDTH)?))
}
