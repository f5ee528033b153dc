//! Kills in the middle of readings and write-backs, of the service and of PostgreSQL: no change is
//! lost or made twice, nothing is left on its way, and the mirror and PEMS become the same.

use super::rounds;
use crate::support::checks;
use crate::support::model::Object;
use crate::support::pems::TestPems;
use crate::support::process::ServiceProcess;
use crate::support::server::TestDatabase;
use pfa_vanguard::db::embedded::{EmbeddedOptions, EmbeddedServer};
use pfa_vanguard::db::migrate::MIGRATOR;
use pfa_vanguard::db::pool::{connect_options, pool_options};
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::domain::operation::Operation;
use pfa_vanguard::fake_pems::FakeOptions;
use pfa_vanguard::service::commit::{Commit, CommitMode};
use pfa_vanguard::service::edits::{BulkEdit, Selection};
use pfa_vanguard::service::sessions::Sandbox;
use pfa_vanguard::service::sync::{SyncRequest, SyncScope};
use pfa_vanguard::service::write_back::WriteBackOptions;
use pfa_vanguard::service::{PfaMirrorService, Reader};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::PgPool;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

const ORGANIZATION: &str = "ORG";
const RECORDS: usize = 40;
/// Records that a commit changes, and that people in PEMS change, in each round.
const CHANGED: usize = 8;

/// So many requests a reading and a write-back of a round send at least.
const REQUESTS: u64 = 24;

/// Both sides of the circle, and what was done on them.
struct World {
    pems: TestPems,
    commits: usize,
    models: Vec<String>,
    classes: Vec<String>,
}

impl World {
    async fn new(service: &PfaMirrorService) -> Self {
        let options = FakeOptions { latency: Duration::from_millis(3), ..FakeOptions::default() };
        let pems = TestPems::start_with(options).await;
        let records: Vec<Object> = (0..RECORDS)
            .map(|id| json!({"pfaId": id.to_string(), "source": "Rental", "monthlyRate": 3044, "model": "", "class": ""}))
            .map(|value| value.as_object().unwrap().clone())
            .collect();
        pems.put(ORGANIZATION, &records);
        service.save_organization(ORGANIZATION, ORGANIZATION).await.unwrap();
        let world = Self { pems, commits: 0, models: vec![String::new(); RECORDS], classes: vec![String::new(); RECORDS] };
        world.read(service, SyncScope::Full { most_vanished_percent: 0 }).await;
        world
    }

    async fn read(&self, service: &PfaMirrorService, scope: SyncScope) -> pfa_vanguard::service::sync::runs::RunOutcome {
        let request = SyncRequest { organization: ORGANIZATION.into(), scope, requested_by: None };
        let run = service.begin_read(request).await.unwrap();
        service.read_pems(&self.pems.client(), run, &CancellationToken::new()).await.unwrap()
    }

    /// A commit changes some records, and people in PEMS change another field of some.
    async fn change(&mut self, service: &PfaMirrorService, round: usize) {
        let model = format!("model {round}");
        let ids: Vec<_> = (0..CHANGED).map(|n| (round * 5 + n) % RECORDS).collect();
        let session = service.open_session(ORGANIZATION, "ana", None).await.unwrap().id;
        let sandbox = Sandbox { organization: ORGANIZATION.into(), user: "ana".into(), session };
        let operation = Operation::Set(json!({"model": model}).as_object().unwrap().clone());
        let selection = Selection::PfaIds(ids.iter().map(ToString::to_string).collect());
        let edit = BulkEdit { selection, operation, reason: None, is_atomic: true, is_preview: false };
        assert_eq!(service.edit_records(&sandbox, &edit).await.unwrap().changed, CHANGED);
        let commit = Commit { mode: CommitMode::Atomic, is_dry_run: false, idempotency_key: None };
        assert!(service.commit_session(&sandbox, &commit).await.unwrap().closed);
        self.commits += CHANGED;
        for id in ids {
            model.clone_into(&mut self.models[id]);
        }
        let class = format!("class {round}");
        for n in 0..CHANGED {
            let id = (round * 3 + n) % RECORDS;
            class.clone_into(&mut self.classes[id]);
            let done = self
                .pems
                .pems
                .with_records(|records| records.edit(ORGANIZATION, &id.to_string(), json!({"class": class}).as_object().unwrap()));
            assert!(done);
        }
    }

    /// Waits until PEMS gets the request of this number from now on: a kill then hits what asked it.
    fn when_asked(&self, number: u64) -> impl Future<Output = ()> + use<> {
        let (asked, wait) = oneshot::channel();
        let mut asked = Some(asked);
        self.pems.pems.reset();
        self.pems.pems.before_requests(move |request, _| {
            if request.number == number
                && let Some(asked) = asked.take()
            {
                let _ = asked.send(());
            }
        });
        async { tokio::time::timeout(Duration::from_mins(1), wait).await.expect("PEMS is asked").unwrap() }
    }

    /// What everything has come to.
    async fn check(&self, service: &PfaMirrorService, pool: &PgPool) {
        let left: Vec<(String, i64)> =
            sqlx::query_as("select sync_state, count(*) from pfa_modification group by 1").fetch_all(pool).await.unwrap();
        assert_eq!(left, [("synced".to_owned(), i64::try_from(self.commits).unwrap())]);
        for id in 0..RECORDS {
            let text = |field| self.pems.pems.with_records(|records| records.text(ORGANIZATION, &id.to_string(), field).to_owned());
            assert_eq!((&text(Field::Model), &text(Field::Class)), (&self.models[id], &self.classes[id]), "record {id} in PEMS");
        }
        self.read(service, SyncScope::Incremental).await;
        let verified = self.read(service, SyncScope::Verify).await;
        assert_eq!((verified.findings_total, verified.applied.unchanged), (0, RECORDS as u64), "{:?}", verified.findings);
        // By the write-back itself, or by a reading that came between the kill and the next attempt.
        let arrived: (i64, i64) = sqlx::query_as(
            "select count(*), count(distinct (mirror_id, after->>'model')) from pfa_mirror_history where source = 'sync' and after ? 'model'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        let commits = i64::try_from(self.commits).unwrap();
        assert_eq!(arrived, (commits, commits), "every change arrived once");
        checks::check_overlay(pool, ORGANIZATION).await;
        checks::check_numbers(pool, ORGANIZATION).await;
        let reader = Reader { organization: ORGANIZATION.into(), user: "ana".into(), session: None };
        checks::check_summaries(service, pool, &reader).await;
    }
}

/// Waits until nothing is on its way and no run goes on.
async fn wait_until_quiet(pool: &PgPool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let busy: i64 = sqlx::query_scalar("select count(*) from pfa_modification where sync_state in ('committed', 'syncing')")
            .fetch_one(pool)
            .await
            .unwrap();
        if busy == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{busy} changes are still on their way");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn running(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from pfa_sync_log where status = 'running'").fetch_one(pool).await.unwrap()
}

/// No run is left running, once the server has noticed that their process is gone.
async fn close_runs(service: &PfaMirrorService, pool: &PgPool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        service.close_dead_runs().await.unwrap();
        if running(pool).await == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "a run is left running");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_loses_no_change_and_leaves_nothing_on_its_way() {
    let database = TestDatabase::migrated().await;
    let (pool, url) = (database.pool.clone(), database.url());
    let service = PfaMirrorService::new(pool.clone());
    let mut world = World::new(&service).await;
    let address = world.pems.address.clone();
    let (each_second, once_a_year) = ("* * * * * *", "0 0 0 1 1 *");
    // In turns what PEMS changed is read, and everything.
    let settings = |round: usize| {
        let [changes, everything] = if round.is_multiple_of(2) { [each_second, once_a_year] } else { [once_a_year, each_second] };
        [
            ("PFA_SYNC_CRON", changes),
            ("PFA_SYNC_FULL_CRON", everything),
            ("PFA_PEMS_URL", address.as_str()),
            ("PFA_PEMS_TENANT", "DEMO"),
            ("PFA_PEMS_USERNAME", "vanguard"),
            ("PFA_PEMS_PASSWORD", "vanguard"),
            ("PFA_PEMS_PAGE_SIZE", "10"),
            ("PFA_PEMS_RATE_PER_SECOND", "1000"),
            ("PFA_PUSH_INTERVAL_SECONDS", "1"),
            ("PFA_PUSH_LEASE_SECONDS", "1"),
        ]
    };
    let (mut hit_writes, mut hit_reads, started) = (0, 0, Instant::now());
    for round in 0..rounds() {
        world.change(&service, round).await;
        let asked = world.when_asked(round as u64 * 7 % REQUESTS);
        let mut process = ServiceProcess::start_with(&url, &settings(round));
        asked.await;
        process.kill();
        let syncing: i64 =
            sqlx::query_scalar("select count(*) from pfa_modification where sync_state = 'syncing'").fetch_one(&pool).await.unwrap();
        hit_writes += i32::from(syncing > 0);
        hit_reads += i32::from(running(&pool).await > 0);
    }
    let process = ServiceProcess::start_with(&url, &settings(0));
    wait_until_quiet(&pool).await;
    drop(process);
    close_runs(&service, &pool).await;
    eprintln!("{hit_writes} kills hit a write-back and {hit_reads} a run, {:.1} s", started.elapsed().as_secs_f64());
    assert!(rounds() < 20 || hit_writes > 0 && hit_reads > 0, "kills hit nothing");
    world.check(&service, &pool).await;
}

async fn start(dir: &std::path::Path) -> EmbeddedServer {
    let mut options = EmbeddedOptions::new(dir);
    options.settings.extend([("fsync", "off"), ("shared_buffers", "128MB")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    EmbeddedServer::start(options, |_| ()).await.unwrap()
}

async fn connect(server: &EmbeddedServer) -> PgPool {
    let options = connect_options(server.url().expose_secret(), Duration::from_secs(30)).unwrap();
    pool_options(6).connect_with(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_loses_no_change_either() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut server = start(dir.path()).await;
    let pool = connect(&server).await;
    MIGRATOR.run(&pool).await.unwrap();
    let service = PfaMirrorService::new(pool.clone());
    let mut world = World::new(&service).await;
    let options = WriteBackOptions {
        lease: Duration::from_millis(500),
        first_pause: Duration::from_millis(50),
        away_pause: Duration::from_millis(50),
        ..WriteBackOptions::default()
    };
    // The service goes on through all of it.
    let stop = CancellationToken::new();
    let working = tokio::spawn({
        let (service, client, stop) = (service.clone(), world.pems.client(), stop.clone());
        async move {
            while !stop.is_cancelled() {
                let _ = service.write_back_all(&client, &options).await;
                let request = SyncRequest { organization: ORGANIZATION.into(), scope: SyncScope::Incremental, requested_by: None };
                if let Ok(run) = service.begin_read(request).await {
                    let _ = service.read_pems(&client, run, &CancellationToken::new()).await;
                }
            }
        }
    });
    let mut hits = 0;
    for round in 0..rounds().div_ceil(5) {
        let quiet = connect(&server).await;
        world.change(&PfaMirrorService::new(quiet.clone()), round).await;
        let pid: i32 =
            sqlx::query_scalar("select split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::int").fetch_one(&quiet).await.unwrap();
        world.when_asked(round as u64 * 7 % REQUESTS).await;
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        server.wait_for_exit().await;
        drop(server);
        server = start(dir.path()).await;
        let observer = connect(&server).await;
        let syncing: i64 =
            sqlx::query_scalar("select count(*) from pfa_modification where sync_state = 'syncing'").fetch_one(&observer).await.unwrap();
        hits += i32::from(syncing > 0);
    }
    let observer = connect(&server).await;
    wait_until_quiet(&observer).await;
    stop.cancel();
    working.await.unwrap();
    eprintln!("{hits} kills hit a write-back");
    let quiet = PfaMirrorService::new(observer.clone());
    close_runs(&quiet, &observer).await;
    world.check(&quiet, &observer).await;
    quiet.close().await;
    service.close().await;
    server.stop_and_delete().await.unwrap();
}
