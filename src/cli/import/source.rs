//! Import files as a sequence of lines, each a record or a reason why it is none.

use super::Format;
use super::table::Columns;
use crate::domain::record::{Finding, Record, canonicalise};
use csv::Terminator;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};

/// Longest line that is read; a longer one is bad.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// One line of a file that is not blank.
pub(super) struct Line {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its length.
    pub bytes: u64,
    /// The record, with what was unreadable in it; or what is wrong with the line.
    pub record: Result<(Record, Vec<Finding>), String>,
}

/// An open import file.
pub(super) enum Source {
    Ndjson(BufReader<File>),
    Csv(Box<csv::Reader<File>>, Columns),
}

impl Source {
    /// Opens a file; of a table the header is read.
    pub(super) fn open(file: File, format: Format) -> io::Result<Self> {
        match format {
            Format::Ndjson => Ok(Self::Ndjson(BufReader::with_capacity(1 << 20, file))),
            Format::Csv => {
                // Lines end at the line feed, so that their numbers are right; a carriage return before it is trimmed as a blank.
                let mut reader =
                    csv::ReaderBuilder::new().buffer_capacity(1 << 20).flexible(true).terminator(Terminator::Any(b'\n')).from_reader(file);
                let columns =
                    Columns::of(reader.headers().map_err(io::Error::from)?).map_err(|text| io::Error::new(ErrorKind::InvalidData, text))?;
                Ok(Self::Csv(Box::new(reader), columns))
            }
        }
    }

    /// Hands over the lines in chunks, until the end or until the taker wants no more.
    pub(super) fn read_chunks(self, size: usize, mut take: impl FnMut(Vec<Line>) -> bool) {
        let mut lines: Box<dyn Iterator<Item = Line>> = match self {
            Self::Ndjson(reader) => Box::new(ndjson_lines(reader)),
            Self::Csv(reader, columns) => Box::new(csv_lines(*reader, columns)),
        };
        loop {
            let chunk: Vec<_> = lines.by_ref().take(size).collect();
            if chunk.is_empty() || !take(chunk) {
                return;
            }
        }
    }
}

fn ndjson_lines(mut reader: impl BufRead) -> impl Iterator<Item = Line> {
    let mut number = 0;
    let mut ended = false;
    std::iter::from_fn(move || {
        loop {
            if ended {
                return None;
            }
            number += 1;
            let mut text = Vec::new();
            match read_line(&mut reader, &mut text) {
                Ok(0) => return None,
                Ok(bytes) => {
                    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
                    if !text.trim_ascii().is_empty() {
                        let record = if bytes > MAX_LINE_BYTES as u64 {
                            Err("the line is longer than 1 MiB".to_owned())
                        } else {
                            ndjson_record(text)
                        };
                        return Some(Line { number, bytes, record });
                    }
                }
                Err(error) => {
                    ended = true;
                    return Some(Line { number, bytes: 0, record: Err(format!("the file cannot be read further: {error}")) });
                }
            }
        }
    })
}

/// Reads a line into `text`, but no more than the limit; returns its full length.
fn read_line(reader: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(buffer.len(), |at| at + 1);
        let room = MAX_LINE_BYTES.saturating_sub(text.len()).min(taken);
        text.extend_from_slice(&buffer[..room]);
        reader.consume(taken);
        bytes += taken as u64;
        if end.is_some() || taken == 0 {
            return Ok(bytes);
        }
    }
}

fn ndjson_record(text: &[u8]) -> Result<(Record, Vec<Finding>), String> {
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Object(raw)) => record_of(raw),
        Ok(_) => Err("is no JSON object".to_owned()),
        Err(error) => Err(format!("is no JSON at column {}", error.column())),
    }
}

fn csv_lines(mut reader: csv::Reader<File>, columns: Columns) -> impl Iterator<Item = Line> {
    let mut row = csv::StringRecord::new();
    let mut ended = false;
    std::iter::from_fn(move || {
        loop {
            if ended {
                return None;
            }
            let before = reader.position().clone();
            let record = match reader.read_record(&mut row) {
                Ok(false) => return None,
                Ok(true) if row.iter().all(|cell| cell.trim().is_empty()) => continue,
                Ok(true) if row.len() != columns.len() => Err(format!("has {} columns instead of {}", row.len(), columns.len())),
                Ok(true) => record_of(columns.object(&row)),
                Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => Err("is not UTF-8".to_owned()),
                Err(error) => {
                    ended = true;
                    Err(format!("the file cannot be read further: {error}"))
                }
            };
            return Some(Line { number: before.line(), bytes: reader.position().byte() - before.byte(), record });
        }
    })
}

fn record_of(raw: Map<String, Value>) -> Result<(Record, Vec<Finding>), String> {
    canonicalise(raw).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers_and_reasons() {
        let text = "\u{feff}{\"pfaId\": \"1\"}\n\n{\"pfaId\": 2}\r\nnot json\n[1]\n{}\n".as_bytes();
        let lines: Vec<_> = ndjson_lines(text).map(|line| (line.number, line.record.map(|(record, _)| record.pfa_id))).collect();
        assert_eq!(lines[0], (1, Ok("1".to_owned())));
        assert_eq!(lines[1], (3, Ok("2".to_owned())));
        assert!(lines[2].0 == 4 && lines[2].1.as_ref().is_err_and(|reason| reason.starts_with("is no JSON")));
        assert_eq!(lines[3], (5, Err("is no JSON object".to_owned())));
        assert!(lines[4].0 == 6 && lines[4].1.as_ref().is_err_and(|reason| reason.contains("pfaId")));
    }

    #[test]
    fn a_line_over_the_limit_is_bad_and_the_next_one_is_read() {
        let text = format!("{{\"pfaId\": \"{}\"}}\n{{\"pfaId\": \"2\"}}\n", "x".repeat(MAX_LINE_BYTES));
        let lines: Vec<_> = ndjson_lines(text.as_bytes()).map(|line| line.record.is_ok()).collect();
        assert_eq!(lines, [false, true]);
    }
}
