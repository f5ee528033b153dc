//! NDJSON: for programs, which ask again and again.
//!
//! What was asked for twice takes the text of each line from memory, be it a whole record or some fields of it (see
//! [`RecordTexts`] and, for fields, [`Passage`]). Then the database tells only which records there are, mostly from an index alone, and
//! what stands behind the first text that is missing waits, up to [`MOST_EXPORTED`].

use super::outlet::{CHUNK, Outlet};
use crate::domain::field::Field;
use crate::domain::row::{Meta, open_record, push_fields, push_meta};
use crate::error::{Error, Result};
use crate::service::records::PageQuery;
use crate::service::records::holes::Holes;
use crate::service::records::row::{BEFORE_FIELDS, META_WIDTH, cells_of_texts, read_cells, read_meta};
use crate::service::records::statement::{self, Texts};
use crate::service::records::text_of::TextOf;
use crate::service::records::texts::{Asked, Exported, MOST_EXPORTED, Origin, RecordTexts};
use crate::service::records::transcript::Passage;
use futures_util::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

/// So many missing texts are asked for at once.
const PORTION: usize = 500;

/// Sends all rows but the last ones, which it returns with what is to be noted of them.
pub(super) async fn send(
    snapshot: &mut PgConnection,
    query: &PageQuery,
    (asked, origin): (Asked, Origin),
    texts: &RecordTexts,
    outlet: &mut Outlet<'_>,
) -> Result<(String, Exported)> {
    let origin = (asked != Asked::Never).then_some(origin);
    let mut sending = Sending { query, texts, origin, outlet, rows: 0, missing: 0 };
    let way = if asked == Asked::Often { Texts::Remembered } else { Texts::Read };
    let rest = match sending.send(snapshot, way).await? {
        Some(rest) => rest,
        // In the same snapshot the same rows come in the same order.
        None => sending.send(snapshot, Texts::Read).await?.unwrap_or_default(),
    };
    Ok((rest, Exported { rows: sending.rows, missing: sending.missing }))
}

/// An export on its way.
struct Sending<'a, 'o> {
    query: &'a PageQuery,
    texts: &'a RecordTexts,
    /// Of texts that are remembered; none are without it.
    origin: Option<Origin>,
    outlet: &'a mut Outlet<'o>,
    /// How many were handed over; at the end, how many there are.
    rows: usize,
    /// Of how many the text was not remembered.
    missing: usize,
}

impl Sending<'_, '_> {
    /// Hands over all rows that were not handed over yet, but for the last ones, which it returns. Nothing when so much waits for a
    /// missing text that it must be read with its texts instead.
    async fn send(&mut self, snapshot: &mut PgConnection, way: Texts) -> Result<Option<String>> {
        let mut lines = Lines::new(self.query, way, self.texts, self.origin);
        let mut statement = statement::export(self.query, way);
        let mut rows = statement.build().persistent(self.query.filter.conditions.is_empty()).fetch(&mut *snapshot);
        let (mut before, mut waiting) = (self.rows, 0);
        while let Some(row) = rows.try_next().await? {
            if before > 0 {
                before -= 1;
                continue;
            }
            lines.push(&row)?;
            waiting += 1;
            if lines.json.len() >= CHUNK && lines.holes.is_empty() {
                self.rows += std::mem::take(&mut waiting);
                self.outlet.hand_over(lines.take()).await?;
            } else if lines.json.len() + lines.holes.bytes() > MOST_EXPORTED {
                return Ok(None);
            }
        }
        drop(rows);
        self.rows += waiting;
        self.missing = lines.holes.texts().len();
        if let Some(passage) = lines.passage {
            self.texts.note_passage(self.query, passage);
        }
        match self.origin {
            Some(origin) => self.fill(snapshot, &lines.json, &lines.holes, origin).await.map(Some),
            None => Ok(Some(lines.json)),
        }
    }

    /// Puts the missing texts in their places, some at a time, and hands over what is whole; in the snapshot of the rows every record has
    /// the version that they tell.
    async fn fill(&mut self, snapshot: &mut PgConnection, rest: &str, holes: &Holes, origin: Origin) -> Result<String> {
        let mut end = 0;
        for portion in holes.portions(PORTION) {
            let texts = self.texts.read(snapshot, self.query, origin, portion.texts).await?;
            let mut whole = String::new();
            end = portion.fill(&mut whole, rest, end, &texts.ok_or(Error::ExportCut)?);
            let last = self.outlet.hand_over_chunks(&whole).await?.to_owned();
            self.outlet.hand_over(last).await?;
        }
        self.outlet.hand_over_chunks(&rest[end..]).await.map(str::to_owned)
    }
}

/// Lines that are written, with places for texts that nobody remembers.
struct Lines<'a> {
    json: String,
    /// Of a line; whole records have none.
    fields: Option<&'a [Field]>,
    /// Whether rows of the mirror come without what a line shows.
    way: Texts,
    texts: &'a RecordTexts,
    /// Of texts that are remembered; none are without it.
    origin: Option<Origin>,
    /// Where fields are remembered.
    passage: Option<Passage>,
    holes: Holes,
}

impl<'a> Lines<'a> {
    fn new(query: &'a PageQuery, way: Texts, texts: &'a RecordTexts, origin: Option<Origin>) -> Self {
        let fields = query.fields.as_deref();
        let origin = origin.map(|origin| origin.of_fields(fields));
        let passing = origin.filter(|_| way == Texts::Remembered && fields.is_some());
        let passage = passing.map(|origin| texts.transcript(query, origin));
        Self { json: String::new(), fields, way, texts, origin, passage, holes: Holes::default() }
    }

    fn push(&mut self, row: &PgRow) -> Result<()> {
        match self.fields {
            None => self.push_record(row)?,
            Some(fields) => self.push_fields(row, fields)?,
        }
        self.json.push_str("}\n");
        Ok(())
    }

    /// A whole record and its `_meta`, but for the last bracket.
    fn push_record(&mut self, row: &PgRow) -> Result<()> {
        let meta = read_meta(row, 0)?;
        let is_mirrored = meta.shown.is_none();
        if is_mirrored && self.way == Texts::Remembered {
            self.push_remembered(&meta);
        } else {
            let text = row.try_get(META_WIDTH)?;
            if is_mirrored {
                self.remember(&meta, text);
            }
            self.json.push_str(open_record(text));
        }
        push_meta(&mut self.json, &meta);
        Ok(())
    }

    /// Some fields, but for the last bracket. Rows of an overlay come without a version.
    fn push_fields(&mut self, row: &PgRow, fields: &[Field]) -> Result<()> {
        // To look at the types again in each row would be a twentieth of what it takes here.
        let record = match row.try_get_unchecked(1)? {
            Some(version) => Some(Meta { id: row.try_get_unchecked(0)?, version, shown: None }),
            None => None,
        };
        let begin = self.json.len();
        match (record, self.way) {
            (Some(record), Texts::Remembered) => {
                self.pass(&record);
                return Ok(());
            }
            (None, Texts::Remembered) => {
                let texts: Vec<Option<String>> = row.try_get(BEFORE_FIELDS)?;
                push_fields(&mut self.json, fields, cells_of_texts(fields, &texts), None);
            }
            (record, Texts::Read) => {
                push_fields(&mut self.json, fields, read_cells(row, BEFORE_FIELDS, fields)?, None);
                if let Some(record) = record {
                    self.remember(&record, &self.json[begin..]);
                }
            }
        }
        self.json.pop();
        Ok(())
    }

    /// The line of a row of the mirror as it went out last, or else as it is remembered.
    fn pass(&mut self, record: &Meta<'_>) {
        if let Some(Passage::Follow(follower)) = &mut self.passage
            && let Some(line) = follower.find(record.id, record.version)
        {
            self.json.push_str(line);
            return;
        }
        let begin = self.json.len();
        self.push_remembered(record);
        if let Some(Passage::Write(transcript)) = &mut self.passage
            && self.json.len() > begin
        {
            transcript.push(record.id, record.version, &self.json[begin..]);
            if self.texts.is_too_large(transcript) {
                self.passage = None;
            }
        }
    }

    fn remember(&self, record: &Meta<'_>, text: &str) {
        if let Some(origin) = self.origin {
            self.texts.remember(origin, TextOf::mirrored(record), text);
        }
    }

    /// The text of a row of the mirror, or the place where it belongs.
    fn push_remembered(&mut self, record: &Meta<'_>) {
        let of = TextOf::mirrored(record);
        match self.origin.and_then(|origin| self.texts.get(origin, of)) {
            Some(text) => self.json.push_str(open_record(&text)),
            None => self.holes.leave(self.json.len(), of),
        }
    }

    /// What is written so far; the next lines need as much room.
    fn take(&mut self) -> String {
        let capacity = self.json.capacity();
        std::mem::replace(&mut self.json, String::with_capacity(capacity))
    }
}
