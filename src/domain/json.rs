//! JSON as JSONB has it: what it can hold (no U+0000 in texts and keys, numbers of a sane size), a
//! value as text, numbers by meaning, and digests that do not care how a value is written.

use serde_json::{Map, Value};
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_64_with_seed;

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

/// A digest of what a value means: the same for 1 and 1.0, and whatever the order of keys.
#[must_use]
pub fn digest(value: &Value) -> u64 {
    match value {
        Value::Null => 1,
        Value::Bool(false) => 2,
        Value::Bool(true) => 3,
        Value::String(text) => xxh3_64_with_seed(text.as_bytes(), 4),
        Value::Number(number) => {
            let (is_negative, digits, power) = parts_of(&number.to_string());
            xxh3_64_with_seed(digits.as_bytes(), xxh3_64_with_seed(&power.to_le_bytes(), 5 + u64::from(is_negative)))
        }
        Value::Array(values) => values.iter().fold(7, |sum, value| xxh3_64_with_seed(&digest(value).to_le_bytes(), sum)),
        Value::Object(map) => object_digest(map),
    }
}

/// The digest of an object.
#[must_use]
pub fn object_digest(map: &Map<String, Value>) -> u64 {
    map.iter().fold(8, |sum: u64, (key, value)| sum.wrapping_add(xxh3_64_with_seed(key.as_bytes(), digest(value))))
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

    #[test]
    fn digests_are_the_same_when_the_meaning_is() {
        let of = |text: &str| digest(&serde_json::from_str(text).unwrap());
        assert_eq!(of(r#"{"a": 1.50, "b": [true, null, "x"]}"#), of(r#"{"b": [true, null, "\u0078"], "a": 15e-1}"#));
        let different = [
            "null",
            "false",
            "true",
            "\"\"",
            "0",
            "1",
            "-1",
            "10",
            "\"1\"",
            "[]",
            "[0]",
            "[1,2]",
            "[2,1]",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":2}"#,
            r#"{"b":1}"#,
        ];
        let digests: std::collections::HashSet<u64> = different.iter().map(|text| of(text)).collect();
        assert_eq!(digests.len(), different.len());
    }
}
