//! Pages that are asked for again: read without the texts of records that are remembered, and the same as ever.

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
    sqlx::raw_sql(
        "truncate pfa_mirror, pfa_modification, pfa_overlay, pfa_mirror_history;
         insert into pfa_mirror (organization_id, id, data, version) select * from backup",
    )
    .execute(app.pool())
    .await
    .unwrap();
    raw[5].insert("manufacturer".into(), json!("After the restore"));
    app.load("HOLNG", &raw).await;
    let page = first_page(&app.service, 50).await;
    assert_eq!(page, first_page(&app.service.clone().with_text_memory(0), 50).await);
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

async fn export_fields(service: &PfaMirrorService, session: Option<Uuid>, fields: &[Field]) -> String {
    send(service, lean(session, fields), ExportFormat::Ndjson).await
}

fn lean(session: Option<Uuid>, fields: &[Field]) -> PageQuery {
    let reader = Reader { organization: "HOLNG".into(), user: "ana".into(), session };
    PageQuery { fields: Some(fields.to_vec()), ..PageQuery::new(reader, Filter::default(), Sort::default(), 0) }
}

async fn send(service: &PfaMirrorService, query: PageQuery, format: ExportFormat) -> String {
    service.export_records(query, format).await.unwrap().try_collect().await.unwrap()
}

/// Changes a record behind everybody's back, which nothing but the text tells.
async fn change_secretly(app: &TestApp, pfa_id: &str, equipment: &str) {
    set_secretly(app, pfa_id, json!({"equipment": equipment})).await;
}

async fn set_secretly(app: &TestApp, pfa_id: &str, fields: Value) {
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

/// Some fields are remembered as whole records are, each choice of them by itself, and values of every kind are shown alike.
#[tokio::test]
async fn an_export_of_fields_that_is_asked_for_again_and_again_is_remembered() {
    let fields = [Field::PfaId, Field::Equipment, Field::ForecastStart, Field::MonthlyRate, Field::IsActualized, Field::Source];
    let app = test_app().await;
    let mut raw: Vec<_> = Plan::demo().organizations[0].records().take(60).collect();
    app.load("HOLNG", &raw).await;
    let fresh = app.service.clone().with_text_memory(0);
    let first = export_fields(&app.service, None, &fields).await;
    assert_eq!(first, export_fields(&fresh, None, &fields).await);
    let names: Vec<String> =
        first.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["pfaId"].as_str().unwrap().into()).collect();
    let shown = names[10].clone();
    change_secretly(&app, &shown, "First secret").await;
    let second = export_fields(&app.service, None, &fields).await;
    assert!(second.contains("First secret"), "most exports are asked for once");
    change_secretly(&app, &shown, "Second secret").await;
    assert_eq!(export_fields(&app.service, None, &fields).await, second);
    for others in [&fields[..2], &[Field::Equipment, Field::PfaId]] {
        for _ in 0..2 {
            let text = export_fields(&app.service, None, others).await;
            assert!(text.contains("Second secret") && text == export_fields(&fresh, None, others).await);
        }
    }
    assert!(send(&app.service, lean(None, &fields), ExportFormat::Csv).await.contains("Second secret"));
    let page = app.service.list_records(&PageQuery { limit: 100, ..lean(None, &fields) }).await.unwrap();
    assert!(page.rows.contains("Second secret"));

    change_secretly(&app, &shown, "First secret").await;
    let changed = raw.iter_mut().find(|record| record["pfaId"] == names[20]).unwrap();
    changed.insert("equipment".into(), json!("Changed in PEMS"));
    app.load("HOLNG", &raw).await;
    let sandbox = app.planner("ana").in_organization("HOLNG").open().await;
    let edits = [
        json!({"equipment": "a \"b\"\\, {c}\tü", "monthlyRate": 1.50}),
        json!({"monthlyRate": 0, "equipment": "null"}),
        json!({"monthlyRate": 12345.67, "equipment": null}),
        json!({"forecastStart": "2031-02-03", "forecastEnd": "2031-02-04"}),
    ];
    for (name, edit) in names[30..].iter().zip(edits) {
        let answer = sandbox.edit(name, edit).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for session in [None, sandbox.id.parse().ok()] {
        let text = export_fields(&app.service, session, &fields).await;
        assert_eq!(text, export_fields(&fresh, session, &fields).await);
        assert!(text.contains("Changed in PEMS"));
        assert_eq!(text.contains("12345.67"), session.is_some());
    }
}

/// While the mirror has the same versions its rows are not even looked at: a record that has moved secretly stays where it was.
#[tokio::test]
async fn an_export_of_fields_reads_no_row_of_a_mirror_that_has_not_changed() {
    let app = test_app().await;
    let record = |id: usize| json!({"pfaId": format!("{id:02}"), "forecastStart": format!("2025-01-{:02}", id + 1)});
    app.load("HOLNG", &(0..20).map(|id| record(id).as_object().unwrap().clone()).collect::<Vec<_>>()).await;
    let fields = [Field::PfaId, Field::ForecastStart, Field::Equipment];
    let sandbox = app.planner("ana").in_organization("HOLNG").open().await;
    let session = sandbox.id.parse().ok();
    let export = async |session| export_fields(&app.service, session, &fields).await;
    let mut published = String::new();
    for _ in 0..3 {
        published = export(None).await;
    }
    set_secretly(&app, "07", json!({"forecastStart": "2031-01-01"})).await;
    assert_eq!(export(None).await, published);

    for (pfa_id, edit) in [("07", json!({"equipment": "Crane 7"})), ("03", json!({"forecastStart": null}))] {
        assert_eq!(sandbox.edit(pfa_id, edit).await.status, 200);
    }
    let drafts = export(session).await;
    let lines: Vec<_> = published.lines().collect();
    let ids = |text: &str| text.lines().map(|line| line[11..13].to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&drafts).concat(), "0001020405060809101112131415161718190703");
    assert!(drafts.starts_with(&format!("{}\n{}\n{}\n{}\n", lines[0], lines[1], lines[2], lines[4])), "{drafts}");
    assert_eq!(export(None).await, published);

    // When another one changes openly, all are looked at: it stands elsewhere, with the line of its version.
    sqlx::query("update pfa_mirror set data = data || '{\"equipment\": \"new\"}' where pfa_id = '11'").execute(app.pool()).await.unwrap();
    let changed = export(None).await;
    assert!(changed.contains("\"new\"") && changed.ends_with(&format!("{}\n", lines[7])), "{changed}");
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

/// What is whole goes out before the first text that is missing; when many are, they are read together again.
#[tokio::test]
async fn a_large_export_of_fields_is_whole_when_some_texts_are_missing() {
    let app = test_app().await;
    let equipment = "ü".repeat(200);
    let record = |id: usize| json!({"pfaId": format!("{id:04}"), "equipment": equipment}).as_object().unwrap().clone();
    app.load("HOLNG", &(0..3_000).map(record).collect::<Vec<_>>()).await;
    let fields = [Field::PfaId, Field::Equipment, Field::IsActualized];
    let fresh = app.service.clone().with_text_memory(0);
    for changed in ["id::text like '%7'", "id::text > '8'", "id::text like '%8%'", "true"] {
        for _ in 0..3 {
            assert!(export_fields(&app.service, None, &fields).await == export_fields(&fresh, None, &fields).await);
        }
        let change =
            format!("update pfa_mirror set data = data || jsonb_build_object('equipment', md5(data->>'equipment')) where {changed}");
        sqlx::query(sqlx::AssertSqlSafe(change)).execute(app.pool()).await.unwrap();
        assert!(export_fields(&app.service, None, &fields).await == export_fields(&fresh, None, &fields).await, "{changed}");
    }
}

/// However its rows have moved since it went out last, for everybody and in a sandbox by turns.
#[tokio::test]
async fn an_export_of_fields_goes_along_the_one_before() {
    let app = test_app().await;
    let record = |id: usize| json!({"pfaId": format!("{id:04}"), "forecastStart": "2025-01-01"}).as_object().unwrap().clone();
    app.load("HOLNG", &(0..1_000).map(record).collect::<Vec<_>>()).await;
    let sandbox = app.planner("ana").in_organization("HOLNG").open().await;
    for id in (0..1_000).step_by(40) {
        assert_eq!(sandbox.edit(&format!("{id:04}"), json!({"equipment": "Crane 7"})).await.status, 200);
    }
    let fields = [Field::PfaId, Field::ForecastStart, Field::Equipment];
    let fresh = app.service.clone().with_text_memory(0);
    for change in [
        "select",
        "update pfa_mirror set data = data || '{\"equipment\": \"changed\"}' where pfa_id like '%7'",
        "delete from pfa_mirror where pfa_id between '0241' and '0279'",
        // More than are looked over at once.
        "delete from pfa_mirror where pfa_id between '0401' and '0639' and id not in (select mirror_id from pfa_modification)",
        "update pfa_mirror set data = data || '{\"forecastStart\": \"2024-01-01\"}' where pfa_id > '0980'",
        "update pfa_mirror set data = data || '{\"forecastStart\": \"2026-01-01\"}' where pfa_id between '0100' and '0110'",
        "update pfa_mirror set data = data || '{\"equipment\": \"all\"}'",
    ] {
        sqlx::raw_sql(change).execute(app.pool()).await.unwrap();
        for session in [None, sandbox.id.parse().ok(), None, sandbox.id.parse().ok(), sandbox.id.parse().ok(), None] {
            let text = export_fields(&app.service, session, &fields).await;
            assert!(text == export_fields(&fresh, session, &fields).await, "{change}");
        }
    }
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
