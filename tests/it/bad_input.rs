//! Bodies and paths that no route can mean anything by: refused as problems, and nothing is done.

use crate::support::app::Answer;
use crate::support::planner::{ORG, assert_problem, planners_app};
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

/// Routes that take a body, with one that they would take.
fn routes(session: &str) -> Vec<(Method, String, &'static str)> {
    let in_session = |path: &str| format!("sessions/{session}{path}");
    vec![
        (Method::POST, "sessions".into(), r#"{"name": "x"}"#),
        (Method::PATCH, in_session("/records/1"), r#"{"model": "x"}"#),
        (Method::POST, in_session("/edits"), r#"{"select": {"pfaIds": ["1"]}, "operation": {"type": "set", "fields": {"model": "x"}}}"#),
        (Method::POST, "conflicts/00000000-0000-4000-8000-000000000000/resolve".into(), r#"{"resolution": "mine"}"#),
        (Method::POST, "records/query".into(), r#"{"filter": {"q": "x"}}"#),
        (Method::POST, "conflicts/resolve".into(), r#"{"select": {"stage": "commit"}, "resolution": "mine"}"#),
    ]
}

/// Routes that take nothing but an empty body.
fn bare_routes(session: &str) -> Vec<(Method, String)> {
    ["/undo", "/redo", "/commit"].map(|path| (Method::POST, format!("sessions/{session}{path}"))).into()
}

struct World {
    app: crate::support::TestApp,
    session: String,
}

impl World {
    async fn open() -> Self {
        let app = planners_app().await;
        let session = app.planner("ana").open().await.id;
        Self { app, session }
    }

    async fn send(&self, method: &Method, path: &str, kind: Option<&str>, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/api/v1/orgs/{ORG}/{path}")).header("x-user-id", "ana");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        self.app.send(request.body(body.into()).unwrap()).await
    }

    /// Nothing was edited, and no further sandbox opened.
    async fn assert_untouched(&self) {
        let counts: (i64, i64, i64) = sqlx::query_as(
            "select (select count(*) from pfa_session), (select count(*) from pfa_modification), (select count(*) from pfa_edit_step)",
        )
        .fetch_one(self.app.pool())
        .await
        .unwrap();
        assert_eq!(counts, (1, 0, 0));
    }
}

const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn bodies_that_are_no_json_object_are_refused() {
    let world = World::open().await;
    for (method, path, _) in routes(&world.session) {
        for body in ["{", "{}{}", "nothing", "[]", "[1]", "\"x\"", "1", "null", "{\"a\": \"\\ud800\"}", "{'a': 1}"] {
            let answer = world.send(&method, &path, JSON, body).await;
            assert_problem(&answer, 400, "invalid_body");
        }
        let bytes: &[u8] = b"{\"name\": \"\xff\"}";
        assert_problem(&world.send(&method, &path, JSON, bytes).await, 400, "invalid_body");
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_problem(&world.send(&method, &path, JSON, deep).await, 400, "invalid_body");
    }
    world.assert_untouched().await;
}

#[tokio::test]
async fn what_jsonb_cannot_hold_is_refused() {
    let world = World::open().await;
    for (method, path, good) in routes(&world.session) {
        let nul = good.replacen('x', "\\u0000", 1).replacen("mine", "\\u0000", 1);
        for body in [nul, r#"{"a\u0000": 1}"#.into(), r#"{"a": [1e400]}"#.into(), format!(r#"{{"a": {}}}"#, "9".repeat(500))] {
            let problem = assert_problem(&world.send(&method, &path, JSON, body.clone()).await, 400, "invalid_body");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("NUL") || detail.contains("number"), "{body}: {detail}");
        }
    }
    world.assert_untouched().await;
}

#[tokio::test]
async fn unknown_keys_are_refused_by_name() {
    let world = World::open().await;
    for (method, path, good) in routes(&world.session) {
        let body = good.replacen('{', r#"{"bogus": 1, "zzz": {}, "#, 1);
        let answer = world.send(&method, &path, JSON, body).await;
        assert_eq!((answer.status.as_u16(), answer.faults()), (400, vec!["bogus".to_owned(), "zzz".to_owned()]), "{path}");
    }
    for (method, path) in bare_routes(&world.session) {
        let answer = world.send(&method, &path, JSON, r#"{"bogus": 1}"#).await;
        assert_problem(&answer, 400, "invalid_body");
        assert_eq!(answer.faults(), ["bogus"]);
    }
    world.assert_untouched().await;
}

#[tokio::test]
async fn a_missing_body_is_told_where_one_is_needed() {
    let world = World::open().await;
    for (method, path, _) in routes(&world.session).into_iter().skip(1) {
        assert_problem(&world.send(&method, &path, JSON, "").await, 400, "invalid_body");
        assert_problem(&world.send(&method, &path, None, "").await, 415, "unsupported_media_type");
    }
    world.assert_untouched().await;
}

/// A client library may name a media type for nothing at all.
#[tokio::test]
async fn no_body_is_fine_where_none_is_needed() {
    let world = World::open().await;
    for kind in [None, JSON, Some("text/plain")] {
        assert_eq!(world.send(&Method::POST, "sessions", kind, "").await.status, 201, "{kind:?}");
        for path in ["undo", "redo"] {
            let answer = world.send(&Method::POST, &format!("sessions/{}/{path}", world.session), kind, "").await;
            assert_problem(&answer, 409, &format!("nothing_to_{path}"));
        }
        let dry = world.send(&Method::POST, &format!("sessions/{}/commit?dryRun=true", world.session), kind, "").await;
        assert_eq!(dry.status, 200, "{kind:?}");
    }
}

#[tokio::test]
async fn other_media_types_are_refused() {
    let world = World::open().await;
    for (method, path, good) in routes(&world.session) {
        for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/xml"), Some("json"), Some("")] {
            assert_problem(&world.send(&method, &path, kind, good).await, 415, "unsupported_media_type");
        }
    }
    for (method, path) in bare_routes(&world.session) {
        assert_problem(&world.send(&method, &path, Some("text/plain"), "{}").await, 415, "unsupported_media_type");
    }
    world.assert_untouched().await;
    for kind in ["application/merge-patch+json", "application/json; charset=utf-8", "APPLICATION/JSON"] {
        let patch = world.send(&Method::PATCH, &format!("sessions/{}/records/1", world.session), Some(kind), r#"{"model": "x"}"#).await;
        assert_eq!(patch.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_413() {
    let world = World::open().await;
    let large = || format!(r#"{{"name": "{}"}}"#, "x".repeat(3 << 20));
    for (method, path, _) in routes(&world.session) {
        assert_problem(&world.send(&method, &path, JSON, large()).await, 413, "body_too_large");
    }
    for (method, path) in bare_routes(&world.session) {
        assert_problem(&world.send(&method, &path, JSON, large()).await, 413, "body_too_large");
    }
    world.assert_untouched().await;
}

#[tokio::test]
async fn bodies_that_nobody_reads_are_ignored() {
    let world = World::open().await;
    let sandbox = world.app.planner("ana").open().await;
    sandbox.edit("1", json!({"model": "x"})).await;
    for path in [format!("sessions/{}/records/1", sandbox.id), format!("sessions/{}", sandbox.id)] {
        assert_eq!(world.send(&Method::DELETE, &path, Some("text/plain"), "anything").await.status, 204);
    }
    let refresh = Request::post("/api/v1/ops/refresh").header("content-type", "application/json").body(Body::from("{")).unwrap();
    assert_eq!(world.app.send(refresh).await.status, 200);
}

#[tokio::test]
async fn ids_that_are_none_lead_nowhere() {
    let world = World::open().await;
    for id in ["x", "1", "%20", "../records", "00000000-0000-4000-8000-00000000000g", &"0".repeat(5_000)] {
        let id = id.replace('/', "%2F");
        for (method, path, code) in [
            (Method::GET, format!("sessions/{id}"), "session_not_found"),
            (Method::GET, format!("sessions/{id}/changes"), "session_not_found"),
            (Method::POST, format!("conflicts/{id}/resolve"), "conflict_not_found"),
        ] {
            let answer = world.send(&method, &path, JSON, r#"{"resolution": "mine"}"#).await;
            assert_problem(&answer, 404, code);
        }
        if id != "1" {
            assert_problem(&world.send(&Method::GET, &format!("records/{id}/history"), None, "").await, 404, "record_not_found");
        }
    }
    for (method, path) in [
        (Method::GET, "sessions/%00"),
        (Method::GET, "records/%00/history"),
        (Method::POST, "conflicts/%FF/resolve"),
        (Method::GET, "nothing"),
    ] {
        assert_problem(&world.send(&method, path, JSON, r#"{"resolution": "mine"}"#).await, 404, "not_found");
    }
}

#[tokio::test]
async fn methods_that_a_route_does_not_have_are_405() {
    let world = World::open().await;
    let session = &world.session;
    for (method, path) in [
        (Method::PUT, "sessions".to_owned()),
        (Method::PATCH, format!("sessions/{session}")),
        (Method::PUT, format!("sessions/{session}/records/1")),
        (Method::GET, format!("sessions/{session}/edits")),
        (Method::GET, format!("sessions/{session}/undo")),
        (Method::DELETE, format!("sessions/{session}/commit")),
        (Method::POST, format!("sessions/{session}/changes")),
        (Method::POST, "conflicts".to_owned()),
        (Method::POST, "sync/pending".to_owned()),
        (Method::DELETE, "records/1/history".to_owned()),
    ] {
        assert_problem(&world.send(&method, &path, JSON, "{}").await, 405, "method_not_allowed");
    }
}

#[tokio::test]
async fn a_caller_must_be_nameable_on_every_sandbox_route() {
    let world = World::open().await;
    let session = &world.session;
    let mut requests = routes(session);
    requests.extend(bare_routes(session).into_iter().map(|(method, path)| (method, path, "{}")));
    for path in
        [format!("sessions/{session}"), format!("sessions/{session}/changes"), "sessions".into(), "conflicts".into(), "sync/pending".into()]
    {
        requests.push((Method::GET, path, ""));
    }
    for (method, path, body) in requests {
        let request = Request::builder().method(&method).uri(format!("/api/v1/orgs/{ORG}/{path}"));
        let request = request.header("x-user-id", " ").header("content-type", "application/json").body(Body::from(body)).unwrap();
        let answer = world.app.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.faults()), (400, vec!["X-User-Id".to_owned()]), "{method} {path}");
    }
}
