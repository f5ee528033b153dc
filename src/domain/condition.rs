//! Conditions that can be put together: and, or, not over comparisons, sets, texts and the grid's own filters.
//!
//! A condition holds or does not, there is no third: what is compared with a missing value does not hold, and `not` of it does.

use crate::domain::field::{Field, Kind};
use crate::domain::filter::Filter;
use crate::domain::json::text_of;
use crate::domain::value::read_date;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::Value;

/// A condition on merged values.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All hold; without any it holds.
    All(Vec<Self>),
    /// One holds at least; without any it does not hold.
    Any(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// The grid's filter holds; whether discontinued records are hidden is decided for the whole.
    Matches(Box<Filter>),
    /// The field has a value, and it stands so to the operand.
    Compares(Field, Comparison, Operand),
    /// The field has one of these values, which are of its kind.
    IsOneOf(Field, Vec<Operand>),
    /// The field has no value.
    IsNull(Field),
    /// The field's text has this in it, in any case.
    HasText(Field, Place, String),
}

/// How a value stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Equal,
    /// Less, or earlier.
    Less,
    /// Not more.
    LessOrEqual,
    /// More, or later.
    Greater,
    /// Not less.
    GreaterOrEqual,
}

/// Where in a text something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is all of it.
    Whole,
    /// Somewhere.
    Anywhere,
    /// At its beginning.
    Start,
    /// At its end.
    End,
}

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// Of a text or word.
    Text(String),
    /// Of a date.
    Date(NaiveDate),
    /// Of money.
    Amount(Decimal),
    /// Of a flag.
    Flag(bool),
}

impl Condition {
    /// That the field has this value, or none where none is given.
    #[must_use]
    pub fn equals(field: Field, value: Option<Operand>) -> Self {
        value.map_or(Self::IsNull(field), |value| Self::Compares(field, Comparison::Equal, value))
    }

    /// That it does not hold.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Whether it asks, anywhere, which records are discontinued; then they are not hidden.
    #[must_use]
    pub fn asks_for_discontinued(&self) -> bool {
        match self {
            Self::All(conditions) | Self::Any(conditions) => conditions.iter().any(Self::asks_for_discontinued),
            Self::Not(condition) => condition.asks_for_discontinued(),
            Self::Matches(filter) => !filter.hides_discontinued(),
            Self::Compares(field, ..) | Self::IsOneOf(field, _) | Self::IsNull(field) | Self::HasText(field, ..) => {
                *field == Field::IsDiscontinued
            }
        }
    }
}

impl Operand {
    /// Reads a value of a field as JSON or text has it: dates as `YYYY-MM-DD`, amounts also as texts, flags as true or false. Amounts
    /// can have more digits than those of records: what is compared need not be one of them.
    #[must_use]
    pub fn read(field: Field, value: &Value) -> Option<Self> {
        let text = text_of(value)?;
        match (field.kind(), value) {
            (Kind::Text(_), Value::String(_)) => Some(Self::Text(text.into_owned())),
            (Kind::Word(words), Value::String(word)) => words.contains(&word.as_str()).then(|| Self::Text(text.into_owned())),
            (Kind::Date, Value::String(_)) if text.len() == 10 => read_date(&text).map(Self::Date),
            (Kind::Amount, Value::String(_) | Value::Number(_)) => Decimal::from_str_exact(&text).ok().map(Self::Amount),
            (Kind::Flag, Value::String(_) | Value::Bool(_)) => text.parse().ok().map(Self::Flag),
            _ => None,
        }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The date.
    #[must_use]
    pub fn date(&self) -> Option<NaiveDate> {
        if let Self::Date(date) = self { Some(*date) } else { None }
    }

    /// The amount.
    #[must_use]
    pub fn amount(&self) -> Option<Decimal> {
        if let Self::Amount(amount) = self { Some(*amount) } else { None }
    }

    /// The flag.
    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(*flag) } else { None }
    }
}
