//! What JSONB can hold of JSON: no U+0000 in texts and keys, and numbers of a sane size.

use serde_json::Value;

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
}
