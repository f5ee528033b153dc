//! Pages where the overlay stands for most of what they would show.

use super::{days, demo_world, hashes, nodes, query, words};
use crate::statements::note_statements;
use crate::support::app::TestApp;
use chrono::NaiveDate;
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::domain::filter::{Filter, Range};
use pfa_vanguard::domain::operation::Operation;
use pfa_vanguard::domain::sort::Sort;
use pfa_vanguard::service::PfaMirrorService;
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

/// Takes these records out of pages of [`kept`] ones.
async fn discontinue(app: &TestApp, sandbox: &Sandbox, pfa_ids: &[String]) {
    set(app, sandbox, pfa_ids, json!({"isDiscontinued": true})).await;
}

fn kept() -> Filter {
    Filter { flags: [(Field::IsDiscontinued, false)].into(), ..Filter::default() }
}

async fn set(app: &TestApp, sandbox: &Sandbox, pfa_ids: &[String], fields: Value) {
    operate(app, sandbox, pfa_ids, &Operation::Set(fields.as_object().unwrap().clone())).await;
}

async fn operate(app: &TestApp, sandbox: &Sandbox, pfa_ids: &[String], operation: &Operation) {
    for part in pfa_ids.chunks(5_000) {
        let selection = Selection::PfaIds(part.iter().cloned().collect());
        let edit = BulkEdit { selection, operation: operation.clone(), reason: None, is_atomic: true, is_preview: false };
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
async fn lookups(service: &PfaMirrorService, page: &PageQuery) -> (i64, bool) {
    let plan = service.explain_records(page, true).await.unwrap();
    let nodes = nodes(&plan[0]["Plan"]);
    let subplans = nodes.iter().filter(|node| node["Parent Relationship"] == "SubPlan" && node["Relation Name"] == "pfa_overlay");
    let probes = subplans.map(|node| node["Actual Loops"].as_i64().unwrap()).max().unwrap_or_default();
    (probes, hashes(&nodes).into_iter().max() == Some(1))
}

/// Whether a page passes its own rows of the mirror, and those that begin on the day of its last, and probes no more of them.
async fn reads_its_own_rows(service: &PfaMirrorService, page: &PageQuery) -> bool {
    let plan = service.explain_records(page, true).await.unwrap();
    let nodes = nodes(&plan[0]["Plan"]);
    let scans = nodes.iter().filter(|node| node["Relation Name"] == "pfa_mirror");
    let passed = scans.map(|node| node["Actual Rows"].as_i64().unwrap() + node["Rows Removed by Filter"].as_i64().unwrap_or_default());
    let (probes, is_hashed) = lookups(service, page).await;
    passed.max().is_some_and(|passed| (1..=300).contains(&passed)) && probes <= 300 && !is_hashed
}

async fn rows(service: &PfaMirrorService, page: &PageQuery) -> Value {
    serde_json::from_str(&service.list_records(page).await.unwrap().rows).unwrap()
}

/// All pages, one after the other.
async fn walk(service: &PfaMirrorService, page: &PageQuery) -> Vec<Value> {
    let mut page = page.clone();
    let mut all = Vec::new();
    loop {
        let read = service.list_records(&page).await.unwrap();
        all.extend(serde_json::from_str::<Vec<Value>>(&read.rows).unwrap());
        page.cursor = read.next;
        if page.cursor.is_none() {
            return all;
        }
    }
}

/// Behind the last draft of a page the mirror has nothing to add to it.
#[tokio::test]
async fn drafts_that_fill_a_page_are_its_end() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    edit(&app, &sandbox, &each(&app, 1, 6_000).await).await;
    let mut page = page_in(&sandbox, Filter::default(), "forecastStart");
    assert!(reads_its_own_rows(&app.service, &page).await);
    // Of these rows only those are looked up that begin on the day of the last draft and are behind it.
    let (probes, _) = lookups(&app.service, &page).await;
    assert!(probes <= 60, "{probes} rows were looked up");
    // Nobody told another process of them; its first page finds out.
    let other = PfaMirrorService::new(app.pool().clone());
    assert_eq!(lookups(&other, &page).await, (6_001, false));
    let read = other.list_records(&page).await.unwrap();
    assert!(reads_its_own_rows(&other, &page).await);
    assert_eq!(app.service.list_records(&page).await.unwrap(), read);
    page.cursor = read.next;
    assert!(reads_its_own_rows(&app.service, &page).await);
    // As far as the drafts reach the page is theirs, beyond it the mirror's.
    page.cursor = app.service.list_records(&PageQuery { cursor: None, limit: 5_900, ..page.clone() }).await.unwrap().next;
    let rows = rows(&app.service, &page).await;
    assert_eq!([99, 100].map(|row| rows[row]["_meta"]["syncState"].as_str().unwrap()), ["draft", "pristine"]);
}

/// Drafts that are remembered are named by the overlay's indexes.
#[tokio::test]
async fn remembered_drafts_are_read_from_their_index_alone() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    edit(&app, &sandbox, &each(&app, 1, 6_000).await).await;
    sqlx::query("vacuum (analyze) pfa_overlay").execute(app.pool()).await.unwrap();
    let rented = words(&[(Field::Category, "Lifting"), (Field::Source, "Rental")]);
    for (filter, index) in [(Filter::default(), "pfa_overlay_timeline"), (rented, "pfa_overlay_grid")] {
        let page = page_in(&sandbox, filter, "forecastStart");
        let expected = rows(&PfaMirrorService::new(app.pool().clone()), &page).await;
        for scan in ["Index Scan", "Index Only Scan"] {
            let plan = app.service.explain_records(&page, true).await.unwrap();
            let nodes = nodes(&plan[0]["Plan"]);
            let scans: Vec<_> = nodes.iter().filter(|node| node["Index Name"] == index && node["Actual Rows"] == 201).collect();
            assert!(scans.len() == 1 && scans[0]["Node Type"] == scan, "{index}: {scans:?}");
            assert_eq!(rows(&app.service, &page).await, expected);
        }
    }
}

/// So it is when they are not shown at all: then nothing ends the page but its own rows.
#[tokio::test]
async fn a_page_behind_thousands_that_are_not_shown_passes_them_by_a_hash() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    let records = each(&app, 1, 6_000).await;
    discontinue(&app, &sandbox, &records).await;
    let page = page_in(&sandbox, kept(), "forecastStart");
    let other = PfaMirrorService::new(app.pool().clone());
    let (probes, is_hashed) = lookups(&other, &page).await;
    assert!(probes >= 6_200 && !is_hashed, "{probes} rows were looked up");
    assert_eq!(lookups(&app.service, &page).await, (201, true));
    let first = rows(&app.service, &page).await;
    assert_eq!(lookups(&app.service, &page).await, (201, true));
    assert_eq!(rows(&other, &page).await, first);
    for _ in 0..2 {
        app.service.move_step(&sandbox, Direction::Undo).await.unwrap();
    }
    assert!(reads_its_own_rows(&app.service, &page).await);
}

/// An overlay that was large is not counted after each change.
#[tokio::test]
async fn a_large_overlay_is_counted_again_after_some_changes() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    let records = each(&app, 1, 2_100).await;
    for few in [&records[..1_900], &records[1_900..]] {
        discontinue(&app, &sandbox, few).await;
    }
    let page = page_in(&sandbox, kept(), "forecastStart");
    assert_eq!(looks(&app.service, &page).await, (false, true));
    assert_eq!(looks(&app.service, &page).await, (true, false));
    app.service.move_step(&sandbox, Direction::Undo).await.unwrap();
    for number in 0..15 {
        assert_eq!(looks(&app.service, &page).await, (false, false));
        set(&app, &sandbox, &records[..1], json!({"areaSilo": format!("YARD {number}")})).await;
    }
    assert_eq!(looks(&app.service, &page).await, (false, true));
    assert_eq!(looks(&app.service, &page).await, (false, false));
}

/// A look is remembered for some changes, unless somebody writes thousands.
#[tokio::test]
async fn a_page_is_looked_at_once() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    let records = each(&app, 4, 3_000).await;
    edit(&app, &sandbox, &records[..2_500]).await;
    let page = page_in(&sandbox, Filter::default(), "forecastStart");
    assert_eq!(looks(&app.service, &page).await, (true, true));
    assert_eq!(looks(&app.service, &page).await, (false, false));
    let next = PageQuery { cursor: app.service.list_records(&page).await.unwrap().next, ..page.clone() };
    for page in [&next, &PageQuery { sort: Sort::parse("-forecastStart").unwrap(), ..page.clone() }] {
        assert!(looks(&app.service, page).await.0);
        assert!(!looks(&app.service, page).await.0);
        edit(&app, &sandbox, &records[2_500..2_501]).await;
        set(&app, &sandbox, &records[2_500..2_501], json!({"areaSilo": "YARD 8"})).await;
        assert!(!looks(&app.service, page).await.0);
    }
    for many in [&records[..2_000], &records[2_000..2_300]] {
        set(&app, &sandbox, many, json!({"areaSilo": "YARD 9"})).await;
        assert!(looks(&app.service, &page).await.0);
        assert!(!looks(&app.service, &page).await.0);
    }
    let other = open(&app).await;
    edit(&app, &other, &records[2_600..2_601]).await;
    commit(&app, &other).await;
    assert_eq!(looks(&app.service, &page).await, (false, true), "what was published is not many");
}

async fn commit(app: &TestApp, sandbox: &Sandbox) {
    app.service.commit_session(sandbox, &Commit { mode: CommitMode::Atomic, is_dry_run: false, idempotency_key: None }).await.unwrap();
}

/// Whether a page was looked at before it was read, and an overlay counted behind it.
async fn looks(service: &PfaMirrorService, page: &PageQuery) -> (bool, bool) {
    let (read, statements) = note_statements(service.list_records(page)).await;
    read.unwrap();
    let has = |part| statements.iter().any(|statement| statement.contains(part));
    (has("candidates as materialized"), has("has_many!"))
}

#[tokio::test]
async fn a_publication_is_a_crowd_for_everybody() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    discontinue(&app, &sandbox, &each(&app, 1, 5_000).await).await;
    let mut page = page_in(&sandbox, kept(), "forecastStart");
    page.reader.session = None;
    rows(&app.service, &page).await;
    assert!(reads_its_own_rows(&app.service, &page).await);
    commit(&app, &sandbox).await;
    assert_eq!(lookups(&app.service, &page).await, (201, true));
    let other = PfaMirrorService::new(app.pool().clone());
    assert_eq!(rows(&app.service, &page).await, rows(&other, &page).await);
    // Who may not read makes the page read nothing.
    let mut refused = page_in(&open(&app).await, kept(), "forecastStart");
    refused.reader.user = "somebody else".into();
    assert_eq!(lookups(&app.service, &refused).await, (0, false));
}

#[tokio::test]
async fn a_page_among_thousands_of_drafts_looks_its_own_rows_up() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    edit(&app, &sandbox, &each(&app, 4, 3_000).await).await;
    let page = page_in(&sandbox, Filter::default(), "forecastStart");
    let first = rows(&app.service, &page).await;
    let (probes, is_hashed) = lookups(&app.service, &page).await;
    assert!((200..=400).contains(&probes) && !is_hashed, "{probes} rows were looked up");
    assert_eq!(rows(&app.service, &page).await, first);
    // A large page passes so many that the hash is made, and tells all.
    let page = PageQuery { limit: 2_000, ..page };
    let (probes, is_hashed) = lookups(&app.service, &page).await;
    assert!(probes < 50 && is_hashed, "{probes} rows were looked up");
}

/// What a filter leaves is shown soon, however many drafts there are.
#[tokio::test]
async fn a_few_matches_are_no_crowd() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    edit(&app, &sandbox, &each(&app, 1, 3_000).await).await;
    rows(&app.service, &page_in(&sandbox, Filter::default(), "forecastStart")).await;
    let dates = [(Field::ForecastStart, Range { from: NaiveDate::from_ymd_opt(2028, 11, 1), to: None })].into();
    for sort in ["forecastStart", "-forecastStart"] {
        let page = page_in(&sandbox, Filter { dates: Clone::clone(&dates), ..Filter::default() }, sort);
        assert!(looks(&app.service, &page).await.0);
        let (probes, is_hashed) = lookups(&app.service, &page).await;
        assert!(probes <= 202 && !is_hashed, "{probes} rows were looked up");
    }
}

/// As the page begins with a few hundred of them only, its other rows are soon found.
#[tokio::test]
async fn a_few_drafts_before_a_page_are_no_crowd() {
    let app = demo_world().await;
    let sandbox = open(&app).await;
    let records = each(&app, 1, 8_000).await;
    discontinue(&app, &sandbox, &[&records[..200], &records[5_000..]].concat()).await;
    let page = page_in(&sandbox, kept(), "forecastStart");
    rows(&app.service, &page).await;
    let (probes, is_hashed) = lookups(&app.service, &page).await;
    assert!((400..=500).contains(&probes) && !is_hashed, "{probes} rows were looked up");
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
    discontinue(&app, &sandbox, &each(&app, 1, 3_000).await).await;
    let dates = [(Field::ForecastStart, Range { from: NaiveDate::from_ymd_opt(1950, 1, 2), to: None })].into();
    let page = page_in(&sandbox, Filter { dates, ..kept() }, "forecastStart");
    let first = rows(&app.service, &page).await;
    let (probes, is_hashed) = lookups(&app.service, &page).await;
    assert!(probes >= 2_900 && is_hashed, "{probes} rows were looked up");
    assert_eq!(rows(&app.service, &page).await, first);
}

/// In any order, with a filter, from page to page: the same as read in one, which looks for no crowd.
#[tokio::test]
async fn crowded_pages_show_what_others_do() {
    let app = demo_world().await;
    let (still, moving) = (open(&app).await, open(&app).await);
    let records = each(&app, 1, 4_000).await;
    edit(&app, &still, &records[..3_000]).await;
    let planned = "select pfa_id from pfa_mirror
                    where organization_id = 'HOLNG' and not is_actualized and not is_discontinued and forecast_start is not null";
    let planned: Vec<String> = sqlx::query_scalar(planned).fetch_all(app.pool()).await.unwrap();
    operate(&app, &moving, &planned[..3_000], &Operation::ShiftDates(-400)).await;
    set(&app, &moving, &planned[1_500..2_500], json!({"monthlyRate": 1, "areaSilo": "YARD 7"})).await;
    let everywhere = PfaMirrorService::new(app.pool().clone()).with_crowds_everywhere();
    let lifting = words(&[(Field::Category, "Lifting")]);
    let area = words(&[(Field::AreaSilo, "YARD 7")]);
    let dated = Filter { dates: [(Field::ForecastStart, days(2023))].into(), ..Filter::default() };
    for (filter, sort, is_looked_at) in [
        (lifting.clone(), "forecastStart", true),
        (lifting.clone(), "-originalEnd", true),
        (lifting.clone(), "-actualStart", true),
        (lifting, "-monthlyRate", false),
        (dated.clone(), "monthlyRate,-forecastStart", true),
        (dated, "-originalStart,pfaId", true),
        (area, "forecastStart", true),
        (Filter::default(), "model", false),
        (Filter { text: vec!["ltm".into()], ..Filter::default() }, "-forecastEnd", false),
    ] {
        for sandbox in [&still, &moving] {
            let page = PageQuery { limit: 1_000, ..page_in(sandbox, filter.clone(), sort) };
            // A page of all is too large for that.
            let expected = rows(&app.service, &PageQuery { limit: 20_000, ..page.clone() }).await;
            assert_eq!(looks(&app.service, &page).await.0, is_looked_at, "{sort}");
            assert_eq!(json!(walk(&app.service, &page).await), expected, "{sort}");
            if is_looked_at {
                // As if drafts were nearly all of each page; such as drafts fill, and days are parted by.
                let page = PageQuery { limit: 90, ..page };
                let plan = everywhere.explain_records(&page, false).await.unwrap();
                assert!(plan.to_string().contains("CTE edge"), "{plan:#}");
                assert_eq!(json!(walk(&everywhere, &page).await), expected, "{sort}");
            }
            assert_ne!(expected, json!([]), "{sort}");
        }
    }
}

/// In a descending order the first rows are those that have a value.
#[tokio::test]
async fn a_crowd_at_the_end_is_one_at_the_beginning_of_a_falling_order() {
    let app = demo_world().await;
    let (shown, hidden) = (open(&app).await, open(&app).await);
    let mut last = each(&app, 1, usize::MAX).await;
    let last = last.split_off(last.len() - 6_000);
    edit(&app, &shown, &last).await;
    discontinue(&app, &hidden, &last).await;
    let other = PfaMirrorService::new(app.pool().clone());
    for (sandbox, is_hashed) in [(&shown, false), (&hidden, true)] {
        let page = page_in(sandbox, kept(), "-forecastStart");
        let found = lookups(&app.service, &page).await;
        assert!(found.1 == is_hashed && found.0 <= 600, "{found:?}");
        assert_eq!(rows(&app.service, &page).await, rows(&other, &page).await);
    }
}
