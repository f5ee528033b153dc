//! The OpenAPI document, as a snapshot.

use pfa_vanguard::http::router::document;

#[test]
fn the_document_is_as_it_was() {
    insta::assert_snapshot!(document().to_pretty_json().unwrap());
}
