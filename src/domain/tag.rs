//! Tags that stand for a text: equal texts give equal tags, in every process.

use xxhash_rust::xxh3::xxh3_128;

/// The tag of a text, as an entity tag has it: 32 hexadecimal digits in quotes.
#[must_use]
pub fn tag_of(text: &str) -> String {
    format!("\"{:032x}\"", xxh3_128(text.as_bytes()))
}
