//! Rules that a merged record must keep. The reference for `pfa_broken_rules` in the database.
//!
//! A rule looks at a record only when the delta changes one of its fields: what PEMS itself says
//! wrongly does not stand in the way of an edit that has nothing to do with it.

use crate::domain::fault::Fault;
use crate::domain::field::Field;
use crate::domain::json::text_of;
use crate::domain::value::read_flag;
use serde_json::{Map, Value};

/// A rule, or a reason why an operation cannot be done on a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The forecast starts after its end.
    ForecastOrder,
    /// The actual dates start after their end.
    ActualOrder,
    /// The forecast of an actualized record was moved.
    FrozenForecast,
    /// There is no forecast start to count days from.
    NoForecastStart,
    /// The plan lacks a date.
    NoPlan,
    /// `forecastStart` would leave the years 1900 to 2999.
    ForecastStartRange,
    /// `forecastEnd` would.
    ForecastEndRange,
    /// `actualEnd` would.
    ActualEndRange,
}

impl Rule {
    /// Every rule with its code in the database, in the order in which it is told.
    const CODES: [(Self, &'static str); 8] = [
        (Self::NoForecastStart, "noForecastStart"),
        (Self::NoPlan, "noPlan"),
        (Self::ForecastStartRange, "forecastStartRange"),
        (Self::ForecastEndRange, "forecastEndRange"),
        (Self::ActualEndRange, "actualEndRange"),
        (Self::ForecastOrder, "forecastOrder"),
        (Self::ActualOrder, "actualOrder"),
        (Self::FrozenForecast, "frozenForecast"),
    ];

    /// The rule of a code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::CODES.into_iter().find(|(_, known)| *known == code).map(|(rule, _)| rule)
    }

    /// Its code in the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        Self::CODES.into_iter().find(|(rule, _)| *rule == self).map_or("", |(_, code)| code)
    }

    /// What it says.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::ForecastOrder => "forecastStart must not be after forecastEnd",
            Self::ActualOrder => "actualStart must not be after actualEnd",
            Self::FrozenForecast => "the forecast dates of an actualized record may not move",
            Self::NoForecastStart => "has no value to count from",
            Self::NoPlan => "the plan has no such date",
            Self::ForecastStartRange | Self::ForecastEndRange | Self::ActualEndRange => "would leave the years 1900 to 2999",
        }
    }

    /// The fields that it looks at.
    #[must_use]
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Self::ForecastOrder => &[Field::ForecastStart, Field::ForecastEnd],
            Self::ActualOrder => &[Field::ActualStart, Field::ActualEnd],
            Self::FrozenForecast => &[Field::ForecastStart, Field::ForecastEnd, Field::IsActualized],
            Self::NoForecastStart | Self::ForecastStartRange => &[Field::ForecastStart],
            Self::ForecastEndRange => &[Field::ForecastEnd],
            Self::ActualEndRange => &[Field::ActualEnd],
            Self::NoPlan => &[Field::OriginalStart, Field::OriginalEnd],
        }
    }

    /// Its fault for each of its fields that a delta changes, or for all of them when that is none.
    #[must_use]
    pub fn faults(self, changed: &[String]) -> Vec<Fault> {
        let touched: Vec<_> = self.fields().iter().filter(|field| changed.iter().any(|key| key == field.key())).collect();
        let named = if touched.is_empty() { self.fields().iter().collect() } else { touched };
        named.into_iter().map(|field| Fault::new(field.key(), self.message())).collect()
    }
}

/// Rules that a merged record breaks, of those that look at a field of the delta.
#[must_use]
pub fn broken_rules(record: &Map<String, Value>, delta: &Map<String, Value>) -> Vec<Rule> {
    let text = |field: Field| record.get(field.key()).and_then(text_of);
    // Canonical dates order as their texts do.
    let is_backward = |start: Field, end: Field| text(start).zip(text(end)).is_some_and(|(start, end)| start > end);
    let touches = |fields: &[Field]| fields.iter().any(|field| delta.contains_key(field.key()));
    let (forecast, actual) = ([Field::ForecastStart, Field::ForecastEnd], [Field::ActualStart, Field::ActualEnd]);
    let mut broken = Vec::new();
    if touches(&forecast) && is_backward(forecast[0], forecast[1]) {
        broken.push(Rule::ForecastOrder);
    }
    if touches(&actual) && is_backward(actual[0], actual[1]) {
        broken.push(Rule::ActualOrder);
    }
    if touches(&forecast) && is_actualized(record) {
        broken.push(Rule::FrozenForecast);
    }
    broken
}

/// Whether a record is on site and billed, however PEMS has written that.
#[must_use]
pub fn is_actualized(record: &Map<String, Value>) -> bool {
    record.get(Field::IsActualized.key()).and_then(text_of).as_deref().and_then(read_flag) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn broken(record: Value, delta: Value) -> Vec<Rule> {
        let (Value::Object(mut record), Value::Object(delta)) = (record, delta) else { panic!("objects") };
        record.extend(delta.clone());
        broken_rules(&record, &delta)
    }

    #[test]
    fn only_rules_of_changed_fields_are_asked() {
        let backward = json!({"forecastStart": "2025-03-01", "forecastEnd": "2025-01-01", "isActualized": true});
        assert!(broken(backward.clone(), json!({"category": "Lifting"})).is_empty());
        assert_eq!(broken(backward, json!({"forecastEnd": "2025-02-01"})), [Rule::ForecastOrder, Rule::FrozenForecast]);
        assert_eq!(broken(json!({"actualStart": null}), json!({"actualEnd": "2025-01-01"})), []);
        assert_eq!(broken(json!({"actualStart": "2025-02-01"}), json!({"actualEnd": "2025-01-01"})), [Rule::ActualOrder]);
    }

    #[test]
    fn a_fault_names_the_changed_fields() {
        let named = |changed: &[&str]| -> Vec<String> {
            let changed: Vec<_> = changed.iter().map(ToString::to_string).collect();
            Rule::FrozenForecast.faults(&changed).into_iter().map(|fault| fault.field).collect()
        };
        assert_eq!(named(&["forecastEnd", "isActualized", "dor"]), ["forecastEnd", "isActualized"]);
        assert_eq!(Rule::NoPlan.faults(&[]).len(), 2);
        for (rule, code) in Rule::CODES {
            assert_eq!((Rule::from_code(code), rule.code()), (Some(rule), code));
        }
    }
}
