//! JSON as JSONB has it: what it can hold (no U+0000 in texts and keys, numbers of a sane size), a
//! value as text, numbers by meaning.

use serde_json::Value;
use std::borrow::Cow;

/// Longest number in digits, and largest exponent. JSONB fails beyond 131,072 digits, and nobody means them.
const MOST_DIGITS: usize = 400;
const LARGEST_EXPONENT: u32 = 300;

/// Why the database could not hold a value as JSONB, if it could not.
#[must_use]
pub fn unfit_for_jsonb(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(text) if text.contains('\0') => Some("holds a NUL character"),
        Value::Number(number) if !is_sane_number(&number.to_string()) => Some("holds a number that is too large or too long"),
        Value::Array(values) => values.iter().find_map(unfit_for_jsonb),
        Value::Object(map) if map.keys().any(|key| key.contains('\0')) => Some("holds a NUL character"),
        Value::Object(map) => map.values().find_map(unfit_for_jsonb),
        _ => None,
    }
}

fn is_sane_number(text: &str) -> bool {
    let exponent = text.split_once(['e', 'E']).map_or("0", |(_, exponent)| exponent.trim_start_matches(['+', '-']));
    text.len() <= MOST_DIGITS && exponent.parse::<u32>().is_ok_and(|exponent| exponent <= LARGEST_EXPONENT)
}

/// A scalar as `->>` gives it; nothing for null.
#[must_use]
pub fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.into()),
        other => Some(other.to_string().into()),
    }
}

/// Whether two JSON numbers are the same however they are written: 1, 1.0 and 10e-1.
#[must_use]
pub fn is_same_number(a: &str, b: &str) -> bool {
    parts_of(a) == parts_of(b)
}

/// Sign, digits without zeros at either end, and the power of ten of the last one.
fn parts_of(number: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let unsigned = mantissa.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return (false, String::new(), 0);
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let shift = i64::try_from(zeros).unwrap_or_default() - i64::try_from(fraction.len()).unwrap_or_default();
    (mantissa.starts_with('-'), significant.to_owned(), exponent.parse::<i64>().unwrap_or_default().saturating_add(shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jsonb_cannot_hold_is_found_at_any_depth() {
        for (text, is_fit) in [
            (r#"{"a": [1e300, -2.5E-300, "\\u0000"]}"#, true),
            (r#"{"a": [{"b": "\u0000"}]}"#, false),
            (r#"{"a": {"\u0000": 1}}"#, false),
            ("[1e301]", false),
            ("1e-99999999999999999999", false),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(unfit_for_jsonb(&value).is_none(), is_fit, "{text}");
        }
        let long: Value = serde_json::from_str(&"9".repeat(401)).unwrap();
        assert!(unfit_for_jsonb(&long).is_some());
    }

    #[test]
    fn numbers_are_the_same_by_meaning() {
        for (a, b) in [("1", "1.0"), ("1", "10e-1"), ("1200", "1.2E+3"), ("-0.0", "0"), ("1e300", "0.1e301"), ("-1.50", "-15e-1")] {
            assert!(is_same_number(a, b), "{a} is {b}");
        }
        for (a, b) in [("1", "-1"), ("1", "10"), ("0.1", "0.01"), ("1e300", "1e299"), ("0", "1")] {
            assert!(!is_same_number(a, b), "{a} is not {b}");
        }
    }

    #[test]
    fn values_are_texts_as_the_database_gives_them() {
        let of = |text: &str| text_of(&serde_json::from_str(text).unwrap()).map(Cow::into_owned);
        assert_eq!([of("null"), of("\"x\""), of("1.50"), of("true")], [None, Some("x".into()), Some("1.50".into()), Some("true".into())]);
    }
}
