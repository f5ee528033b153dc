//! Places in JSON where texts of records are missing that nobody remembers: they are asked for together, after the rows.

use super::text_of::TextOf;
use crate::domain::row::open_record;
use std::sync::Arc;

/// What a hole takes in memory, and what it will, about.
const HOLE: usize = 150;

/// The places, from front to back, and which texts belong there.
#[derive(Debug, Default)]
pub(super) struct Holes {
    places: Vec<usize>,
    texts: Vec<TextOf>,
}

impl Holes {
    /// Notes that a text belongs at a place.
    pub fn leave(&mut self, place: usize, text: TextOf) {
        self.places.push(place);
        self.texts.push(text);
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What they take in memory with their texts, about.
    pub fn bytes(&self) -> usize {
        self.places.len() * HOLE
    }

    /// Which texts are missing.
    pub fn texts(&self) -> &[TextOf] {
        &self.texts
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
        self.places.chunks(size).zip(self.texts.chunks(size)).map(|(places, texts)| Portion { places, texts })
    }
}

/// Some of the holes, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portion<'a> {
    places: &'a [usize],
    /// Which texts are missing.
    pub texts: &'a [TextOf],
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
