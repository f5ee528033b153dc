//! A raw record while it is being filled, and what a missing value looks like in it.

use serde_json::{Map, Value};

use super::draw::Draws;

/// The record while it grows.
#[derive(Default)]
pub(super) struct Fields {
    record: Map<String, Value>,
}

impl Fields {
    /// Sets a value.
    pub(super) fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.record.insert(key.to_owned(), value.into());
    }

    /// Present in `share` of 1000 cases, else null or absent.
    pub(super) fn put_nullable(&mut self, draws: &mut Draws, key: &str, share: u32, value: impl Into<Value>) {
        let value = draws.chance(share).then(|| value.into());
        self.put_or_leave_out(draws, key, value);
    }

    /// A missing value is null or absent, half and half.
    pub(super) fn put_or_leave_out(&mut self, draws: &mut Draws, key: &str, value: Option<impl Into<Value>>) {
        match value {
            Some(value) => self.put(key, value),
            None if draws.chance(500) => self.put(key, Value::Null),
            None => {}
        }
    }

    /// The record as it stands.
    pub(super) fn into_record(self) -> Map<String, Value> {
        self.record
    }
}
