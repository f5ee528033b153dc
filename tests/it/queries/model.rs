//! What trees, filter models and value columns mean, in plain Rust over JSON values.

use crate::support::model::{Key, Merged, Object, amount, cost, decimal, flag, key, meets_all, text};
use pfa_vanguard::domain::field::{Field, Kind};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Map, Value, json};

/// Whether a record meets a tree and a filter model, and is not hidden.
pub fn meets(data: &Object, tree: &Object, model: &Object) -> bool {
    let question = format!("{}{}", json!(tree), json!(model));
    let asks = question.contains("\"isDiscontinued\"") || question.contains("\"status\"");
    (asks || !flag(data, "isDiscontinued")) && meets_tree(data, tree) && meets_model(data, model)
}

fn meets_tree(data: &Object, tree: &Object) -> bool {
    let inner = |value: &Value| meets_tree(data, value.as_object().unwrap());
    let mut parameters = Vec::new();
    let mut holds = true;
    for (name, value) in tree {
        holds &= match name.as_str() {
            "and" => value.as_array().unwrap().iter().all(inner),
            "or" => value.as_array().unwrap().iter().any(inner),
            "not" => !inner(value),
            "field" => compares(data, value.as_str().unwrap(), tree),
            "op" | "value" | "values" | "from" | "to" => true,
            _ => {
                let values = if let Value::Array(values) = value { values.clone() } else { vec![value.clone()] };
                parameters.extend(values.iter().map(|value| (name.clone(), value.as_str().unwrap().to_owned())));
                true
            }
        };
    }
    holds && meets_all(data, &parameters)
}

fn compares(data: &Object, field: &str, keys: &Object) -> bool {
    let (own, value) = (key(data, field), operand(field, keys.get("value").unwrap_or(&Value::Null)));
    let has = |test: fn(&str, &str) -> bool| {
        let (own, sought) = (text(data, field).map(str::to_lowercase), keys["value"].as_str().unwrap().to_lowercase());
        own.is_some_and(|own| test(&own, &sought))
    };
    match keys["op"].as_str().unwrap() {
        "eq" => own == value,
        "ne" => own != value,
        "lt" => own.is_some() && own < value,
        "lte" => own.is_some() && own <= value,
        "gt" => own.is_some() && own > value,
        "gte" => own.is_some() && own >= value,
        "in" => keys["values"].as_array().unwrap().iter().any(|value| own == operand(field, value)),
        "notIn" => !keys["values"].as_array().unwrap().iter().any(|value| own == operand(field, value)),
        "between" => own.is_some() && own >= operand(field, &keys["from"]) && own <= operand(field, &keys["to"]),
        "contains" => has(|own, sought| own.contains(sought)),
        "startsWith" => has(|own, sought| own.starts_with(sought)),
        "endsWith" => has(|own, sought| own.ends_with(sought)),
        "isNull" => own.is_none(),
        "isNotNull" => own.is_some(),
        other => panic!("{other}"),
    }
}

/// What a request says, as a record's value is compared.
fn operand(field: &str, value: &Value) -> Option<Key> {
    let written = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (Field::from_key(field).unwrap().kind(), value) {
        (_, Value::Null) => None,
        (Kind::Amount, _) => Some(Key::Amount(decimal(&written))),
        (Kind::Flag, _) => Some(Key::Flag(written == "true")),
        (Kind::Date, _) => Some(Key::Text(written[..10].to_owned())),
        _ => Some(Key::Text(written)),
    }
}

fn meets_model(data: &Object, model: &Object) -> bool {
    if model.contains_key("filterType") {
        return meets_expression(data, model);
    }
    model.iter().all(|(field, filter)| meets_filter(data, field, filter.as_object().unwrap()))
}

fn meets_expression(data: &Object, expression: &Object) -> bool {
    if expression["filterType"] != "join" {
        return meets_filter(data, expression["colId"].as_str().unwrap(), expression);
    }
    let mut conditions = expression["conditions"].as_array().unwrap().iter().map(|value| value.as_object().unwrap());
    if expression["type"] == "OR" {
        conditions.any(|condition| meets_expression(data, condition))
    } else {
        conditions.all(|condition| meets_expression(data, condition))
    }
}

fn meets_filter(data: &Object, field: &str, filter: &Object) -> bool {
    if let Some(operator) = filter.get("operator") {
        let mut conditions = filter["conditions"].as_array().unwrap().iter().map(|value| value.as_object().unwrap());
        return if operator == "OR" {
            conditions.any(|condition| meets_filter(data, field, condition))
        } else {
            conditions.all(|condition| meets_filter(data, field, condition))
        };
    }
    let own = key(data, field);
    if filter["filterType"] == "set" {
        return filter["values"].as_array().unwrap().iter().any(|value| own == operand(field, value));
    }
    let sought = operand(field, filter.get("filter").unwrap_or(&filter.get("dateFrom").cloned().unwrap_or_default()));
    let last = operand(field, filter.get("filterTo").unwrap_or(&filter.get("dateTo").cloned().unwrap_or_default()));
    let name = filter["type"].as_str().unwrap();
    if let (Some(Key::Text(sought)), true) = (&sought, filter["filterType"] == "text") {
        let (own, sought) = (text(data, field).map(str::to_lowercase), sought.to_lowercase());
        return match name {
            "contains" => own.is_some_and(|own| own.contains(&sought)),
            "notContains" => own.is_none_or(|own| !own.contains(&sought)),
            "equals" => own == Some(sought),
            "notEqual" => own != Some(sought),
            "startsWith" => own.is_some_and(|own| own.starts_with(&sought)),
            "endsWith" => own.is_some_and(|own| own.ends_with(&sought)),
            other => panic!("{other}"),
        };
    }
    match name {
        "blank" => own.is_none(),
        "notBlank" => own.is_some(),
        "true" | "false" => own == Some(Key::Flag(name == "true")),
        "equals" => own == sought,
        "notEqual" => own.is_some() && own != sought,
        "lessThan" => own.is_some() && own < sought,
        "lessThanOrEqual" => own.is_some() && own <= sought,
        "greaterThan" => own.is_some() && own > sought,
        "greaterThanOrEqual" => own.is_some() && own >= sought,
        "inRange" => own.is_some() && own >= sought && own <= last,
        other => panic!("{other}"),
    }
}

/// What records amount to in a value column.
pub fn figure(records: &[&Merged], column: &str, aggregate: &str) -> Value {
    let costs = |start: &str, end: &str| records.iter().map(|record| cost(&record.data, start, end)).sum::<Decimal>();
    match column {
        "planCost" => return cents(costs("originalStart", "originalEnd")),
        "forecastCost" => return cents(costs("forecastStart", "forecastEnd")),
        "variance" => return cents(costs("forecastStart", "forecastEnd") - costs("originalStart", "originalEnd")),
        "actualCost" => {
            let actual = records.iter().filter(|record| flag(&record.data, "isActualized"));
            return cents(actual.map(|record| cost(&record.data, "actualStart", "actualEnd")).sum());
        }
        _ => {}
    }
    let mut keys: Vec<_> = records.iter().filter_map(|record| key(&record.data, column)).collect();
    keys.sort();
    let amounts = || records.iter().filter_map(|record| amount(&record.data, column));
    match aggregate {
        "count" => json!(keys.len()),
        "sum" => number(amounts().sum()),
        "avg" if keys.is_empty() => Value::Null,
        "avg" => cents(amounts().sum::<Decimal>() / Decimal::from(keys.len())),
        "min" => keys.first().map_or(Value::Null, value_of),
        "max" => keys.last().map_or(Value::Null, value_of),
        other => panic!("{other}"),
    }
}

/// A value as an answer has it.
pub fn value_of(key: &Key) -> Value {
    match key {
        Key::Text(text) => json!(text),
        Key::Amount(amount) => number(*amount),
        Key::Flag(flag) => json!(flag),
    }
}

/// An amount by meaning: 1.50 is 1.5.
pub fn number(amount: Decimal) -> Value {
    serde_json::from_str(&amount.normalize().to_string()).unwrap()
}

fn cents(amount: Decimal) -> Value {
    number(amount.round_dp(10).round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero))
}

/// A row, or rows, with amounts by meaning.
pub fn normalized(row: &Value) -> Value {
    match row {
        Value::Number(amount) => number(decimal(&amount.to_string())),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), normalized(value))).collect::<Map<_, _>>().into(),
        Value::Array(values) => values.iter().map(normalized).collect(),
        other => other.clone(),
    }
}
