//! Where a page ended: the sort values and id of its last row, bound to the query that made it.

use crate::domain::field::{Field, Kind};
use crate::domain::sort::Sort;
use crate::domain::value::{read_amount, read_date};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// A place in an order: the next page begins after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Fingerprint of the organization, reader, filter and order that this belongs to.
    query: u64,
    /// The last row's sort values as text, null where it has none.
    pub values: Vec<Option<String>>,
    /// The last row's mirror id.
    pub id: Uuid,
}

/// Why a cursor leads nowhere.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Not made by this service.
    #[error("is no cursor of this service")]
    Malformed,
    /// Made by a query with another organization, session, filter or sort.
    #[error("belongs to another query; organization, session, filters and sort must stay the same")]
    OtherQuery,
}

impl Cursor {
    /// A cursor for the query with this fingerprint.
    #[must_use]
    pub fn new(query: u64, values: Vec<Option<String>>, id: Uuid) -> Self {
        Self { query, values, id }
    }

    /// The opaque text sent to clients.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a text made by [`Cursor::encode`] for a query with this fingerprint and order.
    ///
    /// # Errors
    /// When it is malformed, belongs to a query with another fingerprint, or holds values that the
    /// columns of the order cannot have.
    pub fn decode(text: &str, query: u64, sort: &Sort) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Malformed)?;
        let cursor: Self = serde_json::from_slice(&bytes).map_err(|_| CursorError::Malformed)?;
        if cursor.query != query {
            return Err(CursorError::OtherQuery);
        }
        let fits = cursor.values.len() == sort.keys().len()
            && cursor
                .values
                .iter()
                .zip(sort.keys())
                .all(|(value, key)| value.as_deref().map_or(key.field.is_nullable(), |text| is_value_of(key.field, text)));
        if fits { Ok(cursor) } else { Err(CursorError::Malformed) }
    }
}

/// Where a page of a list ended: the key of its last row, bound to the list.
#[derive(Serialize, Deserialize)]
struct Place<K> {
    list: u64,
    key: K,
}

/// The opaque text for a place in the list with this fingerprint.
#[must_use]
pub fn encode_place<K: Serialize>(list: u64, key: K) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&Place { list, key }).unwrap_or_default())
}

/// Reads a text made by [`encode_place`] for the same list.
///
/// # Errors
/// When it is malformed or belongs to another list.
pub fn decode_place<K: DeserializeOwned>(text: &str, list: u64) -> Result<K, CursorError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Malformed)?;
    let place: Place<K> = serde_json::from_slice(&bytes).map_err(|_| CursorError::Malformed)?;
    if place.list == list { Ok(place.key) } else { Err(CursorError::OtherQuery) }
}

fn is_value_of(field: Field, text: &str) -> bool {
    match field.kind() {
        Kind::Date => read_date(text).is_some(),
        Kind::Amount => read_amount(text).is_some(),
        Kind::Flag => matches!(text, "true" | "false"),
        Kind::Text(_) | Kind::Word(_) => !text.contains('\0'),
    }
}

/// Fingerprint of a description of a query; equal descriptions give equal fingerprints, also
/// in another process of the same version.
#[must_use]
pub fn fingerprint(description: &str) -> u64 {
    xxh3_64(description.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_wire_and_is_bound_to_its_query() {
        let sort = Sort::parse("forecastStart,-monthlyRate").expect("an order");
        let cursor = Cursor::new(fingerprint("a"), vec![Some("2025-03-01".into()), None], Uuid::from_u128(7));
        assert_eq!(Cursor::decode(&cursor.encode(), fingerprint("a"), &sort), Ok(cursor.clone()));
        assert_eq!(Cursor::decode(&cursor.encode(), fingerprint("b"), &sort), Err(CursorError::OtherQuery));
        assert_eq!(Cursor::decode("not a cursor", 1, &sort), Err(CursorError::Malformed));
    }

    #[test]
    fn a_place_belongs_to_its_list() {
        let place = encode_place(7, ("10245".to_owned(), 3));
        assert_eq!(decode_place(&place, 7), Ok(("10245".to_owned(), 3)));
        assert_eq!(decode_place::<(String, i32)>(&place, 8), Err(CursorError::OtherQuery));
        assert_eq!(decode_place::<String>(&place, 7), Err(CursorError::Malformed));
    }

    #[test]
    fn forged_values_are_refused() {
        let id = Uuid::from_u128(7);
        for (order, values) in [
            ("forecastStart", vec![Some("soon".to_owned())]),
            ("forecastStart", vec![]),
            ("category", vec![Some("a\0b".to_owned())]),
            ("isActualized", vec![None]),
            ("monthlyRate", vec![Some("1e9".to_owned())]),
        ] {
            let sort = Sort::parse(order).expect("an order");
            let forged = Cursor::new(1, values, id).encode();
            assert_eq!(Cursor::decode(&forged, 1, &sort), Err(CursorError::Malformed), "{order}");
        }
    }
}
