//! ETag and 304.

use crate::support::{TestApp, test_app};
use axum::body::Body;
use axum::http::Request;
use serde_json::json;

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
