//! Every kind of bad input is a problem+json that names what is wrong and what is allowed; a lost
//! database is 503.

use crate::support::model::Object;
use crate::support::{TestApp, test_app};
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

async fn app() -> TestApp {
    let app = test_app().await;
    let raw: Vec<Object> = (1..=5).map(|id| json!({"pfaId": id.to_string()}).as_object().unwrap().clone()).collect();
    app.load("ORG", &raw).await;
    app.load("OTHER", &raw).await;
    app
}

async fn assert_problem(app: &TestApp, path: &str, status: u16, code: &str) -> Value {
    let answer = app.get(path).await;
    assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{path}");
    assert_eq!(problem["type"], format!("/problems/{}", code.replace('_', "-")));
    assert_eq!(problem["requestId"].as_str().unwrap(), answer.header("x-request-id"));
    problem
}

#[tokio::test]
async fn a_bad_parameter_is_named_with_what_is_allowed() {
    let app = app().await;
    for (query, fault, says) in [
        ("bogus=1", "bogus", "unknown parameter"),
        ("Category=Lifting", "Category", "unknown parameter"),
        ("sort=price", "sort", "forecastStart"),
        ("sort=", "sort", "forecastStart"),
        ("sort=pfaId,-pfaId", "sort", "twice"),
        ("fields=pfaId,price", "fields", "monthlyRate"),
        ("fields=pfaId,pfaId", "fields", "twice"),
        ("fields=", "fields", "monthlyRate"),
        ("source=Lease", "source", "Purchase"),
        ("dor=beo", "dor", "BEO"),
        ("status=open", "status", "fundsTransferable"),
        ("isActualized=maybe", "isActualized", "false"),
        ("forecastStartFrom=2025-02-30", "forecastStartFrom", "YYYY-MM-DD"),
        ("forecastEndTo=01.02.2025", "forecastEndTo", "YYYY-MM-DD"),
        ("forecastStartFrom=2025-02-01&forecastStartTo=2025-01-31", "forecastStartTo", "forecastStartFrom"),
        ("overlaps=2025-01-01", "overlaps", "YYYY-MM-DD..YYYY-MM-DD"),
        ("overlaps=2025-02-01..2025-01-01", "overlaps", "not after"),
        ("monthlyRateMin=abc", "monthlyRateMin", "decimal"),
        ("purchasePriceMin=2&purchasePriceMax=1", "purchasePriceMax", "purchasePriceMin"),
        ("limit=0", "limit", "5000"),
        ("limit=5001", "limit", "5000"),
        ("limit=-1", "limit", "5000"),
        ("limit=1&limit=2", "limit", "once"),
        ("count=all", "count", "estimated"),
        ("contains=%7B", "contains", "JSON object"),
        ("contains=[1]", "contains", "JSON object"),
        ("contains=%7B%22a%22:%22%5Cu0000%22%7D", "contains", "NUL"),
        ("q=%00", "q", "NUL"),
        ("q=a+b+c+d+e+f+g+h+i+j+k+l+m+n+o+p+q+r+s+t+u", "q", "20 words"),
        ("contains=%7B%22a%22:1e200000%7D", "contains", "number"),
        ("isActualized=Y", "isActualized", "true"),
        ("limit=%2B5", "limit", "5000"),
        ("session=mine", "session", "UUID"),
        ("cursor=x", "cursor", "no cursor"),
        ("cursor=e30", "cursor", "no cursor"),
    ] {
        let problem = assert_problem(&app, &format!("/api/v1/orgs/ORG/records?{query}"), 400, "invalid_parameter").await;
        assert_eq!(problem["errors"][0]["field"], fault, "{query}");
        assert!(problem["errors"][0].to_string().contains(says), "{query}: {problem}");
    }
}

#[tokio::test]
async fn every_fault_is_told_at_once() {
    let app = app().await;
    let answer = app.get("/api/v1/orgs/ORG/records?limit=0&sort=x&bogus=1&dor=x").await;
    let mut faults = answer.faults();
    faults.sort();
    assert_eq!(faults, ["bogus", "dor", "limit", "sort"]);
}

#[tokio::test]
async fn a_fault_that_is_repeated_does_not_blow_up_the_answer() {
    let app = app().await;
    let wrong = "status=x&".repeat(5_000);
    let unknown: String = (0..5_000).map(|number| format!("p{number}=&")).collect::<Vec<_>>().concat();
    for query in [wrong, unknown] {
        let answer = app.get(&format!("/api/v1/orgs/ORG/records?{query}")).await;
        assert!(answer.status == 400 && answer.text.len() < 20_000, "{} bytes", answer.text.len());
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_query() {
    let app = app().await;
    let page = app.get("/api/v1/orgs/ORG/records?limit=2").await.json();
    let cursor = page["page"]["nextCursor"].as_str().unwrap();
    for query in ["records?sort=-forecastStart", "records?category=A", "records?isActualized=true"] {
        let problem = assert_problem(&app, &format!("/api/v1/orgs/ORG/{query}&cursor={cursor}"), 400, "invalid_parameter").await;
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains("another query"), "{query}");
    }
    assert_problem(&app, &format!("/api/v1/orgs/OTHER/records?cursor={cursor}"), 400, "invalid_parameter").await;
    assert_eq!(app.get(&format!("/api/v1/orgs/ORG/records?limit=3&fields=pfaId&cursor={cursor}")).await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_or_not_yours_is_404() {
    let app = app().await;
    let session = app.open_session("ORG", "planner").await;
    let nobody = "00000000-0000-0000-0000-000000000000";
    for route in ["records?", "records/1?", "kpis?", "timeline?"] {
        assert_problem(&app, &format!("/api/v1/orgs/NOPE/{route}"), 404, "organization_not_found").await;
        assert_problem(&app, &format!("/api/v1/orgs/ORG/{route}session={nobody}"), 404, "session_not_found").await;
        // The caller is dev, the session is the planner's.
        assert_problem(&app, &format!("/api/v1/orgs/ORG/{route}session={session}"), 404, "session_not_found").await;
        let foreign = app.get_as("planner", &format!("/api/v1/orgs/OTHER/{route}session={session}")).await;
        assert_eq!((foreign.status.as_u16(), &foreign.json()["code"]), (404, &json!("session_not_found")));
        assert_eq!(app.get_as("planner", &format!("/api/v1/orgs/ORG/{route}session={session}")).await.status, 200);
    }
    assert_problem(&app, "/api/v1/orgs/ORG/records/99", 404, "record_not_found").await;
    assert_problem(&app, "/api/v1/orgs/ORG/records/%00", 404, "not_found").await;
    assert_problem(&app, "/api/v1/orgs/ORG/records/%FF", 404, "not_found").await;
    assert_problem(&app, "/api/v2", 404, "not_found").await;
    let unknown = app.post("/api/v1/ops/analyze", &json!({"organization": "NOPE"})).await;
    assert_eq!((unknown.status.as_u16(), &unknown.json()["code"]), (404, &json!("organization_not_found")));
}

#[tokio::test]
async fn a_discarded_session_is_gone() {
    let app = app().await;
    let session = app.open_session("ORG", "dev").await;
    sqlx::query("update pfa_session set status = 'discarded', closed_at = now()").execute(app.pool()).await.unwrap();
    assert_problem(&app, &format!("/api/v1/orgs/ORG/records?session={session}"), 404, "session_not_found").await;
}

#[tokio::test]
async fn other_routes_refuse_unknown_parameters_too() {
    let app = app().await;
    for path in [
        "/api/v1/orgs?a=1",
        "/api/v1/orgs/ORG/kpis?groupBy=class",
        "/api/v1/orgs/ORG/kpis?a=1",
        "/api/v1/orgs/ORG/timeline?a=1",
        "/api/v1/orgs/ORG/records/1?fields=pfaId",
    ] {
        assert_problem(&app, path, 400, "invalid_parameter").await;
    }
    assert_eq!(app.get("/api/v1/ops/refresh?a=1").await.status, 400);
    assert_eq!(app.get("/api/v1/ops/database?a=1").await.status, 400);
    assert_eq!(app.post("/api/v1/ops/refresh?a=1", &json!({})).await.status, 400);
    assert_eq!(app.get("/api/v1/orgs").await.status, 200);
    let kpis = app.get("/api/v1/orgs/ORG/kpis?groupBy=class").await.json();
    assert_eq!(kpis["errors"][0]["allowed"], json!(["category", "source", "dor"]));
}

#[tokio::test]
async fn bodies_and_methods_that_do_not_fit_are_told() {
    let app = app().await;
    let send = async |method: Method, path: &str, kind: &str, body: String| {
        let request = Request::builder().method(method).uri(path).header("content-type", kind).body(Body::from(body)).unwrap();
        let answer = app.send(request).await;
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        (answer.status.as_u16(), answer.json()["code"].as_str().unwrap().to_owned())
    };
    let analyze = "/api/v1/ops/analyze";
    assert_eq!(send(Method::POST, analyze, "application/json", "{".into()).await, (400, "invalid_body".into()));
    assert_eq!(send(Method::POST, analyze, "application/json", "{}".into()).await, (400, "invalid_body".into()));
    assert_eq!(
        send(Method::POST, analyze, "application/json", r#"{"organization": "ORG", "x": 1}"#.into()).await,
        (400, "invalid_body".into())
    );
    assert_eq!(
        send(Method::POST, analyze, "application/json", r#"{"organization": "A\u0000"}"#.into()).await,
        (400, "invalid_body".into())
    );
    assert_eq!(send(Method::POST, analyze, "text/plain", "{}".into()).await, (415, "unsupported_media_type".into()));
    assert_eq!(send(Method::POST, analyze, "application/json", " ".repeat(3 << 20)).await, (413, "body_too_large".into()));
    assert_eq!(send(Method::DELETE, analyze, "application/json", String::new()).await, (405, "method_not_allowed".into()));
}

#[tokio::test]
async fn a_caller_must_be_nameable() {
    let app = app().await;
    for user in ["", " ", &"x".repeat(101)] {
        let answer = app.get_as(user, "/api/v1/orgs/ORG/records?limit=1").await;
        assert_eq!((answer.status.as_u16(), answer.faults()), (400, vec!["X-User-Id".to_owned()]));
    }
}

#[tokio::test]
async fn a_lost_database_is_503_and_its_words_stay_inside() {
    let app = app().await;
    app.service.close().await;
    for path in ["/api/v1/orgs", "/api/v1/orgs/ORG/records", "/api/v1/orgs/ORG/kpis", "/api/v1/ops/refresh", "/readyz"] {
        let problem = assert_problem(&app, path, 503, "database_unavailable").await;
        assert_eq!(problem["detail"], "the database is not available");
    }
    assert!(app.get("/api/v1/orgs").await.headers.contains_key("retry-after"));
    assert_eq!(app.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_statement_over_its_time_is_503() {
    let app = app().await;
    let mut blocker = app.pool().begin().await.unwrap();
    sqlx::query("lock table pfa_mirror in access exclusive mode").execute(&mut *blocker).await.unwrap();
    // Every other connection of the pool gets a short time.
    let options = app.pool().connect_options().as_ref().clone().options([("statement_timeout", "100")]);
    app.pool().set_connect_options(options);
    let mut idle = Vec::new();
    while let Some(connection) = app.pool().try_acquire() {
        idle.push(connection.detach());
    }
    assert_problem(&app, "/api/v1/orgs/ORG/records", 503, "statement_timeout").await;
    drop(blocker);
}
