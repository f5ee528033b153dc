//! The refresh: never two at once, every run logged, a failure is visible and harmless, readers go on.

use crate::support::checks::check_summaries;
use crate::support::planner::{ORG, planners_app};
use crate::support::{TestApp, test_app};
use pfa_vanguard::error::Error;
use pfa_vanguard::jobs::{Jobs, Schedule, check_cron, run_refresh};
use pfa_vanguard::service::Reader;
use pfa_vanguard::shutdown::Shutdown;
use serde_json::json;
use std::time::{Duration, Instant};

async fn app() -> TestApp {
    let app = test_app().await;
    app.load("ORG", &[json!({"pfaId": "1"}).as_object().unwrap().clone()]).await;
    app
}

async fn outcomes(app: &TestApp) -> Vec<String> {
    app.service.list_refresh_runs(100).await.unwrap().into_iter().map(|run| run.outcome).collect()
}

#[tokio::test]
async fn a_second_refresh_is_skipped_while_one_is_running() {
    let app = app().await;
    let mut first = app.pool().begin().await.unwrap();
    sqlx::query("select refresh_pfa_materialized_views('test')").execute(&mut *first).await.unwrap();
    let second = app.service.refresh_views("request").await;
    assert!(matches!(second, Err(Error::RefreshRunning)));
    let answer = app.post("/api/v1/ops/refresh", &json!({})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (409, &json!("refresh_running")));
    first.commit().await.unwrap();
    app.service.refresh_views("request").await.unwrap();
    let mut found = outcomes(&app).await;
    found.sort();
    assert_eq!(found, ["completed", "completed"], "being asked at the wrong moment is no run");
}

#[tokio::test]
async fn readers_are_not_blocked() {
    let app = app().await;
    app.service.refresh_views("test").await.unwrap();
    let mut refresh = app.pool().begin().await.unwrap();
    sqlx::query("select refresh_pfa_materialized_views('test')").execute(&mut *refresh).await.unwrap();
    let kpis = tokio::time::timeout(Duration::from_secs(5), app.get("/api/v1/orgs/ORG/kpis")).await.unwrap();
    assert_eq!(kpis.status, 200);
    refresh.rollback().await.unwrap();
}

#[tokio::test]
async fn a_failing_refresh_is_logged_and_visible_and_the_next_one_heals() {
    let app = app().await;
    sqlx::query("alter materialized view pfa_timeline_bounds rename to pfa_timeline_bounds_away").execute(app.pool()).await.unwrap();
    run_refresh(&app.service).await;
    let run = app.get("/api/v1/ops/refresh").await.json()["data"][0].clone();
    assert_eq!((&run["outcome"], &run["failed"], &run["reason"]), (&json!("failed"), &json!(true), &json!("schedule")));
    assert!(app.service.list_refresh_runs(1).await.unwrap()[0].error.as_ref().is_some_and(|error| error.contains("pfa_timeline_bounds")));
    assert_eq!(app.get("/readyz").await.json()["lastRefreshFailed"], true);

    sqlx::query("alter materialized view pfa_timeline_bounds_away rename to pfa_timeline_bounds").execute(app.pool()).await.unwrap();
    run_refresh(&app.service).await;
    assert_eq!(outcomes(&app).await, ["completed", "failed"]);
    assert_eq!(app.get("/readyz").await.json()["lastRefreshFailed"], false);
}

async fn check(app: &TestApp, organization: &str) {
    let reader = Reader { organization: organization.into(), user: "ana".into(), session: None };
    check_summaries(&app.service, app.pool(), &reader).await;
}

#[tokio::test]
async fn a_publication_while_the_views_are_refreshed_is_counted_once() {
    let app = planners_app().await;
    app.service.save_organization("LATE", "LATE").await.unwrap();
    app.service.refresh_views("test").await.unwrap();
    // What the refresh does, with publications between its two views: a new first start, one record fewer, an organization's first record.
    let mut refresh = app.pool().begin().await.unwrap();
    sqlx::query("refresh materialized view concurrently pfa_kpi_summary").execute(&mut *refresh).await.unwrap();
    app.planner("ana").publish("1", json!({"forecastStart": "2020-01-01"})).await;
    app.planner("ana").publish("3", json!({"isDiscontinued": true})).await;
    app.load("LATE", &[json!({"pfaId": "1", "forecastStart": "2021-01-01"}).as_object().unwrap().clone()]).await;
    sqlx::query("refresh materialized view concurrently pfa_timeline_bounds").execute(&mut *refresh).await.unwrap();
    refresh.commit().await.unwrap();
    for organization in [ORG, "OTHER", "LATE"] {
        check(&app, organization).await;
    }
    let timeline = app.planner("ana").get("timeline").await.json();
    assert_eq!(
        (&timeline["forecast"]["start"], &timeline["recordCount"], &timeline["actualizedCount"]),
        (&json!("2020-01-01"), &json!(3), &json!(0))
    );
    app.service.refresh_views("test").await.unwrap();
    for organization in [ORG, "OTHER", "LATE"] {
        check(&app, organization).await;
    }
}

#[tokio::test]
async fn the_first_records_of_an_organization_are_counted_without_a_refresh() {
    let app = app().await;
    app.service.save_organization("LATE", "LATE").await.unwrap();
    app.service.refresh_views("test").await.unwrap();
    let timeline = app.get("/api/v1/orgs/LATE/timeline").await.json();
    assert_eq!((&timeline["recordCount"], &timeline["forecast"]["start"]), (&json!(0), &json!(null)));
    assert!(timeline["refreshedAt"].is_string());
    let record = |id: &str| json!({"pfaId": id, "forecastStart": "2021-01-01", "isActualized": id == "2"}).as_object().unwrap().clone();
    for records in [vec![record("1"), record("2")], vec![record("3")]] {
        app.load("LATE", &records).await;
        check(&app, "LATE").await;
    }
    let counts = app.get("/api/v1/orgs/LATE/timeline").await.json();
    assert_eq!((&counts["recordCount"], &counts["actualizedCount"]), (&json!(3), &json!(1)));
    app.service.refresh_views("test").await.unwrap();
    check(&app, "LATE").await;
}

#[tokio::test]
async fn the_schedule_runs_the_refresh_and_stops() {
    let app = app().await;
    let shutdown = Shutdown::default();
    let schedule = Schedule {
        refresh_cron: "* * * * * *".into(),
        idle_session_days: 30,
        discards_idle_sessions: false,
        sync_cron: "* * * * * *".into(),
        full_sync_cron: "* * * * * *".into(),
        most_vanished_percent: 10,
        push_interval: Duration::from_secs(10),
        write_back: pfa_vanguard::service::write_back::WriteBackOptions::default(),
    };
    let jobs = Jobs::start(app.service.clone(), None, schedule, &shutdown).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while outcomes(&app).await.len() < 2 {
        assert!(Instant::now() < deadline, "the schedule runs every second");
        tokio::task::yield_now().await;
    }
    jobs.stop().await;
    shutdown.drain().await;
    let runs = app.service.list_refresh_runs(100).await.unwrap();
    assert!(runs.iter().all(|run| run.reason == "schedule" && run.outcome == "completed"), "{runs:?}");
}

#[test]
fn cron_expressions_are_checked() {
    assert!(check_cron("0 */15 * * * *").is_ok());
    for wrong in ["", "every day", "99 * * * * *"] {
        assert!(check_cron(wrong).is_err(), "{wrong}");
    }
}
