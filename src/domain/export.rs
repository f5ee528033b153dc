//! The rows of an export as text: CSV for spreadsheets, NDJSON for programs.

use crate::domain::field::Field;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use std::io::Write as _;

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

/// The value of one field of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// Text of any kind.
    Text(&'a str),
    /// A calendar date.
    Date(NaiveDate),
    /// An amount of money.
    Amount(Decimal),
    /// A flag.
    Flag(bool),
}

/// Writes rows to a buffer that is taken away piece by piece.
#[derive(Debug)]
pub struct RowWriter {
    format: ExportFormat,
    fields: Vec<Field>,
    /// `"key":` of each field, as JSON has it.
    keys: Vec<String>,
    buffer: Vec<u8>,
}

impl RowWriter {
    /// A writer of rows with these fields; CSV begins with their names.
    #[must_use]
    pub fn new(format: ExportFormat, fields: &[Field]) -> Self {
        let keys = fields.iter().map(|field| format!("\"{}\":", field.key())).collect();
        let mut writer = Self { format, fields: fields.to_vec(), keys, buffer: Vec::new() };
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
            ExportFormat::Ndjson => self.push_object(cells),
        }
    }

    /// Adds a record that is JSON text already.
    pub fn push_record(&mut self, record: &str, meta: &str) {
        self.buffer.extend_from_slice(record.strip_suffix('}').unwrap_or(record).as_bytes());
        self.buffer.extend_from_slice(b", \"_meta\": ");
        self.buffer.extend_from_slice(meta.as_bytes());
        self.buffer.extend_from_slice(b"}\n");
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
    pub fn take(&mut self) -> Vec<u8> {
        let capacity = self.buffer.capacity();
        std::mem::replace(&mut self.buffer, Vec::with_capacity(capacity))
    }

    fn push_object(&mut self, cells: &[Cell<'_>]) {
        for (index, (key, cell)) in self.keys.iter().zip(cells).enumerate() {
            self.buffer.push(if index == 0 { b'{' } else { b',' });
            self.buffer.extend_from_slice(key.as_bytes());
            // Writing to memory cannot fail.
            let _ = match cell {
                Cell::Null => self.buffer.write_all(b"null"),
                Cell::Text(text) => serde_json::to_writer(&mut self.buffer, text).map_err(Into::into),
                Cell::Date(date) => write!(self.buffer, "\"{date}\""),
                Cell::Amount(amount) => write!(self.buffer, "{amount}"),
                Cell::Flag(flag) => write!(self.buffer, "{flag}"),
            };
        }
        self.buffer.extend_from_slice(b"}\n");
    }

    fn push_csv(&mut self, cells: &[Cell<'_>]) {
        let mut line = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(&mut self.buffer);
        for cell in cells {
            // Writing to memory cannot fail.
            let _ = match cell {
                Cell::Null => line.write_field(""),
                Cell::Text(text) => line.write_field(without_formula(text).as_ref()),
                Cell::Date(date) => line.write_field(date.to_string()),
                Cell::Amount(amount) => line.write_field(amount.to_string()),
                Cell::Flag(flag) => line.write_field(if *flag { "true" } else { "false" }),
            };
        }
        let _ = line.write_record(None::<&[u8]>);
    }
}

/// A spreadsheet would run text that begins so as a formula; the quote makes it text.
/// <https://owasp.org/www-community/attacks/CSV_Injection>
fn without_formula(text: &str) -> std::borrow::Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        String::from_utf8(writer.take()).expect("text")
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
            "{\"pfaId\":\"1\",\"model\":\"a \\\"b\\\", c\\n\",\"forecastStart\":\"2025-03-01\",\"monthlyRate\":-1500.50,\"isActualized\":true}\n\
             {\"pfaId\":\"=1+1\",\"model\":\"-\",\"forecastStart\":null,\"monthlyRate\":null,\"isActualized\":null}\n"
        );
    }

    #[test]
    fn records_get_their_meta() {
        let mut writer = RowWriter::new(ExportFormat::Ndjson, &[]);
        writer.push_record("{\"a\": 1}", "{\"v\": 2}");
        assert_eq!(writer.take(), b"{\"a\": 1, \"_meta\": {\"v\": 2}}\n");
        assert!(writer.is_empty());
    }
}
