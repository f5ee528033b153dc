//! Where the rows of an export go: to a client that takes its time.

use crate::error::{Error, Result};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// So many bytes are handed over at once.
pub(super) const CHUNK: usize = 64 * 1024;
/// A client that takes nothing for so long is given up: it holds a connection of the database.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// What is handed over.
pub(super) enum Piece {
    Rows(String),
    /// The last rows; without them the export is not whole.
    End(String),
}

/// The way to the client.
pub(super) struct Outlet<'a> {
    to: &'a Sender<Result<Piece>>,
    /// What waits to be a chunk.
    rest: String,
    /// What came so far.
    pub bytes: usize,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(to: &'a Sender<Result<Piece>>) -> Self {
        Self { to, rest: String::new(), bytes: 0 }
    }

    /// Adds rows, however many, and hands over chunks as they are full: a client has its time for each.
    pub(super) async fn push(&mut self, mut rows: &str) -> Result<()> {
        self.bytes += rows.len();
        while self.rest.len() + rows.len() > CHUNK {
            let (chunk, behind) = rows.split_at(rows.floor_char_boundary(CHUNK.saturating_sub(self.rest.len())));
            self.rest.push_str(chunk);
            self.hand_over_rest().await?;
            rows = behind;
        }
        self.rest.push_str(rows);
        Ok(())
    }

    /// Hands over rows behind those that were added; waits until the client takes them.
    pub(super) async fn hand_over(&mut self, rows: String) -> Result<()> {
        if !self.rest.is_empty() {
            self.hand_over_rest().await?;
        }
        self.bytes += rows.len();
        self.send(rows).await
    }

    /// The last rows.
    pub(super) fn into_rest(self) -> String {
        self.rest
    }

    async fn hand_over_rest(&mut self) -> Result<()> {
        let rest = std::mem::replace(&mut self.rest, String::with_capacity(CHUNK));
        self.send(rest).await
    }

    async fn send(&self, rows: String) -> Result<()> {
        self.to.send_timeout(Ok(Piece::Rows(rows)), PATIENCE).await.map_err(|_| Error::ExportCut)
    }
}
