//! What is wrong with a field that somebody sent.

/// One field at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its key.
    pub field: String,
    /// What is wrong with it, for people.
    pub message: String,
    /// What is allowed, where that is a closed list.
    pub allowed: Vec<String>,
}

impl Fault {
    /// A fault without a list of what is allowed.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), allowed: Vec::new() }
    }
}
