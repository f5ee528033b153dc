//! The rows of an export as text: CSV for spreadsheets, NDJSON for programs.

use crate::domain::field::Field;
use crate::domain::row::{Cell, Meta, push_fields, push_record};
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
    format: ExportFormat,
    fields: Vec<Field>,
    buffer: String,
}

impl RowWriter {
    /// A writer of rows with these fields; CSV begins with their names.
    #[must_use]
    pub fn new(format: ExportFormat, fields: &[Field]) -> Self {
        let mut writer = Self { format, fields: fields.to_vec(), buffer: String::new() };
        if format == ExportFormat::Csv {
            let names: Vec<_> = fields.iter().map(|field| Cell::Text(field.key())).collect();
            writer.push_csv(&names);
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
        match self.format {
            ExportFormat::Csv => self.push_csv(cells),
            ExportFormat::Ndjson => {
                push_fields(&mut self.buffer, &self.fields, cells, None);
                self.buffer.push('\n');
            }
        }
    }

    /// Adds a whole record, which is JSON text already.
    pub fn push_record(&mut self, record: &str, meta: &Meta<'_>) {
        push_record(&mut self.buffer, record, meta);
        self.buffer.push('\n');
    }

    /// Bytes that wait to be taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes what was written so far.
    #[must_use]
    pub fn take(&mut self) -> String {
        let capacity = self.buffer.capacity();
        std::mem::replace(&mut self.buffer, String::with_capacity(capacity))
    }

    fn push_csv(&mut self, cells: &[Cell<'_>]) {
        let texts = cells.iter().map(|cell| match cell {
            Cell::Null => Cow::Borrowed(""),
            Cell::Text(text) => without_formula(text),
            Cell::Date(date) => date.to_string().into(),
            Cell::Amount(amount) => amount.to_string().into(),
            Cell::Flag(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
        });
        let mut line = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        // Writing to memory cannot fail.
        let _ = line.write_record(texts.map(Cow::into_owned));
        self.buffer.push_str(&String::from_utf8_lossy(&line.into_inner().unwrap_or_default()));
    }
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
    fn what_was_taken_is_not_written_again() {
        let mut writer = RowWriter::new(ExportFormat::Ndjson, &[]);
        writer.push_record("{\"a\": 1}", &Meta { id: Uuid::nil(), version: 2, shown: None });
        assert!(writer.take().starts_with("{\"a\": 1, \"_meta\": {"));
        assert!(writer.is_empty());
    }
}
