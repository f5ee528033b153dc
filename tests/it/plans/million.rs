//! The same readings as the planner sees them at a million records: with the statistics and the sizes of such a mirror
//! (`statistics.ndjson`, `sizes.ndjson`), but none of its rows. Plans are made and never run.
//!
//! The sizes are those of files without content: the planner asks the file system how long a table is.

use super::{TIMELINE_FIELDS, actualized_of_one_make, grid_pages, nodes, sorted_categories};
use crate::statements::statement_with;
use pfa_vanguard::db::embedded::{EmbeddedOptions, EmbeddedServer};
use pfa_vanguard::db::migrate::MIGRATOR;
use pfa_vanguard::db::pool::{connect_options, pool_options};
use pfa_vanguard::domain::cursor::Cursor;
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::domain::filter::Filter;
use pfa_vanguard::domain::generate::Plan;
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::domain::sort::Sort;
use pfa_vanguard::service::ingest::Batch;
use pfa_vanguard::service::records::{CountKind, PageQuery};
use pfa_vanguard::service::{PfaMirrorService, Reader};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgPool};
use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
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

/// A question for a page of the largest organization.
fn page(session: Option<Uuid>, filter: Filter, sort: &str) -> PageQuery {
    let reader = Reader { organization: LARGEST.into(), user: "dev".into(), session };
    PageQuery::new(reader, filter, Sort::parse(sort).unwrap(), 200)
}

/// The same in public and in a sandbox.
fn pages(filter: &Filter, sort: &str) -> [PageQuery; 2] {
    [None, Some(Uuid::from_u128(7))].map(|session| page(session, filter.clone(), sort))
}

/// A place in the midst of a page's order.
fn somewhere(page: &PageQuery) -> Cursor {
    let value = match page.sort.keys()[0].field {
        Field::PfaId => "600000",
        Field::MonthlyRate | Field::PurchasePrice => "20000",
        _ => "2026-01-01",
    };
    Cursor::new(page.fingerprint(), vec![Some(value.to_owned())], Uuid::from_u128(7))
}

/// Scans of the mirror, all of an index: it is never read as a whole.
fn scans(plan: &Value) -> Vec<(&str, &str)> {
    let scans = nodes(&plan[0]["Plan"]).into_iter().filter_map(|node| {
        let kind = node["Node Type"].as_str().unwrap();
        assert!(kind != "Seq Scan" || node["Relation Name"] != "pfa_mirror", "{plan:#}");
        node["Index Name"].as_str().filter(|index| index.starts_with("pfa_mirror")).map(|index| (kind, index))
    });
    scans.collect()
}

/// The indexes of the mirror that a plan uses.
fn used_indexes(plan: &Value) -> Vec<String> {
    scans(plan).into_iter().map(|(_, index)| index.to_owned()).collect()
}

/// Of other indexes nothing leads to a record, but for those that the primary key finds one by one.
fn assert_reads_records_by(index: &str, plan: &Value) {
    let scans = scans(plan);
    assert!(!scans.is_empty());
    for (kind, used) in &scans {
        assert!(*kind == "Index Only Scan" || [index, "pfa_mirror_pkey"].contains(used), "{index}, not {scans:?}");
    }
}

/// A mirror that the planner takes for one of a million records.
struct Million {
    service: PfaMirrorService,
    pool: PgPool,
    server: EmbeddedServer,
    _directory: TempDir,
}

impl Million {
    async fn start() -> Self {
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
        Self { service, pool, server, _directory: directory }
    }

    async fn stop(self) {
        self.service.close().await;
        self.server.stop_and_delete().await.unwrap();
    }

    async fn plan(&self, statement: &str) -> Value {
        let explain = format!("explain (format json) {statement}");
        sqlx::query_scalar(AssertSqlSafe(explain)).persistent(false).fetch_one(&self.pool).await.unwrap()
    }

    /// The plan of a statement for any values.
    async fn plan_of_any(&self, statement: &str) -> Value {
        let mut connection = self.pool.acquire().await.unwrap();
        let prepare = format!("set plan_cache_mode = force_generic_plan; deallocate all; prepare hot as {statement}");
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
        let values = "select array_fill('null'::text, array[cardinality(parameter_types)]) from pg_prepared_statements where name = 'hot'";
        let values: Vec<String> = sqlx::query_scalar(values).persistent(false).fetch_one(&mut *connection).await.unwrap();
        let explain = format!("explain (format json) execute hot({})", values.join(", "));
        let plan: Json<Value> = sqlx::query_scalar(AssertSqlSafe(explain)).persistent(false).fetch_one(&mut *connection).await.unwrap();
        connection.close().await.unwrap();
        plan.0
    }

    /// What a page reads, in public and in a sandbox.
    async fn used_by(&self, filter: &Filter, sort: &str) -> Vec<String> {
        let mut used = Vec::new();
        for page in pages(filter, sort) {
            used.extend(used_indexes(&self.service.explain_records(&page, false).await.unwrap()));
        }
        used.dedup();
        used
    }

    async fn assert_grid_pages(&self) {
        for (filter, sort, index) in grid_pages() {
            assert_eq!(self.used_by(&filter, sort).await, [index], "{sort} {filter:?}");
        }
        assert_eq!(self.used_by(&actualized_of_one_make(), "forecastStart").await, ["pfa_mirror_actualized"]);
        // By rate a large category is better read along the index of the rates, and so are the records without one.
        for (filter, sort) in sorted_categories("Lifting").into_iter().take(1).chain(sorted_categories("Welding")) {
            let used = self.used_by(&filter, sort).await;
            assert_eq!(used[0], "pfa_mirror_grid", "{sort} {filter:?}: {used:?}");
        }
    }

    async fn assert_searches(&self) {
        let text = Filter { text: vec!["ltm 1250".into()], ..Filter::default() };
        assert_eq!(self.used_by(&text, "forecastStart").await, ["pfa_mirror_text"]);
        let contract = serde_json::from_str(r#"{"contract": "AMBLNG-1202", "model": "336F L"}"#).ok();
        let contained = Filter { contains: contract, ..Filter::default() };
        assert_eq!(self.used_by(&contained, "forecastStart").await, ["pfa_mirror_containment"]);
    }

    /// Large pages, and pages behind many rows, which an index alone tells.
    async fn assert_large_pages(&self) {
        for (filter, sort, index) in grid_pages() {
            for page in pages(&filter, sort) {
                for limit in [1_000, 5_000] {
                    let plan = self.service.explain_records(&PageQuery { limit, ..page.clone() }, false).await.unwrap();
                    assert!(used_indexes(&plan).iter().all(|used| used == index), "{index}: {plan:#}");
                }
                let behind = PageQuery { offset: 150_000, ..page };
                assert_reads_records_by(index, &self.service.explain_records(&behind, false).await.unwrap());
            }
        }
    }

    async fn assert_counts(&self) {
        for (filter, sort, index) in grid_pages() {
            for page in pages(&filter, sort) {
                let page = PageQuery { count: CountKind::Exact, ..page };
                assert_reads_records_by(index, &self.service.explain_records(&page, false).await.unwrap());
            }
        }
    }

    /// What is asked for again is in its index, and in order.
    async fn assert_exports(&self) {
        for fields in [None, Some(TIMELINE_FIELDS.into())] {
            for page in pages(&Filter::default(), "forecastStart") {
                let page = PageQuery { fields: fields.clone(), ..page };
                for statement in page.export_statements() {
                    let plan = self.plan_of_any(&statement).await;
                    assert_eq!(plan.to_string().contains("hashed SubPlan"), statement.contains(" not in "), "{plan:#}");
                    if statement.contains("pfa_mirror") {
                        assert_eq!(scans(&plan), [("Index Only Scan", "pfa_mirror_timeline")], "{plan:#}");
                        assert!(!plan.to_string().contains("Sort\""), "{plan:#}");
                    } else {
                        let is_whole = |node: &&Value| node["Node Type"] == "Seq Scan";
                        assert!(!nodes(&plan[0]["Plan"]).iter().any(is_whole), "{plan:#}");
                    }
                }
            }
        }
    }

    /// KPIs, bounds and pending write-backs, which read nothing of the mirror however large it is.
    async fn assert_summaries(&self) {
        for (part, index) in [
            ("select null as refusal, k.refreshed_at", Some("pfa_kpi_summary_of_organization")),
            // One row an organization: twelve are not worth an index.
            ("select null as refusal, t.change_number = o.change_number", None),
            ("(d.committed_at, d.id) > (coalesce($2", Some("pfa_modification_pending")),
        ] {
            let plan = self.plan_of_any(&statement_with(part)).await;
            let nodes = nodes(&plan[0]["Plan"]);
            assert!(nodes.iter().all(|node| node["Relation Name"] != "pfa_mirror"), "{plan:#}");
            assert!(index.is_none_or(|index| nodes.iter().any(|node| node["Index Name"] == index)), "{index:?}: {plan:#}");
        }
    }

    /// Each bound is the end of its index.
    async fn assert_bounds(&self) {
        let view: String = sqlx::query_scalar("select pg_get_viewdef('pfa_timeline_bounds')").fetch_one(&self.pool).await.unwrap();
        for statement in [view.as_str(), "select * from pfa_live_bounds('AMBLNG', null)"] {
            let plan = self.plan(statement).await;
            let ends = ["original_start", "original_end", "timeline", "forecast_end", "actual_start", "actual_end"];
            assert_eq!(used_indexes(&plan), ends.map(|end| format!("pfa_mirror_{end}")), "{plan:#}");
        }
    }

    /// Pages of drafts read the mirror by the same index, also behind a cursor, where the range has two ends.
    async fn assert_crowds(&self) {
        let service = PfaMirrorService::new(self.pool.clone()).with_crowds_everywhere();
        for (filter, sort, index) in grid_pages() {
            for page in pages(&filter, sort) {
                for cursor in [None, Some(somewhere(&page))] {
                    let plan = service.explain_records(&PageQuery { cursor, ..page.clone() }, false).await.unwrap();
                    let text = plan.to_string();
                    assert!(text.contains("CTE passed"), "{plan:#}");
                    assert_eq!(text.contains("<= COALESCE(") || text.contains(">= COALESCE("), sort != "pfaId", "{plan:#}");
                    assert!(used_indexes(&plan).iter().all(|used| used == index), "{index}: {plan:#}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_planner_chooses_the_same_at_a_million_records() {
    let million = Million::start().await;
    let believed = million.plan("select id from pfa_mirror where organization_id = 'AMBLNG'").await;
    assert!((250_000..350_000).contains(&believed[0]["Plan"]["Plan Rows"].as_i64().unwrap()), "{believed}");
    million.assert_grid_pages().await;
    million.assert_searches().await;
    million.assert_large_pages().await;
    million.assert_counts().await;
    million.assert_exports().await;
    million.assert_bounds().await;
    million.assert_summaries().await;
    million.assert_crowds().await;
    million.stop().await;
}
