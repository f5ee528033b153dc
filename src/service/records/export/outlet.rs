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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// What the client gets of texts, of which those of an odd number are handed over in one.
    async fn send(texts: &[String]) -> Vec<String> {
        let (sender, mut receiver) = mpsc::channel(100);
        let mut outlet = Outlet::new(&sender);
        for (index, text) in texts.iter().enumerate() {
            let sent = if index % 2 == 0 { outlet.push(text).await } else { outlet.hand_over(text.clone()).await };
            sent.expect("there is room");
        }
        assert_eq!(outlet.bytes, texts.iter().map(String::len).sum::<usize>());
        let mut pieces = vec![outlet.into_rest()];
        drop(sender);
        while let Some(Ok(Piece::Rows(rows))) = receiver.recv().await {
            pieces.insert(pieces.len() - 1, rows);
        }
        pieces
    }

    #[tokio::test]
    async fn text_comes_in_its_order_and_in_chunks() {
        for texts in [
            vec!["ü".repeat(CHUNK)],
            vec!["a".repeat(CHUNK - 1), String::new(), "ü".repeat(10)],
            vec!["aü".repeat(CHUNK), "b".to_owned(), "ü".repeat(CHUNK / 2), "c".to_owned(), "d".repeat(CHUNK + 1)],
            vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            vec!["a".repeat(CHUNK)],
            vec![],
        ] {
            let pieces = send(&texts).await;
            assert_eq!(pieces.concat(), texts.concat());
            assert!(pieces.iter().all(|piece| piece.len() <= CHUNK), "{:?}", pieces.iter().map(String::len).collect::<Vec<_>>());
        }
    }
}
