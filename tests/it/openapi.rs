//! The OpenAPI document: a snapshot, and every operation has its tests.

use pfa_vanguard::http::router::document;
use std::fs;
use std::path::Path;

#[test]
fn the_document_is_as_it_was() {
    insta::assert_snapshot!(document().to_pretty_json().unwrap());
}

/// Which tests ask an operation, by a part of the path that they send.
const TESTED: &[(&str, &str)] = &[
    ("checkLiveness", "/healthz"),
    ("checkReadiness", "/readyz"),
    ("readMetrics", "/metrics"),
    ("listOrganizations", "/orgs\""),
    ("listRecords", "/records?"),
    ("getRecord", "/records/"),
    ("getKpis", "/kpis"),
    ("getTimeline", "/timeline"),
    ("refreshSummaries", "post(\"/api/v1/ops/refresh"),
    ("listRefreshes", "get(\"/api/v1/ops/refresh"),
    ("analyzeQueries", "/ops/analyze"),
];

#[test]
fn every_operation_has_a_success_and_a_problem_test() {
    let document = serde_json::to_value(document()).unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let contract = fs::read_to_string(tests.join("contract.rs")).unwrap();
    let problems = fs::read_to_string(tests.join("problems.rs")).unwrap();
    let mut operations: Vec<String> = Vec::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            let (_, path) = TESTED.iter().find(|(known, _)| *known == id).unwrap_or_else(|| panic!("{id} has no test"));
            assert!(contract.contains(path), "{id} has a success test");
            let can_fail = operation["responses"].as_object().unwrap().keys().any(|status| status == "400");
            assert!(!can_fail || problems.contains(path), "{id} has a problem test");
            let in_organization = operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["name"] == "org");
            let declares_404 = operation["responses"].as_object().unwrap().contains_key("404");
            assert!(!in_organization || declares_404, "{id} tells of unknown organizations");
            operations.push(id);
        }
    }
    assert_eq!(operations.len(), TESTED.len());
}
