//! Exports: all matching records of one snapshot, sent while they are read.
//!
//! A task reads the rows and hands them over in chunks; it waits while the client takes them, so an
//! export needs the memory of two chunks however many records it has; but see [`json`] and [`transcribed`] for those that are asked for
//! again and again.

mod csv;
mod json;
mod outlet;
mod statements;
mod transcribed;

use self::outlet::{Outlet, PATIENCE, Piece};
use super::PageQuery;
use super::moment::{Moment, SNAPSHOT};
use super::statement::{Builder, Texts};
use super::texts::{Asked, RecordTexts};
use crate::domain::export::ExportFormat;
use crate::domain::filter::Filter;
use crate::domain::sort::Sort;
use crate::error::{Error, Result};
use crate::service::PfaMirrorService;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// A client that takes little by little is given up, too: while it does, the database keeps every old row for it.
const MOST_TIME: Duration = Duration::from_hours(1);
/// The statement, and the transaction when all rows were read, last as long as the client takes; the server looks every two seconds
/// whether this service is still there. A lock is waited for as long as statements last elsewhere. Memory for the ids of three
/// million touched records; few exports run at once.
const SETTINGS: &str = "; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0; \
    set local lock_timeout = '30s'; set local client_connection_check_interval = '2s'; set local work_mem = '64MB'";
/// For exports that have one plan for all values: planning, a millisecond of some tens, is done once a connection.
const ONE_PLAN: &str = "; set local plan_cache_mode = force_generic_plan";

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
        let (sender, receiver) = mpsc::channel(1);
        let (stopping, texts) = (self.stopping.clone(), Arc::clone(&self.texts));
        self.background.spawn(async move {
            let rows = tokio::time::timeout(MOST_TIME, send_rows(&mut connection, query, format, &texts, &sender));
            let sent = tokio::select! {
                sent = rows => sent.unwrap_or(Err(Error::ExportCut)),
                () = sender.closed() => Err(Error::ExportCut),
                () = stopping.cancelled() => Err(Error::ExportCut),
            };
            if !matches!(sent, Ok(_) | Err(Error::OrganizationNotFound(_) | Error::SessionNotFound)) {
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

/// The next rows, unless the last were given; then there are no pieces any more.
async fn next_rows(pieces: Option<Receiver<Result<Piece>>>) -> Result<Option<(String, Option<Receiver<Result<Piece>>>)>> {
    let Some(mut pieces) = pieces else { return Ok(None) };
    match pieces.recv().await.unwrap_or(Err(Error::ExportCut))? {
        Piece::Rows(rows) => Ok(Some((rows, Some(pieces)))),
        Piece::End(rows) => Ok(Some((rows, None))),
    }
}

/// Sends all rows but the last, which it returns: they go out when the connection is free again.
async fn send_rows(
    connection: &mut PgConnection,
    mut query: PageQuery,
    format: ExportFormat,
    texts: &RecordTexts,
    to: &Sender<Result<Piece>>,
) -> Result<String> {
    let asked = if format == ExportFormat::Csv { Asked::Never } else { texts.asked(&query) };
    let is_remembered = matches!(asked, Asked::Often | Asked::InOnePiece);
    let planning = if is_remembered && has_one_plan(&query) { ONE_PLAN } else { "" };
    let mut snapshot = connection.begin_with(AssertSqlSafe([SNAPSHOT, SETTINGS, planning].concat())).await?;
    let moment = Moment::find(&mut snapshot, &query).await?;
    let mut outlet = Outlet::new(to);
    if format == ExportFormat::Csv {
        csv::send(&mut snapshot, &mut query, &mut outlet).await?;
        snapshot.commit().await?;
    } else {
        let exported = json::send(&mut snapshot, &query, (asked, moment.origin), texts, &mut outlet).await?;
        snapshot.commit().await?;
        texts.note_export(&query, exported, outlet.bytes);
    }
    Ok(outlet.into_rest())
}

/// Whether an index gives all rows of any organization in order, without their records.
fn has_one_plan(query: &PageQuery) -> bool {
    query.filter == Filter::default() && query.sort == Sort::default()
}

/// The statements of an export whose texts are remembered: line by line, and what is asked again and again where fields are remembered
/// in one piece.
pub(super) fn remembered_statements(query: &PageQuery) -> Vec<Builder> {
    let mut all = vec![statements::rows(query, Texts::Remembered)];
    if query.fields.is_some() {
        all.extend([statements::sum(query), statements::mirrored(query, None), statements::overlaid(query), statements::drafts(query)]);
    }
    all
}
