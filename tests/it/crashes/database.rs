//! Kills of PostgreSQL, while the service goes on.

use super::{Found, Kind, RECORDS, Tally, Work, organization, place, plan, rounds};
use pfa_vanguard::db::embedded::{EmbeddedOptions, EmbeddedServer};
use pfa_vanguard::db::migrate::MIGRATOR;
use pfa_vanguard::db::pool::{connect_options, pool_options};
use pfa_vanguard::error::{Error, Result};
use pfa_vanguard::service::PfaMirrorService;
use pfa_vanguard::service::edits::Direction;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, PgPool};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a crash of PostgreSQL itself must not cost is kept; only the machine may not crash.
pub(super) async fn start(dir: &Path) -> EmbeddedServer {
    let mut options = EmbeddedOptions::new(dir);
    options.settings.extend([("fsync", "off"), ("shared_buffers", "128MB")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    EmbeddedServer::start(options, |_| ()).await.unwrap()
}

pub(super) async fn connect(server: &EmbeddedServer, name: &str, size: u32) -> PgPool {
    let options = connect_options(server.url().expose_secret(), Duration::from_secs(30)).unwrap().application_name(name);
    pool_options(size).connect_with(options).await.unwrap()
}

/// The postmaster; its children notice that it is gone.
pub(super) async fn postmaster(pool: &PgPool) -> Pid {
    let query = sqlx::query_scalar("select split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::int");
    Pid::from_raw(query.fetch_one(pool).await.unwrap()).unwrap()
}

/// The backend in which the service's transaction runs, if one does: its end makes PostgreSQL end all others and recover.
pub(super) async fn backend(observer: &PgPool) -> Option<Pid> {
    let query = sqlx::query_scalar(
        "select pid from pg_stat_activity
          where datname = current_database() and application_name = 'pfa-vanguard' and xact_start is not null limit 1",
    );
    Pid::from_raw(query.fetch_optional(observer).await.unwrap()?)
}

/// Waits until PostgreSQL has ended this connection.
pub(super) async fn wait_for_the_cut(connection: &mut PgConnection) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while connection.ping().await.is_ok() {
        assert!(Instant::now() < deadline, "PostgreSQL goes on without a backend");
        tokio::task::yield_now().await;
    }
}

/// The answer of a call as far as it says what was done.
async fn call(service: &PfaMirrorService, work: &Work, kind: Kind) -> Result<Value> {
    match kind {
        Kind::Commit => service.commit_session(&work.sandbox, &work.commit()).await.map(|report| json!(report)),
        Kind::Edit => {
            service.edit_records(&work.sandbox, &work.edit()).await.map(|outcome| json!([outcome.changed, outcome.refused.len()]))
        }
    }
}

/// Asks again while the service still finds connections that the crash has cut.
async fn insist<T>(mut ask: impl AsyncFnMut() -> Result<T>) -> T {
    for _ in 0..50 {
        match ask().await {
            Err(Error::DatabaseUnavailable(_)) => {}
            answer => return answer.unwrap(),
        }
    }
    panic!("the service does not find its database again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_leaves_commits_and_edits_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    // The account that PostgreSQL runs as must reach it when the test runs as root.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut server = start(dir.path()).await;
    let service = PfaMirrorService::new(connect(&server, "pfa-vanguard", 4).await);
    let mut observer = connect(&server, "observer", 2).await;
    MIGRATOR.run(&observer).await.unwrap();
    let (mut tally, rounds, started) = (Tally::default(), rounds(), Instant::now());
    let (mut typical, mut backends) = ([Duration::ZERO; 2], 0);
    // The first two show how long the calls take.
    for round in 0..rounds + 2 {
        let (kind, part) = if round < 2 { (plan(round, rounds).0, None) } else { plan(round - 2, rounds) };
        let quiet = PfaMirrorService::new(observer.clone());
        let organization = organization(&quiet, round).await;
        let work = Work::prepare(&quiet, organization, round, kind).await;
        let number = work.change_number(&observer).await;
        let postmaster = postmaster(&observer).await;
        // The service finds its connections cut; that is not what is asked here.
        insist(async || service.find_session(&work.sandbox).await).await;
        let begin = Instant::now();
        let called = tokio::spawn({
            let (service, work) = (service.clone(), work.clone());
            async move { (call(&service, &work, kind).await, begin.elapsed()) }
        });
        let mut watching = observer.acquire().await.unwrap().detach();
        let (mut at, mut victim) = (None, postmaster);
        let (answer, took) = if let Some(part) = part {
            tokio::time::sleep(typical[kind as usize].mul_f64(part)).await;
            at = place(&observer).await;
            // In turns the whole of it, and the one process that does the work.
            if ((round - 2) / 4).is_multiple_of(2) {
                victim = backend(&observer).await.unwrap_or(postmaster);
            }
            kill_process(victim, Signal::KILL).unwrap();
            called.await.unwrap()
        } else {
            let answer = called.await.unwrap();
            kill_process(postmaster, Signal::KILL).unwrap();
            answer
        };
        wait_for_the_cut(&mut watching).await;
        if victim == postmaster {
            server.wait_for_exit().await;
            drop(server);
            server = start(dir.path()).await;
        } else {
            backends += 1;
        }
        observer = connect(&server, "observer", 2).await;

        let found = work.find(&observer, kind).await;
        if answer.is_ok() {
            typical[kind as usize] = took;
        }
        if round >= 2 {
            tally.note(kind, answer.is_ok(), found, at);
        }
        match kind {
            Kind::Commit => {
                let again = insist(async || call(&service, &work, kind).await).await;
                assert_eq!(again["committed"], RECORDS);
                match answer {
                    Ok(first) => assert_eq!(first, again),
                    Err(error) => assert!(matches!(error, Error::DatabaseUnavailable(_)), "{error:?}"),
                }
                assert_eq!(work.find(&observer, kind).await, Found::Whole);
                assert_eq!(work.change_number(&observer).await - number, 1, "published once, whenever that was");
            }
            Kind::Edit => {
                assert!(matches!(answer, Ok(_) | Err(Error::DatabaseUnavailable(_))), "{answer:?}");
                if found == Found::Absent {
                    assert_eq!(insist(async || call(&service, &work, kind).await).await, json!([RECORDS, 0]));
                }
                let step = insist(async || service.move_step(&work.sandbox, Direction::Undo).await).await;
                assert_eq!(step.records, RECORDS);
                assert_eq!(work.find(&observer, kind).await, Found::Undone, "taken back entirely");
            }
        }
        work.check(&PfaMirrorService::new(observer.clone()), &observer).await;
    }
    tally.report("PostgreSQL", rounds);
    assert!(rounds < 10 || backends > 0, "no backend was killed");
    service.close().await;
    observer.close().await;
    server.stop_and_delete().await.unwrap();
    eprintln!("crashes: {:.1} s", started.elapsed().as_secs_f64());
}
