//! Idle sandboxes are reported, and discarded only when that is asked for.

use crate::support::model::Object;
use crate::support::{TestApp, test_app};
use pfa_vanguard::service::sessions::{IdleSessions, Sandbox};
use serde_json::json;

async fn app() -> TestApp {
    let app = test_app().await;
    let raw: Vec<Object> = (1..=2).map(|id| json!({"pfaId": id.to_string()}).as_object().unwrap().clone()).collect();
    app.load("ORG", &raw).await;
    app
}

/// A sandbox with a draft that was edited so many days ago.
async fn edited_days_ago(app: &TestApp, days: i32) -> Sandbox {
    let session = app.service.open_session("ORG", "dev", None).await.unwrap().id;
    let path = format!("/api/v1/orgs/ORG/sessions/{session}/edits");
    let edit = json!({"select": {"pfaIds": ["1"]}, "operation": {"type": "set", "fields": {"category": "Lifting"}}});
    assert_eq!(app.post(&path, &edit).await.json()["changed"], 1);
    sqlx::query("update pfa_session set last_edited_at = now() - make_interval(days => $2) where id = $1")
        .bind(session)
        .bind(days)
        .execute(app.pool())
        .await
        .unwrap();
    Sandbox { organization: "ORG".into(), user: "dev".into(), session }
}

#[tokio::test]
async fn idle_sandboxes_are_reported_and_stay() {
    let app = app().await;
    let old = edited_days_ago(&app, 31).await;
    edited_days_ago(&app, 29).await;
    assert_eq!(app.service.check_idle_sessions(30, false).await.unwrap(), IdleSessions { found: 1, discarded: 0 });
    let session = app.get(&format!("/api/v1/orgs/ORG/sessions/{}", old.session)).await.json();
    assert_eq!((&session["idleDays"], &session["draftCount"], &session["status"]), (&json!(31), &json!(1), &json!("open")));
}

#[tokio::test]
async fn idle_sandboxes_are_discarded_when_the_settings_say_so() {
    let app = app().await;
    let (old, new) = (edited_days_ago(&app, 31).await, edited_days_ago(&app, 29).await);
    assert_eq!(app.service.check_idle_sessions(30, true).await.unwrap(), IdleSessions { found: 1, discarded: 1 });
    assert_eq!(app.get(&format!("/api/v1/orgs/ORG/sessions/{}", old.session)).await.status, 404);
    assert_eq!(app.service.find_session(&new).await.unwrap().draft_count, 1);
    let rows: i64 =
        sqlx::query_scalar("select count(*) from pfa_overlay where session_id = $1").bind(old.session).fetch_one(app.pool()).await.unwrap();
    assert_eq!(rows, 0, "nothing of it is left");
    assert_eq!(app.service.check_idle_sessions(30, true).await.unwrap(), IdleSessions::default());
}
