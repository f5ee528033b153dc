//! NDJSON: for programs, which ask again and again.
//!
//! What was asked for twice takes the text of each line from memory, be it a whole record or some fields of it (see
//! [`RecordTexts`]). Then the database tells only which records there are, mostly from an index alone, and what stands behind the first
//! text that is missing waits, up to [`MOST_EXPORTED`]. Some fields are taken [in one piece](super::transcribed), if they can be.

use super::outlet::{CHUNK, Outlet};
use super::{statements, transcribed};
use crate::domain::field::Field;
use crate::domain::row::{Meta, open_record, push_fields, push_meta};
use crate::error::{Error, Result};
use crate::service::records::PageQuery;
use crate::service::records::holes::Holes;
use crate::service::records::row::{BEFORE_FIELDS, META_WIDTH, cells_of_texts, read_cells, read_meta};
use crate::service::records::statement::Texts;
use crate::service::records::text_of::TextOf;
use crate::service::records::texts::{Asked, Exported, MOST_EXPORTED, Origin, RecordTexts};
use futures_util::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

/// So many missing texts are asked for at once.
const PORTION: usize = 500;

/// Sends all rows, and tells what is to be noted of them.
pub(super) async fn send(
    snapshot: &mut PgConnection,
    query: &PageQuery,
    (asked, origin): (Asked, Origin),
    texts: &RecordTexts,
    outlet: &mut Outlet<'_>,
) -> Result<Exported> {
    if asked == Asked::InOnePiece
        && let Some(rows) = transcribed::send(snapshot, query, origin, texts, outlet).await?
    {
        return Ok(Exported { rows, missing: 0, in_one_piece: true });
    }
    let origin = (asked != Asked::Never).then_some(origin);
    let mut sending = Sending { query, texts, origin, outlet, rows: 0, missing: 0 };
    let way = if asked == Asked::Often { Texts::Remembered } else { Texts::Read };
    // In the same snapshot the same rows come in the same order.
    if !sending.send(snapshot, way).await? {
        sending.send(snapshot, Texts::Read).await?;
    }
    Ok(Exported { rows: sending.rows, missing: sending.missing, in_one_piece: false })
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
    /// Hands over all rows that were not handed over yet. Not, when so much waits for a missing text that it must be read with its
    /// texts instead.
    async fn send(&mut self, snapshot: &mut PgConnection, way: Texts) -> Result<bool> {
        let mut lines = Lines::new(self.query, way, self.texts, self.origin);
        let mut statement = statements::rows(self.query, way);
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
                return Ok(false);
            }
        }
        drop(rows);
        self.rows += waiting;
        self.missing = lines.holes.texts().len();
        let filled = match self.origin {
            Some(origin) => self.fill(snapshot, &lines.json, &lines.holes, origin).await?,
            None => 0,
        };
        self.outlet.push(&lines.json[filled..]).await?;
        Ok(true)
    }

    /// Puts the missing texts in their places, some at a time, and hands over what is whole; tells what is left. In the snapshot of the rows
    /// every record has the version that they tell.
    async fn fill(&mut self, snapshot: &mut PgConnection, json: &str, holes: &Holes, origin: Origin) -> Result<usize> {
        let mut end = 0;
        for portion in holes.portions(PORTION) {
            let texts = self.texts.read(snapshot, self.query, origin, portion.texts).await?;
            let mut whole = String::new();
            end = portion.fill(&mut whole, json, end, &texts.ok_or(Error::ExportCut)?);
            self.outlet.push(&whole).await?;
        }
        Ok(end)
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
    holes: Holes,
}

impl<'a> Lines<'a> {
    fn new(query: &'a PageQuery, way: Texts, texts: &'a RecordTexts, origin: Option<Origin>) -> Self {
        let fields = query.fields.as_deref();
        let origin = origin.map(|origin| origin.of_fields(fields));
        Self { json: String::new(), fields, way, texts, origin, holes: Holes::default() }
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
                self.push_remembered(&record);
                return Ok(());
            }
            (None, Texts::Remembered) => push_draft(&mut self.json, row, fields)?,
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

/// Some fields of a row of an overlay, which come as one list of texts.
pub(super) fn push_draft(json: &mut String, row: &PgRow, fields: &[Field]) -> Result<()> {
    let texts: Vec<Option<String>> = row.try_get(BEFORE_FIELDS)?;
    push_fields(json, fields, cells_of_texts(fields, &texts), None);
    Ok(())
}
