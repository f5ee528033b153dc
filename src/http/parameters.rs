//! Query parameters: read one by one, with every fault collected, and unknown names refused.

use crate::http::problem::{FieldError, Problem};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Display;

/// So many faults are told in all.
const MOST_FAULTS: usize = 50;
/// So many unknown parameters are told.
const MOST_UNKNOWN: usize = 10;

/// The parameters of one request.
#[derive(Debug, Default)]
pub struct Parameters {
    given: BTreeMap<String, Vec<String>>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Parameters {
    /// Splits a query string; percent-encoded bytes that are no UTF-8 read as replacement characters.
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            given.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        Self { given, ..Self::default() }
    }

    /// The same parameters as the keys of a JSON object: a list repeats one, an object stands for its text.
    #[must_use]
    pub fn of_object(object: Map<String, Value>) -> Self {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let values = |value: Value| match value {
            Value::Array(values) => values.into_iter().map(text).collect(),
            other => vec![text(other)],
        };
        Self { given: object.into_iter().map(|(name, value)| (name, values(value))).collect(), ..Self::default() }
    }

    /// Every value of a repeatable parameter.
    pub fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let values = self.given.remove(name).unwrap_or_default();
        if values.iter().any(|value| value.contains('\0')) {
            self.refuse(name, "holds a NUL character");
            return Vec::new();
        }
        values
    }

    /// The value of a parameter that may be given once.
    pub fn one(&mut self, name: &'static str) -> Option<String> {
        let mut values = self.all(name);
        if values.len() > 1 {
            self.refuse(name, "may be given once only");
        }
        values.pop()
    }

    /// A value read by a function; `expected` completes "must be …".
    pub fn read<T>(&mut self, name: &'static str, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.one(name)?;
        let value = read(&text);
        if value.is_none() {
            self.refuse(name, format!("must be {expected}"));
        }
        value
    }

    /// A comma-separated or single value out of a closed list.
    pub fn choose<T>(&mut self, name: &'static str, allowed: &[&str], read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.one(name)?;
        let value = read(&text);
        if value.is_none() {
            self.refuse_value(name, &text, allowed);
        }
        value
    }

    /// Every value of a repeatable parameter out of a closed list.
    pub fn choose_all<T>(&mut self, name: &'static str, allowed: &[&str], read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let mut chosen = Vec::new();
        for text in self.all(name) {
            match read(&text) {
                Some(value) => chosen.push(value),
                None => self.refuse_value(name, &text, allowed),
            }
        }
        chosen
    }

    /// Every item of a comma-separated parameter out of a closed list, each once.
    pub fn choose_list<T: PartialEq>(&mut self, name: &'static str, allowed: &[&str], read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let text = self.one(name)?;
        let mut chosen = Vec::new();
        for item in text.split(',').map(str::trim) {
            match read(item) {
                Some(value) if chosen.contains(&value) => self.refuse(name, format!("{item:?} is named twice")),
                Some(value) => chosen.push(value),
                None => self.refuse_value(name, item, allowed),
            }
        }
        Some(chosen)
    }

    /// Notes a fault.
    pub fn refuse(&mut self, name: &str, message: impl Display) {
        self.errors.push(FieldError { field: name.to_owned(), message: message.to_string(), allowed: Vec::new() });
    }

    /// Notes a value that is not in a closed list.
    pub fn refuse_value(&mut self, name: &str, value: &str, allowed: &[&str]) {
        let allowed = allowed.iter().map(ToString::to_string).collect();
        self.errors.push(FieldError { field: name.to_owned(), message: format!("unknown value {value:?}"), allowed });
    }

    /// Takes over the faults of parameters that stand inside this one.
    pub fn absorb(&mut self, prefix: &str, inner: Self) {
        self.errors.extend(inner.into_errors().into_iter().map(|error| FieldError { field: format!("{prefix}.{}", error.field), ..error }));
    }

    /// Ends the reading: names that nobody asked for are faults, too.
    ///
    /// # Errors
    /// A 400 with every fault.
    pub fn finish(self) -> Result<(), Problem> {
        let errors = self.into_errors();
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid_parameters(errors)) }
    }

    fn into_errors(mut self) -> Vec<FieldError> {
        // One fault says what is known; the list would repeat with every name.
        for name in self.given.keys().take(MOST_UNKNOWN) {
            let allowed = self.known.iter().map(ToString::to_string).collect();
            self.errors.push(FieldError { field: name.clone(), message: "unknown parameter".into(), allowed });
        }
        // A value can be wrong thousands of times; nobody reads beyond the first.
        self.errors.truncate(MOST_FAULTS);
        self.errors
    }
}
