//! The same readings as the planner sees them at a million records: with the statistics and the sizes of such a mirror
//! (`statistics.ndjson`, `sizes.ndjson`), but none of its rows. Plans are made and never run.
//!
//! The sizes are those of files without content: the planner asks the file system how long a table is.

use super::{actualized_of_one_make, grid_pages, nodes, sorted_categories};
use pfa_vanguard::db::embedded::{EmbeddedOptions, EmbeddedServer};
use pfa_vanguard::db::migrate::MIGRATOR;
use pfa_vanguard::db::pool::{connect_options, pool_options};
use pfa_vanguard::domain::filter::Filter;
use pfa_vanguard::domain::generate::Plan;
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::domain::sort::Sort;
use pfa_vanguard::service::ingest::Batch;
use pfa_vanguard::service::records::PageQuery;
use pfa_vanguard::service::{PfaMirrorService, Reader};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use sqlx::PgPool;
use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// The organization with three in ten of the million records.
const LARGEST: &str = "AMBLNG";
/// A block of PostgreSQL.
const BLOCK: u64 = 8_192;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Some real records: indexes have a root, and the planner may look at their ends.
async fn load(service: &PfaMirrorService) {
    service.save_organization(LARGEST, LARGEST).await.unwrap();
    let raw = Plan::demo().organizations[1].records().take(200);
    let records: Vec<_> = raw.map(|raw| canonicalise(raw).unwrap().0).collect();
    let mut load = service.begin_load(&[LARGEST]).await.unwrap();
    load.stage(&records).await.unwrap();
    load.apply(&Batch::import(LARGEST, Uuid::new_v4(), "test")).await.unwrap();
    load.commit(|_| ()).await.unwrap();
}

/// Makes tables and indexes look as long as they are at a million records.
async fn pretend_sizes(pool: &PgPool, data: &Path) {
    for size in lines(include_str!("sizes.ndjson")) {
        let relation = size["relation"].as_str().unwrap();
        let blocks = size["blocks"].as_u64().unwrap();
        let file: String = sqlx::query_scalar(
            "update pg_class set relpages = $2, reltuples = $3, relallvisible = case when relkind = 'r' then $2 else 0 end
              where oid = $1::regclass returning pg_relation_filepath(oid)",
        )
        .bind(relation)
        .bind(i32::try_from(blocks).unwrap())
        .bind(size["rows"].as_f64().unwrap())
        .fetch_one(pool)
        .await
        .unwrap();
        OpenOptions::new().write(true).open(data.join(file)).unwrap().set_len(blocks * BLOCK).unwrap();
    }
}

/// Gives the planner the statistics of a million records.
async fn pretend_statistics(pool: &PgPool) {
    sqlx::query(
        "insert into pg_statistic
                (starelid, staattnum, stainherit, stanullfrac, stawidth, stadistinct, stakind1, stakind2, stakind3, stakind4, stakind5,
                 staop1, staop2, staop3, staop4, staop5, stacoll1, stacoll2, stacoll3, stacoll4, stacoll5,
                 stanumbers1, stanumbers2, stanumbers3, stanumbers4, stavalues1, stavalues2, stavalues3, stavalues4)
         select a.attrelid, a.attnum, false, (s->>'nulls')::real, (s->>'width')::int, (s->>'distinct')::real,
                coalesce((s->'slots'->0->>'kind')::int2, 0), coalesce((s->'slots'->1->>'kind')::int2, 0),
                coalesce((s->'slots'->2->>'kind')::int2, 0), coalesce((s->'slots'->3->>'kind')::int2, 0), 0,
                coalesce((s->'slots'->0->>'operator')::oid, 0), coalesce((s->'slots'->1->>'operator')::oid, 0),
                coalesce((s->'slots'->2->>'operator')::oid, 0), coalesce((s->'slots'->3->>'operator')::oid, 0), 0,
                coalesce((s->'slots'->0->>'collation')::oid, 0), coalesce((s->'slots'->1->>'collation')::oid, 0),
                coalesce((s->'slots'->2->>'collation')::oid, 0), coalesce((s->'slots'->3->>'collation')::oid, 0), 0,
                translate(s->'slots'->0->>'numbers', '[]', '{}')::real[], translate(s->'slots'->1->>'numbers', '[]', '{}')::real[],
                translate(s->'slots'->2->>'numbers', '[]', '{}')::real[], translate(s->'slots'->3->>'numbers', '[]', '{}')::real[],
                array_in((s->'slots'->0->>'values')::cstring, kind.of, -1), array_in((s->'slots'->1->>'values')::cstring, kind.of, -1),
                array_in((s->'slots'->2->>'values')::cstring, kind.of, -1), array_in((s->'slots'->3->>'values')::cstring, kind.of, -1)
           from unnest($1::jsonb[]) s
           join pg_attribute a on a.attrelid = (s->>'relation')::regclass and a.attname = s->>'column'
           -- An inverted index holds pieces; its statistics are of what they are pieces of, the search text.
           cross join lateral (select case when s->>'relation' = 'pfa_mirror' then a.atttypid else 'text'::regtype::oid end as of) kind",
    )
    .bind(lines(include_str!("statistics.ndjson")))
    .execute(pool)
    .await
    .unwrap();
}

/// The indexes on the mirror that a plan uses, whatever the page, published or in a sandbox; it never reads the whole mirror.
async fn used_index(service: &PfaMirrorService, filter: Filter, sort: &str) -> Vec<String> {
    let mut used = used_index_in(service, None, filter.clone(), sort).await;
    used.extend(used_index_in(service, Some(Uuid::from_u128(7)), filter, sort).await);
    used.dedup();
    used
}

async fn used_index_in(service: &PfaMirrorService, session: Option<Uuid>, filter: Filter, sort: &str) -> Vec<String> {
    let reader = Reader { organization: LARGEST.into(), user: "dev".into(), session };
    let query = PageQuery::new(reader, filter, Sort::parse(sort).unwrap(), 200);
    let plan = service.explain_records(&query, false).await.unwrap();
    let nodes = nodes(&plan[0]["Plan"]);
    for node in &nodes {
        assert!(node["Node Type"] != "Seq Scan" || node["Relation Name"] != "pfa_mirror", "{sort}: {plan:#}");
    }
    let scans = nodes.iter().filter(|node| node["Index Name"].as_str().is_some_and(|index| index.starts_with("pfa_mirror")));
    scans.map(|node| node["Index Name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_planner_chooses_the_same_at_a_million_records() {
    let directory = tempfile::tempdir().unwrap();
    // The account that PostgreSQL runs as must reach it when the test runs as root.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut options = EmbeddedOptions::new(directory.path());
    // Nobody may look at the rows that are not there.
    options.settings.extend([("autovacuum", "off"), ("fsync", "off")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    let server = EmbeddedServer::start(options, |_| ()).await.unwrap();
    let options = connect_options(server.url().expose_secret(), Duration::from_secs(30)).unwrap();
    let pool = pool_options(4).connect_with(options).await.unwrap();
    MIGRATOR.run(&pool).await.unwrap();
    let service = PfaMirrorService::new(pool.clone());
    load(&service).await;
    let data: String = sqlx::query_scalar("show data_directory").fetch_one(&pool).await.unwrap();
    pretend_sizes(&pool, Path::new(&data)).await;
    pretend_statistics(&pool).await;
    let believed: Value = sqlx::query_scalar("explain (format json) select id from pfa_mirror where organization_id = 'AMBLNG'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!((250_000..350_000).contains(&believed[0]["Plan"]["Plan Rows"].as_i64().unwrap()), "{believed}");
    for (filter, sort, index) in grid_pages() {
        let used = used_index(&service, filter.clone(), sort).await;
        assert!(used.iter().all(|used| used == index) && !used.is_empty(), "{sort} {filter:?}: {used:?} instead of {index}");
    }
    assert_eq!(used_index(&service, actualized_of_one_make(), "forecastStart").await, ["pfa_mirror_actualized"]);
    // By rate a large category is better read along the index of the rates, and so are the records without one.
    for (filter, sort) in sorted_categories("Lifting").into_iter().take(1).chain(sorted_categories("Welding")) {
        let used = used_index(&service, filter.clone(), sort).await;
        assert_eq!(used[0], "pfa_mirror_grid", "{sort} {filter:?}: {used:?}");
    }
    let text = Filter { text: vec!["ltm 1250".into()], ..Filter::default() };
    assert_eq!(used_index(&service, text, "forecastStart").await, ["pfa_mirror_text"]);
    let contract = serde_json::from_str(r#"{"contract": "AMBLNG-1202", "model": "336F L"}"#).ok();
    let contained = Filter { contains: contract, ..Filter::default() };
    assert_eq!(used_index(&service, contained, "forecastStart").await, ["pfa_mirror_containment"]);
    service.close().await;
    server.stop_and_delete().await.unwrap();
}
