//! What an edit sets: from the JSON that a client sent to typed values of editable fields.
//!
//! Stricter than the reading of PEMS or of files ([`crate::domain::record`]): an edit is refused
//! where a read value would become null.

use crate::domain::fault::Fault;
use crate::domain::field::{Field, Kind};
use crate::domain::record;
use crate::domain::value::read_amount;
use serde_json::{Map, Value};

/// Values of editable fields, each canonical or null.
pub type Patch = Map<String, Value>;

impl Field {
    /// Whether an edit may set it. Plan dates, the id and `hasPlan` come from PEMS alone.
    #[must_use]
    pub const fn is_editable(self) -> bool {
        !matches!(self, Self::PfaId | Self::OriginalStart | Self::OriginalEnd | Self::HasPlan)
    }

    /// Whether the dictionary allows null.
    #[must_use]
    pub const fn allows_null(self) -> bool {
        matches!(self.kind(), Kind::Text(_) | Kind::Date) && !matches!(self, Self::PfaId)
    }

    /// The keys that an edit may set.
    #[must_use]
    pub fn editable_keys() -> Vec<String> {
        Self::ALL.iter().filter(|field| field.is_editable()).map(|field| field.key().to_owned()).collect()
    }
}

/// Reads a merge patch: null clears, a value sets, what is absent stays. Gives the fields that can be set, and
/// every field at fault: unknown, not editable, of the wrong type or out of range.
#[must_use]
pub fn read_patch(raw: Map<String, Value>) -> (Patch, Vec<Fault>) {
    let mut patch = Patch::new();
    let mut faults = Vec::new();
    if raw.is_empty() {
        faults.push(Fault { field: "fields".into(), message: "nothing is set".into(), allowed: Field::editable_keys() });
    }
    for (key, value) in raw {
        match read_field(&key, &value) {
            Ok(value) => {
                patch.insert(key, value);
            }
            Err(fault) => faults.push(fault),
        }
    }
    (patch, faults)
}

/// Reads the value that an edit sets on one field.
///
/// # Errors
/// What is wrong with the key or the value.
pub fn read_field(key: &str, value: &Value) -> Result<Value, Fault> {
    let Some(field) = Field::from_key(key) else {
        return Err(Fault { field: key.chars().take(100).collect(), message: "unknown field".into(), allowed: Field::editable_keys() });
    };
    if !field.is_editable() {
        return Err(Fault { field: key.into(), message: "cannot be edited".into(), allowed: Field::editable_keys() });
    }
    if value.is_null() {
        return if field.allows_null() { Ok(Value::Null) } else { Err(Fault::new(key, "must not be null")) };
    }
    match (field.kind(), value) {
        (Kind::Flag, Value::Bool(_)) => Ok(value.clone()),
        (Kind::Flag, _) => Err(Fault::new(key, "must be true or false")),
        (Kind::Word(words), Value::String(word)) if words.contains(&word.as_str()) => Ok(value.clone()),
        (Kind::Word(words), _) => {
            let allowed = words.iter().map(ToString::to_string).collect();
            Err(Fault { field: key.into(), message: "is none of the known words".into(), allowed })
        }
        (Kind::Amount, Value::Number(_)) => read_money(field, value),
        (Kind::Amount, _) => Err(Fault::new(key, "must be a number")),
        (Kind::Date, Value::String(text)) if !text.trim().is_empty() => canonical(field, value),
        (Kind::Date, _) => Err(Fault::new(key, "must be a date YYYY-MM-DD or null")),
        (Kind::Text(_), Value::String(_)) => canonical(field, value),
        (Kind::Text(_), _) => Err(Fault::new(key, "must be a text or null")),
    }
}

/// Money of an edit: never negative, whole cents.
fn read_money(field: Field, value: &Value) -> Result<Value, Fault> {
    let number = canonical(field, value)?;
    let amount = read_amount(&number.to_string()).unwrap_or_default();
    if amount.is_sign_negative() {
        return Err(Fault::new(field.key(), "must not be negative"));
    }
    if amount.normalize().scale() > 2 {
        return Err(Fault::new(field.key(), "must have at most 2 decimals"));
    }
    Ok(number)
}

/// The form in which the mirror keeps a value; blank text is null.
fn canonical(field: Field, value: &Value) -> Result<Value, Fault> {
    match record::read(field, value) {
        Ok(value) => Ok(value.unwrap_or(Value::Null)),
        Err(problem) => Err(Fault::new(field.key(), problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(raw: Value) -> Vec<String> {
        let Value::Object(raw) = raw else { panic!("an object") };
        read_patch(raw).1.into_iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect()
    }

    #[test]
    fn good_values_become_canonical() {
        let raw = json!({
            "forecastStart": "2025-04-01T00:00:00.000Z", "forecastEnd": null, "monthlyRate": 1.50e3, "purchasePrice": 0,
            "category": "  Lifting ", "model": " ", "equipment": null, "isActualized": true, "source": "Purchase", "hasActuals": false,
        });
        let Value::Object(raw) = raw else { panic!("an object") };
        let (patch, faults) = read_patch(raw);
        assert!(faults.is_empty());
        assert_eq!(patch["forecastStart"], "2025-04-01");
        assert_eq!((patch["monthlyRate"].to_string(), &patch["category"]), ("1500".to_owned(), &json!("Lifting")));
        assert!(patch["forecastEnd"].is_null() && patch["model"].is_null() && patch["equipment"].is_null());
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let found = faults(
            json!({"pfaId": "2", "originalStart": "2025-01-01", "hasPlan": true, "colour": "red", "monthlyRate": "15", "dor": null}),
        );
        assert_eq!(found.len(), 6, "{found:?}");
    }

    #[test]
    fn wrong_values_are_refused() {
        for (key, value, message) in [
            ("monthlyRate", json!(-1), "negative"),
            ("monthlyRate", json!(0.001), "2 decimals"),
            ("monthlyRate", json!(1e12), "11 digits"),
            ("purchasePrice", json!(null), "null"),
            ("isActualized", json!("Y"), "true or false"),
            ("isDiscontinued", json!(null), "null"),
            ("source", json!("rental"), "known words"),
            ("dor", json!(1), "known words"),
            ("forecastStart", json!("2025-02-30"), "YYYY-MM-DD"),
            ("forecastStart", json!(""), "YYYY-MM-DD"),
            ("actualEnd", json!(20_250_101), "YYYY-MM-DD"),
            ("category", json!("x".repeat(201)), "too long"),
            ("category", json!(["x"]), "text"),
            ("contract", json!("a\u{0}b"), "NUL"),
        ] {
            let fault = read_field(key, &value).expect_err(key);
            assert!(fault.field == key && fault.message.contains(message), "{key} {value}: {fault:?}");
        }
        assert_eq!(faults(json!({})).len(), 1, "nothing to set");
    }
}
