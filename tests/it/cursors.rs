//! Walking pages while rows change: what is not touched comes exactly once.

use crate::support::model::{Modification, Object};
use crate::support::test_app;
use crate::support::world::shown;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn record(id: usize, week: Option<usize>) -> Object {
    let start = week.map(|week| chrono::NaiveDate::from_ymd_opt(2025, 1, 1).unwrap() + chrono::Days::new(week as u64 * 7));
    json!({"pfaId": id.to_string(), "forecastStart": start, "category": "Lifting"}).as_object().unwrap().clone()
}

#[tokio::test]
async fn rows_that_stay_are_neither_missed_nor_repeated() {
    for sort in ["forecastStart", "-forecastStart", "category", "-monthlyRate,forecastStart", "pfaId"] {
        let app = test_app().await;
        // Many ties, and a tail without a date.
        let stable: Vec<_> = (0..60).map(|id| record(id, (id % 7 != 0).then_some(id % 5 + 10))).collect();
        app.load("ORG", &stable).await;
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut cursor = String::new();
        for round in 0.. {
            let page = app.get(&format!("/api/v1/orgs/ORG/records?limit=7&sort={sort}{cursor}")).await.json();
            for row in page["data"].as_array().unwrap() {
                *seen.entry(row["pfaId"].as_str().unwrap().to_owned()).or_default() += 1;
            }
            let Value::String(next) = &page["page"]["nextCursor"] else { break };
            cursor = format!("&cursor={next}");
            // Rows come in before and behind the cursor, and one that was shown moves to the front.
            let moved: Vec<_> =
                [record(1_000 + round, Some(1)), record(2_000 + round, Some(50)), record(3_000 + round, None), record(900, Some(round))]
                    .into();
            app.load("ORG", &moved).await;
        }
        for id in 0..60 {
            assert_eq!(seen.get(&id.to_string()), Some(&1), "record {id} in order {sort}");
        }
    }
}

#[tokio::test]
async fn a_sandbox_can_be_walked_while_its_drafts_change() {
    let app = test_app().await;
    app.load("ORG", &(0..40).map(|id| record(id, Some(id % 5 + 10))).collect::<Vec<_>>()).await;
    let session = app.open_session("ORG", "dev").await;
    let rows = app.mirror_rows("ORG").await;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut cursor = String::new();
    for round in 0.. {
        let page = app.get(&format!("/api/v1/orgs/ORG/records?limit=6&session={session}{cursor}")).await.json();
        for row in page["data"].as_array().unwrap() {
            *seen.entry(row["pfaId"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let Value::String(next) = &page["page"]["nextCursor"] else { break };
        cursor = format!("&cursor={next}");
        // A draft on another record each time moves it from the mirror's branch into the overlay's, in its place.
        if let Some(row) = rows.get(round * 5) {
            let delta = json!({"forecastStart": row.data["forecastStart"], "category": "Power"}).as_object().unwrap().clone();
            let order = i64::try_from(round).unwrap();
            let draft = Modification {
                mirror_id: row.id,
                session,
                user: "dev".into(),
                state: "draft",
                stage: None,
                delta,
                order,
                at: shown(order),
            };
            app.write_modifications("ORG", &[draft]).await;
        }
    }
    assert!(seen.len() == 40 && seen.values().all(|times| *times == 1), "{seen:?}");
}

#[tokio::test]
async fn a_cursor_lasts_when_its_row_changes() {
    let app = test_app().await;
    app.load("ORG", &(0..10).map(|id| record(id, Some(id))).collect::<Vec<_>>()).await;
    let first = app.get("/api/v1/orgs/ORG/records?limit=5").await.json();
    let cursor = first["page"]["nextCursor"].as_str().unwrap();
    app.load("ORG", &[record(4, Some(40))]).await;
    let second = app.get(&format!("/api/v1/orgs/ORG/records?limit=100&cursor={cursor}")).await.json();
    let ids: Vec<_> = second["data"].as_array().unwrap().iter().map(|row| row["pfaId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["5", "6", "7", "8", "9", "4"]);
}
