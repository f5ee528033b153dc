//! Which records a reader asks for. Ranges are inclusive; null never matches a range.

use crate::domain::field::Field;
use crate::domain::status::Status;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An inclusive range with at least one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range<T> {
    /// Nothing below this.
    pub from: Option<T>,
    /// Nothing above this.
    pub to: Option<T>,
}

/// Conditions on merged values; a record must meet all of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Fields with the values of which one must be met.
    pub words: BTreeMap<Field, Vec<String>>,
    /// Statuses of which one must be met; empty = any.
    pub statuses: Vec<Status>,
    /// Flags with the value that they must have.
    pub flags: BTreeMap<Field, bool>,
    /// Ranges of dates.
    pub dates: BTreeMap<Field, Range<NaiveDate>>,
    /// Ranges of money.
    pub amounts: BTreeMap<Field, Range<Decimal>>,
    /// A viewport that the forecast must touch: starts by its end and ends at or after its start.
    pub overlaps: Option<(NaiveDate, NaiveDate)>,
    /// Words that the searched text must all hold, in any case.
    pub text: Vec<String>,
    /// An object that the record must contain, as JSONB containment has it.
    pub contains: Option<Map<String, Value>>,
}

impl Filter {
    /// Discontinued records stay hidden unless the flag or a status asks for them.
    #[must_use]
    pub fn hides_discontinued(&self) -> bool {
        self.statuses.is_empty() && !self.flags.contains_key(&Field::IsDiscontinued)
    }

    /// Whether a range already excludes records without a value in this field.
    #[must_use]
    pub fn excludes_null(&self, field: Field) -> bool {
        self.dates.contains_key(&field)
            || self.amounts.contains_key(&field)
            || self.words.contains_key(&field)
            || (self.overlaps.is_some() && matches!(field, Field::ForecastStart | Field::ForecastEnd))
    }
}
