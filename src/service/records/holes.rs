//! Places in JSON where texts of records are missing that nobody remembers: they are asked for together, after the rows.

use super::texts::Unknown;
use crate::domain::row::{Meta, open_record};
use std::sync::Arc;

/// The places, from front to back, and whose texts belong there.
#[derive(Debug, Default)]
pub(super) struct Holes {
    places: Vec<usize>,
    records: Vec<Unknown>,
}

impl Holes {
    /// Notes that the text of a record belongs at a place.
    pub fn leave(&mut self, place: usize, record: &Meta<'_>) {
        self.places.push(place);
        self.records.push(Unknown { id: record.id, version: record.version });
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whose texts are missing.
    pub fn records(&self) -> &[Unknown] {
        &self.records
    }

    /// The JSON with the texts in their places.
    pub fn fill(&self, json: &str, texts: &[Arc<str>]) -> String {
        let missing: usize = texts.iter().map(|text| text.len()).sum();
        let mut whole = String::with_capacity(json.len() + missing + 1);
        let mut end = 0;
        for (place, text) in self.places.iter().zip(texts) {
            whole.push_str(&json[end..*place]);
            whole.push_str(open_record(text));
            end = *place;
        }
        whole.push_str(&json[end..]);
        whole
    }
}
