//! Three-way comparison of the fields of a delta, and what a resolution makes of a draft. The
//! reference for `pfa_three_way` in the database.

use crate::domain::delta::Draft;
use crate::domain::fault::Fault;
use crate::domain::json::is_same_number;
use crate::domain::patch::read_field;
use crate::domain::rules::Rule;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One field of a delta against what others made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Its key.
    pub field: String,
    /// What it was when the draft first touched it.
    pub base: Value,
    /// What the draft makes of it.
    pub ours: Value,
    /// What is published now.
    pub theirs: Value,
    /// Whether a person must decide.
    pub conflict: bool,
}

/// Compares a delta with its base and with what is published: theirs as it was, or the same as
/// ours, is clean; anything else is a conflict.
#[must_use]
pub fn three_way(draft: &Draft, published: &Map<String, Value>) -> Vec<Comparison> {
    let compare = |(field, ours): (&String, &Value)| {
        let of = |record: &Map<String, Value>| record.get(field).cloned().unwrap_or(Value::Null);
        let (base, theirs) = (of(&draft.base), of(published));
        let conflict = !same(&theirs, &base) && !same(&theirs, ours);
        Comparison { field: field.clone(), base, ours: ours.clone(), theirs, conflict }
    };
    draft.delta.iter().map(compare).collect()
}

/// Equality by meaning: numbers by value, everything else as it is (dates are canonical).
#[must_use]
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => is_same_number(&a.to_string(), &b.to_string()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

/// A field in conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldConflict {
    /// Its key.
    pub field: String,
    /// What it was when the draft first touched it.
    pub base: Value,
    /// What the draft makes of it.
    pub ours: Value,
    /// What is published now.
    pub theirs: Value,
}

/// What a conflict is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConflictingFields {
    /// Fields that somebody else changed to another value, or that break a rule together with what
    /// somebody else published.
    pub fields: Vec<FieldConflict>,
    /// The rules that the merge would break.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl ConflictingFields {
    /// Of all fields of a delta those that need a decision. Where what others made of them was taken
    /// back meanwhile that is none; then the whole change is decided upon.
    #[must_use]
    pub fn of(comparisons: Vec<Comparison>, broken_rules: &[String]) -> Self {
        let rules: Vec<_> = broken_rules.iter().filter_map(|code| Rule::from_code(code)).collect();
        let is_ruled = |field: &str| rules.iter().any(|rule| rule.fields().iter().any(|ruled| ruled.key() == field));
        let is_open = |comparison: &Comparison| comparison.conflict || is_ruled(&comparison.field);
        let is_settled = !comparisons.iter().any(is_open);
        let fields = comparisons.into_iter().filter(|comparison| is_settled || is_open(comparison));
        let fields = fields.map(|Comparison { field, base, ours, theirs, .. }| FieldConflict { field, base, ours, theirs });
        Self { fields: fields.collect(), rules: rules.iter().map(|rule| rule.message().to_owned()).collect() }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.field.clone()).collect()
    }
}

/// What somebody decides for one field.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// The draft's value stands, over what is published now.
    Mine,
    /// What is published stands; the draft lets the field go.
    Theirs,
    /// A third value.
    Value(Value),
}

impl Choice {
    /// The word for it in answers and in the history.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Mine => "mine",
            Self::Theirs => "theirs",
            Self::Value(_) => "value",
        }
    }
}

/// How a conflict is resolved.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// One choice for every field in conflict.
    All(Choice),
    /// A choice for each field in conflict.
    Fields(BTreeMap<String, Choice>),
}

impl Resolution {
    /// Reads `{"resolution": "mine" | "theirs" | "fields", "fields": {…}}`.
    ///
    /// # Errors
    /// Every field at fault.
    pub fn read(word: &str, fields: Option<Map<String, Value>>) -> Result<Self, Vec<Fault>> {
        match (word, fields) {
            ("mine", None) => Ok(Self::All(Choice::Mine)),
            ("theirs", None) => Ok(Self::All(Choice::Theirs)),
            ("mine" | "theirs", Some(_)) => Err(vec![Fault::new("fields", "belongs to resolution \"fields\"")]),
            ("fields", Some(fields)) if !fields.is_empty() => {
                let mut choices = BTreeMap::new();
                let mut faults = Vec::new();
                for (key, choice) in fields {
                    match read_choice(&key, choice) {
                        Ok(choice) => drop(choices.insert(key, choice)),
                        Err(fault) => faults.push(fault),
                    }
                }
                if faults.is_empty() { Ok(Self::Fields(choices)) } else { Err(faults) }
            }
            ("fields", _) => Err(vec![Fault::new("fields", "must name a choice for each field in conflict")]),
            (other, _) => Err(vec![Fault {
                field: "resolution".into(),
                message: format!("unknown value {other:?}"),
                allowed: ["mine", "theirs", "fields"].map(str::to_owned).into(),
            }]),
        }
    }

    /// The choice for each of these fields in conflict.
    ///
    /// # Errors
    /// Fields that are left open, and choices for fields that are not in conflict.
    pub fn choices(&self, in_conflict: &[String]) -> Result<BTreeMap<String, Choice>, Vec<Fault>> {
        match self {
            Self::All(choice) => Ok(in_conflict.iter().map(|field| (field.clone(), choice.clone())).collect()),
            Self::Fields(choices) => {
                let open = in_conflict.iter().filter(|field| !choices.contains_key(*field));
                let strange = choices.keys().filter(|field| !in_conflict.contains(field));
                let faults: Vec<_> = open
                    .map(|field| Fault::new(field, "is in conflict and has no choice"))
                    .chain(strange.map(|field| Fault { allowed: in_conflict.to_vec(), ..Fault::new(field, "is not in conflict") }))
                    .collect();
                if faults.is_empty() { Ok(choices.clone()) } else { Err(faults) }
            }
        }
    }
}

fn read_choice(key: &str, choice: Value) -> Result<Choice, Fault> {
    match choice {
        Value::String(word) if word == "mine" => Ok(Choice::Mine),
        Value::String(word) if word == "theirs" => Ok(Choice::Theirs),
        Value::Object(mut object) if object.len() == 1 && object.contains_key("value") => {
            read_field(key, &object.remove("value").unwrap_or_default()).map(Choice::Value)
        }
        _ => Err(Fault { allowed: vec!["mine".into(), "theirs".into(), "{\"value\": …}".into()], ..Fault::new(key, "is no choice") }),
    }
}

/// The draft after a resolution: what was decided stands on what is published now; fields that say
/// the same as the published record, or let it stand, leave the delta. Fields without a choice stay.
#[must_use]
pub fn resolve(draft: &Draft, published: &Map<String, Value>, choices: &BTreeMap<String, Choice>) -> Draft {
    let mut resolved = Draft::default();
    for (field, ours) in &draft.delta {
        let theirs = published.get(field).cloned().unwrap_or(Value::Null);
        let (base, value) = match choices.get(field) {
            None => (draft.base.get(field).cloned().unwrap_or(Value::Null), ours.clone()),
            Some(Choice::Theirs) => continue,
            Some(Choice::Mine) => (theirs.clone(), ours.clone()),
            Some(Choice::Value(value)) => (theirs.clone(), value.clone()),
        };
        if !same(&base, &value) {
            resolved.base.insert(field.clone(), base);
            resolved.delta.insert(field.clone(), value);
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("an object") };
        object
    }

    fn draft() -> Draft {
        Draft {
            delta: object(json!({"rate": 2, "dor": "BEO", "model": "x", "class": null})),
            base: object(json!({"rate": 1, "dor": "PROJECT", "model": "m", "class": "c"})),
        }
    }

    #[test]
    fn only_a_third_value_is_a_conflict() {
        let published = object(serde_json::from_str(r#"{"rate": 1.0, "dor": "BEO", "model": "y", "class": "c"}"#).expect("JSON"));
        let conflicts: Vec<_> = three_way(&draft(), &published).into_iter().filter(|c| c.conflict).map(|c| c.field).collect();
        assert_eq!(conflicts, ["model"], "as it was, the same change, another value, as it was");
    }

    #[test]
    fn a_settled_conflict_is_about_the_whole_change() {
        let keys = |published: Value| ConflictingFields::of(three_way(&draft(), &object(published)), &[]).keys();
        assert_eq!(keys(json!({"rate": 1, "dor": "PROJECT", "model": "y", "class": "c"})), ["model"]);
        assert_eq!(keys(json!({"rate": 1, "dor": "PROJECT", "model": "m", "class": "c"})).len(), 4);
    }

    #[test]
    fn a_resolution_stands_on_what_is_published() {
        let published = object(json!({"rate": 9, "dor": "PROJECT", "model": "y", "class": "c"}));
        let choices = [("rate", Choice::Mine), ("model", Choice::Theirs)].map(|(field, choice)| (field.to_owned(), choice)).into();
        let resolved = resolve(&draft(), &published, &choices);
        assert_eq!(Value::Object(resolved.delta), json!({"rate": 2, "dor": "BEO", "class": null}));
        assert_eq!(Value::Object(resolved.base), json!({"rate": 9, "dor": "PROJECT", "class": "c"}));
        let third = [("rate".to_owned(), Choice::Value(json!(9)))].into();
        assert!(!resolve(&draft(), &published, &third).delta.contains_key("rate"), "the third value is theirs");
    }

    #[test]
    fn a_resolution_decides_every_field_in_conflict_and_no_other() {
        let fields = ["rate".to_owned(), "model".to_owned()];
        let read = |value: Value| Resolution::read("fields", Some(object(value)));
        assert_eq!(Resolution::read("mine", None).unwrap().choices(&fields).unwrap().len(), 2);
        let partial = read(json!({"model": "mine", "dor": "theirs"})).unwrap().choices(&fields).expect_err("faults");
        assert_eq!(partial.into_iter().map(|fault| fault.field).collect::<Vec<_>>(), ["rate", "dor"]);
        assert_eq!(
            read(json!({"monthlyRate": {"value": -1}, "model": "ours", "dor": {"value": "BEO", "x": 1}})).expect_err("faults").len(),
            3
        );
        assert!(Resolution::read("ours", None).is_err() && Resolution::read("fields", None).is_err());
        assert!(Resolution::read("mine", Some(Map::new())).is_err());
    }
}
