//! The shape of every answer.

use crate::support::model::{Modification, Object};
use crate::support::world::shown;
use crate::support::{TestApp, test_app};
use serde_json::{Value, json};

async fn small_world() -> TestApp {
    let app = test_app().await;
    let raw: Vec<Object> = [
        json!({"pfaId": "1", "category": "Lifting", "source": "Rental", "monthlyRate": 15000, "originalStart": "2025-01-01", "originalEnd": "2025-03-02",
               "forecastStart": "2025-01-01", "forecastEnd": "2025-03-02", "pemsRemarks": "kept"}),
        json!({"pfaId": "2", "category": "Power", "source": "Purchase", "purchasePrice": "1000.5", "isActualized": "Y", "forecastStart": "2025-02-01"}),
        json!({"pfaId": "3", "isDiscontinued": true, "monthlyRate": "abc"}),
    ]
    .iter()
    .map(|value| value.as_object().unwrap().clone())
    .collect();
    app.load("HOLNG", &raw).await;
    app.service.refresh_views("test").await.unwrap();
    app
}

#[tokio::test]
async fn organizations_are_listed_with_counts_and_ages() {
    let app = small_world().await;
    let list = app.get("/api/v1/orgs").await.json();
    let holng = &list["data"][0];
    assert_eq!((&holng["code"], &holng["name"], &holng["recordCount"]), (&json!("HOLNG"), &json!("HOLNG"), &json!(2)));
    assert!(holng["lastSyncAt"].is_null() && holng["lastSyncAgeSeconds"].is_null() && holng["lastRefreshAt"].is_string());
}

#[tokio::test]
async fn a_record_is_flat_keeps_unknown_keys_and_carries_its_meta() {
    let app = small_world().await;
    let page = app.get("/api/v1/orgs/HOLNG/records?category=Lifting").await.json();
    let mut record = page["data"][0].clone();
    let meta = record["_meta"].take();
    assert_eq!((&record["pfaId"], &record["pemsRemarks"], &record["monthlyRate"]), (&json!("1"), &json!("kept"), &json!(15000)));
    assert_eq!((&record["source"], &record["dor"], &record["actualStart"]), (&json!("Rental"), &json!("PROJECT"), &Value::Null));
    assert_eq!((&meta["version"], &meta["syncState"], &meta["modifiedFields"]), (&json!(1), &json!("pristine"), &json!([])));
    assert!(meta["modifiedBy"].is_null() && meta["modifiedAt"].is_null() && meta["id"].is_string());
    assert_eq!(page["page"], json!({"limit": 100, "nextCursor": null}));
}

#[tokio::test]
async fn one_record_has_the_row_of_the_grid() {
    let app = small_world().await;
    let page = app.get("/api/v1/orgs/HOLNG/records?category=Power").await.json();
    assert_eq!(app.get("/api/v1/orgs/HOLNG/records/2").await.json(), page["data"][0]);
    assert_eq!(app.get("/api/v1/orgs/HOLNG/records/3").await.json()["monthlyRate"], Value::Null);
}

#[tokio::test]
async fn discontinued_records_are_hidden_unless_asked_for() {
    let app = small_world().await;
    let ids = async |query: &str| -> Vec<String> {
        let page = app.get(&format!("/api/v1/orgs/HOLNG/records?sort=pfaId&{query}")).await.json();
        page["data"].as_array().unwrap().iter().map(|row| row["pfaId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").await, ["1", "2"]);
    assert_eq!(ids("isDiscontinued=true").await, ["3"]);
    assert_eq!(ids("status=discontinued&status=forecast").await, ["1", "3"]);
}

#[tokio::test]
async fn a_page_tells_its_count_and_where_the_next_begins() {
    let app = small_world().await;
    let first = app.get("/api/v1/orgs/HOLNG/records?limit=1&sort=-pfaId&count=exact&fields=pfaId").await.json();
    assert_eq!((&first["page"]["count"], &first["page"]["countKind"]), (&json!(2), &json!("exact")));
    assert_eq!(first["data"][0]["pfaId"], "2");
    let cursor = first["page"]["nextCursor"].as_str().unwrap();
    let second = app.get(&format!("/api/v1/orgs/HOLNG/records?limit=1&sort=-pfaId&fields=pfaId&cursor={cursor}")).await.json();
    assert_eq!((&second["data"][0]["pfaId"], &second["page"]["nextCursor"]), (&json!("1"), &Value::Null));
    let estimated = app.get("/api/v1/orgs/HOLNG/records?count=estimated").await.json();
    assert!(estimated["page"]["count"].is_i64() && estimated["page"]["countKind"] == "estimated");
}

#[tokio::test]
async fn kpis_have_totals_split_and_groups() {
    let app = small_world().await;
    let kpis = app.get("/api/v1/orgs/HOLNG/kpis?groupBy=category,source").await.json();
    assert_eq!(kpis["organization"], "HOLNG");
    assert_eq!(kpis["groupBy"], json!(["category", "source"]));
    assert!(kpis["refreshedAt"].is_string() && kpis["ageSeconds"].is_i64());
    assert_eq!((&kpis["total"]["planCost"], &kpis["total"]["recordCount"]), (&json!(30566.86), &json!(2)));
    assert_eq!(kpis["total"]["rental"]["planCost"].to_string(), "29566.36");
    assert_eq!(kpis["total"]["purchase"]["actualCost"].to_string(), "1000.50");
    assert_eq!(kpis["total"]["variance"].to_string() + " " + &kpis["total"]["variancePercent"].to_string(), "0.00 0.0");
    assert_eq!(kpis["groups"][0]["key"], json!({"category": "Lifting", "source": "Rental"}));
    assert_eq!(kpis["groups"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_timeline_has_three_layers() {
    let app = small_world().await;
    let timeline = app.get("/api/v1/orgs/HOLNG/timeline").await.json();
    assert_eq!(timeline["plan"], json!({"start": "2025-01-01", "end": "2025-03-02"}));
    assert_eq!(timeline["forecast"], json!({"start": "2025-01-01", "end": "2025-03-02"}));
    assert_eq!(timeline["actual"], json!({"start": null, "end": null}));
    assert_eq!((&timeline["recordCount"], &timeline["actualizedCount"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn published_summaries_are_exact_between_refreshes_and_hold_nobodys_drafts() {
    let app = small_world().await;
    let session = app.open_session("HOLNG", "planner").await;
    let rows = app.mirror_rows("HOLNG").await;
    let modification = |row: usize, state, delta: Value, order| Modification {
        mirror_id: rows[row].id,
        session,
        user: "planner".into(),
        state,
        stage: None,
        delta: delta.as_object().unwrap().clone(),
        order,
        at: shown(order),
    };
    let forecast_cost = async |query: &str| {
        app.get_as("planner", &format!("/api/v1/orgs/HOLNG/kpis?{query}")).await.json()["total"]["forecastCost"].to_string()
    };

    app.write_modifications("HOLNG", &[modification(0, "draft", json!({"forecastEnd": "2025-01-31"}), 1)]).await;
    assert_eq!(forecast_cost("").await, "30566.86");
    assert_eq!(forecast_cost(&format!("session={session}")).await, "15783.68");

    app.write_modifications("HOLNG", &[modification(1, "committed", json!({"purchasePrice": 0}), 2)]).await;
    assert_eq!(forecast_cost("").await, "29566.36");
    app.service.refresh_views("test").await.unwrap();
    assert_eq!(forecast_cost("").await, "29566.36");
}

#[tokio::test]
async fn operators_can_refresh_list_refreshes_and_measure() {
    let app = small_world().await;
    let run = app.post("/api/v1/ops/refresh", &json!({})).await.json();
    assert_eq!((&run["reason"], &run["outcome"], &run["failed"]), (&json!("request"), &json!("completed"), &json!(false)));
    assert!(run["durationMs"].is_number());
    let list = app.get("/api/v1/ops/refresh").await.json();
    assert_eq!((&list["data"][0]["id"], &list["data"][1]["reason"]), (&run["id"], &json!("test")));

    let measured =
        app.post("/api/v1/ops/analyze", &json!({"organization": "HOLNG", "category": "Lifting", "source": "Rental"})).await.json();
    let readings = measured["data"].as_array().unwrap();
    assert_eq!(readings.len(), 6);
    for reading in readings {
        assert!(reading["targetMs"].is_number() && reading["executionMs"].is_number() && reading["indexes"].is_array(), "{reading}");
    }
    assert_eq!(readings[0]["rows"], 1);
    let measured = app.post("/api/v1/ops/analyze", &json!({"organization": "HOLNG"})).await.json();
    assert_eq!(measured["data"][0]["rows"], 2, "without category and source all records count");
}

#[tokio::test]
async fn health_tells_life_readiness_and_metrics() {
    let app = small_world().await;
    assert_eq!(app.get("/healthz").await.json()["status"], "ok");
    let ready = app.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["status"]), (200, &json!("ready")));
    assert!(ready.json()["refreshAgeSeconds"].is_i64());
    let metrics = app.get("/metrics").await;
    assert!(metrics.status.is_success() && metrics.header("content-type").starts_with("text/plain"));
}

#[tokio::test]
async fn the_documentation_needs_no_other_host() {
    let app = test_app().await;
    let document = app.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let page = app.get("/docs/").await;
    assert!(page.status.is_success());
    let initializer = app.get("/docs/swagger-initializer.js").await.text;
    for text in [&page.text, &initializer] {
        assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    }
}
