//! Import files as a sequence of lines, each a record or a reason why it is none. A line of a text
//! file, a row of a table: both are called line here.

use super::sqlite::FormerTable;
use super::text::TextFile;
use super::{Format, ImportArgs};
use crate::domain::record::{Finding, Record};
use std::fs::File;
use std::io::{self, ErrorKind};

/// Lines and bytes that are handed over at once: what an import holds in memory, a few times over.
const CHUNK_LINES: usize = 1_000;
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// One line of a file that is not blank.
pub(super) struct Line {
    /// Its number in the file, from 1.
    pub number: u64,
    /// The key of a row in the former application, where the row is bad.
    pub former_id: Option<String>,
    /// Its length.
    pub bytes: u64,
    /// When the record was changed last, where the file says it.
    pub stamp: Option<String>,
    /// The record, with what was unreadable in it; or what is wrong with the line.
    pub record: Result<(Record, Vec<Finding>), String>,
}

/// Lines of one organization that follow each other.
pub(super) struct Chunk {
    /// Whose they are; lines of nobody are bad.
    pub organization: Option<String>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// An open import file.
pub(super) enum Source {
    /// Lines of text, all of one organization.
    Text { file: TextFile, organization: String, bytes: u64 },
    /// The table of the former application.
    Table(FormerTable),
}

impl Source {
    /// Opens a file and makes sure that it is what the arguments say.
    pub(super) fn open(args: &ImportArgs) -> io::Result<Self> {
        let file = File::open(&args.file)?;
        let bytes = file.metadata()?.len();
        match (args.format, &args.organization) {
            (Format::Sqlite, organization) => {
                Ok(Self::Table(FormerTable::open(&args.file, organization.as_deref(), args.source_organization.as_deref())?))
            }
            (format, Some(organization)) => {
                Ok(Self::Text { file: TextFile::open(file, format == Format::Csv)?, organization: organization.clone(), bytes })
            }
            (_, None) => Err(invalid("--org must say whose records these are")),
        }
    }

    /// The organizations whose records it has.
    pub(super) fn organizations(&self) -> Vec<String> {
        match self {
            Self::Text { organization, .. } => vec![organization.clone()],
            Self::Table(table) => table.organizations().to_vec(),
        }
    }

    /// How much it is: bytes of a text, rows of a table.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Text { bytes, .. } => *bytes,
            Self::Table(table) => table.rows(),
        }
    }

    /// How much of that a line is.
    pub(super) const fn size_of(format: Format, line: &Line) -> u64 {
        match format {
            Format::Sqlite => 1,
            Format::Ndjson | Format::Csv => line.bytes,
        }
    }

    /// Hands over the lines in chunks, until the end or until the taker wants no more.
    pub(super) fn read_chunks(self, take: impl FnMut(Chunk) -> bool) -> io::Result<()> {
        let mut chunks = Chunks { take, organization: None, lines: Vec::new(), bytes: 0 };
        match self {
            Self::Text { mut file, organization, .. } => {
                while let Some(line) = file.next_line()? {
                    if !chunks.add(Some(&organization), line) {
                        return Ok(());
                    }
                }
            }
            Self::Table(table) => {
                if !table.read_rows(|organization, line| chunks.add(organization, line))? {
                    return Ok(());
                }
            }
        }
        chunks.hand_over();
        Ok(())
    }
}

/// Gathers lines into chunks.
struct Chunks<T> {
    take: T,
    organization: Option<String>,
    lines: Vec<Line>,
    bytes: u64,
}

impl<T: FnMut(Chunk) -> bool> Chunks<T> {
    /// Adds a line; whether more are wanted.
    fn add(&mut self, organization: Option<&str>, line: Line) -> bool {
        let is_full = self.lines.len() >= CHUNK_LINES || self.bytes >= CHUNK_BYTES;
        let goes_on = if is_full || self.organization.as_deref() != organization { self.hand_over() } else { true };
        if self.lines.is_empty() {
            self.organization = organization.map(str::to_owned);
        }
        self.bytes += line.bytes;
        self.lines.push(line);
        goes_on
    }

    fn hand_over(&mut self) -> bool {
        self.bytes = 0;
        let chunk = Chunk { organization: self.organization.clone(), lines: std::mem::take(&mut self.lines) };
        chunk.lines.is_empty() || (self.take)(chunk)
    }
}

pub(super) fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_bounded_and_of_one_organization() {
        let mut sizes = Vec::new();
        let mut chunks = Chunks {
            take: |chunk: Chunk| {
                sizes.push((chunk.organization, chunk.lines.len()));
                true
            },
            organization: None,
            lines: Vec::new(),
            bytes: 0,
        };
        let line = |bytes| Line { number: 1, former_id: None, bytes, stamp: None, record: Err(String::new()) };
        for _ in 0..=CHUNK_LINES {
            assert!(chunks.add(Some("A"), line(1)));
        }
        assert!(chunks.add(Some("B"), line(CHUNK_BYTES)) && chunks.add(Some("B"), line(1)) && chunks.add(None, line(1)));
        chunks.hand_over();
        let of = |organization: &str, lines| (Some(organization.to_owned()), lines);
        assert_eq!(sizes, [of("A", CHUNK_LINES), of("A", 1), of("B", 1), of("B", 1), (None, 1)]);
    }
}
