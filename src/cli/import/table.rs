//! Tables: headers matched loosely to the dictionary, cells as raw values.

use crate::domain::field::{Field, Kind};
use serde_json::{Map, Value};

/// What each column of a table is.
#[derive(Debug)]
pub(super) struct Columns(Vec<Column>);

#[derive(Debug)]
enum Column {
    Known(Field),
    /// A key that the dictionary does not have; it is kept under its header.
    Unknown(String),
}

impl Columns {
    /// Matches headers by their letters and digits alone: `Forecast Start`, `forecast_start` and
    /// `forecastStart` are the same.
    pub(super) fn of(headers: &csv::StringRecord) -> Result<Self, String> {
        let mut columns = Vec::new();
        let mut known = Vec::new();
        for header in headers {
            let header = header.trim_start_matches('\u{feff}').trim();
            match Field::ALL.iter().copied().find(|field| letters(field.key()) == letters(header)) {
                Some(field) if known.contains(&field) => return Err(format!("two columns are {field}")),
                Some(field) => {
                    known.push(field);
                    columns.push(Column::Known(field));
                }
                None => columns.push(Column::Unknown(header.to_owned())),
            }
        }
        if known.contains(&Field::PfaId) {
            Ok(Self(columns))
        } else {
            Err(format!(
                "the table has no column pfaId; a comma separates columns, and these were found: {}",
                headers.iter().collect::<Vec<_>>().join(", ")
            ))
        }
    }

    /// A row as a raw object; blank cells are missing.
    pub(super) fn object(&self, row: &csv::StringRecord) -> Result<Map<String, Value>, String> {
        if row.len() != self.0.len() {
            return Err(format!("has {} columns instead of {}", row.len(), self.0.len()));
        }
        let cells = self.0.iter().zip(row.iter().map(str::trim)).filter(|(_, cell)| !cell.is_empty());
        let entries = cells.filter_map(|(column, cell)| match column {
            Column::Known(field) if field.kind() == Kind::Amount => Some((field.key().to_owned(), Value::from(plain_amount(cell)))),
            Column::Known(field) => Some((field.key().to_owned(), Value::from(cell))),
            Column::Unknown(header) if header.is_empty() => None,
            Column::Unknown(header) => Some((header.clone(), Value::from(cell))),
        });
        Ok(entries.collect())
    }
}

/// Where a byte stands in its cell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Begins,
    Plain,
    Quoted,
    /// After a quote inside a quoted cell: its end, or the first half of a doubled quote.
    Closes,
}

/// Whether a quoted cell is not closed. A quote opens a cell only where the cell begins; elsewhere,
/// as in `5" hose`, it is a character like others.
pub(super) fn has_open_quote(text: &[u8]) -> bool {
    let mut state = Cell::Begins;
    for &byte in text {
        state = match (state, byte) {
            (Cell::Quoted, b'"') => Cell::Closes,
            (Cell::Begins | Cell::Closes, b'"') | (Cell::Quoted, _) => Cell::Quoted,
            (_, b',' | b'\n') => Cell::Begins,
            _ => Cell::Plain,
        };
    }
    state == Cell::Quoted
}

/// The cells of one row, which may go over several lines.
pub(super) fn cells(row: &[u8]) -> Result<csv::StringRecord, String> {
    if has_open_quote(row) {
        return Err("has a quote that is not closed within a hundred lines".to_owned());
    }
    if row.trim_ascii_end().contains(&b'\r') && !row.contains(&b'\n') {
        return Err("has carriage returns inside; lines must end with a line feed".to_owned());
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).buffer_capacity(row.len() + 1).from_reader(row);
    let mut cells = csv::StringRecord::new();
    match reader.read_record(&mut cells) {
        Ok(_) => Ok(cells),
        Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => Err("is not UTF-8".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// `$ 15,000.00` without currency sign, thousands separators and blanks.
pub(super) fn plain_amount(cell: &str) -> String {
    cell.chars().filter(|&character| !matches!(character, '$' | ',' | ' ')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn headers_match_loosely_and_amounts_lose_their_dress() {
        let columns = Columns::of(&vec!["\u{feff}PFA ID", "Forecast_Start", "monthly rate", "Cost Code", ""].into()).expect("columns");
        let object = columns.object(&vec!["7", "2025-03-01", "$15,000.50", "X", "y"].into()).expect("a row");
        assert_eq!(
            Value::Object(object),
            json!({"pfaId": "7", "forecastStart": "2025-03-01", "monthlyRate": "15000.50", "Cost Code": "X"})
        );
    }

    #[test]
    fn a_quote_opens_a_cell_only_at_its_begin() {
        for (text, is_open) in
            [("1,5\" hose", false), ("1,\"a", true), ("1,\"a\"\"b\"", false), ("\"a\"\"", true), ("1,\"a,\nb\",2", false)]
        {
            assert_eq!(has_open_quote(text.as_bytes()), is_open, "{text}");
        }
    }

    #[test]
    fn an_id_column_is_needed_and_no_column_may_come_twice() {
        assert!(Columns::of(&vec!["category"].into()).is_err());
        assert!(Columns::of(&vec!["pfaId", "pfa_id"].into()).is_err());
    }
}
