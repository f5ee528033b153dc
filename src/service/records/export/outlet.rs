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
    /// What went out.
    pub bytes: usize,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(to: &'a Sender<Result<Piece>>) -> Self {
        Self { to, bytes: 0 }
    }

    /// Hands over rows; waits until the client takes them.
    pub(super) async fn hand_over(&mut self, rows: String) -> Result<()> {
        self.bytes += rows.len();
        self.to.send_timeout(Ok(Piece::Rows(rows)), PATIENCE).await.map_err(|_| Error::ExportCut)
    }

    /// Hands over a long text but for the last chunk, which it returns: a client has its time for each.
    pub(super) async fn hand_over_chunks<'t>(&mut self, mut text: &'t str) -> Result<&'t str> {
        while text.len() > CHUNK {
            let (chunk, behind) = text.split_at(text.floor_char_boundary(CHUNK));
            self.hand_over(chunk.to_owned()).await?;
            text = behind;
        }
        Ok(text)
    }
}
