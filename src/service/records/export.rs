//! Exports: all matching records of one snapshot, sent while they are read.
//!
//! A task reads the rows and hands them over in chunks; it waits while the client takes them, so an
//! export needs the memory of two chunks however many records it has. One that is asked for again and again takes the texts of
//! records from memory (see [`super::texts`]); then what stands behind the first missing one waits, up to [`MOST_EXPORTED`].

use super::PageQuery;
use super::holes::Holes;
use super::moment::{Moment, SNAPSHOT};
use super::row::{META_WIDTH, read_cells, read_meta};
use super::statement::{self, Texts};
use super::texts::{Asked, MOST_EXPORTED, Origin, RecordTexts};
use crate::domain::export::{ExportFormat, RowWriter};
use crate::domain::field::Field;
use crate::error::{Error, Result, refusal};
use crate::service::PfaMirrorService;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// So many bytes are handed over at once.
const CHUNK: usize = 64 * 1024;
/// So many missing texts are asked for at once.
const PORTION: usize = 500;
/// A client that takes nothing for so long is given up: it holds a connection of the database.
const PATIENCE: Duration = Duration::from_mins(1);

/// And so is one that takes little by little: while it does, the database keeps every old row for it.
const MOST_TIME: Duration = Duration::from_hours(1);
/// The statement lasts as long as its client takes; the server looks every two seconds whether this service is
/// still there. Memory for the ids of three million touched records; few exports run at once.
const SETTINGS: &str = "set local statement_timeout = 0; set local client_connection_check_interval = '2s'; set local work_mem = '64MB'";

impl PfaMirrorService {
    /// All matching records, as text in chunks; with `fields` only these, without `_meta`. The query's
    /// limit, cursor and count are of no account.
    ///
    /// # Errors
    /// [`Error::ExportsBusy`] when as many exports are running as may; when the organization or session is
    /// not there; or the database fails, which can also come after the first chunks: then the export is not whole.
    pub async fn export_records(&self, query: PageQuery, format: ExportFormat) -> Result<impl Stream<Item = Result<String>> + use<>> {
        let place = self.exporters.clone().try_acquire_owned().map_err(|_| Error::ExportsBusy)?;
        let mut connection = self.pool.acquire().await?;
        check_reader(&mut connection, &query).await?;
        let (sender, receiver) = mpsc::channel(1);
        let (stopping, texts) = (self.stopping.clone(), Arc::clone(&self.texts));
        self.background.spawn(async move {
            let rows = tokio::time::timeout(MOST_TIME, send_rows(&mut connection, query, format, &texts, &sender));
            let sent = tokio::select! {
                sent = rows => sent.unwrap_or(Err(Error::ExportCut)),
                () = sender.closed() => Err(Error::ExportCut),
                () = stopping.cancelled() => Err(Error::ExportCut),
            };
            if sent.is_err() {
                // Rows are still on their way on this connection.
                connection.close_on_drop();
            }
            drop(connection);
            drop(place);
            let _ = sender.send_timeout(sent.map(Piece::End), PATIENCE).await;
        });
        let mut pieces = Box::pin(stream::try_unfold(Some(receiver), next_rows));
        // The first piece tells whether the statement works at all.
        let first = pieces.try_next().await?;
        Ok(stream::iter(first.map(Ok)).chain(pieces))
    }
}

/// What the task hands over.
enum Piece {
    Rows(String),
    /// The last rows; without them the export is not whole.
    End(String),
}

/// The next rows, unless the last were given; then there are no pieces any more.
async fn next_rows(pieces: Option<Receiver<Result<Piece>>>) -> Result<Option<(String, Option<Receiver<Result<Piece>>>)>> {
    let Some(mut pieces) = pieces else { return Ok(None) };
    match pieces.recv().await.unwrap_or(Err(Error::ExportCut))? {
        Piece::Rows(rows) => Ok(Some((rows, Some(pieces)))),
        Piece::End(rows) => Ok(Some((rows, None))),
    }
}

async fn check_reader(connection: &mut PgConnection, query: &PageQuery) -> Result<()> {
    let reader = &query.reader;
    let refused = sqlx::query_scalar!("select pfa_refusal($1, $2, $3)", reader.organization, reader.session, reader.user)
        .fetch_one(connection)
        .await?;
    refusal(refused.as_deref(), &reader.organization)
}

/// Sends all rows but the last, which it returns: they go out when the connection is free again.
async fn send_rows(
    connection: &mut PgConnection,
    mut query: PageQuery,
    format: ExportFormat,
    texts: &RecordTexts,
    to: &Sender<Result<Piece>>,
) -> Result<String> {
    if format == ExportFormat::Csv && query.fields.is_none() {
        query.fields = Some(Field::ALL.to_vec());
    }
    let mut snapshot = connection.begin_with(SNAPSHOT).await?;
    sqlx::raw_sql(SETTINGS).execute(&mut *snapshot).await?;
    let asked = texts.asked(&query);
    let origin = if asked == Asked::Never { None } else { Some(Moment::find(&mut snapshot, &query).await?.origin) };
    let mut sending = Sending { query: &query, format, texts, origin, to, rows: 0, bytes: 0 };
    let way = if asked == Asked::Often { Texts::Remembered } else { Texts::Read };
    let rest = match sending.send(&mut snapshot, way).await? {
        Some(rest) => rest,
        // In the same snapshot the same rows come in the same order.
        None => sending.send(&mut snapshot, Texts::Read).await?.unwrap_or_default(),
    };
    snapshot.commit().await?;
    texts.note_export(&query, sending.bytes + rest.len());
    Ok(rest)
}

/// An export on its way.
struct Sending<'a> {
    query: &'a PageQuery,
    format: ExportFormat,
    texts: &'a RecordTexts,
    /// Of texts that are remembered; none are without it.
    origin: Option<Origin>,
    to: &'a Sender<Result<Piece>>,
    /// What was handed over.
    rows: usize,
    bytes: usize,
}

impl Sending<'_> {
    /// Hands over all rows that were not handed over yet, but for the last ones, which it returns. Nothing when so much waits for a
    /// missing text that it must be read with its texts instead.
    async fn send(&mut self, snapshot: &mut PgConnection, way: Texts) -> Result<Option<String>> {
        let mut lines = Lines::new(self.query, self.format, self.texts, self.origin);
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
            if lines.writer.len() >= CHUNK && lines.holes.is_empty() {
                self.rows += std::mem::take(&mut waiting);
                self.hand_over(lines.writer.take()).await?;
            } else if lines.writer.len() > MOST_EXPORTED {
                return Ok(None);
            }
        }
        drop(rows);
        let rest = lines.writer.take();
        match self.origin {
            Some(origin) => self.fill(snapshot, &rest, &lines.holes, origin).await.map(Some),
            None => Ok(Some(rest)),
        }
    }

    /// Puts the missing texts in their places, some at a time, and hands over what is whole; in the snapshot of the rows every record has
    /// the version that they tell.
    async fn fill(&mut self, snapshot: &mut PgConnection, rest: &str, holes: &Holes, origin: Origin) -> Result<String> {
        let mut end = 0;
        for portion in holes.portions(PORTION) {
            let texts = self.texts.read(snapshot, &self.query.reader.organization, origin, portion.records).await?;
            let mut whole = String::new();
            end = portion.fill(&mut whole, rest, end, &texts.ok_or(Error::ExportCut)?);
            let last = self.hand_over_chunks(&whole).await?.to_owned();
            self.hand_over(last).await?;
        }
        self.hand_over_chunks(&rest[end..]).await.map(str::to_owned)
    }

    /// Hands over a long text but for the last chunk, which it returns: a client has its time for each.
    async fn hand_over_chunks<'t>(&mut self, mut text: &'t str) -> Result<&'t str> {
        while text.len() > CHUNK {
            let (chunk, behind) = text.split_at(text.floor_char_boundary(CHUNK));
            self.hand_over(chunk.to_owned()).await?;
            text = behind;
        }
        Ok(text)
    }

    /// Waits until the client takes it.
    async fn hand_over(&mut self, rows: String) -> Result<()> {
        self.bytes += rows.len();
        self.to.send_timeout(Ok(Piece::Rows(rows)), PATIENCE).await.map_err(|_| Error::ExportCut)
    }
}

/// Lines that are written, with places for texts that nobody remembers.
struct Lines<'a> {
    writer: RowWriter,
    is_whole: bool,
    texts: &'a RecordTexts,
    /// Of texts that are remembered; none are without it.
    origin: Option<Origin>,
    holes: Holes,
}

impl<'a> Lines<'a> {
    fn new(query: &PageQuery, format: ExportFormat, texts: &'a RecordTexts, origin: Option<Origin>) -> Self {
        let writer = RowWriter::new(format, query.fields.as_deref().unwrap_or_default());
        Self { writer, is_whole: query.fields.is_none(), texts, origin, holes: Holes::default() }
    }

    fn push(&mut self, row: &PgRow) -> Result<()> {
        if !self.is_whole {
            let cells = read_cells(row, 0, self.writer.fields())?;
            self.writer.push(&cells);
            return Ok(());
        }
        let meta = read_meta(row, 0)?;
        let text = row.try_get::<Option<&str>, _>(META_WIDTH)?;
        match (text, self.origin) {
            (Some(text), Some(origin)) if meta.shown.is_none() => self.texts.remember(origin, meta.id, meta.version, text),
            (None, Some(origin)) => {
                let known = self.texts.get(origin, meta.id, meta.version);
                if known.is_none() {
                    self.holes.leave(self.writer.len(), &meta);
                }
                self.writer.push_record(known.as_deref().unwrap_or_default(), &meta);
                return Ok(());
            }
            _ => {}
        }
        self.writer.push_record(text.unwrap_or_default(), &meta);
        Ok(())
    }
}
