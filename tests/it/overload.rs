//! More requests than places: who waits, who is refused, and who is not concerned.

use crate::support::app::app_state;
use crate::support::planner::planners_app;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use futures_util::stream;
use pfa_vanguard::http::AppState;
use pfa_vanguard::http::admission::Admission;
use pfa_vanguard::http::router::router;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tower::ServiceExt as _;

#[tokio::test]
async fn a_full_line_refuses_and_tells_when_to_come_again() {
    let app = planners_app().await;
    let admission = Admission::new(1, Duration::from_millis(100));
    let router = router(AppState { admission, ..app_state(app.service.clone()) });
    let ask = async |path: &str| router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    // A commit of somebody who holds the organization keeps the only place busy.
    let mut holder = app.pool().begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(pfa_publication_lock('ORG'))").execute(&mut *holder).await.unwrap();
    let session = app.open_session("ORG", "dev").await;
    let path = format!("/api/v1/orgs/ORG/sessions/{session}/commit");
    let commit = tokio::spawn(router.clone().oneshot(Request::post(path).body(Body::empty()).unwrap()));
    let is_waiting = "select exists (select from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database()))";
    let deadline = Instant::now() + Duration::from_secs(20);
    while !sqlx::query_scalar::<_, bool>(is_waiting).fetch_one(app.pool()).await.unwrap() {
        assert!(Instant::now() < deadline, "the commit does not come to its lock");
        tokio::task::yield_now().await;
    }
    let refused = ask("/api/v1/orgs/ORG/records").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    for path in ["/healthz", "/readyz", "/api/v1/orgs/ORG/kpis", "/api/v1/orgs/ORG/timeline"] {
        assert_eq!(ask(path).await.status(), StatusCode::OK, "{path} has places of its own");
    }
    holder.rollback().await.unwrap();
    assert_eq!(commit.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(ask("/api/v1/orgs/ORG/records").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_sends_slowly_keeps_nobody_waiting() {
    let app = planners_app().await;
    let admission = Admission::new(1, Duration::from_millis(100));
    let router = router(AppState { admission, ..app_state(app.service.clone()) });
    let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let slow = Request::post("/api/v1/orgs/ORG/sessions").header("content-type", "application/json").body(never).unwrap();
    let slow = tokio::spawn(router.clone().oneshot(slow));
    for _ in 0..10 {
        let answer = router.clone().oneshot(Request::get("/api/v1/orgs/ORG/records").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert!(!slow.is_finished());
    slow.abort();
}
