//! From what PEMS or a file says to the canonical record of the mirror: every key of the
//! dictionary, typed values, unknown keys kept. What cannot be read becomes null and a finding.

use crate::domain::field::{Field, Kind};
use crate::domain::json::unfit_for_jsonb;
use crate::domain::value::{read_amount, read_date, read_flag};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use std::str::FromStr;

/// A canonical record: `data` holds every key of the dictionary with a typed value or null.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The natural key within the organization.
    pub pfa_id: String,
    /// The record, as the mirror keeps it.
    pub data: Map<String, Value>,
}

/// A value that could not be read; it is shown as null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The record.
    pub pfa_id: String,
    /// The key.
    pub field: String,
    /// The value as it came, shortened to 200 characters.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Why an object is no record at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// There is no readable `pfaId`.
    #[error("pfaId is missing, empty or longer than 100 characters")]
    NoId,
    /// Its unknown keys are larger than a record may be.
    #[error("its unknown keys hold more than 32 KiB")]
    TooLarge,
}

/// Most bytes that unknown keys may hold: pages of thousands of records are built in memory.
const MOST_UNKNOWN_BYTES: usize = 32 * 1024;

/// Makes a raw object canonical.
///
/// Missing keys get the dictionary's defaults (`source` Rental, `dor` PROJECT, flags false, money
/// 0) or null; blank text counts as missing; `hasPlan` and `hasActuals` default to whether both
/// dates of their layer are there.
///
/// # Errors
/// When there is no readable `pfaId`, or too much beside the dictionary: then it is no record.
pub fn canonicalise(mut raw: Map<String, Value>) -> Result<(Record, Vec<Finding>), RecordError> {
    let Some(Ok(Some(Value::String(pfa_id)))) = raw.get(Field::PfaId.key()).map(|value| read(Field::PfaId, value)) else {
        return Err(RecordError::NoId);
    };
    let mut findings = Vec::new();
    let mut data = Map::new();
    for &field in Field::ALL {
        let value = match raw.remove(field.key()).map_or(Ok(None), |value| read(field, &value).map_err(|problem| (value, problem))) {
            Ok(Some(value)) => value,
            Ok(None) => default_of(field, &data),
            Err((value, problem)) => {
                findings.push(finding(&pfa_id, field.key(), &value, problem));
                Value::Null
            }
        };
        data.insert(field.key().to_owned(), value);
    }
    let mut unknown_bytes = 0;
    for (key, value) in raw {
        if key == "_meta" {
            findings.push(finding(&pfa_id, &key, &value, "this key is reserved"));
        } else if key.contains('\0') {
            findings.push(finding(&pfa_id, &key.replace('\0', ""), &value, "holds a NUL character"));
        } else if let Some(problem) = unfit_for_jsonb(&value) {
            findings.push(finding(&pfa_id, &key, &value, problem));
        } else {
            unknown_bytes += key.len() + value.to_string().len();
            data.insert(key, value);
        }
    }
    if unknown_bytes > MOST_UNKNOWN_BYTES {
        return Err(RecordError::TooLarge);
    }
    Ok((Record { pfa_id, data }, findings))
}

/// Reads one value of a field: its canonical form, nothing when it is blank, or what is wrong.
///
/// # Errors
/// A short sentence that says what was expected.
pub fn read(field: Field, value: &Value) -> Result<Option<Value>, &'static str> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => plain_text(number),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(_) | Value::Object(_) => return Err("is no single value"),
    };
    if text.is_empty() {
        return Ok(None);
    }
    match field.kind() {
        Kind::Text(_) if value.is_boolean() => Err("is no text"),
        Kind::Text(_) if text.contains('\0') => Err("holds a NUL character"),
        Kind::Text(most) if text.chars().count() > most => Err("is too long"),
        Kind::Text(_) => Ok(Some(Value::String(text))),
        Kind::Word(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(&text))
            .map(|word| Some(Value::from(*word)))
            .ok_or("is none of the known words"),
        Kind::Flag => read_flag(&text).map(|flag| Some(Value::Bool(flag))).ok_or("is neither true nor false"),
        Kind::Amount => read_amount(&text)
            .and_then(|amount| Number::from_str(&amount.to_string()).ok())
            .map(|number| Some(Value::Number(number)))
            .ok_or("is no amount with at most 11 digits and 4 decimals"),
        Kind::Date => {
            read_date(&text).map(|date| Some(Value::String(date.to_string()))).ok_or("is no date YYYY-MM-DD of the years 1900 to 2999")
        }
    }
}

/// A JSON number as plain digits: `1.5e3` and `1500` are the same number.
fn plain_text(number: &Number) -> String {
    let text = number.to_string();
    if text.contains(['e', 'E']) {
        rust_decimal::Decimal::from_scientific(&text).map_or(text, |decimal| decimal.normalize().to_string())
    } else {
        text
    }
}

/// The default of a field that is missing; the layer flags look at the dates read before them.
fn default_of(field: Field, so_far: &Map<String, Value>) -> Value {
    let has = |field: Field| so_far.get(field.key()).is_some_and(|value| !value.is_null());
    match (field, field.kind()) {
        (Field::HasPlan, _) => Value::Bool(has(Field::OriginalStart) && has(Field::OriginalEnd)),
        (Field::HasActuals, _) => Value::Bool(has(Field::ActualStart) && has(Field::ActualEnd)),
        (_, Kind::Word(words)) => Value::from(words[0]),
        (_, Kind::Flag) => Value::Bool(false),
        (_, Kind::Amount) => Value::from(0),
        _ => Value::Null,
    }
}

fn finding(pfa_id: &str, field: &str, value: &Value, problem: &str) -> Finding {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Finding {
        pfa_id: pfa_id.to_owned(),
        field: field.to_owned(),
        value: text.chars().filter(|&character| character != '\0').take(200).collect(),
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn canonical(raw: Value) -> (Map<String, Value>, Vec<String>) {
        let Value::Object(raw) = raw else { panic!("an object") };
        let (record, findings) = canonicalise(raw).expect("a record");
        (record.data, findings.into_iter().map(|finding| finding.field).collect())
    }

    #[test]
    fn a_bare_id_becomes_a_whole_record_with_defaults() {
        let (data, findings) = canonical(json!({"pfaId": 10245}));
        assert_eq!(data.len(), Field::ALL.len());
        assert!(findings.is_empty());
        assert_eq!(data["pfaId"], "10245");
        assert_eq!((&data["source"], &data["dor"], &data["isActualized"]), (&json!("Rental"), &json!("PROJECT"), &json!(false)));
        assert_eq!((&data["monthlyRate"], &data["forecastStart"]), (&json!(0), &Value::Null));
    }

    #[test]
    fn readable_forms_are_normalised() {
        let (data, findings) = canonical(json!({
            "pfaId": " 7 ", "forecastStart": "2025-03-01T00:00:00.000Z", "isActualized": "Y", "monthlyRate": "15000.00",
            "purchasePrice": 1.5e3, "source": "purchase", "category": "", "originalStart": "2025-01-01", "originalEnd": "2025-02-01",
        }));
        assert!(findings.is_empty());
        assert_eq!(data["pfaId"], "7");
        assert_eq!(data["forecastStart"], "2025-03-01");
        assert_eq!(data["isActualized"], true);
        assert_eq!(data["monthlyRate"].to_string(), "15000");
        assert_eq!(data["purchasePrice"].to_string(), "1500");
        assert_eq!((&data["source"], &data["category"], &data["hasPlan"]), (&json!("Purchase"), &Value::Null, &json!(true)));
    }

    #[test]
    fn unreadable_values_become_null_and_findings_and_unknown_keys_stay() {
        let (data, findings) = canonical(json!({
            "pfaId": "1", "forecastEnd": "2025-02-30", "monthlyRate": "abc", "isDiscontinued": "maybe", "source": "Lease", "model": ["x"],
            "pemsCostCode": {"a": 1}, "_meta": 1, "bad": "a\u{0}b", "contract": "a\u{0}b",
        }));
        for key in ["forecastEnd", "monthlyRate", "isDiscontinued", "source", "model", "contract"] {
            assert!(data[key].is_null(), "{key}");
        }
        assert_eq!(data["pemsCostCode"], json!({"a": 1}));
        assert!(!data.contains_key("_meta") && !data.contains_key("bad"));
        assert_eq!(findings, ["source", "isDiscontinued", "monthlyRate", "model", "forecastEnd", "contract", "_meta", "bad"]);
    }

    #[test]
    fn without_an_id_it_is_no_record() {
        for raw in [json!({}), json!({"pfaId": null}), json!({"pfaId": " "}), json!({"pfaId": {}}), json!({"pfaId": "x".repeat(101)})] {
            let Value::Object(raw) = raw else { panic!("an object") };
            assert_eq!(canonicalise(raw), Err(RecordError::NoId));
        }
    }

    #[test]
    fn what_jsonb_cannot_hold_and_too_much_of_the_unknown_stay_out() {
        let (data, findings) = canonical(serde_json::from_str(r#"{"pfaId": "1", "x": 1e200000, "y": 1e20}"#).expect("JSON"));
        assert!(!data.contains_key("x") && data.contains_key("y"));
        assert_eq!(findings, ["x"]);
        let Value::Object(raw) = json!({"pfaId": "1", "x": "y".repeat(40_000)}) else { panic!("an object") };
        assert_eq!(canonicalise(raw), Err(RecordError::TooLarge));
    }
}
