//! Answers that cost less: 304 for what the client has, compressed for who asks.

use super::statements::note_statements;
use crate::support::planner::planners_app;
use crate::support::{TestApp, test_app};
use axum::body::Body;
use axum::http::{Method, Request};
use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;
use serde_json::json;
use std::io::Read as _;

async fn ask(app: &TestApp, path: &str, tag: &str) -> u16 {
    let answer = app.send(Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status == 304, answer.text.is_empty());
    assert!(!answer.header("etag").is_empty());
    answer.status.as_u16()
}

#[tokio::test]
async fn a_client_that_has_the_answer_gets_304_until_it_changes() {
    let app = test_app().await;
    let record = json!({"pfaId": "1", "forecastStart": "2025-01-01"});
    app.load("ORG", &[record.as_object().unwrap().clone()]).await;
    app.service.refresh_views("test").await.unwrap();
    let paths = ["records", "records/1", "kpis", "timeline"].map(|path| format!("/api/v1/orgs/ORG/{path}"));
    let mut tags = Vec::new();
    for path in &paths {
        let tag = app.get(path).await.header("etag").to_owned();
        assert_eq!(ask(&app, path, &tag).await, 304, "{path}");
        assert_eq!(ask(&app, path, &format!("\"other\", W/{}", tag.trim_start_matches("W/"))).await, 304, "{path}");
        assert_eq!(ask(&app, path, "\"other\"").await, 200, "{path}");
        tags.push(tag);
    }
    let changed = json!({"pfaId": "1", "forecastStart": "2025-01-02", "forecastEnd": "2025-02-02", "monthlyRate": 10});
    app.load("ORG", &[changed.as_object().unwrap().clone()]).await;
    for (path, tag) in paths.iter().zip(&tags) {
        assert_eq!(ask(&app, path, tag).await, 200, "{path}");
    }
}

/// A page that the client has is not read: what it is of is told by three small rows.
#[tokio::test]
async fn no_record_is_read_for_a_page_that_the_client_has() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"dor": "BEO"})).await;
    let path = format!("/api/v1/orgs/ORG/records?limit=2&count=exact&session={}", sandbox.id);
    let tag = app.get_as("ana", &path).await.header("etag").to_owned();
    let conditional = |tag: &str| {
        let request = Request::get(path.as_str()).header("x-user-id", "ana").header("if-none-match", tag);
        app.send(request.body(Body::empty()).unwrap())
    };
    for (tag, status) in [(tag.as_str(), 304), ("\"other\"", 200)] {
        let (answer, statements) = note_statements(conditional(tag)).await;
        let reads_records =
            statements.iter().any(|statement| statement.contains(" from pfa_mirror ") || statement.contains(" from pfa_overlay "));
        assert_eq!((answer.status.as_u16(), reads_records), (status, status == 200), "{statements:?}");
        assert!(!statements.is_empty());
    }
}

/// A page is of a state: what publishes or edits changes the tag, what does neither keeps it.
#[tokio::test]
async fn the_tag_of_a_page_changes_with_what_its_reader_sees() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let sandbox = ana.open().await;
    let (published, own) = ("records?limit=2".to_owned(), format!("records?limit=2&session={}", sandbox.id));
    let tags = async || {
        let tag = async |path: &str| ana.get(path).await.header("etag").to_owned();
        (tag(&published).await, tag(&own).await)
    };
    let kept = async |path: &str, tag: &str| ana.send(Method::GET, path, &[("if-none-match", tag)], None).await.status == 304;
    let mut before = tags().await;
    let mut expect = async |what: &str, changes_published: bool, changes_own: bool| {
        let asked = (kept(&published, &before.0).await, kept(&own, &before.1).await);
        assert_eq!(asked, (!changes_published, !changes_own), "{what}");
        before = tags().await;
        assert_eq!((kept(&published, &before.0).await, kept(&own, &before.1).await), (true, true), "{what}");
    };
    expect("nothing", false, false).await;
    ana.open().await.edit("2", json!({"dor": "BEO"})).await;
    expect("an edit in another sandbox", false, false).await;
    sandbox.edit("1", json!({"dor": "BEO"})).await;
    expect("an edit", false, true).await;
    sandbox.undo().await;
    expect("an undo", false, true).await;
    sandbox.redo().await;
    expect("a redo", false, true).await;
    ben.publish("1", json!({"model": "ben's"})).await;
    expect("a publication", true, true).await;
    sandbox.commit("").await;
    expect("a commit", true, true).await;
    assert!(!kept("records?limit=3", &before.0).await, "another question");
    let other = ben.send(Method::GET, &own, &[("if-none-match", &before.1)], None).await;
    assert_eq!(other.status, 404, "somebody else's sandbox is not there, whatever the tag");
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_asks() {
    let app = test_app().await;
    let records: Vec<_> = (0..200).map(|id| json!({"pfaId": id.to_string()}).as_object().unwrap().clone()).collect();
    app.load("ORG", &records).await;
    let ask = async |path: &str, accepted: &str| {
        let request = Request::get(format!("/api/v1/orgs/ORG/{path}")).header("accept-encoding", accepted);
        let answer = app.begin(request.body(Body::empty()).unwrap()).await;
        let header = |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let vary: Vec<_> = answer.headers().get_all("vary").iter().map(|value| value.to_str().unwrap().to_lowercase()).collect();
        let told = (header("content-encoding"), vary.join(", "), header("etag"));
        (told, answer.into_body().collect().await.unwrap().to_bytes())
    };
    for path in ["records?limit=200", "records/export"] {
        let ((encoding, _, tag), plain) = ask(path, "identity").await;
        assert_eq!(encoding, "", "{path}");
        for wanted in ["gzip", "br", "zstd"] {
            let ((encoding, vary, compressed_tag), compressed) = ask(path, wanted).await;
            assert_eq!((encoding.as_str(), compressed_tag.as_str()), (wanted, tag.as_str()), "{path}");
            assert!(vary.contains("accept-encoding"), "{path}: {vary}");
            assert!(compressed.len() * 4 < plain.len(), "{path}, {wanted}: {} of {} bytes", compressed.len(), plain.len());
        }
        let (_, compressed) = ask(path, "gzip").await;
        let mut text = String::new();
        GzDecoder::new(compressed.as_ref()).read_to_string(&mut text).unwrap();
        assert_eq!(text.as_bytes(), plain, "{path}");
    }
    for refusal in ["identity;q=0", "*;q=0", "deflate, identity;q=0.0"] {
        let ((encoding, ..), body) = ask("records?limit=200", refusal).await;
        assert_eq!((encoding.as_str(), body.is_empty()), ("", false), "{refusal}");
    }
    let ((encoding, ..), _) = ask("records/1", "gzip").await;
    assert_eq!(encoding, "", "a small answer is left as it is");
}
