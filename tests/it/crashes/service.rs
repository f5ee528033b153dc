//! Kills of the service, while PostgreSQL goes on.

use super::{Found, Kind, Tally, Work, organization, place, plan, rounds};
use crate::support::process::{ServiceProcess, post};
use crate::support::server::TestDatabase;
use pfa_vanguard::db::pool::{connect_options, pool_options};
use pfa_vanguard::service::PfaMirrorService;
use pfa_vanguard::service::sessions::Sandbox;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::time::{Duration, Instant};

/// A request and how it is answered when nobody is killed.
struct Request {
    path: String,
    headers: String,
    body: String,
}

impl Request {
    fn of(work: &Work, kind: Kind) -> Self {
        let Sandbox { organization, session, .. } = &work.sandbox;
        let session = format!("/api/v1/orgs/{organization}/sessions/{session}");
        match kind {
            Kind::Commit => {
                Self { path: format!("{session}/commit"), headers: format!("idempotency-key: {}\r\n", work.key()), body: String::new() }
            }
            Kind::Edit => {
                let operation = json!({"type": "set", "fields": {"monthlyRate": work.rate}});
                let body = json!({"select": {"filter": {}}, "operation": operation}).to_string();
                Self { path: format!("{session}/edits"), headers: String::new(), body }
            }
        }
    }

    fn send(&self, address: &str) -> Option<(u16, String)> {
        post(address, "ana", &self.path, &self.headers, &self.body)
    }

    /// Sent to a service that is not killed.
    fn answer(&self, address: &str) -> Value {
        let (status, body) = self.send(address).expect("an answer");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_leaves_commits_and_edits_whole_or_absent() {
    let database = TestDatabase::migrated().await;
    let url = database.url();
    // From here on only processes are called what the service calls itself.
    database.pool.close().await;
    let options = connect_options(&url, Duration::from_secs(30)).unwrap().application_name("observer");
    let pool = pool_options(4).connect_with(options).await.unwrap();
    let observer = PfaMirrorService::new(pool.clone());
    let (mut tally, rounds, started) = (Tally::default(), rounds(), Instant::now());
    let mut typical = [Duration::ZERO; 2];
    let mut process = ServiceProcess::start(&url);
    // The first two show how long the calls take.
    for round in 0..rounds + 2 {
        let (kind, part) = if round < 2 { (plan(round, rounds).0, None) } else { plan(round - 2, rounds) };
        let organization = organization(&observer, round).await;
        let work = Work::prepare(&observer, organization, round, kind).await;
        let request = Request::of(&work, kind);
        let number = work.change_number(&pool).await;
        let address = process.address.clone();
        let begin = Instant::now();
        let answer = tokio::task::spawn_blocking(move || (request.send(&address), begin.elapsed()));
        let mut at = None;
        let (answer, took) = if let Some(part) = part {
            tokio::time::sleep(typical[kind as usize].mul_f64(part)).await;
            at = place(&pool).await;
            process.kill();
            answer.await.unwrap()
        } else {
            let answer = answer.await.unwrap();
            process.kill();
            answer
        };
        wait_until_gone(&pool).await;
        let found = work.find(&pool, kind).await;
        if answer.is_some() {
            typical[kind as usize] = took;
        }
        if round >= 2 {
            tally.note(kind, answer.is_some(), found, at);
        }
        process = ServiceProcess::start(&url);
        let request = Request::of(&work, kind);
        match kind {
            Kind::Commit => {
                let again = request.answer(&process.address);
                assert_eq!(again["committed"], super::RECORDS);
                if let Some((status, first)) = answer {
                    assert_eq!((status, serde_json::from_str::<Value>(&first).unwrap()), (200, again));
                }
                assert_eq!(work.find(&pool, kind).await, Found::Whole);
                let publications = work.change_number(&pool).await - number;
                assert_eq!(publications, 1, "published once, whenever that was");
            }
            Kind::Edit => {
                if found == Found::Absent {
                    assert_eq!(request.answer(&process.address)["changed"], super::RECORDS);
                }
                let undo = Request { path: request.path.replace("/edits", "/undo"), headers: String::new(), body: String::new() };
                assert_eq!(undo.answer(&process.address)["step"]["records"], super::RECORDS);
                assert_eq!(work.find(&pool, kind).await, Found::Undone, "taken back entirely");
            }
        }
        work.check(&observer, &pool).await;
    }
    tally.report("the service", rounds);
    eprintln!("crashes: {:.1} s", started.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_told_by_its_key() {
    let database = TestDatabase::migrated().await;
    let (pool, url) = (&database.pool, database.url());
    let observer = PfaMirrorService::new(pool.clone());
    // The very end of the transaction waits for us: everything is written, and COMMIT is under way.
    sqlx::raw_sql(
        "create function wait_for_the_test() returns trigger language plpgsql as $$
         begin
             perform pg_advisory_xact_lock_shared(4711);
             return null;
         end $$;
         create constraint trigger wait_for_the_test after insert on pfa_commit_answer
                deferrable initially deferred for each row execute function wait_for_the_test();
         -- The server may not find out that the first client is gone before the second one waits, too.
         do $$ begin
             execute format('alter database %I set client_connection_check_interval = 0', current_database());
         end $$",
    )
    .execute(pool)
    .await
    .unwrap();
    let organization = organization(&observer, 0).await;
    let work = Work::prepare(&observer, organization, 0, Kind::Commit).await;
    let number = work.change_number(pool).await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(4711)").execute(&mut *holder).await.unwrap();

    let mut process = ServiceProcess::start(&url);
    let send = |address: String| {
        let request = Request::of(&work, Kind::Commit);
        tokio::task::spawn_blocking(move || request.send(&address))
    };
    let cut = send(process.address.clone());
    wait_until_blocked(pool, 1).await;
    process.kill();
    assert_eq!(cut.await.unwrap(), None);
    assert_eq!(work.find(pool, Kind::Commit).await, Found::Absent);

    // The next process is asked again before the first transaction has ended.
    let process = ServiceProcess::start(&url);
    let again = send(process.address.clone());
    wait_until_blocked(pool, 2).await;
    holder.rollback().await.unwrap();
    let (status, body) = again.await.unwrap().expect("an answer");
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()["committed"].as_i64()), (200, Some(super::RECORDS)));
    assert_eq!(work.find(pool, Kind::Commit).await, Found::Whole);
    assert_eq!(work.change_number(pool).await, number + 1, "the first one counts");
    let without_key = Request { headers: String::new(), ..Request::of(&work, Kind::Commit) };
    assert_eq!(without_key.send(&process.address).expect("an answer").0, 409, "it was committed");
    work.check(&observer, pool).await;
}

async fn wait_until_blocked(pool: &PgPool, count: i64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let blocked = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(blocked).fetch_one(pool).await.unwrap() != count {
        assert!(Instant::now() < deadline, "{count} calls wait");
    }
}

/// PostgreSQL ends the transaction of a client that is gone when its statement has ended.
async fn wait_until_gone(pool: &PgPool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let connections = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'pfa-vanguard'";
    while sqlx::query_scalar::<_, i64>(connections).fetch_one(pool).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "connections outlive their process");
    }
}
