//! Text files: a JSON object a line, or a table with a header line.

use super::source::{Line, invalid};
use super::table::{Columns, cells, has_open_quote};
use crate::domain::record::canonicalise;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// Longest line that is read, and longest table row; what is longer is bad.
const MAX_LINE_BYTES: usize = 1024 * 1024;
/// Most lines that a quoted cell may go over.
const MAX_JOINED_LINES: usize = 100;

/// An open text file.
pub(super) struct TextFile {
    lines: RawLines<BufReader<File>>,
    /// Of a table: what its columns are.
    columns: Option<Columns>,
}

impl TextFile {
    /// Begins to read; of a table the header is read.
    pub(super) fn open(file: File, is_table: bool) -> io::Result<Self> {
        let mut lines = RawLines::new(BufReader::with_capacity(1 << 20, file));
        let mut columns = None;
        if is_table {
            let header = lines.next_row()?.ok_or_else(|| invalid("the table has no header line"))?;
            let header = cells(&header.text).map_err(invalid)?;
            columns = Some(Columns::of(&header).map_err(invalid)?);
        }
        Ok(Self { lines, columns })
    }

    /// The next line that is not blank.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Line>> {
        let raw = if self.columns.is_some() { self.lines.next_row()? } else { self.lines.next_line()? };
        Ok(raw.map(|raw| {
            let object = match (&self.columns, raw.is_too_long) {
                (_, true) => Err("is longer than 1 MiB".to_owned()),
                (None, false) => object_of_json(&raw.text),
                (Some(columns), false) => cells(&raw.text).and_then(|row| columns.object(&row)),
            };
            let record = object.and_then(|object| canonicalise(object).map_err(|error| error.to_string()));
            Line { number: raw.number, former_id: None, bytes: raw.bytes, stamp: None, record }
        }))
    }
}

fn object_of_json(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("is no JSON object".to_owned()),
        Err(error) => Err(format!("is no JSON at column {}", error.column())),
    }
}

/// Lines as they stand in the file, blank ones left out.
struct RawLines<R> {
    reader: R,
    number: u64,
    /// Lines that were read for a row which did not come to its end.
    again: VecDeque<RawLine>,
}

struct RawLine {
    number: u64,
    bytes: u64,
    text: Vec<u8>,
    is_too_long: bool,
}

impl<R: BufRead> RawLines<R> {
    fn new(reader: R) -> Self {
        Self { reader, number: 0, again: VecDeque::new() }
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> io::Result<Option<RawLine>> {
        loop {
            match self.next_physical_line()? {
                Some(line) if line.text.trim_ascii().is_empty() => {}
                line => return Ok(line),
            }
        }
    }

    fn next_physical_line(&mut self) -> io::Result<Option<RawLine>> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let mut text = Vec::new();
        let bytes = read_line(&mut self.reader, &mut text)?;
        if bytes == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.number == 1 && text.starts_with(b"\xef\xbb\xbf") {
            text.drain(..3);
        }
        Ok(Some(RawLine { number: self.number, bytes, is_too_long: bytes > MAX_LINE_BYTES as u64, text }))
    }

    /// The next row of a table: lines are joined while a quote is open. A quote that stays open
    /// costs its own line only.
    fn next_row(&mut self) -> io::Result<Option<RawLine>> {
        let Some(mut row) = self.next_line()? else { return Ok(None) };
        let first_line = row.text.len();
        let mut joined = Vec::new();
        while has_open_quote(&row.text) && !row.is_too_long && joined.len() < MAX_JOINED_LINES {
            let Some(line) = self.next_physical_line()? else { break };
            row.text.extend_from_slice(&line.text);
            row.is_too_long = row.text.len() > MAX_LINE_BYTES;
            joined.push(line);
        }
        if row.is_too_long || has_open_quote(&row.text) {
            row.text.truncate(first_line);
            row.is_too_long &= joined.is_empty();
            for line in joined.into_iter().rev() {
                self.again.push_front(line);
            }
        } else {
            row.bytes += joined.iter().map(|line| line.bytes).sum::<u64>();
        }
        Ok(Some(row))
    }
}

/// Adds a line to `text`, but no more than the limit; returns its full length.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> RawLines<&[u8]> {
        RawLines::new(text.as_bytes())
    }

    #[test]
    fn lines_keep_their_numbers_and_reasons() {
        let mut lines = raw("\u{feff}{\"pfaId\": \"1\"}\n\n{\"pfaId\": 2}\r\nnot json\n[1]");
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().expect("text") {
            found.push((line.number, object_of_json(&line.text).map(|object| object["pfaId"].to_string())));
        }
        assert_eq!(found[0], (1, Ok("\"1\"".to_owned())));
        assert_eq!(found[1], (3, Ok("2".to_owned())));
        assert!(found[2].0 == 4 && found[2].1.as_ref().is_err_and(|reason| reason.starts_with("is no JSON")));
        assert_eq!(found[3], (5, Err("is no JSON object".to_owned())));
    }

    #[test]
    fn a_line_over_the_limit_is_bad_and_the_next_one_is_read() {
        let text = format!("{}\nnext\n", "x".repeat(MAX_LINE_BYTES + 5));
        let mut lines = raw(&text);
        assert!(lines.next_line().expect("text").is_some_and(|line| line.is_too_long && line.text.len() == MAX_LINE_BYTES));
        assert!(lines.next_line().expect("text").is_some_and(|line| !line.is_too_long && line.number == 2));
    }

    #[test]
    fn rows_join_lines_while_a_quote_is_open() {
        let mut lines = raw("1,\"a\nb\"\n\n2,\"open\n3,c\n");
        let first = lines.next_row().expect("text").expect("a row");
        assert_eq!((first.number, first.text.as_slice()), (1, &b"1,\"a\nb\"\n"[..]));
        let second = lines.next_row().expect("text").expect("a row");
        assert!(second.number == 4 && cells(&second.text).is_err_and(|reason| reason.contains("quote")));
        let third = lines.next_row().expect("text").expect("a row");
        assert_eq!((third.number, third.text.as_slice()), (5, &b"3,c\n"[..]));
        assert!(lines.next_row().expect("text").is_none());
    }
}
