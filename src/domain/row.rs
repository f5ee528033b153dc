//! Rows of merged records as JSON text: the record, or some of its fields, and its `_meta`.

use crate::domain::field::Field;
use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};
use rust_decimal::Decimal;
use std::fmt::Write as _;
use uuid::Uuid;

/// What the service knows of a row: its `_meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta<'a> {
    /// Id of the mirror row.
    pub id: Uuid,
    /// Version of the mirror row.
    pub version: i64,
    /// The modification that is shown on it; without one the row is pristine.
    pub shown: Option<ShownModification<'a>>,
}

/// A modification that is shown on a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownModification<'a> {
    /// Its state.
    pub state: &'a str,
    /// The keys that it changes, sorted.
    pub fields: Vec<String>,
    /// Whose it is.
    pub user: &'a str,
    /// When it was made or committed.
    pub at: DateTime<Utc>,
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
    /// A number of things.
    Count(i64),
    /// A number that is written already.
    Number(&'a str),
}

/// A record's text up to where its `_meta` follows.
#[must_use]
pub fn open_record(record: &str) -> &str {
    record.strip_suffix('}').unwrap_or(record)
}

/// Adds a whole record, which is JSON text already, with its `_meta`.
pub fn push_record(json: &mut String, record: &str, meta: &Meta<'_>) {
    json.push_str(open_record(record));
    push_meta(json, meta);
    json.push('}');
}

/// Adds some fields as an object, with `_meta` or without.
pub fn push_fields<'c>(json: &mut String, fields: &[Field], cells: impl IntoIterator<Item = Cell<'c>>, meta: Option<&Meta<'_>>) {
    json.push('{');
    push_values(json, fields.iter().map(|field| field.key()).zip(cells));
    if let Some(meta) = meta {
        push_meta(json, meta);
    }
    json.push('}');
}

/// Adds values as members of an object that is open.
pub fn push_values<'a>(json: &mut String, values: impl IntoIterator<Item = (&'static str, Cell<'a>)>) {
    for (index, (key, cell)) in values.into_iter().enumerate() {
        json.push_str(if index == 0 { "\"" } else { ", \"" });
        json.push_str(key);
        json.push_str("\": ");
        push_cell(json, cell);
    }
}

fn push_cell(json: &mut String, cell: Cell<'_>) {
    // Writing to memory cannot fail.
    let _ = match cell {
        Cell::Null => json.write_str("null"),
        Cell::Text(text) => {
            push_text(json, text);
            Ok(())
        }
        Cell::Date(date) => {
            push_date(json, date);
            Ok(())
        }
        Cell::Amount(amount) => write!(json, "{amount}"),
        Cell::Flag(flag) => write!(json, "{flag}"),
        Cell::Count(count) => write!(json, "{count}"),
        Cell::Number(number) => json.write_str(number),
    };
}

fn push_date(json: &mut String, date: NaiveDate) {
    json.push('"');
    push_day(json, date);
    json.push('"');
}

/// `2025-03-01`. The library's formatter takes five times as long, which is felt in exports of dates.
pub(super) fn push_day(text: &mut String, date: NaiveDate) {
    let (year, month, day) = (date.year(), date.month(), date.day());
    if !(0..=9_999).contains(&year) {
        let _ = write!(text, "{date}");
        return;
    }
    push_digits(text, year.unsigned_abs(), 1_000);
    text.push('-');
    push_digits(text, month, 10);
    text.push('-');
    push_digits(text, day, 10);
}

/// `2025-03-01T08:30:00.000125Z`, for the same reason: a page of drafts may have a thousand of them.
fn push_moment(text: &mut String, at: DateTime<Utc>) {
    push_day(text, at.date_naive());
    for (separator, number, first) in
        [('T', at.hour(), 10), (':', at.minute(), 10), (':', at.second(), 10), ('.', at.timestamp_subsec_micros(), 100_000)]
    {
        text.push(separator);
        push_digits(text, number, first);
    }
    text.push('Z');
}

/// The digits of a number from the one of this value on, with leading zeros.
fn push_digits(text: &mut String, number: u32, first: u32) {
    let mut value = first;
    while value > 0 {
        text.push(char::from_digit(number / value % 10, 10).unwrap_or('0'));
        value /= 10;
    }
}

fn push_text(json: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Adds `, "_meta": {…}` to an object that is open: always the last key.
pub fn push_meta(json: &mut String, meta: &Meta<'_>) {
    let mut id = Uuid::encode_buffer();
    json.push_str(", \"_meta\": {\"id\": \"");
    json.push_str(meta.id.hyphenated().encode_lower(&mut id));
    json.push_str("\", \"version\": ");
    // Writing to memory cannot fail.
    let _ = write!(json, "{}", meta.version);
    let Some(shown) = &meta.shown else {
        json.push_str(", \"syncState\": \"pristine\", \"modifiedFields\": [], \"modifiedBy\": null, \"modifiedAt\": null}");
        return;
    };
    json.push_str(", \"syncState\": ");
    push_text(json, shown.state);
    json.push_str(", \"modifiedFields\": [");
    for (index, field) in shown.fields.iter().enumerate() {
        json.push_str(if index == 0 { "" } else { "," });
        push_text(json, field);
    }
    json.push_str("], \"modifiedBy\": ");
    push_text(json, shown.user);
    json.push_str(", \"modifiedAt\": \"");
    push_moment(json, shown.at);
    json.push_str("\"}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn meta(shown: Option<ShownModification<'_>>) -> Meta<'_> {
        Meta { id: Uuid::from_u128(1), version: 3, shown }
    }

    #[test]
    fn meta_is_the_last_key_of_a_record() {
        let mut text = String::new();
        push_record(&mut text, "{\"a\": 1}", &meta(None));
        assert_eq!(
            text,
            "{\"a\": 1, \"_meta\": {\"id\": \"00000000-0000-0000-0000-000000000001\", \"version\": 3, \"syncState\": \"pristine\", \
             \"modifiedFields\": [], \"modifiedBy\": null, \"modifiedAt\": null}}"
        );
    }

    #[test]
    fn a_modification_is_shown() {
        let at = DateTime::from_timestamp_micros(1_738_404_000_000_001).expect("a time");
        let shown = ShownModification { state: "draft", fields: vec!["dor".to_owned(), "model".to_owned()], user: "a \"b\"\n", at };
        let mut text = String::new();
        push_fields(&mut text, &[Field::PfaId], [Cell::Text("1")], Some(&meta(Some(shown))));
        let expected = json!({"pfaId": "1", "_meta": {"id": "00000000-0000-0000-0000-000000000001", "version": 3, "syncState": "draft",
            "modifiedFields": ["dor", "model"], "modifiedBy": "a \"b\"\n", "modifiedAt": "2025-02-01T10:00:00.000001Z"}});
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), expected);
    }

    #[test]
    fn every_date_is_written_as_the_library_does() {
        for days in (-1_000_000..4_000_000).step_by(997) {
            let date = NaiveDate::from_num_days_from_ce_opt(days).expect("a date");
            let mut text = String::new();
            push_date(&mut text, date);
            assert_eq!(text, format!("\"{date}\""));
        }
    }

    #[test]
    fn every_moment_is_written_as_the_library_does() {
        for step in 0..5_000_i64 {
            let at = DateTime::from_timestamp_micros(step * 400_000_987_654 - 1_000_000_000_000_000).expect("a time");
            let mut text = String::new();
            push_moment(&mut text, at);
            assert_eq!(text, at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
        }
    }

    #[test]
    fn every_kind_of_value_is_itself() {
        let fields = [Field::PfaId, Field::Model, Field::ForecastStart, Field::MonthlyRate, Field::IsActualized];
        let date = NaiveDate::from_ymd_opt(2025, 3, 1).expect("a date");
        let mut text = String::new();
        let amount = Cell::Amount(Decimal::new(-150_050, 2));
        push_fields(&mut text, &fields, [Cell::Text("a\\"), Cell::Null, Cell::Date(date), amount, Cell::Flag(true)], None);
        assert_eq!(
            text,
            "{\"pfaId\": \"a\\\\\", \"model\": null, \"forecastStart\": \"2025-03-01\", \"monthlyRate\": -1500.50, \"isActualized\": true}"
        );
    }
}
