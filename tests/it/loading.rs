//! Loads: unchanged rows are left alone, changes have a version and a history, and one transaction
//! holds it all.

use crate::support::model::{Modification, Object};
use crate::support::test_app;
use crate::support::world::shown;
use pfa_vanguard::domain::record::{Record, canonicalise};
use pfa_vanguard::error::Error;
use pfa_vanguard::service::ingest::{Applied, Batch};
use pfa_vanguard::service::sync::runs::{RunDirection, RunType};
use serde_json::{Value, json};
use uuid::Uuid;

fn object(value: &Value) -> Object {
    value.as_object().unwrap().clone()
}

async fn indexes(app: &crate::support::TestApp) -> Vec<(String, Option<String>)> {
    sqlx::query_as(
        "select pg_get_indexdef(indexrelid), obj_description(indexrelid, 'pg_class') from pg_index where indrelid = 'pfa_mirror'::regclass
          union all
         select conname || ' ' || pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') from pg_constraint where conrelid = 'pfa_mirror'::regclass
          order by 1",
    )
    .fetch_all(app.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_reread_of_identical_data_rewrites_nothing() {
    let app = test_app().await;
    let raw = [object(&json!({"pfaId": "1", "monthlyRate": 10})), object(&json!({"pfaId": "2", "forecastStart": "2025-01-01"}))];
    assert_eq!(app.load("ORG", &raw).await, Applied { inserted: 2, ..Applied::default() });
    let places = "select array_agg(ctid::text order by pfa_id) from pfa_mirror";
    let before: Vec<String> = sqlx::query_scalar(places).fetch_one(app.pool()).await.unwrap();
    let number: i64 = sqlx::query_scalar("select change_number from organizations").fetch_one(app.pool()).await.unwrap();

    // The same by meaning.
    let same =
        [object(&json!({"pfaId": "1", "monthlyRate": "10.00"})), object(&json!({"pfaId": 2, "forecastStart": "2025-01-01T00:00:00.000Z"}))];
    assert_eq!(app.load("ORG", &same).await, Applied { unchanged: 2, ..Applied::default() });
    let after: Vec<String> = sqlx::query_scalar(places).fetch_one(app.pool()).await.unwrap();
    assert_eq!(before, after);
    let number_after: i64 = sqlx::query_scalar("select change_number from organizations").fetch_one(app.pool()).await.unwrap();
    assert_eq!(number, number_after);
}

#[tokio::test]
async fn a_change_has_a_version_a_history_and_reaches_the_overlay() {
    let app = test_app().await;
    app.load("ORG", &[object(&json!({"pfaId": "1", "monthlyRate": 10, "category": "A"}))]).await;
    let session = app.open_session("ORG", "planner").await;
    let mirror_id = app.mirror_rows("ORG").await[0].id;
    let delta = object(&json!({"category": "B"}));
    let committed =
        Modification { mirror_id, session, user: "planner".into(), state: "committed", stage: None, delta, order: 1, at: shown(1) };
    app.write_modifications("ORG", &[committed]).await;

    let changed = object(&json!({"pfaId": "1", "monthlyRate": 12, "category": "A", "extra": true}));
    assert_eq!(app.load("ORG", &[changed]).await, Applied { updated: 1, ..Applied::default() });
    let record = app.get("/api/v1/orgs/ORG/records/1").await.json();
    assert_eq!((&record["monthlyRate"], &record["category"], &record["_meta"]["version"]), (&json!(12), &json!("B"), &json!(2)));
    let (version, source, before, after): (i64, String, Value, Value) =
        sqlx::query_as("select version, source, before, after from pfa_mirror_history").fetch_one(app.pool()).await.unwrap();
    assert_eq!((version, source.as_str()), (2, "import"));
    assert_eq!((before, after), (json!({"monthlyRate": 10}), json!({"monthlyRate": 12, "extra": true})));
}

#[tokio::test]
async fn the_first_load_leaves_the_indexes_as_they_were() {
    let app = test_app().await;
    sqlx::query("comment on constraint pfa_mirror_pkey on pfa_mirror is 'the operator''s'").execute(app.pool()).await.unwrap();
    let (before, file_before) = (indexes(&app).await, file(&app).await);
    app.load("ORG", &[object(&json!({"pfaId": "1"}))]).await;
    assert_eq!(before, indexes(&app).await);
    let first = file(&app).await;
    assert_ne!(first, file_before, "a first load begins a file, which needs no log");
    app.load("ORG", &[object(&json!({"pfaId": "2"}))]).await;
    assert_eq!(first, file(&app).await);
}

/// The file of the mirror's rows.
async fn file(app: &crate::support::TestApp) -> String {
    sqlx::query_scalar("select pg_relation_filepath('pfa_mirror')").fetch_one(app.pool()).await.unwrap()
}

#[tokio::test]
async fn a_load_that_is_given_up_leaves_nothing() {
    let app = test_app().await;
    let before = indexes(&app).await;
    app.service.save_organization("ORG", "ORG").await.unwrap();
    let mut load = app.service.begin_load(&["ORG"]).await.unwrap();
    load.stage(&[record(1, 10)]).await.unwrap();
    load.apply(&Batch::import("ORG", Uuid::new_v4(), "test")).await.unwrap();
    load.abandon().await;
    assert_eq!(before, indexes(&app).await);
    assert!(app.mirror_rows("ORG").await.is_empty());
}

fn record(id: u32, rate: u32) -> Record {
    canonicalise(object(&json!({"pfaId": id.to_string(), "monthlyRate": rate}))).unwrap().0
}

/// What follows from changed and further records looks them up by the primary key, which a first load sets aside.
#[tokio::test]
async fn a_second_apply_of_a_first_load_has_its_key() {
    let app = test_app().await;
    let before = indexes(&app).await;
    app.service.save_organization("ORG", "ORG").await.unwrap();
    let mut load = app.service.begin_load(&["ORG"]).await.unwrap();
    let batch = Batch::import("ORG", Uuid::new_v4(), "test");
    load.stage(&[record(1, 10), record(2, 10)]).await.unwrap();
    assert_eq!(load.apply(&batch).await.unwrap(), Applied { inserted: 2, ..Applied::default() });
    load.stage(&[record(1, 12), record(2, 10), record(3, 10)]).await.unwrap();
    assert_eq!(load.apply(&batch).await.unwrap(), Applied { inserted: 1, updated: 1, unchanged: 1, ..Applied::default() });
    let mut built = Vec::new();
    load.commit(|name| built.push(name.to_owned())).await.unwrap();
    assert!(!built.contains(&"pfa_mirror_pkey".to_owned()) && built.contains(&"pfa_mirror_grid".to_owned()), "{built:?}");
    assert_eq!(before, indexes(&app).await);
    assert_eq!(app.mirror_rows("ORG").await.len(), 3);
}

/// The first load goes around what an operator made of the primary key.
#[tokio::test]
async fn a_key_that_something_depends_on_stays() {
    let app = test_app().await;
    sqlx::raw_sql(
        "create table notes (organization_id text collate \"C\", mirror_id uuid, foreign key (organization_id, mirror_id) references pfa_mirror);
         alter table pfa_mirror replica identity using index pfa_mirror_pfa_id_key",
    )
    .execute(app.pool())
    .await
    .unwrap();
    let before = file(&app).await;
    assert_eq!(app.load("ORG", &[object(&json!({"pfaId": "1"}))]).await.inserted, 1);
    assert_eq!(before, file(&app).await, "a table that others refer to cannot be begun anew");
}

#[tokio::test]
async fn an_organization_is_loaded_by_one_process_at_a_time() {
    let app = test_app().await;
    app.load("ORG", &[]).await;
    let first = app.service.begin_load(&["ORG"]).await.unwrap();
    let run = app.service.begin_run("ORG", RunType::Import, RunDirection::Read, None).await.unwrap();
    assert!(matches!(app.service.begin_load(&["ORG"]).await, Err(Error::LoadRunning(_))));
    assert_eq!(app.service.close_dead_runs().await.unwrap(), 0, "its process lives");
    drop(first);
    // The rollback reaches the server a moment later.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while app.service.close_dead_runs().await.unwrap() == 0 {
        assert!(std::time::Instant::now() < deadline, "a run without a process is closed");
    }
    let status: String = sqlx::query_scalar("select status from pfa_sync_log where id = $1").bind(run).fetch_one(app.pool()).await.unwrap();
    assert_eq!(status, "failed");
}

/// Of four bytes each, in which nothing comes twice: an index would compress it.
fn long_text(length: u32, seed: u32) -> String {
    let noise = |place: u32| (place ^ (seed << 16)).wrapping_mul(0x9E37_79B1).rotate_left(13).wrapping_mul(0x85EB_CA6B) >> 15;
    (0..length).map(|place| char::from_u32(0x1_0000 + noise(place)).unwrap()).collect()
}

#[tokio::test]
async fn the_longest_texts_fit_into_the_indexes() {
    let app = test_app().await;
    let organization = "O".repeat(64);
    let keys = ["category", "class", "manufacturer", "model", "areaSilo"];
    let mut wide: Object = keys.iter().zip(0..).map(|(key, seed)| ((*key).to_owned(), json!(long_text(200, seed)))).collect();
    let rest =
        json!({"source": "Purchase", "dor": "PROJECT", "isActualized": true, "forecastStart": "2025-01-01", "forecastEnd": "2025-02-01"});
    wide.extend(rest.as_object().unwrap().clone());
    let record = |id: String| {
        let mut record = wide.clone();
        record.insert("pfaId".into(), json!(id));
        record
    };
    assert_eq!(app.load(&organization, &[record(long_text(100, 9)), record("2".into())]).await.inserted, 2);
    assert_eq!(app.load(&organization, &[record("3".into())]).await.inserted, 1);
    let actualized = "select count(*) from pfa_mirror where is_actualized and octet_length(category || class || manufacturer) = 2400";
    assert_eq!(sqlx::query_scalar::<_, i64>(actualized).fetch_one(app.pool()).await.unwrap(), 3);
    let fourth = sqlx::query("create index on pfa_mirror (category, class, manufacturer, model)").execute(app.pool()).await;
    assert!(fourth.unwrap_err().to_string().contains("exceeds btree version 4 maximum 2704"), "the texts are compressed");
}
