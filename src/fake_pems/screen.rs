//! The screen of the stand-in: one record is changed, or a reason says why not.

use super::records::Records;
use crate::domain::field::{Field, Kind};
use crate::domain::value::{read_amount, read_flag};
use crate::pems::FieldMap;
use crate::pems::wire::{DateTimeData, NumericData, ScreenRequest, ScreenValue};
use chrono::{DateTime, NaiveDate};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Writes what a request says.
pub(super) fn write(fields: &FieldMap, records: &mut Records, organization: &str, body: &[u8]) -> Result<Value, String> {
    let request: ScreenRequest = serde_json::from_slice(body).map_err(|error| format!("bad request: {error}"))?;
    if request.screen != fields.screen || request.action != "UPDATE" {
        return Err(format!("{} {} is not a valid service", request.screen, request.action));
    }
    let (mut id, mut owner, mut texts) = (None, None, BTreeMap::new());
    for pair in request.list.pairs {
        let field = fields.write_names().find(|(_, name)| *name == pair.name).map(|(field, _)| field);
        match (field, pair.value) {
            (Some(Field::PfaId), ScreenValue::Text(text)) => id = text,
            (None, ScreenValue::Text(text)) if pair.name == fields.written_organization() => owner = text,
            (Some(field), value) => {
                texts.insert(field, read_value(field, value).ok_or_else(|| format!("{}: not a valid value", pair.name))?);
            }
            (None, _) => return Err(format!("{} is not a valid field", pair.name)),
        }
    }
    if owner.as_deref() != Some(organization) {
        return Err("Authorization failed for this organization".to_owned());
    }
    let id = id.unwrap_or_default();
    if !records.set(organization, &id, texts, "VANGUARD") {
        return Err("Record not found".to_owned());
    }
    let service = json!({"USERDEFINEDSCREENNAME": fields.screen, "USERDEFINEDSERVICEACTION": "UPDATE", "recordid": 1,
        "UPDATEDBY": {"USERCODE": "VANGUARD", "DESCRIPTION": null}});
    Ok(json!({"Result": {"SessionID": null, "ResultData": {"UserDefinedScreenService": service}}, "ErrorAlert": []}))
}

/// The text that PEMS keeps for a value, if it is one for the field.
fn read_value(field: Field, value: ScreenValue) -> Option<String> {
    match (field.kind(), value) {
        (_, ScreenValue::Text(None) | ScreenValue::Number(None) | ScreenValue::Date(None)) => Some(String::new()),
        (Kind::Text(most), ScreenValue::Text(Some(text))) => (text.chars().count() <= most).then_some(text),
        (Kind::Word(words), ScreenValue::Text(Some(text))) => words.contains(&text.as_str()).then_some(text),
        // `true` comes in and `Y` goes out.
        (Kind::Flag, ScreenValue::Text(Some(text))) if text.len() > 1 => {
            read_flag(&text).map(|flag| if flag { "Y" } else { "N" }.to_owned())
        }
        (Kind::Amount, ScreenValue::Number(Some(number))) => read_number(&number),
        (Kind::Date, ScreenValue::Date(Some(date))) => read_day(&date).map(|date| format!("{date}T00:00:00.000Z")),
        _ => None,
    }
}

fn read_number(number: &NumericData) -> Option<String> {
    let mut amount = Decimal::try_from_i128_with_scale(number.value.into(), number.decimals).ok()?;
    amount.set_sign_negative(number.sign == "-");
    let text = amount.to_string();
    (!amount.is_sign_negative() && read_amount(&text).is_some()).then_some(text)
}

fn read_day(date: &DateTimeData) -> Option<NaiveDate> {
    use chrono::Datelike as _;
    let year = DateTime::from_timestamp_millis(date.year)?;
    NaiveDate::from_ymd_opt(year.year(), date.month, date.day)
}
