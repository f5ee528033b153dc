//! The contract as plain Rust over JSON values, with nothing of the service in it: what a reader
//! sees, which rows a question matches, in which order, and what they cost.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::str::FromStr as _;
use uuid::Uuid;

pub type Object = Map<String, Value>;

/// A mirror row.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: Uuid,
    pub version: i64,
    pub data: Object,
}

/// A modification of a mirror row.
#[derive(Debug, Clone)]
pub struct Modification {
    pub mirror_id: Uuid,
    pub session: Uuid,
    pub user: String,
    pub state: &'static str,
    /// For a conflict: `commit` while it was never published, else `writeBack`.
    pub stage: Option<&'static str>,
    pub delta: Object,
    /// Commits and edits happen in this order; no two have the same.
    pub order: i64,
    /// When, as answers show it.
    pub at: String,
}

/// A record as a reader sees it.
#[derive(Debug, Clone)]
pub struct Merged {
    pub id: Uuid,
    pub data: Object,
    pub meta: Value,
}

/// What a reader sees: mirror ⊕ published deltas in commit order ⊕ the session's own open ones.
pub fn read(rows: &[Row], modifications: &[Modification], session: Option<Uuid>) -> Vec<Merged> {
    rows.iter().map(|row| merge(row, modifications, session)).collect()
}

fn merge(row: &Row, modifications: &[Modification], session: Option<Uuid>) -> Merged {
    let is_own = |m: &&Modification| Some(m.session) == session && matches!(m.state, "draft" | "conflict");
    let is_published = |m: &&Modification| matches!(m.state, "committed" | "syncing");
    let mut here: Vec<_> = modifications.iter().filter(|m| m.mirror_id == row.id).collect();
    here.sort_by_key(|m| m.order);

    let mut data = row.data.clone();
    // One's own: what was committed once and came back, then what was never committed.
    let own = |was_published: bool| here.iter().filter(move |m| (m.stage == Some("writeBack")) == was_published).filter(|m| is_own(m));
    for delta in here.iter().filter(|m| is_published(m)).chain(own(true)).chain(own(false)) {
        data.extend(delta.delta.clone());
    }
    let shown: Vec<_> = here.iter().filter(|m| is_own(m) || is_published(m) || matches!(m.state, "conflict" | "failed")).collect();
    let fields: BTreeSet<_> = shown.iter().flat_map(|m| m.delta.keys()).collect();
    let rank = |state: &str| ["conflict", "failed", "draft", "syncing", "committed"].iter().position(|s| *s == state);
    let deciding = shown.iter().min_by_key(|m| (!is_own(m), rank(m.state), -m.order));
    let meta = json!({
        "id": row.id, "version": row.version,
        "syncState": deciding.map_or("pristine", |m| m.state), "modifiedFields": fields,
        "modifiedBy": deciding.map(|m| &m.user), "modifiedAt": deciding.map(|m| &m.at),
    });
    Merged { id: row.id, data, meta }
}

/// A question to the grid: the parameters as they go into the query string.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub parameters: Vec<(String, String)>,
    pub sort: Vec<(String, bool)>,
}

/// The rows that a question matches, in its order.
pub fn answer(mut records: Vec<Merged>, question: &Question) -> Vec<Merged> {
    records.retain(|record| matches(&record.data, &question.parameters));
    records.sort_by(|a, b| compare(a, b, &question.sort));
    records
}

fn matches(data: &Object, parameters: &[(String, String)]) -> bool {
    let hides_discontinued = !parameters.iter().any(|(name, _)| name == "isDiscontinued" || name == "status");
    !(hides_discontinued && flag(data, "isDiscontinued")) && meets_all(data, parameters)
}

/// Whether a record meets parameters of the grid; whether discontinued records are hidden is of no account.
pub fn meets_all(data: &Object, parameters: &[(String, String)]) -> bool {
    let names: BTreeSet<_> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    names.into_iter().all(|name| {
        let values: Vec<_> = parameters.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect();
        meets(data, name, &values)
    })
}

fn meets(data: &Object, name: &str, values: &[&str]) -> bool {
    let value = values[0];
    let at_least = |field: &str, least: &str| date(data, field).is_some_and(|d| d >= day(least));
    let at_most = |field: &str, most: &str| date(data, field).is_some_and(|d| d <= day(most));
    match name {
        "isActualized" | "isDiscontinued" | "isFundsTransferable" => flag(data, name) == (value == "true"),
        "status" => values.contains(&status(data)),
        "forecastStartFrom" => at_least("forecastStart", value),
        "forecastStartTo" => at_most("forecastStart", value),
        "forecastEndFrom" => at_least("forecastEnd", value),
        "forecastEndTo" => at_most("forecastEnd", value),
        "overlaps" => {
            let (first, last) = value.split_once("..").unwrap();
            at_most("forecastStart", last) && at_least("forecastEnd", first)
        }
        "monthlyRateMin" => amount(data, "monthlyRate").is_some_and(|a| a >= decimal(value)),
        "monthlyRateMax" => amount(data, "monthlyRate").is_some_and(|a| a <= decimal(value)),
        "purchasePriceMin" => amount(data, "purchasePrice").is_some_and(|a| a >= decimal(value)),
        "purchasePriceMax" => amount(data, "purchasePrice").is_some_and(|a| a <= decimal(value)),
        "q" => {
            let searched = ["pfaId", "manufacturer", "model", "equipment", "contract", "category", "class"];
            let text: Vec<_> = searched.iter().map(|key| text(data, key).unwrap_or_default().to_lowercase()).collect();
            value.split_whitespace().all(|word| text.iter().any(|field| field.contains(&word.to_lowercase())))
        }
        "contains" => {
            let object: Object = serde_json::from_str(value).unwrap();
            object.iter().all(|(key, value)| data.get(key).is_some_and(|v| same(v, value)))
        }
        field => values.iter().any(|value| text(data, field) == Some(value)),
    }
}

/// Equality by meaning: 1.0 is 1.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => decimal(&a.to_string()) == decimal(&b.to_string()),
        _ => a == b,
    }
}

/// The order of records by some columns, then by id.
pub fn compare(a: &Merged, b: &Merged, sort: &[(String, bool)]) -> Ordering {
    for (field, is_descending) in sort {
        let (x, y) = (key(&a.data, field), key(&b.data, field));
        let order = match (&x, &y) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            _ if *is_descending => y.cmp(&x),
            _ => x.cmp(&y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.id.cmp(&b.id)
}

/// A value as it is ordered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Text(String),
    Amount(Decimal),
    Flag(bool),
}

/// The value of a field, as it is ordered.
pub fn key(data: &Object, field: &str) -> Option<Key> {
    if field.starts_with("is") || field.starts_with("has") {
        return Some(Key::Flag(flag(data, field)));
    }
    match &data[field] {
        Value::Null => None,
        Value::Number(number) => Some(Key::Amount(decimal(&number.to_string()))),
        // Dates sort as their text does.
        Value::String(text) => Some(Key::Text(text.clone())),
        other => panic!("{field}: {other}"),
    }
}

pub fn flag(data: &Object, field: &str) -> bool {
    data[field] == Value::Bool(true)
}

pub fn text<'a>(data: &'a Object, field: &str) -> Option<&'a str> {
    data[field].as_str()
}

fn date(data: &Object, field: &str) -> Option<NaiveDate> {
    text(data, field).map(day)
}

fn day(text: &str) -> NaiveDate {
    NaiveDate::from_str(text).unwrap()
}

pub fn amount(data: &Object, field: &str) -> Option<Decimal> {
    data[field].is_number().then(|| decimal(&data[field].to_string()))
}

pub fn decimal(text: &str) -> Decimal {
    Decimal::from_str(text).unwrap()
}

fn status(data: &Object) -> &'static str {
    match (flag(data, "isDiscontinued"), flag(data, "isActualized"), flag(data, "isFundsTransferable")) {
        (true, _, _) => "discontinued",
        (_, true, _) => "actualized",
        (_, _, true) => "fundsTransferable",
        _ => "forecast",
    }
}

/// Totals over the records that are not discontinued, as the KPI answer has them: a plain sum of
/// each record's cost.
pub fn totals<'a>(records: impl IntoIterator<Item = &'a Merged>) -> Value {
    let (mut plan, mut forecast, mut actual) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
    let (mut count, mut actualized) = (0, 0);
    for Merged { data, .. } in records {
        if flag(data, "isDiscontinued") {
            continue;
        }
        count += 1;
        plan += cost(data, "originalStart", "originalEnd");
        forecast += cost(data, "forecastStart", "forecastEnd");
        if flag(data, "isActualized") {
            actualized += 1;
            actual += cost(data, "actualStart", "actualEnd");
        }
    }
    json!({"planCost": cents(plan), "forecastCost": cents(forecast), "actualCost": cents(actual), "variance": cents(forecast - plan),
           "recordCount": count, "actualizedCount": actualized})
}

/// Cents, so that equal sums compare equal whatever the last digit of a division was.
pub fn cents(amount: Decimal) -> String {
    let mut rounded = amount.round_dp(10).round_dp_with_strategy(2, rust_decimal::RoundingStrategy::MidpointAwayFromZero);
    rounded.rescale(2);
    rounded.to_string()
}

pub fn cost(data: &Object, start: &str, end: &str) -> Decimal {
    if text(data, "source") == Some("Purchase") {
        return amount(data, "purchasePrice").unwrap_or_default();
    }
    let days = match (date(data, start), date(data, end)) {
        (Some(start), Some(end)) => (end - start).num_days().max(0),
        _ => 0,
    };
    Decimal::from(days) * amount(data, "monthlyRate").unwrap_or_default() / decimal("30.44")
}

/// First and last dates and counts over the records that are not discontinued.
pub fn timeline(records: &[Merged]) -> Value {
    let visible: Vec<_> = records.iter().filter(|record| !flag(&record.data, "isDiscontinued")).collect();
    let first = |field: &str| visible.iter().filter_map(|record| date(&record.data, field)).min();
    let last = |field: &str| visible.iter().filter_map(|record| date(&record.data, field)).max();
    json!({
        "plan": {"start": first("originalStart"), "end": last("originalEnd")},
        "forecast": {"start": first("forecastStart"), "end": last("forecastEnd")},
        "actual": {"start": first("actualStart"), "end": last("actualEnd")},
        "recordCount": visible.len(), "actualizedCount": visible.iter().filter(|record| flag(&record.data, "isActualized")).count(),
    })
}
