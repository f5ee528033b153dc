//! Exports of some fields that are asked for again: their lines come from memory, one by one or in one piece, and are the same as ever.

use super::remembered::{change_secretly, send, set_secretly};
use crate::support::test_app;
use pfa_vanguard::domain::export::ExportFormat;
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::domain::filter::Filter;
use pfa_vanguard::domain::generate::Plan;
use pfa_vanguard::domain::sort::Sort;
use pfa_vanguard::service::records::PageQuery;
use pfa_vanguard::service::{PfaMirrorService, Reader};
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) async fn export_fields(service: &PfaMirrorService, session: Option<Uuid>, fields: &[Field]) -> String {
    send(service, lean(session, fields), ExportFormat::Ndjson).await
}

async fn export_by(service: &PfaMirrorService, fields: &[Field], sort: &str) -> String {
    send(service, PageQuery { sort: Sort::parse(sort).unwrap(), ..lean(None, fields) }, ExportFormat::Ndjson).await
}

fn lean(session: Option<Uuid>, fields: &[Field]) -> PageQuery {
    let reader = Reader { organization: "HOLNG".into(), user: "ana".into(), session };
    PageQuery { fields: Some(fields.to_vec()), ..PageQuery::new(reader, Filter::default(), Sort::default(), 0) }
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

/// Line by line, of which what is whole goes out before the first that is missing, and in one piece, which memory has room for or not.
#[tokio::test]
async fn a_large_export_of_fields_is_whole_when_some_texts_are_missing() {
    let app = test_app().await;
    let equipment = "ü".repeat(200);
    let record = |id: usize| json!({"pfaId": format!("{id:04}"), "equipment": equipment}).as_object().unwrap().clone();
    app.load("HOLNG", &(0..3_000).map(record).collect::<Vec<_>>()).await;
    let fields = [Field::PfaId, Field::Equipment, Field::IsActualized];
    let fresh = app.service.clone().with_text_memory(0);
    // The lines take 1.6 MB, and less later.
    let memories = [3_000_000, 4_000_000, 32_000_000].map(|bytes| app.service.clone().with_text_memory(bytes));
    let check = async |changed: &str| {
        for sort in ["forecastStart", "pfaId", "equipment"] {
            let expected = export_by(&fresh, &fields, sort).await;
            for service in &memories {
                assert!(export_by(service, &fields, sort).await == expected, "{changed} by {sort}");
            }
        }
    };
    for changed in ["id::text like '%7'", "id::text > '8'", "id::text like '%8%'", "true"] {
        for _ in 0..3 {
            check(changed).await;
        }
        let change =
            format!("update pfa_mirror set data = data || jsonb_build_object('equipment', md5(data->>'equipment')) where {changed}");
        sqlx::query(sqlx::AssertSqlSafe(change)).execute(app.pool()).await.unwrap();
        check(changed).await;
    }
}

/// In the middle of it, or before anything is read, it is found that memory has no room for all lines any more.
#[tokio::test]
async fn an_export_of_fields_that_has_outgrown_its_memory_is_whole() {
    let app = test_app().await;
    let equipment = "ü".repeat(200);
    let record = |id: usize| json!({"pfaId": format!("{id:04}"), "equipment": equipment}).as_object().unwrap().clone();
    let records: Vec<_> = (0..3_000).map(record).collect();
    let fields = [Field::PfaId, Field::Equipment];
    let fresh = app.service.clone().with_text_memory(0);
    let memories = [200_000, 3_000_000].map(|bytes| app.service.clone().with_text_memory(bytes));
    for (loaded, times) in [(&records[..100], 3), (&records[..], 4)] {
        app.load("HOLNG", loaded).await;
        let expected = export_fields(&fresh, None, &fields).await;
        assert_eq!(expected.lines().count(), loaded.len());
        for service in &memories {
            for time in 1..=times {
                assert!(export_fields(service, None, &fields).await == expected, "{time} of {} records", loaded.len());
            }
        }
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
