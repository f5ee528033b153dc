//! The hot readings, end to end over HTTP on loopback, side by side with the cheapest statement
//! that gives the same answer, in one run.
//!
//! `cargo bench --bench readings` builds (once) a cluster with 1,000,000 records and 10,000
//! modifications below `target/`, then measures in turns. `BENCH_RECORDS` and `BENCH_ROUNDS`
//! change the size.
//!
//! - grid: 1,000 rows of one category and source in a date range, inside a sandbox with drafts,
//!   against the bare mirror query (same conditions, same index) through one prepared connection.
//! - kpis and timeline: against a static JSON answer of the same size over HTTP plus the bare
//!   select of the view's rows.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

mod support;

use axum::Router;
use axum::routing::get;
use pfa_vanguard::db::{migrate, pool};
use pfa_vanguard::service::PfaMirrorService;
use secrecy::ExposeSecret as _;
use sqlx::{ConnectOptions as _, PgConnection, PgPool, Row as _};
use std::path::Path;
use std::time::Duration;
use support::{Client, api, fill, quantile, setting, start, time};
use uuid::Uuid;

/// The sandbox that reads: 100 drafts in HOLNG.
const SESSION: Uuid = Uuid::from_u128(0x5e55_1014_0000_4000_8000_0000_0000_0000);
const HOLNG: &str = "HOLNG";

#[tokio::main]
async fn main() {
    let records: u64 = setting("BENCH_RECORDS", 1_000_000);
    let rounds: usize = usize::try_from(setting("BENCH_ROUNDS", 200)).unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{records}"));
    fill(&dir, records);
    let server = start(&dir).await;
    let url = server.url();
    let options = pool::connect_options(url.expose_secret(), Duration::from_mins(1)).unwrap();
    let pool = pool::pool_options(4).connect_with(options.clone()).await.unwrap();
    migrate::migrate(&pool).await.unwrap();
    modify(&pool).await;
    settle(&pool).await;
    let bare = options.connect().await.unwrap();
    measure(pool, bare, rounds).await;
    server.stop().await.unwrap();
}

/// 10,000 modifications in 100 sandboxes over all organizations: four in five are drafts, the others committed.
async fn modify(pool: &PgPool) {
    let is_done: bool = sqlx::query_scalar("select exists (select from pfa_modification)").fetch_one(pool).await.unwrap();
    if is_done {
        return;
    }
    println!("Writing 10,000 modifications");
    let statements = format!(
        "insert into pfa_session (organization_id, id, user_id)
         select organization_id, case when organization_id = '{HOLNG}' and n = 1 then '{SESSION}' else gen_random_uuid() end, 'dev'
           from (select organization_id, row_number() over (order by organization_id) as place from organizations) o
           join generate_series(1, 9) n on n <= 8 or o.place <= 4;
         insert into pfa_modification (organization_id, session_id, mirror_id, user_id, sync_state, delta, base, base_version, committed_at)
         select m.organization_id, s.id, m.id, 'dev', case when m.n % 5 = 0 then 'committed' else 'draft' end,
                jsonb_build_object('forecastStart', m.forecast_start + 7, 'monthlyRate', m.n * 10),
                pfa_pick(m.data, array['forecastStart', 'monthlyRate']), m.version, case when m.n % 5 = 0 then now() end
           from (select *, row_number() over (partition by organization_id) as place from pfa_session) s
           join lateral (select *, row_number() over () as n from (
                            select * from pfa_mirror m where m.organization_id = s.organization_id and m.forecast_start is not null
                             order by md5(s.id::text || m.id::text) limit 100) picked) m on true;
         select pfa_rebuild_overlay(organization_id) from organizations;
         update organizations set change_number = change_number + 1;"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(pool).await.unwrap();
}

/// As a server is some minutes after its writes: vacuumed, with statistics, summaries refreshed.
async fn settle(pool: &PgPool) {
    for table in ["pfa_mirror", "pfa_overlay", "pfa_modification"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("vacuum (analyze) {table}"))).execute(pool).await.unwrap();
    }
    PfaMirrorService::new(pool.clone()).refresh_views("manual").await.unwrap();
}

async fn measure(pool: PgPool, mut bare: PgConnection, rounds: usize) {
    let (records, drafts): (i64, i64) = sqlx::query_as(
        "select (select count(*) from pfa_mirror), (select count(*) from pfa_modification where session_id = $1 and sync_state = 'draft')",
    )
    .bind(SESSION)
    .fetch_one(&mut bare)
    .await
    .unwrap();
    println!("{records} records, {drafts} drafts in the sandbox, {rounds} rounds");

    let organization = format!("/api/v1/orgs/{HOLNG}");
    let grid = format!(
        "{organization}/records?category={CATEGORY}&source=Rental&forecastStartFrom={FROM}&forecastEndTo={TO}&limit=1000&session={SESSION}"
    );
    let (kpis, timeline) = (format!("{organization}/kpis?groupBy=category"), format!("{organization}/timeline"));
    let mut ours = Client::of(api(pool)).await;
    let bodies = [ours.get(&grid).await, ours.get(&kpis).await, ours.get(&timeline).await];
    println!("answers: grid {} bytes, kpis {} bytes, timeline {} bytes", bodies[0].len(), bodies[1].len(), bodies[2].len());
    let [_, kpi_body, timeline_body] = bodies;
    let fixed = Router::new().route("/kpis", get(async || kpi_body)).route("/timeline", get(async || timeline_body));
    let mut fixed = Client::of(fixed).await;

    println!("\n| reading | ours p50 | ours p99 | floor p50 | ratio of p50 | at most |\n|---|---|---|---|---|---|");
    // Ours and the floor take turns, so that a noisy moment meets both alike; each reading is warm.
    let (mut took, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        time(&mut took, ours.get(&grid)).await;
        time(&mut floor, bare_rows(&mut bare, BARE_GRID)).await;
    }
    report("grid page, 1,000 rows, in a sandbox", took, floor);
    for (name, path, fixed_path, statement) in [("kpis", kpis, "/kpis", BARE_KPIS), ("timeline", timeline, "/timeline", BARE_TIMELINE)] {
        let (mut took, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..rounds * 5 {
            time(&mut took, ours.get(&path)).await;
            time(&mut floor, async { (fixed.get(fixed_path).await, bare_rows(&mut bare, statement).await) }).await;
        }
        report(name, took, floor);
    }
}

const CATEGORY: &str = "Lifting";
const FROM: &str = "2023-06-01";
const TO: &str = "2028-12-31";
const BARE_GRID: &str = "select data::text from pfa_mirror
    where organization_id = 'HOLNG' and category = 'Lifting' and source = 'Rental' and not is_discontinued
      and forecast_start >= '2023-06-01' and forecast_end <= '2028-12-31'
    order by forecast_start, id limit 1000";
const BARE_KPIS: &str = "select category, source, dor, record_count, actualized_count, plan_amount, forecast_amount, actual_amount
    from pfa_kpi_summary where organization_id = 'HOLNG'";
const BARE_TIMELINE: &str = "select * from pfa_timeline_bounds where organization_id = 'HOLNG'";

async fn bare_rows(connection: &mut PgConnection, statement: &'static str) -> usize {
    let rows = sqlx::query(statement).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.try_get_raw(0).map_or(0, |_| 1)).sum()
}

fn report(name: &str, mut ours: Vec<Duration>, mut floor: Vec<Duration>) {
    let (p50, p99, floor) = (quantile(&mut ours, 0.5), quantile(&mut ours, 0.99), quantile(&mut floor, 0.5));
    println!("| {name} | {p50:.2} ms | {p99:.2} ms | {floor:.2} ms | {:.2} | 2.00 |", p50 / floor);
}
