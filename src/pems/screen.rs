//! Writing a record through its screen: the changed fields, one record a call.

use super::client::PemsClient;
use super::error::PemsError;
use super::field_map::ReadTarget;
use super::wire::{DateTimeData, FieldValue, FieldValues, NumericData, SCREEN_PATH, ScreenData, ScreenRequest, ScreenValue};
use crate::domain::field::{Field, Kind};
use crate::domain::value::{read_amount, read_date};
use chrono::{Datelike as _, NaiveDate};
use serde_json::{Map, Value};

impl PemsClient {
    /// Sets fields of a record. Tried once: whoever asks knows whether trying again is right.
    ///
    /// # Errors
    /// [`PemsError::Unsayable`] when the map has no field for a key; or PEMS fails or refuses.
    pub async fn update_record(&self, organization: &str, pfa_id: &str, fields: &Map<String, Value>) -> Result<(), PemsError> {
        let map = self.fields();
        let text = |text: &str| ScreenValue::Text(Some(text.to_owned()));
        let id = map.write_name(Field::PfaId).unwrap_or_default();
        let mut pairs = vec![pair(id, text(pfa_id)), pair(map.written_organization(), text(organization))];
        pairs.extend(self.pairs_of(fields)?);
        let request = ScreenRequest { screen: map.screen.clone(), action: "UPDATE".to_owned(), list: FieldValues { pairs } };
        let written: ScreenData = self.post(organization, SCREEN_PATH, &request, self.options.write_timeout).await?;
        tracing::debug!(organization, pfa_id, recordid = %written.service.recordid, "written to PEMS");
        Ok(())
    }

    /// Makes sure that these fields can be said in the words of PEMS, and seen there, before anything is asked.
    ///
    /// # Errors
    /// [`PemsError::Unsayable`], naming every key that the map has no field for, or does not read: then nobody
    /// could tell what a change would replace, nor whether it arrived.
    pub fn check_fields(&self, fields: &Map<String, Value>) -> Result<(), PemsError> {
        self.pairs_of(fields)?;
        let is_read = |key: &str| Field::from_key(key).is_some_and(|field| self.fields().read_name(ReadTarget::Field(field)).is_some());
        let unread: Vec<_> = fields.keys().map(String::as_str).filter(|key| !is_read(key)).collect();
        if unread.is_empty() {
            return Ok(());
        }
        Err(PemsError::Unsayable(format!("{} cannot be written to PEMS: the field map does not read it", unread.join(", "))))
    }

    fn pairs_of(&self, fields: &Map<String, Value>) -> Result<Vec<FieldValue>, PemsError> {
        let name_of = |key: &str| Field::from_key(key).and_then(|field| Some((field, self.fields().write_name(field)?)));
        let unknown: Vec<_> = fields.keys().map(String::as_str).filter(|key| name_of(key).is_none()).collect();
        if !unknown.is_empty() {
            let keys = unknown.join(", ");
            return Err(PemsError::Unsayable(format!("{keys} cannot be written to PEMS: the field map has no field for it")));
        }
        let known = fields.iter().filter_map(|(key, value)| name_of(key).map(|named| (named, value)));
        known.map(|((field, name), value)| Ok(pair(name, screen_value(field, value)?))).collect()
    }
}

fn pair(name: &str, value: ScreenValue) -> FieldValue {
    FieldValue { name: name.to_owned(), value }
}

/// A value of a record as the screen takes it. Flags are words there, although grids show letters.
fn screen_value(field: Field, value: &Value) -> Result<ScreenValue, PemsError> {
    let unsayable = || PemsError::Unsayable(format!("{field}: {value} cannot be written to PEMS"));
    let is_null = value.is_null();
    match field.kind() {
        Kind::Text(_) | Kind::Word(_) if is_null => Ok(ScreenValue::Text(None)),
        Kind::Text(_) | Kind::Word(_) => value.as_str().map(|text| ScreenValue::Text(Some(text.to_owned()))).ok_or_else(unsayable),
        Kind::Flag => Ok(ScreenValue::Text(Some(value.as_bool().unwrap_or_default().to_string()))),
        Kind::Amount if is_null => Ok(ScreenValue::Number(None)),
        Kind::Amount => numeric_data(value).map(|number| ScreenValue::Number(Some(number))).ok_or_else(unsayable),
        Kind::Date if is_null => Ok(ScreenValue::Date(None)),
        Kind::Date => {
            let date = value.as_str().and_then(read_date).ok_or_else(unsayable)?;
            date_time_data(date).map(|date| ScreenValue::Date(Some(date))).ok_or_else(unsayable)
        }
    }
}

fn numeric_data(value: &Value) -> Option<NumericData> {
    let amount = value.is_number().then(|| read_amount(&value.to_string())).flatten()?;
    let sign = if amount.is_sign_negative() { "-" } else { "+" };
    Some(NumericData { value: u64::try_from(amount.mantissa().unsigned_abs()).ok()?, decimals: amount.scale(), sign: sign.to_owned() })
}

fn date_time_data(date: NaiveDate) -> Option<DateTimeData> {
    let year = date.with_ordinal(1)?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis();
    Some(DateTimeData {
        year,
        month: date.month(),
        day: date.day(),
        hour: 0,
        minute: 0,
        second: 0,
        subsecond: 0,
        timezone: "+0000".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_the_screen_takes_them() {
        let written = |field, value: Value| serde_json::to_value(screen_value(field, &value).expect("a value")).expect("JSON");
        assert_eq!(written(Field::Category, json!("Lifting")), json!({"TEXTDATA": "Lifting"}));
        assert_eq!(written(Field::Category, Value::Null), json!({"TEXTDATA": null}));
        assert_eq!(written(Field::IsDiscontinued, json!(true)), json!({"TEXTDATA": "true"}));
        assert_eq!(written(Field::MonthlyRate, json!(15000.25)), json!({"NUMERICDATA": {"VALUE": 1_500_025, "NUMOFDEC": 2, "SIGN": "+"}}));
        assert_eq!(written(Field::MonthlyRate, Value::Null), json!({"NUMERICDATA": null}));
        assert_eq!(
            written(Field::ForecastStart, json!("2025-03-09")),
            json!({"DATETIMEDATA": {"YEAR": 1_735_689_600_000_i64, "MONTH": 3, "DAY": 9, "HOUR": 0, "MINUTE": 0, "SECOND": 0, "SUBSECOND": 0, "TIMEZONE": "+0000"}})
        );
        assert!(screen_value(Field::ForecastStart, &json!("soon")).is_err() && screen_value(Field::MonthlyRate, &json!("15")).is_err());
    }
}
