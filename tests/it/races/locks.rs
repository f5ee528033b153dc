//! Orchestrated meetings: a third connection holds a lock that the first call comes to, both calls
//! provably wait, and then they end in the order in which they came.

use super::arena::{Arena, Services};
use super::dice::Dice;
use super::scenes::{Scene, records};
use super::serial::{Call, World};
use super::{explain, unexplained};
use crate::support::server::TestDatabase;
use crate::support::{TestApp, test_app};
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::service::conflicts::Stage;
use pfa_vanguard::service::edits::RecordEdit;
use pfa_vanguard::service::ingest::Batch;
use pfa_vanguard::service::sessions::Sandbox;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Where the third connection stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    /// The publication lock of the organization.
    Organization,
    /// The rows of all sandboxes.
    Sessions,
    /// In the middle of a transaction, before it writes into this table.
    Table(&'static str),
}

const POINTS: [Point; 7] = [
    Point::Organization,
    Point::Sessions,
    Point::Table("pfa_edit_step"),
    Point::Table("pfa_summary_change"),
    Point::Table("pfa_mirror_history"),
    Point::Table("pfa_overlay"),
    Point::Table("pfa_commit_answer"),
];

impl Point {
    async fn hold(self, arena: &Arena) -> Transaction<'static, Postgres> {
        let mut transaction = arena.services.observer.begin().await.unwrap();
        let statement = match self {
            Self::Organization => "select pg_advisory_xact_lock(pfa_publication_lock($1))".to_owned(),
            Self::Sessions => "select from pfa_session where organization_id = $1 for update".to_owned(),
            // Writers wait, readers do not.
            Self::Table(table) => format!("lock table {table} in share row exclusive mode"),
        };
        let query = sqlx::query(AssertSqlSafe(statement));
        let query = if matches!(self, Self::Table(_)) { query } else { query.bind(&arena.organization) };
        query.execute(&mut *transaction).await.unwrap();
        transaction
    }

    /// Whether a call must come here. Which tables it writes is for the database to say.
    fn stops(self, call: &Call) -> bool {
        match self {
            Self::Organization => true,
            Self::Sessions => !matches!(call, Call::Load { .. } | Call::Resolve { stage: Stage::WriteBack, .. }),
            Self::Table(_) => false,
        }
    }
}

/// Waits until so many calls stand before a connection's lock, or behind each other before it; false
/// when one has ended instead. Without a connection, it may be anybody's lock.
///
/// A vacuum of the catalogue can stop a call for a moment, too: that does not count.
async fn wait_until_blocked<T>(pool: &PgPool, holder: Option<i32>, calls: &[&JoinHandle<T>]) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let blocked: i64 = sqlx::query_scalar(
            "with recursive waiting as materialized (
                 select pid, pg_blocking_pids(pid) as behind
                   from pg_stat_activity
                  where datname = current_database() and application_name = 'pfa-vanguard' and wait_event_type = 'Lock'
             ), blocked as (
                 select pid from waiting where $1 = any (behind) or ($1 is null and behind <> '{}')
                 union
                 select w.pid from waiting w join blocked b on b.pid = any (w.behind)
             )
             select count(*) from blocked",
        )
        .bind(holder)
        .fetch_one(pool)
        .await
        .unwrap();
        if blocked == i64::try_from(calls.len()).unwrap() {
            return true;
        }
        if calls.iter().any(|call| call.is_finished()) {
            return false;
        }
        assert!(Instant::now() < deadline, "{blocked} of {} calls wait for a lock", calls.len());
    }
}

async fn pid_of(connection: &mut PgConnection) -> Option<i32> {
    Some(sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await.unwrap())
}

fn start(arena: &Arena, world: &World, service: usize, call: &Call) -> JoinHandle<Value> {
    let (arena, world, call) = (arena.clone(), world.clone(), call.clone());
    tokio::spawn(async move { arena.call(&arena.services.pair[service], &world, &call).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_for_each_other_end_in_the_order_in_which_they_came() {
    let database = TestDatabase::migrated().await;
    let services = Services::start(&database.url()).await;
    let mut stopped = BTreeMap::<Point, usize>::new();
    let scenes = Scene::ALL.into_iter().filter(|scene| *scene != Scene::Any);
    for (number, scene) in scenes.enumerate() {
        for (turn, point) in POINTS.into_iter().enumerate() {
            for is_swapped in [false, true] {
                let name = format!("O{number}P{turn}{}", if is_swapped { "B" } else { "A" });
                let is_stopped = meet(&services, &name, scene, point, is_swapped).await;
                *stopped.entry(point).or_default() += usize::from(is_stopped);
            }
        }
    }
    eprintln!("races: calls that were stopped: {stopped:?}");
    for point in POINTS {
        let least = if point == Point::Table("pfa_commit_answer") { 2 } else { 12 };
        assert!(stopped[&point] >= least, "{point:?} stops {} calls", stopped[&point]);
    }
}

/// One meeting; tells whether the first call came to the point.
async fn meet(services: &Services, name: &str, scene: Scene, point: Point, is_swapped: bool) -> bool {
    let (arena, mut world) = Arena::open(services, name, records()).await;
    // Summaries are summed up anew in every other organization, and from the view and the notes in the rest.
    if is_swapped {
        services.pair[0].refresh_views("test").await.unwrap();
    }
    let mut dice = Dice(name.bytes().fold(0, |seed, byte| seed * 31 + u64::from(byte)));
    let mut calls = scene.set(&arena, &mut world, &mut dice).await;
    calls.truncate(2);
    if is_swapped {
        calls.reverse();
    }
    let before = arena.observe().await;
    let mut holder = point.hold(&arena).await;
    let pid = pid_of(&mut holder).await;
    let first = start(&arena, &world, 0, &calls[0]);
    if !wait_until_blocked(&services.observer, pid, &[&first]).await {
        assert!(!point.stops(&calls[0]), "{name}, {scene:?}: {:?} does not wait at {point:?}", calls[0]);
        assert_eq!(first.await.unwrap(), world.apply(&calls[0]), "{name}, {scene:?}");
        return false;
    }
    let second = start(&arena, &world, 1, &calls[1]);
    let context = format!("{name}, {scene:?} at {point:?}");
    let is_behind = wait_until_blocked(&services.observer, pid, &[&first, &second]).await;
    if !is_behind {
        holder.rollback().await.unwrap();
        let answers = [first.await.unwrap(), second.await.unwrap()];
        panic!("{context}: {:?} does not wait for {:?}; they answer {answers:?}", calls[1], calls[0]);
    }
    assert_eq!(arena.observe().await, before, "{context}: something can be seen that has not ended");
    holder.rollback().await.unwrap();

    let answers = [first.await.unwrap(), second.await.unwrap()];
    let seen = arena.observe().await;
    let explained = explain(&world, &calls, &answers, &seen);
    // Two edits of sandboxes share the organization, so both may go on at once from there.
    let may_swap = point == Point::Organization && calls.iter().all(|call| world.shares(call));
    let is_explained = explained.iter().any(|(order, _)| may_swap || *order == [0, 1]);
    assert!(is_explained, "{context}\n{}", unexplained(&world, &calls, &answers, &seen));
    arena.check(&explained[0].1).await;
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_loads_of_two_organizations_queue() {
    let database = TestDatabase::migrated().await;
    let services = Services::start(&database.url()).await;
    // Both find the mirror empty before either has it for itself.
    let mut holder = services.observer.begin().await.unwrap();
    let locks = "select pg_advisory_xact_lock(pfa_publication_lock(name)) from unnest(array['FIRST', 'SECOND']) name";
    sqlx::query(locks).execute(&mut *holder).await.unwrap();
    let open = |name: &'static str| {
        let services = services.clone();
        tokio::spawn(async move { Arena::open(&services, name, records()).await })
    };
    let (first, second) = (open("FIRST"), open("SECOND"));
    let pid = pid_of(&mut holder).await;
    assert!(wait_until_blocked(&services.observer, pid, &[&first, &second]).await);
    holder.rollback().await.unwrap();
    for load in [first, second] {
        let (arena, world) = load.await.unwrap();
        assert_eq!(arena.observe().await, world.observation());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_waits_for_the_first_load_and_finds_its_records() {
    let TestApp { service, database, .. } = &test_app().await;
    service.save_organization("ORG", "ORG").await.unwrap();
    let session = service.open_session("ORG", "ana", None).await.unwrap().id;
    let mut load = service.begin_load(&["ORG"]).await.unwrap();
    let record = canonicalise(json!({"pfaId": "1"}).as_object().unwrap().clone()).unwrap().0;
    load.stage(&[record]).await.unwrap();
    load.apply(&Batch::import("ORG", Uuid::new_v4(), "test")).await.unwrap();
    let edited = tokio::spawn({
        let service = service.clone();
        let sandbox = Sandbox { organization: "ORG".to_owned(), user: "ana".to_owned(), session };
        let patch = json!({"monthlyRate": 5}).as_object().unwrap().clone();
        async move {
            service
                .edit_record(&sandbox, &RecordEdit { pfa_id: "1".to_owned(), patch, faults: Vec::new(), reason: None, if_match: None })
                .await
        }
    });
    assert!(wait_until_blocked(&database.pool, None, &[&edited]).await);
    load.commit(|_| ()).await.unwrap();
    let row: Value = serde_json::from_str(&edited.await.unwrap().unwrap()).unwrap();
    assert_eq!(row["monthlyRate"], 5);
}
