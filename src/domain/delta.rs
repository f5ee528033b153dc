//! Deltas: laying them over a record, and what an edit makes of one. The reference for the merge in
//! `pfa_rebuild_overlay` and for the edit statement of the service.

use crate::domain::conflict::same;
use serde_json::{Map, Value};

/// The fields that a sandbox changes on one record, and the values that they had when first touched.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    /// The changed fields; a key wins even when its value is null.
    pub delta: Map<String, Value>,
    /// What they were; the same keys.
    pub base: Map<String, Value>,
}

/// Lays deltas over a record in their order, by top-level key.
#[must_use]
pub fn merge<'a>(record: &Map<String, Value>, deltas: impl IntoIterator<Item = &'a Map<String, Value>>) -> Map<String, Value> {
    let mut merged = record.clone();
    for delta in deltas {
        merged.extend(delta.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    merged
}

impl Draft {
    /// The draft after an edit of a record that others see as `published`. A field that is set back
    /// to its base leaves the delta; an empty delta is no draft.
    #[must_use]
    pub fn edit(&self, published: &Map<String, Value>, patch: &Map<String, Value>) -> Self {
        let mut edited = Self::default();
        for (key, value) in merge(&self.delta, [patch]) {
            let before = self.base.get(&key).or_else(|| published.get(&key)).cloned().unwrap_or(Value::Null);
            if !same(&value, &before) {
                edited.base.insert(key.clone(), before);
                edited.delta.insert(key, value);
            }
        }
        edited
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("an object") };
        object
    }

    #[test]
    fn a_key_wins_even_with_null_and_the_last_delta_wins() {
        let record = object(json!({"a": 1, "b": 2, "c": 3}));
        let merged = merge(&record, [&object(json!({"a": null, "b": 5})), &object(json!({"b": 6}))]);
        assert_eq!(Value::Object(merged), json!({"a": null, "b": 6, "c": 3}));
    }

    #[test]
    fn an_edit_back_to_the_base_leaves_no_draft() {
        let published = object(json!({"rate": 1, "dor": "BEO"}));
        let draft = Draft::default().edit(&published, &object(json!({"rate": 2, "dor": "BEO"})));
        assert_eq!((draft.delta.len(), &draft.base["rate"]), (1, &json!(1)));
        // Meanwhile somebody published another rate: the base stays what it was.
        let published = object(json!({"rate": 7, "dor": "BEO"}));
        assert_eq!(draft.edit(&published, &object(json!({"rate": 3}))).base["rate"], 1);
        assert_eq!(
            draft.edit(&published, &object(json!({"rate": serde_json::Number::from_string_unchecked("1.0".into())}))),
            Draft::default()
        );
    }
}
