//! The rules of edits as the contract says them, over plain objects.

use super::scene::{Operate, object};
use crate::support::model::Object;
use chrono::{Datelike as _, Days, NaiveDate};
use serde_json::{Value, json};

const FORECAST: [&str; 2] = ["forecastStart", "forecastEnd"];
const ACTUAL: [&str; 2] = ["actualStart", "actualEnd"];

/// A draft: changed fields, and what they were when first touched.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    pub delta: Object,
    pub base: Object,
    pub reason: Option<String>,
    /// When it was first touched, or last decided upon.
    pub since: i64,
    /// The mirror's version then.
    pub base_version: i64,
}

/// One field of a delta beside what others made of it.
#[derive(Debug, Clone)]
pub struct Compared {
    pub field: String,
    pub base: Value,
    pub ours: Value,
    pub theirs: Value,
    pub is_conflict: bool,
}

fn of(record: &Object, key: &str) -> Value {
    record.get(key).cloned().unwrap_or(Value::Null)
}

pub fn compare(draft: &Draft, published: &Object) -> Vec<Compared> {
    let fields = draft.delta.iter().map(|(key, ours)| {
        let (base, theirs) = (of(&draft.base, key), of(published, key));
        let is_conflict = theirs != base && theirs != *ours;
        Compared { field: key.clone(), base, ours: ours.clone(), theirs, is_conflict }
    });
    fields.collect()
}

/// The fields of each rule that a delta breaks on what is published.
pub fn broken(published: &Object, delta: &Object) -> Vec<Vec<&'static str>> {
    let mut merged = published.clone();
    merged.extend(delta.clone());
    let touches = |fields: &[&str]| fields.iter().any(|key| delta.contains_key(*key));
    let is_backward = |[start, end]: [&str; 2]| match (day(&merged, start), day(&merged, end)) {
        (Some(start), Some(end)) => start > end,
        _ => false,
    };
    let mut rules = Vec::new();
    if touches(&FORECAST) && is_backward(FORECAST) {
        rules.push(FORECAST.to_vec());
    }
    if touches(&ACTUAL) && is_backward(ACTUAL) {
        rules.push(ACTUAL.to_vec());
    }
    if touches(&FORECAST) && merged["isActualized"] == true {
        rules.push(vec!["forecastStart", "forecastEnd", "isActualized"]);
    }
    rules
}

/// The fields that an edit is told to be at fault: of each rule those that it changes.
pub fn faults(rules: &[Vec<&'static str>], delta: &Object) -> Vec<String> {
    let mut named: Vec<_> = rules.iter().flatten().filter(|key| delta.contains_key(**key)).map(ToString::to_string).collect();
    named.sort();
    named
}

/// Fields in conflict: changed by others to another value, or breaking a rule with what they published.
pub fn in_conflict(draft: &Draft, published: &Object) -> Vec<Compared> {
    let rules = broken(published, &draft.delta);
    let fields = compare(draft, published).into_iter();
    fields.filter(|c| c.is_conflict || rules.iter().flatten().any(|field| *field == c.field)).collect()
}

/// What somebody decides on: the fields in conflict; or, when others took back what stood against
/// them, every field of the change.
pub fn to_decide(draft: &Draft, published: &Object) -> Vec<Compared> {
    let fields = in_conflict(draft, published);
    if fields.is_empty() { compare(draft, published) } else { fields }
}

/// The draft after an edit: what is set back to its base leaves it; an empty one is none.
pub fn edited(draft: Option<&Draft>, published: &Object, patch: &Object, fresh: Draft) -> Option<Draft> {
    let mut next = draft.cloned().unwrap_or(Draft { reason: None, ..fresh.clone() });
    next.reason = fresh.reason.or(next.reason);
    for (key, value) in patch {
        let base = next.base.get(key).cloned().unwrap_or_else(|| of(published, key));
        if *value == base {
            next.delta.remove(key);
            next.base.remove(key);
        } else {
            next.delta.insert(key.clone(), value.clone());
            next.base.insert(key.clone(), base);
        }
    }
    (!next.delta.is_empty()).then_some(next)
}

/// What an operation sets on a record as the planner sees it, or the fields that stand in its way.
pub fn patch(operation: &Operate, seen: &Object) -> Result<Object, Vec<String>> {
    let set = |entries: Vec<(&str, Value)>| Ok(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
    let is_actualized = seen["isActualized"] == true;
    match operation {
        Operate::Set(entries) => Ok(object(entries)),
        Operate::Shift(days) => {
            let moved: &[&str] = if is_actualized { &["actualEnd"] } else { &["forecastEnd", "forecastStart"] };
            let moved: Vec<_> = moved.iter().map(|key| (*key, day(seen, key).map(|date| later(date, *days)))).collect();
            let outside: Vec<_> = moved.iter().filter(|(_, date)| date.is_some_and(is_outside)).map(|(key, _)| (*key).to_owned()).collect();
            if outside.is_empty() { set(moved.into_iter().map(|(key, date)| (key, json!(date))).collect()) } else { Err(outside) }
        }
        Operate::Duration(days) => match day(seen, "forecastStart").map(|start| later(start, *days)) {
            None => Err(vec!["forecastStart".to_owned()]),
            Some(end) if is_outside(end) && !is_actualized => Err(vec!["forecastEnd".to_owned()]),
            Some(end) => set(vec![("forecastEnd", json!(end))]),
        },
        Operate::Reset => match (day(seen, "originalStart"), day(seen, "originalEnd")) {
            (Some(start), Some(end)) => set(vec![("forecastStart", json!(start)), ("forecastEnd", json!(end))]),
            _ => Err(vec!["originalEnd".to_owned(), "originalStart".to_owned()]),
        },
    }
}

fn day(record: &Object, key: &str) -> Option<NaiveDate> {
    record[key].as_str().map(|text| text.parse().unwrap())
}

fn later(date: NaiveDate, days: i32) -> NaiveDate {
    let distance = Days::new(days.unsigned_abs().into());
    if days < 0 { date - distance } else { date + distance }
}

fn is_outside(date: NaiveDate) -> bool {
    !(1900..=2999).contains(&date.year())
}
