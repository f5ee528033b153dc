//! The rows of an export as text: CSV for spreadsheets, NDJSON for programs.

use crate::domain::field::Field;
use crate::domain::row::{Cell, Meta, push_day, push_fields, push_record};
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

/// Writes rows to a buffer that is taken away piece by piece.
#[derive(Debug)]
pub struct RowWriter {
    fields: Vec<Field>,
    lines: Lines,
}

#[derive(Debug)]
enum Lines {
    /// One writer for many lines: one a line asked for 8 KB and seven allocations each time.
    Csv(Box<csv::Writer<Vec<u8>>>),
    Ndjson(String),
}

impl RowWriter {
    /// A writer of rows with these fields; CSV begins with their names.
    #[must_use]
    pub fn new(format: ExportFormat, fields: &[Field]) -> Self {
        let mut writer = Self { fields: fields.to_vec(), lines: Lines::new(format) };
        if format == ExportFormat::Csv {
            let names: Vec<_> = fields.iter().map(|field| Cell::Text(field.key())).collect();
            writer.push(&names);
        }
        writer
    }

    /// The fields of each row.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Adds a row; its cells are in the order of the fields.
    pub fn push(&mut self, cells: &[Cell<'_>]) {
        match &mut self.lines {
            Lines::Csv(writer) => push_line(writer, cells),
            Lines::Ndjson(buffer) => {
                push_fields(buffer, &self.fields, cells, None);
                buffer.push('\n');
            }
        }
    }

    /// Adds a whole record, which is JSON text already; only NDJSON has such lines.
    pub fn push_record(&mut self, record: &str, meta: &Meta<'_>) {
        match &mut self.lines {
            Lines::Csv(_) => debug_assert!(false, "CSV has fields"),
            Lines::Ndjson(buffer) => {
                push_record(buffer, record, meta);
                buffer.push('\n');
            }
        }
    }

    /// Bytes that wait to be taken.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.lines {
            Lines::Csv(writer) => writer.get_ref().len(),
            Lines::Ndjson(buffer) => buffer.len(),
        }
    }

    /// Whether nothing waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what was written so far.
    #[must_use]
    pub fn take(&mut self) -> String {
        match &mut self.lines {
            Lines::Csv(writer) => {
                let lines = std::mem::replace(writer, csv_writer(writer.get_ref().capacity()));
                String::from_utf8_lossy(&lines.into_inner().unwrap_or_default()).into_owned()
            }
            Lines::Ndjson(buffer) => {
                let capacity = buffer.capacity();
                std::mem::replace(buffer, String::with_capacity(capacity))
            }
        }
    }
}

impl Lines {
    fn new(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Csv => Self::Csv(csv_writer(0)),
            ExportFormat::Ndjson => Self::Ndjson(String::new()),
        }
    }
}

fn csv_writer(capacity: usize) -> Box<csv::Writer<Vec<u8>>> {
    Box::new(csv::WriterBuilder::new().flexible(true).terminator(csv::Terminator::CRLF).from_writer(Vec::with_capacity(capacity)))
}

/// Writing text to memory cannot fail, nor can it become anything but text.
fn push_line(writer: &mut csv::Writer<Vec<u8>>, cells: &[Cell<'_>]) {
    let mut text = String::new();
    for cell in cells {
        text.clear();
        let _ = match cell {
            Cell::Null => writer.write_field(""),
            Cell::Text(text) => writer.write_field(without_formula(text).as_bytes()),
            Cell::Date(date) => {
                push_day(&mut text, *date);
                writer.write_field(&text)
            }
            Cell::Amount(amount) => writer.write_field(amount.to_string()),
            Cell::Flag(flag) => writer.write_field(if *flag { "true" } else { "false" }),
            Cell::Count(count) => writer.write_field(count.to_string()),
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
    use uuid::Uuid;

    const FIELDS: [Field; 5] = [Field::PfaId, Field::Model, Field::ForecastStart, Field::MonthlyRate, Field::IsActualized];

    fn written(format: ExportFormat) -> String {
        let mut writer = RowWriter::new(format, &FIELDS);
        let date = NaiveDate::from_ymd_opt(2025, 3, 1).expect("a date");
        writer.push(&[
            Cell::Text("1"),
            Cell::Text("a \"b\", c\n"),
            Cell::Date(date),
            Cell::Amount(Decimal::new(-150_050, 2)),
            Cell::Flag(true),
        ]);
        writer.push(&[Cell::Text("=1+1"), Cell::Text("-"), Cell::Null, Cell::Null, Cell::Null]);
        writer.take()
    }

    #[test]
    fn csv_is_quoted_and_has_no_formulas() {
        assert_eq!(
            written(ExportFormat::Csv),
            "pfaId,model,forecastStart,monthlyRate,isActualized\r\n1,\"a \"\"b\"\", c\n\",2025-03-01,-1500.50,true\r\n'=1+1,'-,,,\r\n"
        );
    }

    #[test]
    fn ndjson_is_an_object_a_line() {
        assert_eq!(
            written(ExportFormat::Ndjson),
            "{\"pfaId\": \"1\", \"model\": \"a \\\"b\\\", c\\n\", \"forecastStart\": \"2025-03-01\", \"monthlyRate\": -1500.50, \"isActualized\": true}\n\
             {\"pfaId\": \"=1+1\", \"model\": \"-\", \"forecastStart\": null, \"monthlyRate\": null, \"isActualized\": null}\n"
        );
    }

    #[test]
    fn csv_goes_on_where_it_was_taken() {
        let mut writer = RowWriter::new(ExportFormat::Csv, &FIELDS[..1]);
        let long = "x".repeat(20_000);
        writer.push(&[Cell::Text(&long)]);
        assert_eq!(writer.len(), "pfaId\r\n".len() + long.len() + 2);
        assert_eq!(writer.take(), format!("pfaId\r\n{long}\r\n"));
        assert!(writer.is_empty());
        writer.push(&[Cell::Null]);
        writer.push(&[Cell::Text("2")]);
        assert_eq!(writer.take(), "\"\"\r\n2\r\n");
    }

    #[test]
    fn what_was_taken_is_not_written_again() {
        let mut writer = RowWriter::new(ExportFormat::Ndjson, &[]);
        writer.push_record("{\"a\": 1}", &Meta { id: Uuid::nil(), version: 2, shown: None });
        assert!(writer.take().starts_with("{\"a\": 1, \"_meta\": {"));
        assert!(writer.is_empty());
    }
}
