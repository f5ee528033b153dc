//! Which records a reader asks for. Ranges are inclusive; null never matches a range.

use crate::domain::condition::{Comparison, Condition, Operand};
use crate::domain::field::{Field, Kind};
use crate::domain::status::Status;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

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
    /// What is none of these.
    pub conditions: Vec<Condition>,
}

impl Filter {
    /// Discontinued records stay hidden unless a flag, a status or a condition asks for them.
    #[must_use]
    pub fn hides_discontinued(&self) -> bool {
        self.statuses.is_empty()
            && !self.flags.contains_key(&Field::IsDiscontinued)
            && !self.conditions.iter().any(Condition::asks_for_discontinued)
    }

    /// Whether a range already excludes records without a value in this field.
    #[must_use]
    pub fn excludes_null(&self, field: Field) -> bool {
        self.dates.contains_key(&field)
            || self.amounts.contains_key(&field)
            || self.words.contains_key(&field)
            || (self.overlaps.is_some() && matches!(field, Field::ForecastStart | Field::ForecastEnd))
    }

    /// Asks for a condition more. What is a value or range of one field becomes one of the filter, of which it is
    /// known which index serves it.
    pub fn narrow(&mut self, condition: Condition) {
        match condition {
            Condition::All(conditions) => conditions.into_iter().for_each(|condition| self.narrow(condition)),
            Condition::Matches(filter) => self.narrow_by(*filter),
            Condition::Compares(field, Comparison::Equal, Operand::Text(word)) => self.narrow_words(field, vec![word]),
            Condition::Compares(field, Comparison::Equal, Operand::Flag(flag)) => self.narrow_flag(field, flag),
            Condition::Compares(field, comparison, Operand::Date(day)) => match days(comparison, day) {
                Some(range) => narrow_range(&mut self.dates, field, range),
                None => self.conditions.push(Condition::Any(Vec::new())),
            },
            Condition::Compares(field, comparison, Operand::Amount(amount)) => match amounts(comparison, amount) {
                Some(range) => narrow_range(&mut self.amounts, field, range),
                None => self.conditions.push(Condition::Compares(field, comparison, Operand::Amount(amount))),
            },
            Condition::IsOneOf(field, values) => match values.iter().map(Operand::text).collect::<Option<Vec<_>>>() {
                Some(words) if matches!(field.kind(), Kind::Text(_) | Kind::Word(_)) => {
                    self.narrow_words(field, words.into_iter().map(str::to_owned).collect());
                }
                _ => self.conditions.push(Condition::IsOneOf(field, values)),
            },
            Condition::HasText(field, place, text) => {
                // Then the searched text has it, too, of which an index knows any three characters.
                if field.is_searched() && text.chars().count() >= 3 {
                    self.text.push(text.clone());
                }
                self.conditions.push(Condition::HasText(field, place, text));
            }
            other => self.conditions.push(other),
        }
    }

    fn narrow_by(&mut self, other: Self) {
        other.words.into_iter().for_each(|(field, words)| self.narrow_words(field, words));
        other.flags.into_iter().for_each(|(field, flag)| self.narrow_flag(field, flag));
        other.dates.into_iter().for_each(|(field, range)| narrow_range(&mut self.dates, field, range));
        other.amounts.into_iter().for_each(|(field, range)| narrow_range(&mut self.amounts, field, range));
        self.text.extend(other.text);
        self.conditions.extend(other.conditions);
        // Of these a filter has one; a second is asked for beside it.
        if self.statuses.is_empty() {
            self.statuses = other.statuses;
        } else if !other.statuses.is_empty() {
            self.beside(Self { statuses: other.statuses, ..Self::default() });
        }
        if self.overlaps.is_none() {
            self.overlaps = other.overlaps;
        } else if other.overlaps.is_some() {
            self.beside(Self { overlaps: other.overlaps, ..Self::default() });
        }
        if self.contains.is_none() {
            self.contains = other.contains;
        } else if other.contains.is_some() {
            self.beside(Self { contains: other.contains, ..Self::default() });
        }
    }

    /// Asks for what a record must contain. A value that a column has, and indexes begin with, becomes one of the filter: of canonical
    /// records the column says the same, and it is better known how many have it.
    pub fn narrow_to_contained(&mut self, contained: Map<String, Value>) {
        let mut rest = Map::new();
        for (key, value) in contained {
            match (Field::from_key(&key), value) {
                (Some(field), Value::String(word)) if field.leads_an_index() && !word.is_empty() => self.narrow_words(field, vec![word]),
                // Its column reads a missing flag as false. And only a flag that stands for itself asks for discontinued records.
                (Some(field), Value::Bool(true)) if field.kind() == Kind::Flag && field != Field::IsDiscontinued => {
                    self.narrow_flag(field, true);
                }
                (_, value) => drop(rest.insert(key, value)),
            }
        }
        if !rest.is_empty() {
            self.narrow_by(Self { contains: Some(rest), ..Self::default() });
        }
    }

    fn beside(&mut self, filter: Self) {
        self.conditions.push(Condition::Matches(Box::new(filter)));
    }

    /// A record must meet one word of each set.
    fn narrow_words(&mut self, field: Field, words: Vec<String>) {
        match self.words.entry(field) {
            Entry::Vacant(place) => {
                place.insert(words);
            }
            Entry::Occupied(mut known) => {
                let words: HashSet<_> = words.into_iter().collect();
                known.get_mut().retain(|word| words.contains(word));
            }
        }
    }

    fn narrow_flag(&mut self, field: Field, flag: bool) {
        if *self.flags.entry(field).or_insert(flag) != flag {
            self.conditions.push(Condition::Any(Vec::new()));
        }
    }
}

fn narrow_range<T: Copy + Ord>(ranges: &mut BTreeMap<Field, Range<T>>, field: Field, Range { from, to }: Range<T>) {
    let range = ranges.entry(field).or_insert(Range { from, to });
    range.from = range.from.max(from);
    range.to = [range.to, to].into_iter().flatten().min();
}

/// The days that compare so; none is before the first of all.
fn days(comparison: Comparison, day: NaiveDate) -> Option<Range<NaiveDate>> {
    let (from, to) = match comparison {
        Comparison::Equal => (Some(day), Some(day)),
        Comparison::Less => (None, Some(day.pred_opt()?)),
        Comparison::LessOrEqual => (None, Some(day)),
        Comparison::Greater => (Some(day.succ_opt()?), None),
        Comparison::GreaterOrEqual => (Some(day), None),
    };
    Some(Range { from, to })
}

/// The amounts that compare so, where their ends belong to them.
fn amounts(comparison: Comparison, amount: Decimal) -> Option<Range<Decimal>> {
    match comparison {
        Comparison::Equal => Some(Range { from: Some(amount), to: Some(amount) }),
        Comparison::LessOrEqual => Some(Range { from: None, to: Some(amount) }),
        Comparison::GreaterOrEqual => Some(Range { from: Some(amount), to: None }),
        Comparison::Less | Comparison::Greater => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn word(field: Field, word: &str) -> Condition {
        Condition::equals(field, Some(Operand::Text(word.to_owned())))
    }

    fn compares(field: Field, comparison: Comparison, day: NaiveDate) -> Condition {
        Condition::Compares(field, comparison, Operand::Date(day))
    }

    #[test]
    fn values_and_ranges_of_a_field_are_found_in_what_must_hold_altogether() {
        let mut filter = Filter::default();
        filter.narrow(Condition::All(vec![
            word(Field::Category, "Lifting"),
            Condition::IsOneOf(Field::Source, vec![Operand::Text("Rental".into()), Operand::Text("Purchase".into())]),
            Condition::All(vec![compares(Field::ForecastStart, Comparison::GreaterOrEqual, day("2025-01-01"))]),
            compares(Field::ForecastStart, Comparison::Less, day("2026-01-01")),
            Condition::Compares(Field::IsActualized, Comparison::Equal, Operand::Flag(true)),
        ]));
        let expected = Filter {
            words: [(Field::Category, vec!["Lifting".into()]), (Field::Source, vec!["Rental".into(), "Purchase".into()])].into(),
            dates: [(Field::ForecastStart, Range { from: Some(day("2025-01-01")), to: Some(day("2025-12-31")) })].into(),
            flags: [(Field::IsActualized, true)].into(),
            ..Filter::default()
        };
        assert_eq!(filter, expected);
        assert!(filter.excludes_null(Field::ForecastStart));
    }

    #[test]
    fn what_is_asked_for_twice_must_hold_twice() {
        let lifting = Filter { words: [(Field::Category, vec!["Lifting".into(), "Welding".into()])].into(), ..Filter::default() };
        let mut filter = lifting.clone();
        filter.narrow(word(Field::Category, "Welding"));
        assert_eq!(filter.words[&Field::Category], ["Welding"]);
        filter.narrow(word(Field::Category, "Rigging"));
        assert_eq!(filter.words[&Field::Category], [""; 0]);

        let mut filter = Filter { statuses: vec![Status::Forecast], ..Filter::default() };
        filter.narrow(Condition::Matches(Box::new(Filter { statuses: vec![Status::Actualized], ..lifting })));
        let actualized = Filter { statuses: vec![Status::Actualized], ..Filter::default() };
        assert_eq!((filter.statuses.len(), filter.words.len()), (1, 1));
        assert_eq!(filter.conditions, [Condition::Matches(Box::new(actualized))]);
    }

    #[test]
    fn what_columns_say_of_contained_values_is_asked_of_them() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let mut filter = Filter { words: [(Field::Category, vec!["Lifting".into(), "Welding".into()])].into(), ..Filter::default() };
        let of_columns = json!({"category": "Welding", "manufacturer": "Liebherr", "isActualized": true});
        let others = json!({
            "model": "LTM", "isFundsTransferable": false, "isDiscontinued": true, "source": "Rental", "monthlyRate": 5,
            "forecastStart": "2025-01-01", "contract": null, "class": "", "hasPlan": "true", "equipment": {}, "other": "x"
        });
        filter.narrow_to_contained(object(of_columns).into_iter().chain(object(others.clone())).collect());
        let mut expected = Filter {
            words: [(Field::Category, vec!["Welding".into()]), (Field::Manufacturer, vec!["Liebherr".into()])].into(),
            flags: [(Field::IsActualized, true)].into(),
            contains: Some(object(others)),
            ..Filter::default()
        };
        assert_eq!(filter, expected);
        // What was contained already stays so.
        let more = object(json!({"model": "LR"}));
        filter.narrow_to_contained(more.clone());
        filter.narrow_to_contained(Map::new());
        expected.beside(Filter { contains: Some(more), ..Filter::default() });
        assert_eq!(filter, expected);
    }

    #[test]
    fn what_is_open_stays_a_condition() {
        let rate = |comparison| Condition::Compares(Field::MonthlyRate, comparison, Operand::Amount(Decimal::TEN));
        let either = Condition::Any(vec![word(Field::Category, "Lifting"), word(Field::Dor, "BEO")]);
        let mut filter = Filter::default();
        for condition in [either.clone(), rate(Comparison::Less), rate(Comparison::LessOrEqual), Condition::IsNull(Field::Model)] {
            filter.narrow(condition);
        }
        assert_eq!(filter.conditions, [either, rate(Comparison::Less), Condition::IsNull(Field::Model)]);
        assert_eq!(filter.amounts[&Field::MonthlyRate], Range { from: None, to: Some(Decimal::TEN) });
    }

    #[test]
    fn discontinued_records_are_shown_when_a_condition_asks_for_them() {
        let is_discontinued = Condition::Compares(Field::IsDiscontinued, Comparison::Equal, Operand::Flag(true));
        let status = Condition::Matches(Box::new(Filter { statuses: vec![Status::Discontinued], ..Filter::default() }));
        for (condition, hides) in [
            (word(Field::Category, "Lifting"), true),
            (Condition::Any(vec![word(Field::Category, "Lifting"), is_discontinued.clone()]), false),
            (is_discontinued.negated(), false),
            (Condition::Any(vec![status]), false),
        ] {
            let mut filter = Filter::default();
            filter.narrow(condition);
            assert_eq!(filter.hides_discontinued(), hides, "{filter:?}");
        }
    }
}
