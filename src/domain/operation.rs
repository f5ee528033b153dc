//! What a bulk edit does to a record. The reference for `pfa_edit_patch` in the database.

use crate::domain::field::Field;
use crate::domain::json::text_of;
use crate::domain::patch::Patch;
use crate::domain::rules::{Rule, is_actualized};
use crate::domain::value::read_date;
use chrono::{Datelike as _, Days, NaiveDate};
use serde_json::{Map, Value, json};

/// Most days that a date is moved by: the years 1900 to 2999 are 1,100.
pub const MOST_DAYS: i32 = 401_768;

/// An operation of a bulk edit.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Sets these fields.
    Set(Patch),
    /// Moves the forecast dates; of an actualized record only `actualEnd`.
    ShiftDates(i32),
    /// `forecastEnd` = `forecastStart` + so many days.
    SetDuration(i32),
    /// The forecast dates become the plan's.
    ResetToPlan,
}

impl Operation {
    /// As the database's functions take it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Set(fields) => json!({"type": "set", "fields": fields}),
            Self::ShiftDates(days) => json!({"type": "shiftDates", "days": days}),
            Self::SetDuration(days) => json!({"type": "setDuration", "days": days}),
            Self::ResetToPlan => json!({"type": "resetToPlan"}),
        }
    }

    /// The fields that it sets on a record.
    ///
    /// # Errors
    /// Why it cannot be done on this record.
    pub fn patch(&self, record: &Map<String, Value>) -> Result<Patch, Vec<Rule>> {
        let date = |field: Field| record.get(field.key()).and_then(text_of).as_deref().and_then(read_date);
        let is_actualized = is_actualized(record);
        match self {
            Self::Set(fields) => Ok(fields.clone()),
            Self::ShiftDates(days) => {
                let fields = if is_actualized { &[Field::ActualEnd][..] } else { &[Field::ForecastStart, Field::ForecastEnd] };
                let shifted: Vec<_> = fields.iter().map(|field| (*field, date(*field).map(|date| shift(date, *days)))).collect();
                let outside: Vec<_> = shifted.iter().filter_map(|(field, date)| date.and_then(|date| out_of_range(*field, date))).collect();
                let patch = shifted.into_iter().map(|(field, date)| (field.key().to_owned(), json!(date)));
                if outside.is_empty() { Ok(patch.collect()) } else { Err(outside) }
            }
            Self::SetDuration(days) => {
                let start = date(Field::ForecastStart).ok_or_else(|| vec![Rule::NoForecastStart])?;
                let end = shift(start, *days);
                match out_of_range(Field::ForecastEnd, end) {
                    // An actualized record's forecast may not move at all; that rule speaks for itself.
                    Some(rule) if !is_actualized => Err(vec![rule]),
                    _ => Ok([(Field::ForecastEnd.key().to_owned(), json!(end))].into_iter().collect()),
                }
            }
            Self::ResetToPlan => {
                let plan = date(Field::OriginalStart).zip(date(Field::OriginalEnd)).ok_or_else(|| vec![Rule::NoPlan])?;
                let dates = [(Field::ForecastStart, plan.0), (Field::ForecastEnd, plan.1)];
                Ok(dates.into_iter().map(|(field, date)| (field.key().to_owned(), json!(date))).collect())
            }
        }
    }
}

/// The rule that a moved date breaks when it leaves the years that a record can hold.
fn out_of_range(field: Field, date: NaiveDate) -> Option<Rule> {
    let rule = match field {
        Field::ActualEnd => Rule::ActualEndRange,
        Field::ForecastStart => Rule::ForecastStartRange,
        _ => Rule::ForecastEndRange,
    };
    (!(1900..3000).contains(&date.year())).then_some(rule)
}

fn shift(date: NaiveDate, days: i32) -> NaiveDate {
    let distance = Days::new(days.unsigned_abs().into());
    let shifted = if days < 0 { date.checked_sub_days(distance) } else { date.checked_add_days(distance) };
    shifted.unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Value) -> Map<String, Value> {
        let Value::Object(record) = value else { panic!("an object") };
        record
    }

    #[test]
    fn shifting_moves_the_forecast_or_the_actual_end() {
        let planned = record(json!({"forecastStart": "2025-01-31", "forecastEnd": null, "actualEnd": "2025-06-01"}));
        assert_eq!(
            Value::Object(Operation::ShiftDates(30).patch(&planned).unwrap()),
            json!({"forecastStart": "2025-03-02", "forecastEnd": null})
        );
        let actual = record(json!({"isActualized": true, "forecastStart": "2025-01-31", "actualEnd": "2025-06-01"}));
        assert_eq!(Value::Object(Operation::ShiftDates(-1).patch(&actual).unwrap()), json!({"actualEnd": "2025-05-31"}));
        assert_eq!(Operation::ShiftDates(400_000).patch(&planned), Err(vec![Rule::ForecastStartRange]));
        assert_eq!(Operation::ShiftDates(400_000).patch(&actual), Err(vec![Rule::ActualEndRange]));
    }

    #[test]
    fn durations_and_plans_need_their_dates() {
        let record = record(json!({"forecastStart": "2025-01-01", "originalStart": "2024-01-01"}));
        assert_eq!(Operation::SetDuration(90).patch(&record).unwrap()["forecastEnd"], "2025-04-01");
        assert_eq!(Operation::ResetToPlan.patch(&record), Err(vec![Rule::NoPlan]));
        assert_eq!(Operation::SetDuration(1).patch(&Map::new()), Err(vec![Rule::NoForecastStart]));
    }
}
