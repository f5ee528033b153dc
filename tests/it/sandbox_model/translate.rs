//! Between the service's words and the model's.

use super::scene::{Operate, Val, object, values};
use crate::support::model::Merged;
use pfa_vanguard::domain::conflict::Choice;
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::domain::kpi::Split;
use pfa_vanguard::domain::operation::Operation;
use pfa_vanguard::error::RefusedEdit;
use serde_json::{Value, json};

pub fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// A base as an entry; its values are among those that scenes are made of.
pub fn entry((key, value): (&String, &Value)) -> Option<(&'static str, Val)> {
    let key = Field::from_key(key)?.key();
    values(key).into_iter().find(|known| known.json() == *value).map(|known| (key, known))
}

pub fn operation(operate: &Operate) -> Operation {
    match operate {
        Operate::Set(entries) => Operation::Set(object(entries)),
        Operate::Shift(days) => Operation::ShiftDates(*days),
        Operate::Duration(days) => Operation::SetDuration(*days),
        Operate::Reset => Operation::ResetToPlan,
    }
}

pub fn read_choice(choice: &Value) -> Choice {
    match choice.as_str() {
        Some("mine") => Choice::Mine,
        Some(_) => Choice::Theirs,
        None => Choice::Value(choice["value"].clone()),
    }
}

pub fn refusals(mut refused: Vec<RefusedEdit>) -> Vec<Value> {
    refused.sort_by(|a, b| a.pfa_id.cmp(&b.pfa_id));
    let fields = |edit: RefusedEdit| json!([edit.pfa_id, sorted(edit.faults().into_iter().map(|fault| fault.field).collect())]);
    refused.into_iter().map(fields).collect()
}

/// Costs and counts as the model's totals have them.
pub fn figures(split: Split) -> Value {
    let total = split.total();
    json!({"planCost": total.plan_cost.to_string(), "forecastCost": total.forecast_cost.to_string(), "actualCost": total.actual_cost.to_string(),
           "variance": total.variance.to_string(), "recordCount": total.record_count, "actualizedCount": total.actualized_count})
}

/// A record as an answer has it.
pub fn shown(record: &Merged) -> Value {
    let mut row = record.data.clone();
    row.insert("_meta".into(), record.meta.clone());
    Value::Object(row)
}

pub fn timeless(mut row: Value) -> Value {
    row["_meta"]["modifiedAt"] = Value::Null;
    row
}
