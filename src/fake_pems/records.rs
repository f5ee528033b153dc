//! The records of the stand-in, as texts, the way PEMS keeps them.

use crate::domain::field::{Field, Kind};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A record: the text of each key, and when it was changed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeRecord {
    /// Texts by key of the dictionary; what is missing is blank.
    pub texts: BTreeMap<Field, String>,
    /// Texts of columns that no map names.
    pub more: BTreeMap<String, String>,
    /// Who changed it last.
    pub changed_by: String,
    /// When.
    pub changed_at: DateTime<Utc>,
}

/// All records, by organization and id.
#[derive(Debug, Default)]
pub struct Records {
    organizations: BTreeMap<String, BTreeMap<String, FakeRecord>>,
    /// Columns that no map names: every row has them.
    more_columns: BTreeSet<String>,
    last_change: Option<DateTime<Utc>>,
}

impl Records {
    /// Saves a record as a user of PEMS does: keys of the dictionary with their canonical values.
    pub fn put(&mut self, organization: &str, data: &Map<String, Value>) {
        let now = self.next_moment();
        self.put_changed(organization, data, now);
    }

    /// The same, as it was saved at some time in the past.
    pub fn put_changed(&mut self, organization: &str, data: &Map<String, Value>, changed_at: DateTime<Utc>) {
        let Some(id) = data.get(Field::PfaId.key()).and_then(Value::as_str) else { return };
        let texts = data.iter().filter_map(|(key, value)| Some((Field::from_key(key)?, text_of(Field::from_key(key)?, value))));
        let more = data.iter().filter(|(key, _)| Field::from_key(key).is_none());
        let more: BTreeMap<_, _> =
            more.map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect();
        self.more_columns.extend(more.keys().cloned());
        let record = FakeRecord { texts: texts.collect(), more, changed_by: "PEMS".to_owned(), changed_at };
        self.organizations.entry(organization.to_owned()).or_default().insert(id.to_owned(), record);
    }

    /// Changes some fields of a record; tells whether it is there.
    pub fn edit(&mut self, organization: &str, id: &str, changes: &Map<String, Value>) -> bool {
        let texts = changes.iter().filter_map(|(key, value)| Some((Field::from_key(key)?, text_of(Field::from_key(key)?, value))));
        self.set(organization, id, texts.collect(), "PEMS")
    }

    /// Sets texts of a record; tells whether it is there.
    pub fn set(&mut self, organization: &str, id: &str, texts: BTreeMap<Field, String>, by: &str) -> bool {
        let now = self.next_moment();
        let Some(record) = self.organizations.get_mut(organization).and_then(|records| records.get_mut(id)) else { return false };
        record.texts.extend(texts);
        by.clone_into(&mut record.changed_by);
        record.changed_at = now;
        true
    }

    /// Takes a record away; tells whether it was there.
    pub fn delete(&mut self, organization: &str, id: &str) -> bool {
        self.organizations.get_mut(organization).is_some_and(|records| records.remove(id).is_some())
    }

    /// Takes all records of an organization away.
    pub fn clear(&mut self, organization: &str) {
        self.organizations.remove(organization);
    }

    /// A record.
    #[must_use]
    pub fn get(&self, organization: &str, id: &str) -> Option<&FakeRecord> {
        self.organizations.get(organization)?.get(id)
    }

    /// The text of one field; blank when there is none.
    #[must_use]
    pub fn text(&self, organization: &str, id: &str, field: Field) -> &str {
        self.get(organization, id).and_then(|record| record.texts.get(&field)).map_or("", String::as_str)
    }

    /// The records of an organization, in the order of their ids.
    pub fn of(&self, organization: &str) -> impl Iterator<Item = (&str, &FakeRecord)> {
        self.organizations.get(organization).into_iter().flatten().map(|(id, record)| (id.as_str(), record))
    }

    /// Columns that no map names, in their order.
    pub fn more_columns(&self) -> impl Iterator<Item = &str> {
        self.more_columns.iter().map(String::as_str)
    }

    /// The codes of the organizations.
    pub fn organizations(&self) -> impl Iterator<Item = &str> {
        self.organizations.keys().map(String::as_str)
    }

    /// Now, but later than every change before.
    fn next_moment(&mut self) -> DateTime<Utc> {
        let next = self.last_change.map_or_else(Utc::now, |last| Utc::now().max(last + Duration::milliseconds(1)));
        self.last_change = Some(next);
        next
    }
}

/// A canonical value as PEMS shows it: flags are letters, dates have a time.
fn text_of(field: Field, value: &Value) -> String {
    match (field.kind(), value) {
        (_, Value::Null) => String::new(),
        (Kind::Flag, Value::Bool(flag)) => if *flag { "Y" } else { "N" }.to_owned(),
        (Kind::Date, Value::String(date)) => format!("{date}T00:00:00.000Z"),
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    }
}
