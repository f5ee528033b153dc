//! Query parameters: read one by one, with every fault collected, and unknown names refused.

use crate::domain::fault::Fault;
use crate::http::problem::{FieldError, MOST_FAULTS, Problem};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Display;

/// Most values of one parameter, or of a set in a filter.
pub const MOST_VALUES: usize = 1_000;
/// So many unknown parameters are told.
const MOST_UNKNOWN: usize = 10;
/// Most characters of a name or value that a fault repeats.
const MOST_REPEATED: usize = 100;
/// Parameters whose text is a JSON object.
const OBJECTS: [&str; 1] = ["contains"];

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

    /// The same parameters as the keys of a JSON object: a list repeats one.
    #[must_use]
    pub fn of_object(object: Map<String, Value>) -> Self {
        let mut parameters = Self::default();
        for (name, value) in object {
            let values = match value {
                // No value at all would read as no condition, which selects everything.
                Value::Array(values) if values.is_empty() => {
                    parameters.refuse(&name, "must not be an empty list");
                    values
                }
                Value::Array(values) if values.len() > MOST_VALUES => {
                    parameters.refuse(&name, format!("must be at most {MOST_VALUES} values"));
                    Vec::new()
                }
                Value::Array(values) => values,
                other => vec![other],
            };
            let mut texts = Vec::new();
            for value in values {
                match value {
                    Value::String(text) => texts.push(text),
                    Value::Number(_) | Value::Bool(_) => texts.push(value.to_string()),
                    Value::Object(_) if OBJECTS.contains(&name.as_str()) => texts.push(value.to_string()),
                    Value::Null | Value::Array(_) | Value::Object(_) => {
                        parameters.refuse(&name, "must be a value or a list of values");
                        break;
                    }
                }
            }
            parameters.given.insert(name, texts);
        }
        parameters
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

    /// Every value of a repeatable parameter out of a closed list, each once.
    pub fn choose_all<T: PartialEq>(&mut self, name: &'static str, allowed: &[&str], read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let mut chosen = Vec::new();
        for text in self.all(name) {
            match read(&text) {
                Some(value) if chosen.contains(&value) => {}
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

    /// Notes a fault; of very many only the first.
    pub fn refuse(&mut self, name: &str, message: impl Display) {
        if self.errors.len() < MOST_FAULTS {
            self.errors.push(FieldError { field: shorten(name), message: message.to_string(), allowed: Vec::new() });
        }
    }

    /// Notes a value that is not in a closed list.
    pub fn refuse_value(&mut self, name: &str, value: &str, allowed: &[&str]) {
        if self.errors.len() < MOST_FAULTS {
            let allowed = allowed.iter().map(ToString::to_string).collect();
            let message = if value.is_empty() { "is missing or empty".to_owned() } else { format!("unknown value {:?}", shorten(value)) };
            self.errors.push(FieldError { field: shorten(name), message, allowed });
        }
    }

    /// Notes names that are read elsewhere, for messages about unknown ones.
    pub fn knows(&mut self, names: &[&'static str]) {
        self.known.extend(names);
    }

    /// Takes over the faults of parameters that stand inside this one.
    pub fn absorb(&mut self, prefix: &str, inner: Self) {
        let room = MOST_FAULTS.saturating_sub(self.errors.len());
        let errors = inner.into_errors().into_iter().take(room);
        self.errors.extend(errors.map(|error| FieldError { field: format!("{prefix}.{}", error.field), ..error }));
    }

    /// Takes over the faults of what was read elsewhere; gives what is good.
    pub fn take<T>(&mut self, read: Result<T, Vec<Fault>>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(faults) => {
                self.add(faults);
                None
            }
        }
    }

    /// Adds faults of what was read elsewhere.
    pub fn add(&mut self, faults: Vec<Fault>) {
        self.errors.extend(faults.into_iter().map(FieldError::from));
    }

    /// Ends the reading of what is done to records: the whole of it, or every fault.
    ///
    /// # Errors
    /// A 400 with every fault, also of names that nobody asked for.
    pub fn finish_edit<T>(self, edit: Option<T>) -> Result<T, Problem> {
        let is_good_edit = self.errors.is_empty();
        let errors = self.into_errors();
        match edit {
            Some(edit) if errors.is_empty() => Ok(edit),
            _ if is_good_edit => Err(Problem::invalid_parameters(errors)),
            _ => Err(Problem::invalid_edit(errors)),
        }
    }

    /// Ends the reading of parameters that stand beside an edit whose own faults are told later, when it is known what they lead to.
    ///
    /// # Errors
    /// A 400 when a parameter is bad, with the faults of the edit.
    pub fn finish_beside(mut self, edit: &[Fault]) -> Result<(), Problem> {
        if edit.is_empty() || self.errors.is_empty() && self.given.is_empty() {
            return self.finish();
        }
        self.add(edit.to_vec());
        self.finish_edit(None)
    }

    /// Ends the reading of a value that must be there and is not unless a fault says why.
    ///
    /// # Errors
    /// A 400 with every fault.
    pub fn finish_with<T>(self, value: Option<T>) -> Result<T, Problem> {
        let errors = self.into_errors();
        value.filter(|_| errors.is_empty()).ok_or_else(|| Problem::invalid_parameters(errors))
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
            self.errors.push(FieldError { field: shorten(name), message: "unknown parameter".into(), allowed });
        }
        self.errors
    }
}

/// A name or value as a fault repeats it.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(MOST_REPEATED).collect()
}
