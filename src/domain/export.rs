//! Exports: CSV for spreadsheets, NDJSON for programs.

use crate::domain::field::Field;
use crate::domain::row::{Cell, push_day};
use std::borrow::Cow;

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// RFC 4180 with a head line.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

impl ExportFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Csv, Self::Ndjson];

    /// The word in parameters, which is also the ending of file names.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// The media type of the answer.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// Writes rows as CSV to a buffer that is taken away piece by piece.
#[derive(Debug)]
pub struct CsvWriter {
    /// One writer for many lines: one a line asked for 8 KB and seven allocations each time.
    lines: Box<csv::Writer<Vec<u8>>>,
}

impl CsvWriter {
    /// A writer of rows with these fields, which begins with their names.
    #[must_use]
    pub fn new(fields: &[Field]) -> Self {
        let mut writer = Self { lines: csv_writer(0) };
        writer.push(fields.iter().map(|field| Cell::Text(field.key())));
        writer
    }

    /// Adds a row; its cells are in the order of the fields.
    pub fn push<'c>(&mut self, cells: impl IntoIterator<Item = Cell<'c>>) {
        push_line(&mut self.lines, cells);
    }

    /// Bytes that wait to be taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.get_ref().len()
    }

    /// Whether nothing waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what was written so far.
    #[must_use]
    pub fn take(&mut self) -> String {
        let next = csv_writer(self.lines.get_ref().capacity());
        let lines = std::mem::replace(&mut self.lines, next);
        String::from_utf8_lossy(&lines.into_inner().unwrap_or_default()).into_owned()
    }
}

fn csv_writer(capacity: usize) -> Box<csv::Writer<Vec<u8>>> {
    Box::new(csv::WriterBuilder::new().flexible(true).terminator(csv::Terminator::CRLF).from_writer(Vec::with_capacity(capacity)))
}

/// Writing text to memory cannot fail, nor can it become anything but text.
fn push_line<'c>(writer: &mut csv::Writer<Vec<u8>>, cells: impl IntoIterator<Item = Cell<'c>>) {
    let mut text = String::new();
    for cell in cells {
        text.clear();
        let _ = match cell {
            Cell::Null => writer.write_field(""),
            Cell::Text(text) => writer.write_field(without_formula(text).as_bytes()),
            Cell::Date(date) => {
                push_day(&mut text, date);
                writer.write_field(&text)
            }
            Cell::Amount(amount) => writer.write_field(amount.to_string()),
            Cell::Flag(flag) => writer.write_field(if flag { "true" } else { "false" }),
            Cell::Count(count) => writer.write_field(count.to_string()),
            Cell::Number(number) => writer.write_field(number),
        };
    }
    let _ = writer.write_record(None::<&[u8]>);
    // So that the length is known.
    let _ = writer.flush();
}

/// A spreadsheet would run text that begins so as a formula; the quote makes it text.
/// <https://owasp.org/www-community/attacks/CSV_Injection>
fn without_formula(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;
    use rust_decimal::Decimal;

    const FIELDS: [Field; 5] = [Field::PfaId, Field::Model, Field::ForecastStart, Field::MonthlyRate, Field::IsActualized];

    #[test]
    fn csv_is_quoted_and_has_no_formulas() {
        let mut writer = CsvWriter::new(&FIELDS);
        let date = NaiveDate::from_ymd_opt(2025, 3, 1).expect("a date");
        let rate = Decimal::new(-150_050, 2);
        writer.push([Cell::Text("1"), Cell::Text("a \"b\", c\n"), Cell::Date(date), Cell::Amount(rate), Cell::Flag(true)]);
        writer.push([Cell::Text("=1+1"), Cell::Text("-"), Cell::Null, Cell::Null, Cell::Null]);
        assert_eq!(
            writer.take(),
            "pfaId,model,forecastStart,monthlyRate,isActualized\r\n1,\"a \"\"b\"\", c\n\",2025-03-01,-1500.50,true\r\n'=1+1,'-,,,\r\n"
        );
    }

    #[test]
    fn csv_goes_on_where_it_was_taken() {
        let mut writer = CsvWriter::new(&FIELDS[..1]);
        let long = "x".repeat(20_000);
        writer.push([Cell::Text(&long)]);
        assert_eq!(writer.len(), "pfaId\r\n".len() + long.len() + 2);
        assert_eq!(writer.take(), format!("pfaId\r\n{long}\r\n"));
        assert!(writer.is_empty());
        writer.push([Cell::Null]);
        writer.push([Cell::Text("2")]);
        assert_eq!(writer.take(), "\"\"\r\n2\r\n");
    }
}
