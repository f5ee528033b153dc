//! Pages that are asked for again: read without the texts of records that are remembered, and the same as ever.

use super::remembered_fields::export_fields;
use super::statements::note_statements;
use crate::support::{TestApp, test_app};
use futures_util::TryStreamExt as _;
use pfa_vanguard::domain::export::ExportFormat;
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::domain::filter::Filter;
use pfa_vanguard::domain::generate::Plan;
use pfa_vanguard::domain::sort::Sort;
use pfa_vanguard::service::records::PageQuery;
use pfa_vanguard::service::{PfaMirrorService, Reader};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

const PAGE: &str = "records?limit=50&sort=pfaId";

async fn first_page(service: &PfaMirrorService, limit: u32) -> Vec<Value> {
    let reader = Reader { organization: "HOLNG".into(), user: "dev".into(), session: None };
    let sort = Sort::parse("pfaId").unwrap();
    let query = PageQuery::new(reader, Filter::default(), sort, limit);
    serde_json::from_str(&service.list_records(&query).await.unwrap().rows).unwrap()
}

/// The answer, and whether a page was read without texts for it.
async fn read_without_texts<T>(asked: impl Future<Output = T>) -> (T, bool) {
    let (answer, statements) = note_statements(asked).await;
    (answer, statements.iter().any(|statement| statement.contains("null::jsonb as data")))
}

#[tokio::test]
async fn a_page_that_was_asked_for_is_read_without_texts_for_everybody() {
    let app = test_app().await;
    app.load("HOLNG", &Plan::demo().organizations[0].records().take(60).collect::<Vec<_>>()).await;
    let [ana, ben] = ["ana", "ben"].map(|user| app.planner(user).in_organization("HOLNG"));
    let (first, without_texts) = read_without_texts(ana.get(PAGE)).await;
    assert!(first.status == 200 && !without_texts);
    let (again, without_texts) = read_without_texts(ana.get(PAGE)).await;
    assert_eq!((again.text, without_texts), (first.text.clone(), true));
    // In a sandbox of somebody else only the draft differs.
    let sandbox = ben.open().await;
    let record = first.json()["data"][7]["pfaId"].as_str().unwrap().to_owned();
    sandbox.edit(&record, json!({"equipment": "Crane 7"})).await;
    let in_sandbox = ben.get(&format!("{PAGE}&session={}", sandbox.id)).await.json();
    for (index, row) in in_sandbox["data"].as_array().unwrap().iter().enumerate() {
        if index == 7 {
            assert_eq!((&row["equipment"], &row["_meta"]["syncState"]), (&json!("Crane 7"), &json!("draft")));
        } else {
            assert_eq!(row, &first.json()["data"][index]);
        }
    }
    // Fewer fields are read as they are.
    let fewer = ana.get(&format!("{PAGE}&fields=pfaId,equipment")).await.json();
    assert_eq!(fewer["data"].as_array().unwrap().len(), 50);
    assert_eq!(fewer["data"][3]["equipment"], first.json()["data"][3]["equipment"]);
}

#[tokio::test]
async fn what_has_changed_is_read_anew() {
    let app = test_app().await;
    let mut raw: Vec<_> = Plan::demo().organizations[0].records().take(60).collect();
    app.load("HOLNG", &raw).await;
    let fresh = app.service.clone().with_text_memory(0);
    let before = first_page(&app.service, 50).await;
    assert_eq!(before.len(), 50);

    // From PEMS, with a new version.
    raw[5].insert("manufacturer".into(), json!("Changed in PEMS"));
    app.load("HOLNG", &raw).await;
    let after = first_page(&app.service, 50).await;
    assert_eq!(after, first_page(&fresh, 50).await);
    assert_eq!(after.iter().filter(|row| row["manufacturer"] == "Changed in PEMS").count(), 1);

    // By hand, which gives it one; a record that the page shows.
    let mended = "update pfa_mirror set data = data || '{\"manufacturer\": \"Mended by hand\"}' where id = (select min(id::text)::uuid from pfa_mirror where not is_discontinued)";
    sqlx::query(mended).execute(app.pool()).await.unwrap();
    let all = first_page(&app.service, 60).await;
    assert_eq!(all.iter().filter(|row| row["manufacturer"] == "Mended by hand").count(), 1);
    assert_eq!(first_page(&app.service, 50).await, first_page(&fresh, 50).await);
    assert_eq!(first_page(&app.service, 60).await, first_page(&fresh, 60).await);
}

/// A restored mirror counts the same versions again, for other data.
#[tokio::test]
async fn texts_of_a_mirror_that_was_restored_are_not_those_of_the_one_before() {
    let app = test_app().await;
    let mut raw: Vec<_> = Plan::demo().organizations[0].records().take(60).collect();
    app.load("HOLNG", &raw).await;
    sqlx::raw_sql("create table backup as select organization_id, id, data, version from pfa_mirror").execute(app.pool()).await.unwrap();
    raw[5].insert("manufacturer".into(), json!("Before the restore"));
    app.load("HOLNG", &raw).await;
    assert!(first_page(&app.service, 50).await.iter().any(|row| row["manufacturer"] == "Before the restore"));
    let export = async |service| export_fields(service, None, &[Field::PfaId, Field::Manufacturer]).await;
    for _ in 0..3 {
        assert!(export(&app.service).await.contains("Before the restore"));
    }
    sqlx::raw_sql(
        "truncate pfa_mirror, pfa_modification, pfa_overlay, pfa_mirror_history;
         insert into pfa_mirror (organization_id, id, data, version) select * from backup",
    )
    .execute(app.pool())
    .await
    .unwrap();
    raw[5].insert("manufacturer".into(), json!("After the restore"));
    app.load("HOLNG", &raw).await;
    let (page, fresh) = (first_page(&app.service, 50).await, app.service.clone().with_text_memory(0));
    assert_eq!(page, first_page(&fresh, 50).await);
    assert_eq!(export(&app.service).await, export(&fresh).await);
    assert_eq!(
        page.iter().filter(|row| row["_meta"]["version"] == 2).map(|row| &row["manufacturer"]).collect::<Vec<_>>(),
        ["After the restore"]
    );
}

/// All records change together again and again: a page is of one moment, also when its texts are asked for after it.
#[tokio::test]
async fn a_page_with_texts_that_changed_meanwhile_is_of_one_moment() {
    let app = test_app().await;
    let raw: Vec<_> = Plan::demo().organizations[0].records().take(60).collect();
    app.load("HOLNG", &raw).await;
    first_page(&app.service, 60).await;
    let pool = app.database.another_pool().await;
    let writer = tokio::spawn(async move {
        for round in 0..300 {
            sqlx::query("update pfa_mirror set data = data || jsonb_build_object('equipment', 'round ' || $1), version = version + 1")
                .bind(round.to_string())
                .execute(&pool)
                .await
                .unwrap();
        }
    });
    let mut seen = BTreeSet::new();
    while !writer.is_finished() {
        let page = first_page(&app.service, 60).await;
        let versions: BTreeSet<_> = page.iter().map(|row| row["_meta"]["version"].as_i64().unwrap()).collect();
        assert_eq!(versions.len(), 1, "{versions:?}");
        for row in &page {
            // The first round wrote version 2.
            let version = row["_meta"]["version"].as_i64().unwrap();
            assert!(version == 1 || row["equipment"] == format!("round {}", version - 2), "{row}");
        }
        seen.extend(versions);
        let export = export_fields(&app.service, None, &[Field::Equipment]).await;
        let lines: BTreeSet<_> = export.lines().collect();
        assert!(lines.len() == 1 || lines.iter().all(|line| !line.contains("round")), "{lines:?}");
    }
    writer.await.unwrap();
    assert!(seen.len() > 3, "the reader saw {seen:?}");
}

async fn export(service: &PfaMirrorService, session: Option<Uuid>) -> String {
    export_of(service, session, Filter::default()).await
}

async fn export_of(service: &PfaMirrorService, session: Option<Uuid>, filter: Filter) -> String {
    let reader = Reader { organization: "HOLNG".into(), user: "ana".into(), session };
    send(service, PageQuery::new(reader, filter, Sort::default(), 0), ExportFormat::Ndjson).await
}

pub(super) async fn send(service: &PfaMirrorService, query: PageQuery, format: ExportFormat) -> String {
    service.export_records(query, format).await.unwrap().try_collect().await.unwrap()
}

/// Changes a record behind everybody's back, which nothing but the text tells.
pub(super) async fn change_secretly(app: &TestApp, pfa_id: &str, equipment: &str) {
    set_secretly(app, pfa_id, json!({"equipment": equipment})).await;
}

pub(super) async fn set_secretly(app: &TestApp, pfa_id: &str, fields: Value) {
    sqlx::raw_sql("alter table pfa_mirror disable trigger pfa_mirror_counts_changes").execute(app.pool()).await.unwrap();
    let change = "update pfa_mirror set data = data || $2 where pfa_id = $1";
    sqlx::query(change).bind(pfa_id).bind(fields).execute(app.pool()).await.unwrap();
    sqlx::raw_sql("alter table pfa_mirror enable trigger pfa_mirror_counts_changes").execute(app.pool()).await.unwrap();
}

#[tokio::test]
async fn an_export_that_is_asked_for_again_and_again_is_read_without_texts() {
    let app = test_app().await;
    let mut raw: Vec<_> = Plan::demo().organizations[0].records().take(60).collect();
    app.load("HOLNG", &raw).await;
    let fresh = app.service.clone().with_text_memory(0);
    let first = export(&app.service, None).await;
    assert_eq!(first, export(&fresh, None).await);
    let shown: Value = serde_json::from_str(first.lines().nth(10).unwrap()).unwrap();
    let shown = shown["pfaId"].as_str().unwrap();
    change_secretly(&app, shown, "First secret").await;
    let second = export(&app.service, None).await;
    assert!(second.contains("First secret"), "most exports are asked for once");
    change_secretly(&app, shown, "Second secret").await;
    assert_eq!(export(&app.service, None).await, second);

    // What has changed since then is missing in the middle of it; what a sandbox has changed is its own.
    change_secretly(&app, shown, "First secret").await;
    raw[20].insert("manufacturer".into(), json!("Changed in PEMS"));
    app.load("HOLNG", &raw).await;
    let sandbox = app.planner("ana").in_organization("HOLNG").open().await;
    sandbox.edit(raw[30]["pfaId"].as_str().unwrap(), json!({"equipment": "Crane 7"})).await;
    for session in [None, sandbox.id.parse().ok()] {
        let text = export(&app.service, session).await;
        assert_eq!(text, export(&fresh, session).await);
        assert!(text.contains("Changed in PEMS") && text.contains("Crane 7") == session.is_some());
    }
}

/// Everything behind a missing text waits for it, and goes out piece by piece; what is too large is not remembered.
#[tokio::test]
async fn a_large_export_is_whole_when_all_texts_are_missing() {
    let app = test_app().await;
    let remarks = "ü".repeat(1_000);
    let records: Vec<_> =
        (0..3_000).map(|id| json!({"pfaId": id.to_string(), "pemsRemarks": remarks}).as_object().unwrap().clone()).collect();
    app.load("HOLNG", &records).await;
    let small = app.service.clone().with_text_memory(10_000_000);
    for _ in 0..3 {
        export(&app.service, None).await;
        export(&small, None).await;
    }
    sqlx::query("update pfa_mirror set data = data || '{\"equipment\": \"new\"}'").execute(app.pool()).await.unwrap();
    let expected = export(&small, None).await;
    assert_eq!(expected.matches("\"equipment\": \"new\"").count(), 3_000);
    assert!(export(&app.service, None).await == expected);
}

/// An export that has grown since it was remembered: too much would wait for the first text that is missing.
#[tokio::test]
async fn an_export_that_has_become_too_large_is_read_with_its_texts() {
    let app = test_app().await;
    let service = app.service.clone().with_text_memory(200_000_000);
    let remarks = "y".repeat(12_000);
    let record = |id: usize| {
        let category = if id.is_multiple_of(2) { "Lifting" } else { "Welding" };
        json!({"pfaId": format!("{id:05}"), "category": category, "pemsRemarks": remarks}).as_object().unwrap().clone()
    };
    let mut records: Vec<_> = (0..3_500).map(record).collect();
    app.load("HOLNG", &records[..200]).await;
    for _ in 0..2 {
        assert_eq!(export(&service, None).await.lines().count(), 200);
    }
    app.load("HOLNG", &records).await;
    for _ in 0..2 {
        for category in ["Lifting", "Welding"] {
            let filter = Filter { words: [(Field::Category, vec![category.to_owned()])].into(), ..Filter::default() };
            assert_eq!(export_of(&service, None, filter).await.lines().count(), 1_750);
        }
    }
    // Its first record is the one that nobody remembers.
    let fresh = app.service.clone().with_text_memory(0);
    let first: Value = serde_json::from_str(export(&fresh, None).await.lines().next().unwrap()).unwrap();
    let first: usize = first["pfaId"].as_str().unwrap().parse().unwrap();
    records[first].insert("manufacturer".into(), json!("Changed"));
    app.load("HOLNG", &records).await;
    let text = export(&service, None).await;
    assert!(text.len() > 36_000_000 && text.lines().next().unwrap().contains("Changed"));
    assert!(text == export(&fresh, None).await);
}
