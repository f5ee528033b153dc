//! Cells of the former application's table as raw values: SQLite has five types for everything, so
//! the dictionary says what a cell means.

use super::table::plain_amount;
use crate::domain::field::Kind;
use crate::domain::value::read_date;
use chrono::{DateTime, Datelike as _, SecondsFormat};
use rusqlite::types::ValueRef;
use serde_json::{Number, Value};
use std::fmt::Write as _;

const DAY_MS: i64 = 86_400_000;
/// In March 1973. A smaller number that is no whole day is seconds, or `20250301`, rather than milliseconds.
const PLAUSIBLE_MS: u64 = 100_000_000_000;

/// What was found where a value should be.
#[derive(Debug, PartialEq)]
pub(super) struct Unreadable {
    /// The cell, for people.
    pub shown: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// A cell of a field, or of a column that the dictionary does not have; NULL is nothing.
pub(super) fn read_cell(kind: Option<Kind>, cell: ValueRef<'_>) -> Result<Option<Value>, Unreadable> {
    let unreadable = |problem| Unreadable { shown: shown(cell), problem };
    Ok(Some(match (kind, cell) {
        (_, ValueRef::Null) => return Ok(None),
        (_, ValueRef::Blob(_)) => return Err(unreadable("is binary")),
        (_, ValueRef::Text(bytes)) => {
            let text = std::str::from_utf8(bytes).map_err(|_| unreadable("is not UTF-8"))?;
            Value::from(match kind {
                Some(Kind::Date) => iso_stamp(text),
                Some(Kind::Amount) => plain_amount(text),
                _ => text.to_owned(),
            })
        }
        (Some(Kind::Date), ValueRef::Integer(number)) => date_of_ms(number).map_err(unreadable)?,
        (_, ValueRef::Integer(number)) => Value::from(number),
        (Some(Kind::Date), ValueRef::Real(number)) => {
            let whole = whole(number).ok_or_else(|| unreadable("is no date"))?;
            date_of_ms(whole).map_err(unreadable)?
        }
        // A column that is declared a number holds whole ones as REAL, too.
        (Some(Kind::Text(_) | Kind::Word(_) | Kind::Flag), ValueRef::Real(number)) => {
            whole(number).map_or_else(|| Value::from(number.to_string()), Value::from)
        }
        (Some(Kind::Amount), ValueRef::Real(number)) => Value::from(digits_that_mean_something(number)),
        (None, ValueRef::Real(number)) => Value::Number(Number::from_f64(number).ok_or_else(|| unreadable("is no number"))?),
    }))
}

/// When a row was changed last, as text that sorts.
pub(super) fn read_stamp(cell: ValueRef<'_>) -> Result<Option<String>, Unreadable> {
    let unreadable = || Unreadable { shown: shown(cell), problem: "is no moment" };
    match cell {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(ms) => {
            let moment = DateTime::from_timestamp_millis(ms).ok_or_else(unreadable)?;
            Ok(Some(moment.to_rfc3339_opts(SecondsFormat::Millis, true)))
        }
        ValueRef::Text(bytes) => {
            let stamp = iso_stamp(std::str::from_utf8(bytes).map_err(|_| unreadable())?);
            if read_date(&stamp).is_some() { Ok(Some(stamp)) } else { Err(unreadable()) }
        }
        ValueRef::Real(_) | ValueRef::Blob(_) => Err(unreadable()),
    }
}

/// A cell for people.
pub(super) fn shown(cell: ValueRef<'_>) -> String {
    match cell {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).chars().filter(|&c| c != '\0').take(200).collect(),
        ValueRef::Blob(bytes) => {
            let mut text = bytes.iter().take(16).fold("x'".to_owned(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            text.push_str(if bytes.len() > 16 { "…'" } else { "'" });
            text
        }
    }
}

/// The calendar day, in UTC, of milliseconds since 1970; years that no record has stay as they are.
fn date_of_ms(ms: i64) -> Result<Value, &'static str> {
    if ms.unsigned_abs() < PLAUSIBLE_MS && ms % DAY_MS != 0 {
        return Err("is no date in milliseconds since 1970");
    }
    let date = DateTime::from_timestamp_millis(ms).map(|moment| moment.date_naive()).filter(|date| (1900..3000).contains(&date.year()));
    Ok(date.map_or_else(|| Value::from(ms), |date| Value::from(date.to_string())))
}

/// `2025-03-01 10:00:00`, as SQLite's own functions write it, as ISO 8601.
fn iso_stamp(text: &str) -> String {
    let text = text.trim();
    match text.split_once(' ') {
        Some((date, time)) if date.len() == 10 => format!("{date}T{time}"),
        _ => text.to_owned(),
    }
}

/// The number that somebody meant: a REAL keeps fifteen decimal digits, and arithmetic leaves noise
/// behind them, as in 12345.670000000002.
fn digits_that_mean_something(number: f64) -> String {
    let scientific = format!("{number:.14e}");
    rust_decimal::Decimal::from_scientific(&scientific).map_or(number.to_string(), |decimal| decimal.normalize().to_string())
}

/// A REAL without a fraction, as long as every such number is one.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kind: Kind, cell: ValueRef<'_>) -> Value {
        read_cell(Some(kind), cell).expect("readable").unwrap_or_default()
    }

    #[test]
    fn dates_are_milliseconds_or_text() {
        for (cell, date) in [
            (ValueRef::Integer(1_740_787_200_000), json!("2025-03-01")),
            (ValueRef::Integer(1_740_873_599_999), json!("2025-03-01")),
            (ValueRef::Integer(0), json!("1970-01-01")),
            (ValueRef::Integer(-DAY_MS), json!("1969-12-31")),
            (ValueRef::Integer(-2_208_988_800_000), json!("1900-01-01")),
            (ValueRef::Real(1_740_787_200_000.0), json!("2025-03-01")),
            (ValueRef::Text(b"2025-03-01T00:00:00.000Z"), json!("2025-03-01T00:00:00.000Z")),
            (ValueRef::Text(b"2025-03-01 08:30:00"), json!("2025-03-01T08:30:00")),
            (ValueRef::Integer(99_999_999_999_999), json!(99_999_999_999_999_i64)),
        ] {
            assert_eq!(read(Kind::Date, cell), date, "{cell:?}");
        }
        for number in [1_740_787_200, 20_250_301, 2025] {
            assert!(read_cell(Some(Kind::Date), ValueRef::Integer(number)).is_err(), "{number}");
        }
    }

    #[test]
    fn amounts_lose_the_noise_of_floating_point_and_nothing_else() {
        for (number, amount) in [
            (0.1 + 0.2, "0.3"),
            (12_345.670_000_000_002, "12345.67"),
            (15_000.0, "15000"),
            (99_999_999_999.999_9, "99999999999.9999"),
            (-0.000_1, "-0.0001"),
            (1.234_56, "1.23456"),
            (0.0, "0"),
        ] {
            assert_eq!(read(Kind::Amount, ValueRef::Real(number)), json!(amount), "{number}");
        }
        assert_eq!(read(Kind::Amount, ValueRef::Text(b"$ 1,500.25")), json!("1500.25"));
    }

    #[test]
    fn whole_numbers_stand_for_flags_and_texts() {
        assert_eq!(read(Kind::Flag, ValueRef::Real(1.0)), json!(1));
        assert_eq!(read(Kind::Text(100), ValueRef::Real(10_245.0)), json!(10_245));
        assert_eq!(read_cell(None, ValueRef::Real(1.5)), Ok(Some(json!(1.5))));
        assert_eq!(read_cell(None, ValueRef::Null), Ok(None));
    }

    #[test]
    fn what_is_no_text_is_told() {
        let of = |shown: &str, problem| Err(Unreadable { shown: shown.into(), problem });
        assert_eq!(read_cell(Some(Kind::Text(9)), ValueRef::Blob(&[1, 255])), of("x'01ff'", "is binary"));
        assert_eq!(read_cell(None, ValueRef::Text(b"a\xff")), of("a\u{fffd}", "is not UTF-8"));
        assert!(read_cell(None, ValueRef::Real(f64::INFINITY)).is_err());
    }

    #[test]
    fn stamps_are_moments() {
        assert_eq!(read_stamp(ValueRef::Integer(1_740_787_200_123)), Ok(Some("2025-03-01T00:00:00.123Z".into())));
        assert_eq!(read_stamp(ValueRef::Text(b"2025-03-01 08:30:00")), Ok(Some("2025-03-01T08:30:00".into())));
        assert_eq!(read_stamp(ValueRef::Null), Ok(None));
        assert!(read_stamp(ValueRef::Text(b"yesterday")).is_err());
    }
}
