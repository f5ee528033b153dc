//! The way from PEMS and back to it: the memory of a process that reads PEMS, and write-backs beside what
//! the rate limit allows.
//!
//! `cargo bench --bench sync` works in a cluster of its own below `target/`, which it deletes at the
//! end. `BENCH_RECORDS` and `BENCH_WRITES` change the size.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

#[path = "support/cluster.rs"]
mod cluster;

use chrono::Utc;
use cluster::{setting, start};
use pfa_vanguard::db::{migrate, pool};
use pfa_vanguard::domain::generate::{OrganizationPlan, Plan};
use pfa_vanguard::domain::operation::Operation;
use pfa_vanguard::domain::record::{Record, canonicalise};
use pfa_vanguard::fake_pems::{BASE_PATH, FakeOptions, FakePems};
use pfa_vanguard::pems::{Credentials, FieldMap, PemsClient, PemsOptions};
use pfa_vanguard::service::PfaMirrorService;
use pfa_vanguard::service::commit::{Commit, CommitMode};
use pfa_vanguard::service::edits::{BulkEdit, Selection};
use pfa_vanguard::service::ingest::Batch;
use pfa_vanguard::service::sessions::Sandbox;
use pfa_vanguard::service::write_back::{WriteBackOptions, WriteRequest, WriteScope};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::PgPool;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use uuid::Uuid;

/// Records that are copied at once, as a page of PEMS has them.
const PAGE: usize = 5_000;
/// Requests that a write-back needs: read, write, read again.
const REQUESTS: u32 = 3;
const RATE: u32 = 10;

#[tokio::main]
async fn main() {
    let records = setting("BENCH_RECORDS", 1_000_000);
    let writes = u32::try_from(setting("BENCH_WRITES", 1_000)).unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-sync");
    let _ = std::fs::remove_dir_all(&dir);
    let server = start(&dir).await;
    let url = server.url().expose_secret().to_owned();
    let options = pool::connect_options(&url, Duration::from_mins(30)).unwrap();
    let pool = pool::pool_options(6).connect_with(options).await.unwrap();
    migrate::migrate(&pool).await.unwrap();
    let plan = Plan::skewed(records, 1, 42).organizations.remove(0);
    let bench = Bench { service: PfaMirrorService::new(pool.clone()), pool, plan };
    bench.service.save_organization(&bench.plan.code, &bench.plan.code).await.unwrap();
    bench.measure_reading(&url).await;
    bench.measure_writes(writes).await;
    bench.service.close().await;
    server.stop_and_delete().await.unwrap();
}

struct Bench {
    service: PfaMirrorService,
    pool: PgPool,
    plan: OrganizationPlan,
}

impl Bench {
    /// The records in pages; making them is not measured.
    fn pages(&self) -> impl Iterator<Item = Vec<Record>> {
        let mut records = self.plan.records().filter_map(|raw| canonicalise(raw).ok()).map(|(record, _)| record);
        std::iter::from_fn(move || Some(records.by_ref().take(PAGE).collect::<Vec<_>>()).filter(|page| !page.is_empty()))
    }

    async fn empty(&self) {
        sqlx::raw_sql("truncate pfa_mirror, pfa_modification, pfa_overlay, pfa_mirror_history").execute(&self.pool).await.unwrap();
    }

    /// A process that reads all of it from a stand-in for PEMS: into an empty mirror, and again.
    async fn measure_reading(&self, url: &str) {
        self.empty().await;
        let pems = FakePems::new(FakeOptions::default(), FieldMap::built_in().unwrap());
        let now = Utc::now();
        for page in self.pages() {
            pems.with_records(|kept| page.iter().for_each(|record| kept.put_changed(&self.plan.code, &record.data, now)));
        }
        let address = serve(&pems).await;
        println!("| a process that reads {} records over HTTP | time | most memory | at most |\n|---|---|---|---|", self.plan.records);
        for name in ["into an empty mirror", "the same again"] {
            let (took, memory) = tokio::task::spawn_blocking({
                let (url, address, code) = (url.to_owned(), address.clone(), self.plan.code.clone());
                move || sync(&url, &address, &code)
            })
            .await
            .unwrap();
            println!("| {name} | {:.1} s | {memory} MB | 200 MB |", took.as_secs_f64());
        }
    }

    /// Changes of as many records, written to a PEMS that takes 20 ms and ten requests a second.
    async fn measure_writes(&self, writes: u32) {
        let options = FakeOptions { latency: Duration::from_millis(20), rate_per_second: NonZeroU32::new(RATE), ..FakeOptions::default() };
        let pems = FakePems::new(options, FieldMap::built_in().unwrap());
        let organization = "WRITES";
        let records: Vec<_> =
            (0..writes).map(|id| json!({"pfaId": id.to_string(), "source": "Rental"}).as_object().unwrap().clone()).collect();
        let records: Vec<_> = records.into_iter().map(|raw| canonicalise(raw).unwrap().0).collect();
        pems.with_records(|kept| records.iter().for_each(|record| kept.put(organization, &record.data)));
        self.service.save_organization(organization, organization).await.unwrap();
        let mut load = self.service.begin_load(&[organization]).await.unwrap();
        load.stage(&records).await.unwrap();
        load.apply(&Batch::import(organization, Uuid::new_v4(), "bench")).await.unwrap();
        load.commit(|_| ()).await.unwrap();
        self.commit(organization, writes).await;
        let client = client(&serve(&pems).await, RATE);
        let allowed = Duration::from_secs(u64::from(writes * REQUESTS / RATE));
        let started = Instant::now();
        loop {
            let request = WriteRequest { organization: organization.to_owned(), scope: WriteScope::Due, requested_by: None };
            let turn = self.service.begin_write(request).await.unwrap();
            if self.service.write_back(&client, &WriteBackOptions::default(), turn).await.unwrap().is_none() {
                break;
            }
        }
        let took = started.elapsed();
        let synced: i64 =
            sqlx::query_scalar("select count(*) from pfa_modification where sync_state = 'synced'").fetch_one(&self.pool).await.unwrap();
        assert_eq!(synced, i64::from(writes));
        println!(
            "\n| {writes} write-backs, {REQUESTS} requests each, {RATE} requests a second | time | ratio | at most |\n|---|---|---|---|"
        );
        println!("| what the limit allows | {:.1} s | 1 | |", allowed.as_secs_f64());
        println!("| ours | {:.1} s | {:.2} | 1.20 |", took.as_secs_f64(), ratio(took, allowed));
    }

    /// One commit that changes every record.
    async fn commit(&self, organization: &str, count: u32) {
        let session = self.service.open_session(organization, "ana", None).await.unwrap().id;
        let sandbox = Sandbox { organization: organization.to_owned(), user: "ana".to_owned(), session };
        let operation = Operation::Set(json!({"monthlyRate": 15_000}).as_object().unwrap().clone());
        let selection = Selection::PfaIds((0..count).map(|id| id.to_string()).collect());
        let edit = BulkEdit { selection, operation, reason: None, is_atomic: true, is_preview: false };
        self.service.edit_records(&sandbox, &edit).await.unwrap();
        let commit = Commit { mode: CommitMode::Atomic, is_dry_run: false, idempotency_key: None };
        assert!(self.service.commit_session(&sandbox, &commit).await.unwrap().closed);
    }
}

fn ratio(took: Duration, floor: Duration) -> f64 {
    took.as_secs_f64() / floor.as_secs_f64()
}

async fn serve(pems: &FakePems) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}{BASE_PATH}", listener.local_addr().unwrap());
    let router = pems.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn client(address: &str, rate: u32) -> PemsClient {
    let defaults = FakeOptions::default();
    PemsClient::new(PemsOptions {
        url: address.parse().unwrap(),
        tenant: defaults.tenant,
        credentials: Credentials::Basic { username: defaults.username, password: defaults.password.into() },
        page_size: 5_000,
        rate_per_second: NonZeroU32::new(rate).unwrap(),
        read_timeout: Duration::from_mins(1),
        write_timeout: Duration::from_secs(30),
        rest: Duration::from_secs(30),
        retry_pause: Duration::from_secs(1),
        fields: FieldMap::built_in().unwrap(),
    })
    .unwrap()
}

/// The command as operators run it; how long it took, and the most memory that it had, in MB.
fn sync(url: &str, address: &str, organization: &str) -> (Duration, u64) {
    let defaults = FakeOptions::default();
    let started = Instant::now();
    let mut process = Command::new(env!("CARGO_BIN_EXE_pfa-vanguard"))
        .args(["sync", "--org", organization, "--type", "full"])
        .env("DATABASE_URL", url)
        .env("PFA_LOG", "error")
        .env("PFA_PEMS_URL", address)
        .env("PFA_PEMS_TENANT", defaults.tenant)
        .env("PFA_PEMS_USERNAME", defaults.username)
        .env("PFA_PEMS_PASSWORD", defaults.password)
        .env("PFA_PEMS_RATE_PER_SECOND", "1000")
        .spawn()
        .unwrap();
    let status_file = format!("/proc/{}/status", process.id());
    let mut most = 0;
    loop {
        // VmHWM is the peak so far, in kB. The kernel tells nobody when it grows and forgets it when the
        // process ends, so it is read again and again.
        let status = std::fs::read_to_string(&status_file).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        most = most.max(peak.unwrap_or(0) / 1_024);
        if let Some(status) = process.try_wait().unwrap() {
            assert!(matches!(status.code(), Some(0 | 1)), "{status}");
            return (started.elapsed(), most);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
