//! Places in JSON where texts of records are missing that nobody remembers: they are asked for together, after the rows.

use super::texts::Unknown;
use crate::domain::row::{Meta, open_record};
use std::sync::Arc;

/// What a hole takes in memory, and what it will, about.
const HOLE: usize = 150;

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

    /// What they take in memory with their texts, about.
    pub fn bytes(&self) -> usize {
        self.places.len() * HOLE
    }

    /// Whose texts are missing.
    pub fn records(&self) -> &[Unknown] {
        &self.records
    }

    /// The JSON with the texts in their places.
    pub fn fill(&self, json: &str, texts: &[Arc<str>]) -> String {
        let mut whole = String::with_capacity(json.len() + texts.iter().map(|text| text.len()).sum::<usize>() + 1);
        let end = fill(&mut whole, json, 0, &self.places, texts);
        whole.push_str(&json[end..]);
        whole
    }

    /// The holes by so many, for JSON that need not be whole at once.
    pub fn portions(&self, size: usize) -> impl Iterator<Item = Portion<'_>> {
        self.places.chunks(size).zip(self.records.chunks(size)).map(|(places, records)| Portion { places, records })
    }
}

/// Some of the holes, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portion<'a> {
    places: &'a [usize],
    /// Whose texts are missing.
    pub records: &'a [Unknown],
}

impl Portion<'_> {
    /// Adds the JSON from a place up to the last of these holes, with the texts; gives where that is.
    pub fn fill(&self, to: &mut String, json: &str, from: usize, texts: &[Arc<str>]) -> usize {
        fill(to, json, from, self.places, texts)
    }
}

fn fill(to: &mut String, json: &str, from: usize, places: &[usize], texts: &[Arc<str>]) -> usize {
    let mut end = from;
    for (place, text) in places.iter().zip(texts) {
        to.push_str(&json[end..*place]);
        to.push_str(open_record(text));
        end = *place;
    }
    end
}
