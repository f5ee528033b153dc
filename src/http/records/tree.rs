//! Filters as trees, in bodies: the grid's parameters as keys, comparisons of a field, and `and`, `or`, `not` of trees.
//!
//! ```json
//! {"category": ["Lifting", "Rigging"], "or": [{"field": "monthlyRate", "op": "gt", "value": 9000}, {"field": "contract", "op": "isNull"}]}
//! ```
//!
//! What stands in one object must hold altogether.

use super::grid::read_filter;
use crate::domain::condition::{Comparison, Condition, Operand, Place};
use crate::domain::field::{Field, Kind};
use crate::domain::filter::Filter;
use crate::http::parameters::{MOST_VALUES, Parameters};
use serde_json::{Map, Value};

/// Most conditions of a filter, of which every word of a text search is one: each stands in every branch of the statement.
const MOST_CONDITIONS: usize = 100;
/// Deepest nesting of conditions.
const DEEPEST: usize = 20;
/// Longest text that is looked for.
const MOST_TEXT: usize = 200;
/// What is wrong with a list of filters that is none, or empty.
pub(super) const NO_LIST: &str = "must be a list of filters, one at least";
/// The keys of a comparison.
const COMPARISON_KEYS: [&str; 6] = ["field", "op", "value", "values", "from", "to"];
/// What `op` can be.
const OPERATORS: [&str; 14] =
    ["eq", "ne", "lt", "lte", "gt", "gte", "in", "notIn", "between", "contains", "startsWith", "endsWith", "isNull", "isNotNull"];

/// Reads conditions out of a body, noting every fault under its path.
pub(super) struct ConditionReader<'a> {
    pub faults: &'a mut Parameters,
    conditions: usize,
}

/// Reads the filter of a body.
pub(in crate::http) fn read_tree(faults: &mut Parameters, path: &str, tree: Map<String, Value>) -> Filter {
    let mut filter = Filter::default();
    filter.narrow(ConditionReader::new(faults).read(path, tree, 0));
    filter
}

impl<'a> ConditionReader<'a> {
    pub fn new(faults: &'a mut Parameters) -> Self {
        Self { faults, conditions: 0 }
    }

    /// What stands in one object.
    fn read(&mut self, path: &str, mut tree: Map<String, Value>, depth: usize) -> Condition {
        if !self.may_have_one_more(path, depth) {
            return Condition::All(Vec::new());
        }
        let mut conditions = Vec::new();
        for (key, of) in [("and", Condition::All as fn(Vec<Condition>) -> Condition), ("or", Condition::Any)] {
            if let Some(list) = tree.remove(key) {
                conditions.push(of(self.read_list(&format!("{path}.{key}"), list, depth)));
            }
        }
        if let Some(inner) = tree.remove("not") {
            conditions.push(self.read_value(&format!("{path}.not"), inner, depth).negated());
        }
        if COMPARISON_KEYS.iter().any(|key| tree.contains_key(*key)) {
            let comparison = COMPARISON_KEYS.into_iter().filter_map(|key| tree.remove_entry(key)).collect();
            conditions.extend(self.read_comparison(path, comparison));
        }
        if !tree.is_empty() {
            let mut parameters = Parameters::of_object(tree);
            let filter = read_filter(&mut parameters);
            parameters.knows(&["and", "or", "not", "field"]);
            self.faults.absorb(path, parameters);
            if filter.text.iter().all(|_| self.may_have_one_more(path, depth)) {
                conditions.push(Condition::Matches(Box::new(filter)));
            }
        }
        Condition::All(conditions)
    }

    /// Whether the filter may have one condition more, so deep.
    pub fn may_have_one_more(&mut self, path: &str, depth: usize) -> bool {
        self.conditions += 1;
        if depth > DEEPEST {
            self.faults.refuse(path, format!("is nested deeper than {DEEPEST} levels"));
        } else if self.conditions == MOST_CONDITIONS + 1 {
            self.faults.refuse(path, format!("is more than {MOST_CONDITIONS} conditions"));
        }
        depth <= DEEPEST && self.conditions <= MOST_CONDITIONS
    }

    fn read_list(&mut self, path: &str, list: Value, depth: usize) -> Vec<Condition> {
        match list {
            Value::Array(list) if !list.is_empty() => {
                let read = |(index, value)| self.read_value(&format!("{path}[{index}]"), value, depth);
                list.into_iter().enumerate().map(read).collect()
            }
            // None would be everything for `and` and nothing for `or`: hardly anybody means either.
            _ => {
                self.faults.refuse(path, NO_LIST);
                Vec::new()
            }
        }
    }

    fn read_value(&mut self, path: &str, value: Value, depth: usize) -> Condition {
        match self.open(path, value) {
            Some(tree) => self.read(path, tree, depth + 1),
            None => Condition::All(Vec::new()),
        }
    }

    /// The keys of a filter.
    pub fn open(&mut self, path: &str, value: Value) -> Option<Map<String, Value>> {
        if let Value::Object(keys) = value {
            return Some(keys);
        }
        self.faults.refuse(path, "must be a filter");
        None
    }

    fn read_comparison(&mut self, path: &str, mut keys: Map<String, Value>) -> Option<Condition> {
        let name = keys.remove("field").unwrap_or_default();
        let field = self.read_field(&format!("{path}.field"), name.as_str().unwrap_or_default());
        let operator = keys.remove("op");
        let operator = operator.as_ref().map_or("eq", |operator| operator.as_str().unwrap_or_default());
        let condition = self.read_operator(path, field?, operator, &mut keys);
        for key in keys.keys() {
            self.faults.refuse(&format!("{path}.{key}"), format!("is not for {operator}"));
        }
        condition
    }

    fn read_operator(&mut self, path: &str, field: Field, operator: &str, keys: &mut Map<String, Value>) -> Option<Condition> {
        let mut take = |key: &str| (format!("{path}.{key}"), keys.remove(key).unwrap_or_default());
        let comparison = match operator {
            "eq" | "ne" => {
                // What is not there was hardly meant to be null: languages leave out what they do not know.
                if !keys.contains_key("value") {
                    self.faults.refuse(&format!("{path}.value"), "is missing");
                    return None;
                }
                let (path, value) = (format!("{path}.value"), keys.remove("value").unwrap_or_default());
                let operand = if value.is_null() { None } else { Some(self.read_operand(&path, field, &value)?) };
                let condition = Condition::equals(field, operand);
                return Some(if operator == "ne" { condition.negated() } else { condition });
            }
            "in" | "notIn" => {
                let (path, values) = take("values");
                let condition = self.read_set(&path, field, &values)?;
                return Some(if operator == "notIn" { condition.negated() } else { condition });
            }
            "between" => {
                let [(from_path, from), (to_path, to)] = [take("from"), take("to")];
                let from = self.read_operand(&from_path, field, &from);
                let to = self.read_operand(&to_path, field, &to);
                return Some(between(field, from?, to?));
            }
            "contains" | "startsWith" | "endsWith" => {
                let place = match operator {
                    "contains" => Place::Anywhere,
                    "startsWith" => Place::Start,
                    _ => Place::End,
                };
                let (path, value) = take("value");
                return self.read_text(&path, field, place, &value);
            }
            "isNull" => return Some(Condition::IsNull(field)),
            "isNotNull" => return Some(Condition::IsNull(field).negated()),
            "lt" => Comparison::Less,
            "lte" => Comparison::LessOrEqual,
            "gt" => Comparison::Greater,
            "gte" => Comparison::GreaterOrEqual,
            other => {
                self.faults.refuse_value(&format!("{path}.op"), other, &OPERATORS);
                keys.clear();
                return None;
            }
        };
        let (path, value) = take("value");
        Some(Condition::Compares(field, comparison, self.read_operand(&path, field, &value)?))
    }

    /// A column by its key.
    pub fn read_field(&mut self, path: &str, name: &str) -> Option<Field> {
        let field = Field::from_key(name);
        if field.is_none() {
            self.faults.refuse_value(path, name, &Field::keys());
        }
        field
    }

    /// A value of a field, not null.
    pub fn read_operand(&mut self, path: &str, field: Field, value: &Value) -> Option<Operand> {
        let operand = Operand::read(field, value);
        match (field.kind(), value) {
            _ if operand.is_some() => {}
            (Kind::Word(words), Value::String(word)) => self.faults.refuse_value(path, word, words),
            (Kind::Text(_) | Kind::Word(_), _) => self.faults.refuse(path, "must be a text"),
            (Kind::Flag, _) => self.faults.refuse(path, "must be true or false"),
            (Kind::Amount, _) => self.faults.refuse(path, "must be a decimal number of at most 28 digits"),
            (Kind::Date, _) => self.faults.refuse(path, "must be a date YYYY-MM-DD"),
        }
        operand
    }

    /// That a field has one of a list of values, of which null is one.
    pub fn read_set(&mut self, path: &str, field: Field, values: &Value) -> Option<Condition> {
        let Value::Array(values) = values else {
            self.faults.refuse(path, "must be a list of values");
            return None;
        };
        if values.len() > MOST_VALUES {
            self.faults.refuse(path, format!("must be at most {MOST_VALUES} values"));
            return None;
        }
        let (nulls, values): (Vec<_>, Vec<_>) = values.iter().partition(|value| value.is_null());
        let read = |(index, value)| self.read_operand(&format!("{path}[{index}]"), field, value);
        let operands = values.into_iter().enumerate().map(read).collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
        let set = Condition::IsOneOf(field, operands);
        Some(if nulls.is_empty() { set } else { Condition::Any(vec![set, Condition::IsNull(field)]) })
    }

    /// That a text has something in it, in any case.
    pub fn read_text(&mut self, path: &str, field: Field, place: Place, value: &Value) -> Option<Condition> {
        match (field.kind(), value) {
            (Kind::Text(_) | Kind::Word(_), Value::String(text)) if text.chars().count() <= MOST_TEXT => {
                Some(Condition::HasText(field, place, text.clone()))
            }
            (Kind::Text(_) | Kind::Word(_), _) => {
                self.faults.refuse(path, format!("must be a text of at most {MOST_TEXT} characters"));
                None
            }
            _ => {
                self.faults.refuse(path, format!("{field} is no text"));
                None
            }
        }
    }
}

/// That a field is in a range, to which both ends belong.
pub(super) fn between(field: Field, from: Operand, to: Operand) -> Condition {
    let from = Condition::Compares(field, Comparison::GreaterOrEqual, from);
    Condition::All(vec![from, Condition::Compares(field, Comparison::LessOrEqual, to)])
}
