//! Pages where the overlay stands for most of what they would show.

use super::{days, demo_world, hashes, nodes, query, words};
use crate::support::app::TestApp;
use chrono::NaiveDate;
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::domain::filter::{Filter, Range};
use pfa_vanguard::domain::operation::Operation;
use pfa_vanguard::service::commit::{Commit, CommitMode};
use pfa_vanguard::service::edits::{BulkEdit, Direction, Selection};
use pfa_vanguard::service::records::PageQuery;
use pfa_vanguard::service::sessions::Sandbox;
use serde_json::{Value, json};

async fn open(app: &TestApp) -> Sandbox {
    let session = app.service.open_session("HOLNG", "dev", None).await.unwrap().id;
    Sandbox { organization: "HOLNG".into(), user: "dev".into(), session }
}

/// Sets the area of these records, which are in order as before.
async fn edit(app: &TestApp, sandbox: &Sandbox, pfa_ids: &[String]) {
    set(app, sandbox, pfa_ids, json!({"areaSilo": "YARD 7"})).await;
}

async fn set(app: &TestApp, sandbox: &Sandbox, pfa_ids: &[String], fields: Value) {
    for part in pfa_ids.chunks(5_000) {
        let operation = Operation::Set(fields.as_object().unwrap().clone());
        let selection = Selection::PfaIds(part.iter().cloned().collect());
        let edit = BulkEdit { selection, operation, reason: None, is_atomic: true, is_preview: false };
        assert_eq!(app.service.edit_records(sandbox, &edit).await.unwrap().changed, part.len());
    }
}

/// Records in the order of the grid, every nth.
async fn each(app: &TestApp, nth: usize, count: usize) -> Vec<String> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select pfa_id from pfa_mirror where organization_id = 'HOLNG' and not is_discontinued order by forecast_start, id",
    )
    .fetch_all(app.pool())
    .await
    .unwrap();
    ids.into_iter().step_by(nth).take(count).collect()
}

fn page_in(sandbox: &Sandbox, filter: Filter, sort: &str) -> PageQuery {
    let mut page = query(filter, sort);
    page.reader.session = Some(sandbox.session);
    page
}

/// How many rows of the mirror were looked up in the overlay one by one, and whether by a hash.
async fn lookups(app: &TestApp, page: &PageQuery) -> (i64, bool) {
    let plan = app.service.explain_records(page, true).await.unwrap();
    let nodes = nodes(&plan[0]["Plan"]);
    let subplans = nodes.iter().filter(|node| node["Parent Relationship"] == "SubPlan" && node["Relation Name"] == "pfa_overlay");
    let probes = subplans.map(|node| node["Actual Loops"].as_i64().unwrap()).max().unwrap_or_default();
    (probes, hashes(&nodes).into_iter().max() == Some(1))
}

async fn rows(app: &TestApp, page: &PageQuery) -> Value {
    serde_json::from_str(&app.service.list_records(page).await.unwrap().rows).unwrap()
}

/// All pages, one after the other.
async fn walk(app: &TestApp, page: &PageQuery) -> Vec<Value> {
    let mut page = page.clone();
    let mut all = Vec::new();
    loop {
        let read = app.service.list_records(&page).await.unwrap();
        all.extend(serde_json::from_str::<Vec<Value>>(&read.rows).unwrap());
        page.cursor = read.next;
        if page.cursor.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn a_page_behind_thousands_of_drafts_passes_them_by_a_hash() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    edit(&app, &sandbox, &each(&app, 1, 6_000).await).await;
    let page = page_in(&sandbox, Filter::default(), "forecastStart");
    assert_eq!(lookups(&app, &page).await, (6_001, false), "nobody knows of the drafts yet");
    let first = rows(&app, &page).await;
    assert_eq!(lookups(&app, &page).await, (512, true), "these are looked at to tell");
    assert_eq!(rows(&app, &page).await, first);
    for _ in 0..2 {
        app.service.move_step(&sandbox, Direction::Undo).await.unwrap();
    }
    assert_eq!(lookups(&app, &page).await, (201, false));
    rows(&app, &page).await;
    assert!(looks_for_crowds(&app, &page).await, "nobody has looked again");
    for direction in [Direction::Redo, Direction::Undo].repeat(7) {
        app.service.move_step(&sandbox, direction).await.unwrap();
    }
    rows(&app, &page).await;
    assert!(!looks_for_crowds(&app, &page).await);
}

async fn looks_for_crowds(app: &TestApp, page: &PageQuery) -> bool {
    app.service.explain_records(page, false).await.unwrap().to_string().contains("CTE crowd")
}

/// Nobody sees the records, and the page is of the mirror alone.
#[tokio::test]
async fn discontinued_drafts_are_a_crowd_too() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    set(&app, &sandbox, &each(&app, 1, 4_000).await, json!({"isDiscontinued": true})).await;
    let flags = [(Field::IsDiscontinued, false)].into();
    let page = page_in(&sandbox, Filter { flags, ..Filter::default() }, "forecastStart");
    let (probes, is_hashed) = lookups(&app, &page).await;
    assert!(probes >= 4_200 && !is_hashed, "{probes} rows were looked up");
    let first = rows(&app, &page).await;
    assert_eq!(lookups(&app, &page).await, (512, true));
    assert_eq!(rows(&app, &page).await, first);
}

#[tokio::test]
async fn a_publication_is_a_crowd_for_everybody() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    edit(&app, &sandbox, &each(&app, 1, 4_000).await).await;
    let mut page = page_in(&sandbox, Filter::default(), "forecastStart");
    page.reader.session = None;
    rows(&app, &page).await;
    assert_eq!(lookups(&app, &page).await, (201, false));
    app.service.commit_session(&sandbox, &Commit { mode: CommitMode::Atomic, is_dry_run: false, idempotency_key: None }).await.unwrap();
    let first = rows(&app, &page).await;
    assert_eq!(lookups(&app, &page).await, (512, true));
    assert_eq!(rows(&app, &page).await, first);
    // Who may not read makes the database look at nothing.
    let mut refused = page_in(&open(&app).await, Filter::default(), "forecastStart");
    refused.reader.user = "somebody else".into();
    assert!(looks_for_crowds(&app, &refused).await);
    assert_eq!(lookups(&app, &refused).await, (0, false));
}

#[tokio::test]
async fn a_page_among_thousands_of_drafts_looks_its_own_rows_up() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    edit(&app, &sandbox, &each(&app, 4, 3_000).await).await;
    let page = page_in(&sandbox, Filter::default(), "forecastStart");
    let first = rows(&app, &page).await;
    let (probes, is_hashed) = lookups(&app, &page).await;
    assert!((200..=400).contains(&probes) && !is_hashed, "{probes} rows were looked up");
    assert_eq!(rows(&app, &page).await, first);
    // A large page passes so many that the hash is made, and tells all.
    let page = PageQuery { limit: 2_000, ..page };
    let (probes, is_hashed) = lookups(&app, &page).await;
    assert!(probes < 50 && is_hashed, "{probes} rows were looked up");
}

/// What a filter leaves is shown soon, however many drafts there are.
#[tokio::test]
async fn a_few_matches_are_no_crowd() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    edit(&app, &sandbox, &each(&app, 1, 3_000).await).await;
    rows(&app, &page_in(&sandbox, Filter::default(), "forecastStart")).await;
    let dates = [(Field::ForecastStart, Range { from: NaiveDate::from_ymd_opt(2028, 11, 1), to: None })].into();
    for sort in ["forecastStart", "-forecastStart"] {
        let page = page_in(&sandbox, Filter { dates: Clone::clone(&dates), ..Filter::default() }, sort);
        assert!(looks_for_crowds(&app, &page).await);
        let (probes, is_hashed) = lookups(&app, &page).await;
        assert!(probes <= 202 && !is_hashed, "{probes} rows were looked up");
    }
}

/// As the page begins with a few hundred of them only, its other rows are soon found.
#[tokio::test]
async fn a_few_drafts_before_a_page_are_no_crowd() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    let records = each(&app, 1, 8_000).await;
    edit(&app, &sandbox, &[&records[..300], &records[5_000..]].concat()).await;
    let page = page_in(&sandbox, Filter::default(), "forecastStart");
    rows(&app, &page).await;
    let (probes, is_hashed) = lookups(&app, &page).await;
    assert!((300..=600).contains(&probes) && !is_hashed, "{probes} rows were looked up");
}

/// A hash has fifty thousand rows at most: of what it has no room for, the probes tell.
#[tokio::test]
async fn an_overlay_too_large_for_a_hash_is_read_in_part() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    // Of records that are not there, which saves loading them; the table and its indexes have them before all others.
    let mut transaction = app.pool().begin().await.unwrap();
    sqlx::raw_sql("set local session_replication_role = replica").execute(&mut *transaction).await.unwrap();
    sqlx::query(
        r#"insert into pfa_overlay (organization_id, id, data, version, last_synced_at, session_id, sync_state, modified_fields, modified_by, modified_at)
           select 'HOLNG', lpad(to_hex(n), 32, '0')::uuid, '{"pfaId": "X", "category": "", "forecastStart": "1950-01-01"}', 1, now(), $1, 'modified', '{}', 'dev', now()
             from generate_series(1, 50000) n"#,
    )
    .bind(sandbox.session)
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    edit(&app, &sandbox, &each(&app, 1, 3_000).await).await;
    let dates = [(Field::ForecastStart, Range { from: NaiveDate::from_ymd_opt(1950, 1, 2), to: None })].into();
    let page = page_in(&sandbox, Filter { dates, ..Filter::default() }, "forecastStart");
    let first = rows(&app, &page).await;
    let (probes, is_hashed) = lookups(&app, &page).await;
    assert!(probes >= 2_900 && is_hashed, "{probes} rows were looked up");
    assert_eq!(rows(&app, &page).await, first);
}

/// In any order, with a filter, from page to page: the same as read in one, which looks for no crowd.
#[tokio::test]
async fn crowded_pages_show_what_others_do() {
    let app = demo_world().await;
    let (sandbox, other) = (open(&app).await, open(&app).await);
    let records = each(&app, 1, 4_000).await;
    edit(&app, &sandbox, &records[..3_000]).await;
    edit(&app, &other, &records[2_000..]).await;
    let lifting = words(&[(Field::Category, "Lifting")]);
    let area = words(&[(Field::AreaSilo, "YARD 7")]);
    let planned = Filter { dates: [(Field::ForecastStart, days(2023))].into(), ..Filter::default() };
    for (filter, sort, looks) in [
        (lifting.clone(), "forecastStart", true),
        (lifting.clone(), "-actualStart", true),
        (lifting, "-monthlyRate", false),
        (planned.clone(), "forecastStart", true),
        (planned, "-originalStart,pfaId", true),
        (area, "forecastStart", true),
        (Filter::default(), "model", false),
        (Filter { text: vec!["ltm".into()], ..Filter::default() }, "-forecastEnd", false),
    ] {
        let page = PageQuery { limit: 1_000, ..page_in(&sandbox, filter, sort) };
        // A page of all is too large for that.
        let expected = rows(&app, &PageQuery { limit: 20_000, ..page.clone() }).await;
        rows(&app, &PageQuery { limit: 1, ..page_in(&sandbox, Filter::default(), "forecastStart") }).await;
        assert_eq!(looks_for_crowds(&app, &page).await, looks, "{sort}");
        assert_eq!(json!(walk(&app, &page).await), expected, "{sort}");
        assert_ne!(expected, json!([]), "{sort}");
    }
}

/// In a descending order the first rows are those that have a value.
#[tokio::test]
async fn a_crowd_at_the_end_is_one_at_the_beginning_of_a_falling_order() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    let mut last = each(&app, 1, usize::MAX).await;
    edit(&app, &sandbox, &last.split_off(last.len() - 6_000)).await;
    let page = page_in(&sandbox, Filter::default(), "-forecastStart");
    let first = rows(&app, &page).await;
    assert_eq!(lookups(&app, &page).await, (512, true));
    assert_eq!(rows(&app, &page).await, first);
}
