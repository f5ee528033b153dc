//! The filter of a grid's row model: of each column, or as an expression over columns, in the words of AG Grid.
//!
//! Texts are compared in any case, `notEqual` and `notContains` of a text hold where there is none, those of numbers and dates do not,
//! and both ends belong to a range.

use super::tree::{ConditionReader, NO_LIST, between};
use crate::domain::condition::{Comparison, Condition, Place};
use crate::domain::field::{Field, Kind};
use serde_json::{Map, Value};

/// What `filterType` of one condition can be; the column tells what its values are.
const FILTER_TYPES: [&str; 12] =
    ["text", "number", "bigint", "boolean", "date", "dateString", "dateTime", "dateTimeString", "object", "set", "multi", "join"];
/// What `type` can be of a text, of a flag, and of anything else.
const TEXT_TYPES: [&str; 8] = ["contains", "notContains", "equals", "notEqual", "startsWith", "endsWith", "blank", "notBlank"];
const FLAG_TYPES: [&str; 4] = ["true", "false", "blank", "notBlank"];
const VALUE_TYPES: [&str; 9] =
    ["equals", "notEqual", "lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual", "inRange", "blank", "notBlank"];

impl ConditionReader<'_> {
    /// Reads a filter model: columns with their filters, or an expression.
    pub fn read_model(&mut self, path: &str, model: Map<String, Value>) -> Condition {
        if model.get("filterType").is_some_and(Value::is_string) {
            return self.read_expression(path, Value::Object(model), 0);
        }
        // A filter that is not set is null.
        let model = model.into_iter().filter(|(_, filter)| !filter.is_null());
        let read = |(name, filter): (String, Value)| {
            let path = format!("{path}.{name}");
            let field = self.read_field(&path, &name)?;
            Some(self.read_column(&path, field, filter, 0))
        };
        Condition::All(model.filter_map(read).collect())
    }

    /// A join of expressions, or a condition that names its column.
    fn read_expression(&mut self, path: &str, expression: Value, depth: usize) -> Condition {
        let Some(mut keys) = self.begin(path, expression, depth) else { return Condition::All(Vec::new()) };
        let is_join = keys.get("filterType").is_some_and(|kind| kind == "join");
        if is_join {
            keys.remove("filterType");
            let operator = keys.remove("type");
            return self.read_join(path, ("type", operator.as_ref()), keys, &mut |reader, path, value| {
                reader.read_expression(path, value, depth + 1)
            });
        }
        let name = keys.remove("colId").unwrap_or_default();
        match self.read_field(&format!("{path}.colId"), name.as_str().unwrap_or_default()) {
            Some(field) => self.read_filter_of(path, field, keys, depth),
            None => Condition::All(Vec::new()),
        }
    }

    /// The filter of one column.
    fn read_column(&mut self, path: &str, field: Field, filter: Value, depth: usize) -> Condition {
        match self.begin(path, filter, depth) {
            Some(keys) => self.read_filter_of(path, field, keys, depth),
            None => Condition::All(Vec::new()),
        }
    }

    fn begin(&mut self, path: &str, filter: Value, depth: usize) -> Option<Map<String, Value>> {
        let keys = self.open(path, filter)?;
        self.may_have_one_more(path, depth).then_some(keys)
    }

    fn read_filter_of(&mut self, path: &str, field: Field, mut keys: Map<String, Value>, depth: usize) -> Condition {
        let kind = keys.remove("filterType").unwrap_or_default();
        let kind = kind.as_str().unwrap_or_default();
        if !FILTER_TYPES.contains(&kind) {
            self.faults.refuse_value(&format!("{path}.filterType"), kind, &FILTER_TYPES);
            return Condition::All(Vec::new());
        }
        if let Some(operator) = keys.remove("operator") {
            return self.read_join(path, ("operator", Some(&operator)), keys, &mut |reader, path, value| {
                reader.read_column(path, field, value, depth + 1)
            });
        }
        let condition = match kind {
            "set" => {
                let values = match keys.remove("values").unwrap_or_default() {
                    Value::Array(values) => values.iter().map(|value| day_of(field, value)).collect(),
                    other => other,
                };
                self.read_set(&format!("{path}.values"), field, &values)
            }
            "multi" => {
                let models = keys.remove("filterModels").unwrap_or_default();
                Some(Condition::All(self.read_models(&format!("{path}.filterModels"), field, models, depth)))
            }
            _ => self.read_simple(path, field, &mut keys),
        };
        self.refuse_rest(path, &keys);
        condition.unwrap_or(Condition::All(Vec::new()))
    }

    /// The filters of a column that hold together; one that is not set is null.
    fn read_models(&mut self, path: &str, field: Field, models: Value, depth: usize) -> Vec<Condition> {
        let Value::Array(models) = models else {
            self.faults.refuse(path, "must be a list of filters");
            return Vec::new();
        };
        let models = models.into_iter().enumerate().filter(|(_, model)| !model.is_null());
        models.map(|(index, model)| self.read_column(&format!("{path}[{index}]"), field, model, depth + 1)).collect()
    }

    /// `AND` or `OR` of `conditions`, or, as it once was, of `condition1` and `condition2`.
    fn read_join(
        &mut self,
        path: &str,
        (key, operator): (&str, Option<&Value>),
        mut keys: Map<String, Value>,
        read: &mut dyn FnMut(&mut Self, &str, Value) -> Condition,
    ) -> Condition {
        let conditions: Vec<_> = match keys.remove("conditions") {
            Some(Value::Array(list)) => {
                // Both forms may be there, and say the same.
                keys.remove("condition1");
                keys.remove("condition2");
                list.into_iter().enumerate().map(|(index, value)| read(self, &format!("{path}.conditions[{index}]"), value)).collect()
            }
            Some(_) => Vec::new(),
            None => {
                let pair = ["condition1", "condition2"].into_iter().filter_map(|key| keys.remove(key).map(|value| (key, value)));
                pair.collect::<Vec<_>>().into_iter().map(|(key, value)| read(self, &format!("{path}.{key}"), value)).collect()
            }
        };
        self.refuse_rest(path, &keys);
        // None would be everything for AND and nothing for OR: hardly anybody means either.
        if conditions.is_empty() {
            self.faults.refuse(&format!("{path}.conditions"), NO_LIST);
        }
        match operator.and_then(Value::as_str) {
            Some("AND") => Condition::All(conditions),
            Some("OR") => Condition::Any(conditions),
            other => {
                self.faults.refuse_value(&format!("{path}.{key}"), other.unwrap_or_default(), &["AND", "OR"]);
                Condition::All(Vec::new())
            }
        }
    }

    /// One comparison of one column.
    fn read_simple(&mut self, path: &str, field: Field, keys: &mut Map<String, Value>) -> Option<Condition> {
        let name = keys.remove("type").unwrap_or_default();
        let name = name.as_str().unwrap_or_default();
        // Where dates stand has changed over the versions; what is not used is null.
        let mut take = |names: [&str; 2]| {
            let given = names.map(|name| keys.remove(name).filter(|value| !value.is_null()));
            let place = names[usize::from(given[1].is_some() || given[0].is_none() && field.kind() == Kind::Date)];
            (format!("{path}.{place}"), given.into_iter().flatten().next().unwrap_or_default())
        };
        let [(from_path, from), (to_path, to)] = [take(["filter", "dateFrom"]), take(["filterTo", "dateTo"])];
        match (field.kind(), name) {
            (_, "blank") => return Some(Condition::IsNull(field)),
            (_, "notBlank") => return Some(Condition::IsNull(field).negated()),
            (Kind::Flag, "true" | "false") => return Some(Condition::equals(field, self.read_operand(path, field, &Value::from(name)))),
            (Kind::Text(_) | Kind::Word(_), _) if TEXT_TYPES.contains(&name) => {
                return self.read_text_filter(&from_path, field, name, &from);
            }
            (Kind::Amount | Kind::Date, _) if VALUE_TYPES.contains(&name) => {}
            (kind, _) => {
                let allowed = match kind {
                    Kind::Text(_) | Kind::Word(_) => &TEXT_TYPES[..],
                    Kind::Flag => &FLAG_TYPES,
                    Kind::Amount | Kind::Date => &VALUE_TYPES,
                };
                self.faults.refuse_value(&format!("{path}.type"), name, allowed);
                return None;
            }
        }
        let from = self.read_operand(&from_path, field, &day_of(field, &from));
        let comparison = match name {
            "inRange" => {
                let to = self.read_operand(&to_path, field, &day_of(field, &to));
                return Some(between(field, from?, to?));
            }
            "notEqual" => {
                let is_equal = Condition::equals(field, Some(from?));
                return Some(Condition::All(vec![is_equal.negated(), Condition::IsNull(field).negated()]));
            }
            "lessThan" => Comparison::Less,
            "lessThanOrEqual" => Comparison::LessOrEqual,
            "greaterThan" => Comparison::Greater,
            "greaterThanOrEqual" => Comparison::GreaterOrEqual,
            _ => Comparison::Equal,
        };
        Some(Condition::Compares(field, comparison, from?))
    }

    fn read_text_filter(&mut self, path: &str, field: Field, name: &str, text: &Value) -> Option<Condition> {
        let place = match name {
            "startsWith" => Place::Start,
            "endsWith" => Place::End,
            "equals" | "notEqual" => Place::Whole,
            _ => Place::Anywhere,
        };
        let condition = self.read_text(path, field, place, text)?;
        Some(if name.starts_with("not") { condition.negated() } else { condition })
    }

    fn refuse_rest(&mut self, path: &str, keys: &Map<String, Value>) {
        for key in keys.keys() {
            self.faults.refuse(&format!("{path}.{key}"), "unknown key");
        }
    }
}

/// Grids send days with a time, which is midnight: `2025-01-01 00:00:00`. Any other time is no day.
fn day_of(field: Field, value: &Value) -> Value {
    let day = match (field.kind(), value.as_str().and_then(|text| text.split_once([' ', 'T']))) {
        (Kind::Date, Some((day, time))) if time.trim_end_matches('Z').chars().all(|digit| "0:.".contains(digit)) => Some(day),
        _ => None,
    };
    day.map_or_else(|| value.clone(), Value::from)
}
