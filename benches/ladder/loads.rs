//! Filling the mirror: staging and the apply step beside a plain COPY, and the same records once more.

use crate::report::{Report, Rung};
use crate::support::start;
use pfa_vanguard::db::{migrate, pool};
use pfa_vanguard::domain::generate::{OrganizationPlan, Plan};
use pfa_vanguard::domain::record::{Record, canonicalise};
use pfa_vanguard::service::PfaMirrorService;
use pfa_vanguard::service::ingest::{Applied, Batch};
use secrecy::ExposeSecret as _;
use sqlx::PgPool;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Records that are copied at once, as a page of PEMS has them.
const PAGE: usize = 5_000;
/// What the former application loaded in a second; 25 times as many are promised.
const FORMER_PER_SECOND: u64 = 417;

/// Loads into a cluster of its own, which is deleted at the end.
pub async fn measure(records: u64, report: &mut Report) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-loads");
    let _ = std::fs::remove_dir_all(&dir);
    let server = start(&dir).await;
    let options = pool::connect_options(server.url().expose_secret(), Duration::from_mins(30)).unwrap();
    let pool = pool::pool_options(6).connect_with(options).await.unwrap();
    migrate::migrate(&pool).await.unwrap();
    let plan = Plan::skewed(records, 1, 42).organizations.remove(0);
    let loads = Loads { service: PfaMirrorService::new(pool.clone()), pool, plan };
    loads.service.save_organization(&loads.plan.code, &loads.plan.code).await.unwrap();
    loads.measure(report).await;
    loads.service.close().await;
    server.stop_and_delete().await.unwrap();
}

struct Loads {
    service: PfaMirrorService,
    pool: PgPool,
    plan: OrganizationPlan,
}

impl Loads {
    async fn measure(&self, report: &mut Report) {
        let count = self.plan.records;
        let floor = ms(self.copy().await);
        sqlx::raw_sql("truncate pfa_mirror, pfa_modification, pfa_overlay, pfa_mirror_history").execute(&self.pool).await.unwrap();
        let (first, applied) = self.load().await;
        assert_eq!(applied.inserted, count);
        self.service.vacuum_mirror().await.unwrap();
        let before = self.rows_written().await;
        let (again, applied) = self.load().await;
        assert_eq!((applied.unchanged, self.rows_written().await), (count, before), "no row may be written");
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let former = count as f64 / FORMER_PER_SECOND as f64 * 1_000.0;
        let (first, again) = (ms(first), ms(again));
        report.add(Rung {
            name: "first load".to_owned(),
            ours: first,
            ours_p99: first,
            floor: Some(floor),
            literal: Some(former),
            at_least: Some(25.0),
            at_most: Some(1.5),
            ..Rung::default()
        });
        let name = "the same records again, beside the first load".to_owned();
        report.add(Rung { name, ours: again, ours_p99: again, floor: Some(first), at_most: Some(0.3), ..Rung::default() });
    }

    /// The records in pages; making them is not measured.
    fn pages(&self) -> impl Iterator<Item = Vec<Record>> {
        let mut records = self.plan.records().filter_map(|raw| canonicalise(raw).ok()).map(|(record, _)| record);
        std::iter::from_fn(move || Some(records.by_ref().take(PAGE).collect::<Vec<_>>()).filter(|page| !page.is_empty()))
    }

    /// A plain COPY of the same records into the same table with the same indexes.
    async fn copy(&self) -> Duration {
        let mut connection = self.pool.acquire().await.unwrap().detach();
        sqlx::raw_sql("set plan_cache_mode = auto").execute(&mut connection).await.unwrap();
        let mut copy = connection.copy_in_raw("copy pfa_mirror (organization_id, data) from stdin").await.unwrap();
        let mut took = Duration::ZERO;
        for page in self.pages() {
            let mut lines = String::new();
            for record in page {
                let data = serde_json::to_string(&record.data).unwrap().replace('\\', "\\\\");
                writeln!(lines, "{}\t{data}", self.plan.code).unwrap();
            }
            let started = Instant::now();
            copy.send(lines.into_bytes()).await.unwrap();
            took += started.elapsed();
        }
        let started = Instant::now();
        copy.finish().await.unwrap();
        took + started.elapsed()
    }

    /// Staging and the apply step.
    async fn load(&self) -> (Duration, Applied) {
        let mut load = self.service.begin_load(&[&self.plan.code]).await.unwrap();
        let mut took = Duration::ZERO;
        for page in self.pages() {
            let started = Instant::now();
            load.stage(&page).await.unwrap();
            took += started.elapsed();
        }
        let started = Instant::now();
        let applied = load.apply(&Batch::import(&self.plan.code, Uuid::new_v4(), "bench")).await.unwrap();
        let applying = started.elapsed();
        let started = Instant::now();
        load.commit(|_| ()).await.unwrap();
        let committing = started.elapsed();
        println!("load: staging {took:.1?}, applying {applying:.1?}, indexes and commit {committing:.1?}");
        (took + applying + committing, applied)
    }

    async fn rows_written(&self) -> i64 {
        sqlx::raw_sql("select pg_stat_force_next_flush()").execute(&self.pool).await.unwrap();
        sqlx::query_scalar("select n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables where relname = 'pfa_mirror'")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
