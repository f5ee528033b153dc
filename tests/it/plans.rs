//! Plans of the hot readings: the index that each was made for, its own rows only, no sorting of
//! the whole organization.

mod crowds;
mod million;

use crate::support::crowd::insert_overlay_rows;
use crate::support::{TestApp, test_app};
use chrono::NaiveDate;
use pfa_vanguard::domain::condition::{Condition, Place};
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::domain::filter::{Filter, Range};
use pfa_vanguard::domain::generate::Plan;
use pfa_vanguard::domain::sort::Sort;
use pfa_vanguard::service::Reader;
use pfa_vanguard::service::demo::LATER_LIFTING;
use pfa_vanguard::service::records::{CountKind, PageQuery};
use serde_json::{Value, json};
use uuid::Uuid;

/// What a timeline draws of a record.
const TIMELINE_FIELDS: [Field; 5] = [Field::PfaId, Field::Category, Field::Source, Field::ForecastStart, Field::ForecastEnd];

async fn demo_world() -> TestApp {
    let app = test_app().await;
    for organization in Plan::demo().organizations {
        app.load(&organization.code, &organization.records().collect::<Vec<_>>()).await;
    }
    app.service.save_demo_sandboxes().await.unwrap();
    app.service.vacuum_mirror().await.unwrap();
    sqlx::query("analyze").execute(app.pool()).await.unwrap();
    app
}

fn query(filter: Filter, sort: &str) -> PageQuery {
    let reader = Reader { organization: "HOLNG".into(), user: "dev".into(), session: Some(LATER_LIFTING) };
    PageQuery::new(reader, filter, Sort::parse(sort).unwrap(), 200)
}

/// All nodes of a plan.
fn nodes(plan: &Value) -> Vec<&Value> {
    let children = plan["Plans"].as_array().into_iter().flatten();
    std::iter::once(plan).chain(children.flat_map(nodes)).collect()
}

/// How often each hash of overlay ids was made, of which there is none larger than its limit.
fn hashes(nodes: &[&Value]) -> Vec<i64> {
    let hashes = nodes.iter().filter(|node| node["Parent Relationship"] == "SubPlan" && node["Node Type"] == "Limit");
    hashes.map(|node| node["Actual Loops"].as_i64().unwrap()).collect()
}

async fn assert_plan(app: &TestApp, query: &PageQuery, index: &str) {
    let plan = app.service.explain_records(query, true).await.unwrap();
    let plan = &plan[0]["Plan"];
    let nodes = nodes(plan);
    let used: Vec<_> = nodes.iter().filter_map(|node| node["Index Name"].as_str()).collect();
    assert!(used.contains(&index), "{index} in {used:?}");
    for node in &nodes {
        // What admits the reader is one block here.
        let is_admission = ["organizations", "pfa_session"].iter().any(|table| node["Relation Name"] == *table);
        assert!(node["Node Type"] != "Seq Scan" || is_admission, "{plan:#}");
        let rows = node["Actual Rows"].as_f64().unwrap_or_default() * node["Actual Loops"].as_f64().unwrap_or_default();
        assert!(rows <= 1_500.0, "{} reads {rows} rows for a page of 200: {plan:#}", node["Node Type"]);
        if node["Relation Name"] == "pfa_mirror" {
            let removed = node["Rows Removed by Filter"].as_f64().unwrap_or_default();
            assert!(removed <= 400.0, "{removed} rows were read for nothing: {plan:#}");
        }
    }
}

fn words(pairs: &[(Field, &str)]) -> Filter {
    Filter { words: pairs.iter().map(|(field, word)| (*field, vec![(*word).to_owned()])).collect(), ..Filter::default() }
}

fn days(year: i32) -> Range<NaiveDate> {
    Range { from: NaiveDate::from_ymd_opt(year, 1, 1), to: NaiveDate::from_ymd_opt(year + 3, 12, 31) }
}

/// Of every few rows of what is actualized one: the index tells which.
fn actualized_of_one_make() -> Filter {
    Filter { flags: [(Field::IsActualized, true)].into(), ..words(&[(Field::Manufacturer, "Caterpillar")]) }
}

/// Filters and orders of the grid, each with the index that was made for it.
fn grid_pages() -> Vec<(Filter, &'static str, &'static str)> {
    let grid = words(&[(Field::Category, "Lifting"), (Field::Source, "Rental")]);
    let mut grid_in_dates = grid.clone();
    grid_in_dates.dates.insert(Field::ForecastStart, days(2024));
    grid_in_dates.dates.insert(Field::ForecastEnd, days(2024));
    let make = words(&[(Field::Manufacturer, "Liebherr"), (Field::Model, "LTM 1250-6.1")]);
    let flagged = |field| Filter { flags: [(field, true)].into(), ..Filter::default() };
    vec![
        (grid, "forecastStart", "pfa_mirror_grid"),
        (grid_in_dates, "forecastStart", "pfa_mirror_grid"),
        (Filter::default(), "forecastStart", "pfa_mirror_timeline"),
        (Filter::default(), "-forecastEnd", "pfa_mirror_forecast_end"),
        (Filter::default(), "-monthlyRate", "pfa_mirror_monthly_rate"),
        (Filter::default(), "pfaId", "pfa_mirror_pfa_id_key"),
        (Filter::default(), "originalStart", "pfa_mirror_original_start"),
        (Filter::default(), "originalEnd", "pfa_mirror_original_end"),
        (Filter::default(), "-actualStart", "pfa_mirror_actual_start"),
        (Filter::default(), "actualEnd", "pfa_mirror_actual_end"),
        (Filter::default(), "-purchasePrice", "pfa_mirror_purchase_price"),
        (words(&[(Field::Class, "Excavator")]), "forecastStart", "pfa_mirror_class"),
        (make, "forecastStart", "pfa_mirror_make"),
        (words(&[(Field::AreaSilo, "SHOP")]), "forecastStart", "pfa_mirror_area"),
        (flagged(Field::IsActualized), "forecastStart", "pfa_mirror_actualized"),
        (flagged(Field::IsFundsTransferable), "forecastStart", "pfa_mirror_funds_transferable"),
        (flagged(Field::IsDiscontinued), "forecastStart", "pfa_mirror_discontinued"),
    ]
}

/// Pages of a category in another order than that of the grid's index.
fn sorted_categories(category: &str) -> [(Filter, &'static str); 3] {
    let category = words(&[(Field::Category, category)]);
    let actualized = Filter { flags: [(Field::IsActualized, false)].into(), ..category.clone() };
    [(category.clone(), "class"), (category, "-monthlyRate"), (actualized, "dor")]
}

#[tokio::test]
async fn grid_pages_read_their_own_rows_by_their_index() {
    let app = demo_world().await;
    for (filter, sort, index) in grid_pages() {
        assert_plan(&app, &query(filter, sort), index).await;
    }
}

#[tokio::test]
async fn a_deep_page_reads_no_more_than_the_first() {
    let app = demo_world().await;
    for sort in ["forecastStart", "-forecastEnd", "pfaId"] {
        let mut query = query(Filter::default(), sort);
        for _ in 0..30 {
            query.cursor = app.service.list_records(&query).await.unwrap().next;
        }
        assert!(query.cursor.is_some());
        let index = match sort {
            "forecastStart" => "pfa_mirror_timeline",
            "-forecastEnd" => "pfa_mirror_forecast_end",
            _ => "pfa_mirror_pfa_id_key",
        };
        assert_plan(&app, &query, index).await;
    }
}

/// A range on the sort key leaves no nulls: the index is sought and read backward all the same.
#[tokio::test]
async fn a_range_on_the_sort_key_keeps_its_index_also_deep_down() {
    let app = demo_world().await;
    let mut dates = Filter::default();
    dates.dates.insert(Field::ForecastStart, days(2023));
    let mut rates = Filter::default();
    rates.amounts.insert(Field::MonthlyRate, Range { from: Some(1.into()), to: None });
    for (filter, sort, index) in [(dates, "forecastStart", "pfa_mirror_timeline"), (rates, "-monthlyRate", "pfa_mirror_monthly_rate")] {
        let mut query = query(filter, sort);
        assert_plan(&app, &query, index).await;
        for _ in 0..30 {
            query.cursor = app.service.list_records(&query).await.unwrap().next;
        }
        assert!(query.cursor.is_some());
        assert_plan(&app, &query, index).await;
    }
}

/// The many records without an actual date come last, in order of their id, and are paged like others.
#[tokio::test]
async fn a_deep_page_in_the_null_tail_reads_its_own_rows() {
    let app = demo_world().await;
    let mut query = query(Filter::default(), "actualStart");
    for _ in 0..40 {
        query.cursor = app.service.list_records(&query).await.unwrap().next;
    }
    assert_eq!(query.cursor.as_ref().map(|cursor| cursor.values.clone()), Some(vec![None]));
    assert_plan(&app, &query, "pfa_mirror_actual_start").await;
}

#[tokio::test]
async fn text_and_containment_use_their_inverted_indexes() {
    let app = demo_world().await;
    let mut model = Filter::default();
    model.narrow(Condition::HasText(Field::Model, Place::Start, "LTM 1250".into()));
    for (filter, index) in [
        (Filter { text: vec!["ltm 1250".into()], ..Filter::default() }, "pfa_mirror_text"),
        (model, "pfa_mirror_text"),
        (
            Filter { contains: serde_json::from_str(r#"{"contract": "HOLNG-1202", "model": "336F L"}"#).ok(), ..Filter::default() },
            "pfa_mirror_containment",
        ),
    ] {
        let plan = app.service.explain_records(&query(filter, "forecastStart"), true).await.unwrap();
        let used: Vec<_> = nodes(&plan[0]["Plan"]).into_iter().filter_map(|node| node["Index Name"].as_str()).collect();
        assert!(used.contains(&index), "{index} in {used:?}");
    }
}

/// A large page tells rows that the overlay has by a hash of it while it is small, and by probes when it is large, whatever
/// the statistics say and whatever others have in their sandboxes.
#[tokio::test]
async fn a_large_page_reads_the_overlay_as_a_whole_only_while_it_is_small() {
    let app = demo_world().await;
    let page = PageQuery { limit: 500, ..query(Filter::default(), "forecastStart") };
    let probes = async || {
        let plan = app.service.explain_records(&page, true).await.unwrap();
        let nodes = nodes(&plan[0]["Plan"]);
        let probes = nodes.iter().filter(|node| node["Parent Relationship"] == "SubPlan" && node["Relation Name"] == "pfa_overlay");
        probes.map(|node| node["Actual Loops"].as_f64().unwrap()).fold(0.0, f64::max)
    };
    assert!(probes().await < 50.0);
    let drafts = "insert into pfa_overlay (organization_id, id, data, version, last_synced_at, session_id, sync_state, modified_fields, modified_by, modified_at)
                  select organization_id, id, data, version, now(), $1, 'draft', '{}', 'ben', now()
                    from pfa_mirror where organization_id = 'HOLNG' order by forecast_start desc nulls last limit 1200
                      on conflict do nothing";
    sqlx::query(drafts).bind(Uuid::from_u128(7)).execute(app.pool()).await.unwrap();
    assert!(probes().await < 50.0);
    sqlx::query(drafts).bind(LATER_LIFTING).execute(app.pool()).await.unwrap();
    assert!(probes().await >= 500.0);
}

/// A page whose texts are remembered needs the version and the order of its records, which the index holds.
#[tokio::test]
async fn a_remembered_page_is_read_from_its_index_alone() {
    let app = demo_world().await;
    let grid = words(&[(Field::Category, "Lifting"), (Field::Source, "Rental")]);
    for (filter, index) in
        [(grid, "pfa_mirror_grid"), (Filter::default(), "pfa_mirror_timeline"), (actualized_of_one_make(), "pfa_mirror_actualized")]
    {
        let page = query(filter, "forecastStart");
        for kind in ["Index Scan", "Index Only Scan"] {
            let plan = app.service.explain_records(&page, true).await.unwrap();
            let nodes = nodes(&plan[0]["Plan"]);
            let scan = nodes.iter().find(|node| node["Index Name"] == index).unwrap();
            assert_eq!(scan["Node Type"], kind, "{plan:#}");
            app.service.list_records(&page).await.unwrap();
        }
    }
}

/// A jump over many rows reads them from the index alone, and the texts of what it shows after that.
#[tokio::test]
async fn rows_before_a_jump_are_left_out_without_their_records() {
    let app = demo_world().await;
    let page = PageQuery { offset: 5_000, ..query(Filter::default(), "forecastStart") };
    let plan = app.service.explain_records(&page, true).await.unwrap();
    let nodes = nodes(&plan[0]["Plan"]);
    let scan = nodes.iter().find(|node| node["Relation Name"] == "pfa_mirror").unwrap();
    assert_eq!((&scan["Node Type"], &scan["Index Name"]), (&json!("Index Only Scan"), &json!("pfa_mirror_timeline")), "{plan:#}");
    let rows = app.service.list_records(&page).await.unwrap().rows;
    assert!(rows.contains("\"category\": \""), "no text was asked for");
}

/// A category in another order than that of the grid's index is found and sorted without its records.
#[tokio::test]
async fn a_category_is_sorted_without_its_records() {
    let app = demo_world().await;
    for (filter, sort) in sorted_categories("Welding") {
        let plan = app.service.explain_records(&query(filter, sort), true).await.unwrap();
        let nodes = nodes(&plan[0]["Plan"]);
        let scan = nodes.iter().find(|node| node["Relation Name"] == "pfa_mirror").unwrap();
        assert_eq!((&scan["Node Type"], &scan["Index Name"]), (&json!("Index Only Scan"), &json!("pfa_mirror_grid")), "{plan:#}");
    }
}

/// While it is sorted, a hash tells which of its records the overlay has, or calls when the overlay is too large for that.
#[tokio::test]
async fn a_sorted_category_is_the_same_whatever_the_size_of_the_overlay() {
    let app = demo_world().await;
    let pages = sorted_categories("Lifting").map(|(filter, sort)| PageQuery { limit: 5_000, ..query(filter, sort) });
    let hashed = async |page: &PageQuery| {
        let plan = app.service.explain_records(page, true).await.unwrap();
        let nodes = nodes(&plan[0]["Plan"]);
        let loops = hashes(&nodes);
        assert!(!loops.is_empty(), "{plan:#}");
        loops.into_iter().sum::<i64>()
    };
    let mut before = Vec::new();
    for page in &pages {
        assert_eq!(hashed(page).await, 1);
        let rows = app.service.list_records(page).await.unwrap().rows;
        assert!(rows.contains("\"syncState\": \"draft\""), "no draft to tell");
        before.push(rows);
    }
    for (session, hashes) in [(Uuid::from_u128(7), 1), (LATER_LIFTING, 0)] {
        insert_overlay_rows(app.pool(), "HOLNG", session, 50_001).await;
        for (page, before) in pages.iter().zip(&before) {
            assert_eq!(hashed(page).await, hashes);
            assert_eq!(&app.service.list_records(page).await.unwrap().rows, before);
        }
    }
}

/// Who may not read makes the database read nothing, nor count.
#[tokio::test]
async fn a_refused_page_reads_no_record() {
    let app = demo_world().await;
    let mut page = PageQuery { count: CountKind::Exact, ..query(Filter::default(), "-monthlyRate") };
    let read = async |page: &PageQuery| {
        let plan = app.service.explain_records(page, true).await.unwrap();
        let nodes = nodes(&plan[0]["Plan"]);
        let scans = nodes.iter().filter(|node| node["Relation Name"] == "pfa_mirror" || node["Relation Name"] == "pfa_overlay");
        scans.map(|scan| scan["Actual Loops"].as_i64().unwrap()).sum::<i64>()
    };
    assert!(read(&page).await > 5);
    page.reader.user = "somebody else".into();
    assert_eq!(read(&page).await, 0);
}

/// What a timeline draws is in the index that orders it.
#[tokio::test]
async fn a_timeline_is_read_from_its_index_alone() {
    let app = demo_world().await;
    let page = PageQuery { fields: Some(TIMELINE_FIELDS.into()), ..query(Filter::default(), "forecastStart") };
    let plan = app.service.explain_records(&page, true).await.unwrap();
    let nodes = nodes(&plan[0]["Plan"]);
    let scan = nodes.iter().find(|node| node["Index Name"] == "pfa_mirror_timeline").unwrap();
    // How many rows are looked up all the same, because they are young, is up to the other work on this server.
    assert_eq!(scan["Node Type"], "Index Only Scan", "{plan:#}");
}

/// The refresh of the timeline looks at the ends of indexes, and counts no record.
#[tokio::test]
async fn the_refresh_of_the_timeline_reads_no_organization() {
    let app = demo_world().await;
    app.service.refresh_views("test").await.unwrap();
    let definition: String = sqlx::query_scalar("select pg_get_viewdef('pfa_timeline_bounds')").fetch_one(app.pool()).await.unwrap();
    let explain = format!("explain (analyze, format json) {definition}");
    let plan: Value = sqlx::query_scalar(sqlx::AssertSqlSafe(explain)).fetch_one(app.pool()).await.unwrap();
    let nodes = nodes(&plan[0]["Plan"]);
    let scans: Vec<_> = nodes.iter().filter(|node| node["Relation Name"] == "pfa_mirror" && node["Actual Loops"] != 0).collect();
    assert_eq!(scans.len(), 6, "one for each bound: {plan:#}");
    for scan in scans {
        let rows = scan["Actual Rows"].as_f64().unwrap() + scan["Rows Removed by Filter"].as_f64().unwrap_or_default();
        assert!(rows <= 3.0, "{plan:#}");
    }
}
