//! Sandboxes at a million records, end to end over HTTP on loopback: bulk edits and commits of
//! 10,000 records, and readings in a sandbox with few drafts beside one with 20,000.
//!
//! `cargo bench --bench sandboxes` builds (once) the cluster of `readings`, works in its largest
//! organization, and leaves the records as they were. `BENCH_RECORDS` and `BENCH_ROUNDS` change the size.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

mod support;

use pfa_vanguard::db::{migrate, pool};
use pfa_vanguard::error::Error;
use pfa_vanguard::service::PfaMirrorService;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::path::Path;
use std::time::Duration;
use support::{Client, api, fill, quantile, setting, start, time};

/// Rounds of each reading.
const READINGS: usize = 60;

#[tokio::main]
async fn main() {
    let records: u64 = setting("BENCH_RECORDS", 1_000_000);
    let rounds: usize = usize::try_from(setting("BENCH_ROUNDS", 5)).unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{records}"));
    fill(&dir, records);
    let server = start(&dir).await;
    let options = pool::connect_options(server.url().expose_secret(), Duration::from_mins(1)).unwrap();
    let pool = pool::pool_options(4).connect_with(options).await.unwrap();
    migrate::migrate(&pool).await.unwrap();
    forget(&pool).await;

    let (organization, count): (String, i64) =
        sqlx::query_as("select organization_id, count(*) from pfa_mirror group by 1 order by 2 desc limit 1")
            .fetch_one(&pool)
            .await
            .unwrap();
    println!("{records} records, {count} of them in {organization}\n");
    let mut bench = Bench { client: Client::of(api(pool.clone())).await, base: format!("/api/v1/orgs/{organization}"), pool, organization };
    bench.measure_writes(rounds).await;
    bench.measure_readings().await;
    forget(&bench.pool).await;
    server.stop().await.unwrap();
}

/// Takes away every sandbox and what came out of it. The mirror is never touched by one.
async fn forget(pool: &PgPool) {
    sqlx::raw_sql(
        "truncate pfa_modification, pfa_overlay, pfa_edit_step, pfa_edit_change, pfa_mirror_history, pfa_summary_change, pfa_commit_answer, pfa_session;
         update organizations set change_number = change_number + 1",
    )
    .execute(pool)
    .await
    .unwrap();
    for table in ["pfa_mirror", "pfa_overlay", "pfa_modification"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("vacuum (analyze) {table}"))).execute(pool).await.unwrap();
    }
    // A large commit has the summaries refreshed in the background.
    let service = PfaMirrorService::new(pool.clone());
    while let Err(error) = service.refresh_views("manual").await {
        assert!(matches!(error, Error::RefreshRunning), "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Bench {
    client: Client,
    base: String,
    pool: PgPool,
    organization: String,
}

impl Bench {
    /// Rentals that are planned, `count` of them after the first `skip` by id.
    async fn rentals(&self, skip: i64, count: i64) -> Vec<String> {
        sqlx::query_scalar(
            "select pfa_id from pfa_mirror
              where organization_id = $1 and source = 'Rental' and not is_actualized and not is_discontinued and forecast_end is not null
              order by id offset $2 limit $3",
        )
        .bind(&self.organization)
        .bind(skip)
        .bind(count)
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    async fn open(&mut self) -> String {
        let session: Value = serde_json::from_str(&self.client.post(&format!("{}/sessions", self.base), "").await).unwrap();
        session["id"].as_str().unwrap().to_owned()
    }

    async fn shift(&mut self, session: &str, pfa_ids: &[String], is_preview: bool) -> Value {
        let body = json!({"select": {"pfaIds": pfa_ids}, "operation": {"type": "shiftDates", "days": 30}, "preview": is_preview});
        serde_json::from_str(&self.client.post(&format!("{}/sessions/{session}/edits", self.base), &body.to_string()).await).unwrap()
    }

    /// Bulk edits, undo, redo and commits of 10,000 records, each round on other ones.
    async fn measure_writes(&mut self, rounds: usize) {
        let names = ["preview of 10,000 edits", "10,000 edits", "undo of them", "redo of them", "commit of 10,000 drafts"];
        let mut times: [Vec<Duration>; 5] = Default::default();
        let mut floor = Vec::new();
        for round in 0..rounds {
            let pfa_ids = self.rentals(i64::try_from(round).unwrap() * 10_000, 10_000).await;
            assert_eq!(pfa_ids.len(), 10_000);
            let session = self.open().await;
            let path = format!("{}/sessions/{session}", self.base);
            time(&mut floor, self.write_plainly(&pfa_ids)).await;
            time(&mut times[0], self.shift(&session, &pfa_ids, true)).await;
            time(&mut times[1], self.shift(&session, &pfa_ids, false)).await;
            time(&mut times[2], self.client.post(&format!("{path}/undo"), "")).await;
            time(&mut times[3], self.client.post(&format!("{path}/redo"), "")).await;
            let mut report = String::new();
            time(&mut times[4], async { report = self.client.post(&format!("{path}/commit"), "").await }).await;
            assert!(report.starts_with("{\"committed\":10000,"), "{report}");
        }
        let floor = quantile(&mut floor, 0.5);
        println!("floor: a bare insert of 10,000 modifications and nothing else, {floor:.0} ms\n");
        println!("| work | median | slowest | × floor | at most |\n|---|---|---|---|---|");
        for (name, (mut times, most)) in names.into_iter().zip(times.into_iter().zip(["2 s", "2 s", "–", "–", "1 s"])) {
            let (median, slowest) = (quantile(&mut times, 0.5), quantile(&mut times, 1.0));
            println!("| {name} | {median:.0} ms | {slowest:.0} ms | {:.1} | {most} |", median / floor);
        }
    }

    /// The least that keeping 10,000 drafts can cost: their rows, with keys and indexes, rolled back.
    async fn write_plainly(&self, pfa_ids: &[String]) {
        let mut transaction = self.pool.begin().await.unwrap();
        sqlx::query(
            "insert into pfa_modification (organization_id, session_id, mirror_id, user_id, delta, base)
             select m.organization_id, s.id, m.id, s.user_id, jsonb_build_object('forecastStart', m.forecast_start), '{}'
               from pfa_mirror m join (select * from pfa_session where organization_id = $1 order by created_at desc limit 1) s using (organization_id)
              where m.organization_id = $1 and m.pfa_id = any ($2)",
        )
        .bind(&self.organization)
        .bind(pfa_ids)
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.rollback().await.unwrap();
    }

    /// The same readings in three sandboxes, in turns: without drafts, with 10, and with 20,000 of which the
    /// planner knows nothing yet.
    async fn measure_readings(&mut self) {
        forget(&self.pool).await;
        let drafts = self.rentals(0, 20_000).await;
        let (few, many) = (self.open().await, self.open().await);
        self.shift(&few, &drafts[..10], false).await;
        self.shift(&many, &drafts, false).await;
        println!(
            "\n| reading | 10 drafts | 20,000 drafts, just written | ratio | 20,000 drafts, counted | ratio | at most |\n|---|---|---|---|---|---|---|"
        );
        let grid = "records?category=Lifting&source=Rental&forecastStartFrom=2023-06-01&forecastEndTo=2028-12-31&limit=1000";
        let readings = [
            ("grid page, 1,000 rows of a category and source in a range", grid, "2.0"),
            ("grid page, 1,000 rows in order of the forecast start", "records?limit=1000", "2.0"),
            ("grid page, 100 rows by falling rate", "records?sort=-monthlyRate&limit=100", "–"),
            ("exact count of all rows", "records?limit=1&count=exact", "–"),
            ("KPIs by category", "kpis?groupBy=category", "–"),
            ("timeline", "timeline", "–"),
        ];
        let mut medians = vec![[0.0; 3]; readings.len()];
        for counted in [false, true] {
            if counted {
                for table in ["pfa_overlay", "pfa_modification"] {
                    sqlx::query(sqlx::AssertSqlSafe(format!("vacuum (analyze) {table}"))).execute(&self.pool).await.unwrap();
                }
            }
            for (place, (_, path, _)) in readings.iter().enumerate() {
                let separator = if path.contains('?') { '&' } else { '?' };
                let paths = [&few, &many].map(|session| format!("{}/{path}{separator}session={session}", self.base));
                let mut times: [Vec<Duration>; 2] = Default::default();
                for _ in 0..READINGS {
                    for (path, times) in paths.iter().zip(&mut times) {
                        time(times, self.client.get(path)).await;
                    }
                }
                let [few, many] = times.each_mut().map(|times| quantile(times, 0.5));
                medians[place][0] = few;
                medians[place][if counted { 2 } else { 1 }] = many;
            }
        }
        for ((name, _, most), [few, fresh, counted]) in readings.into_iter().zip(medians) {
            println!("| {name} | {few:.2} ms | {fresh:.2} ms | {:.2} | {counted:.2} ms | {:.2} | {most} |", fresh / few, counted / few);
        }
    }
}
