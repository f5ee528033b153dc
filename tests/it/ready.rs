//! Connections that stay at hand between small readings: whatever becomes of one, the next finds a connection that works.

use crate::support::server::TestDatabase;
use chrono::{DateTime, Utc};
use pfa_vanguard::db::pool::pool_options;
use pfa_vanguard::db::ready::ReadyConnections;
use std::collections::HashSet;
use std::time::{Duration, Instant};

fn ready(database: &TestDatabase, connections: u32) -> ReadyConnections {
    ReadyConnections::open(pool_options(connections), database.pool.connect_options().as_ref().clone())
}

/// Runs a statement on a connection at hand; gives the process that ran it.
async fn run(connections: &ReadyConnections, statement: &'static str) -> pfa_vanguard::error::Result<i32> {
    connections
        .read(async |connection| {
            sqlx::query(statement).execute(&mut *connection).await?;
            sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await
        })
        .await
}

async fn wait_until(database: &TestDatabase, condition: &'static str, process: i32) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !sqlx::query_scalar::<_, bool>(condition).bind(process).fetch_one(&database.pool).await.unwrap() {
        assert!(Instant::now() < deadline, "it does not come to {condition}");
    }
}

#[tokio::test]
async fn a_reading_finds_the_connection_of_the_one_before() {
    let database = TestDatabase::empty().await;
    let connections = ready(&database, 4);
    let first = run(&connections, "select 1").await.unwrap();
    for _ in 0..20 {
        assert_eq!(run(&connections, "select 1").await.unwrap(), first);
    }
    // A sign of life is an activity, too.
    let statement = "select state_change from pg_stat_activity where pid = $1 and state = 'idle'";
    let mut activity: Option<DateTime<Utc>> = None;
    for _ in 0..50 {
        let last = sqlx::query_scalar(statement).bind(first).fetch_one(&database.pool).await.unwrap();
        assert_eq!(*activity.get_or_insert(last), last, "nothing happens on it until the next reading");
    }
    assert_eq!((connections.size(), connections.idle(), connections.most()), (1, 1, 4));
}

#[tokio::test]
async fn a_reading_that_failed_or_whose_connection_was_cut_spoils_no_other() {
    let database = TestDatabase::empty().await;
    let connections = ready(&database, 1);
    let first = run(&connections, "select 1").await.unwrap();
    assert!(run(&connections, "select 1 / 0").await.is_err());
    assert_eq!(run(&connections, "select 1").await.unwrap(), first, "the pool has looked at it, and it is sound");
    sqlx::query("select pg_terminate_backend($1)").bind(first).execute(&database.pool).await.unwrap();
    wait_until(&database, "select not exists (select from pg_stat_activity where pid = $1)", first).await;
    // The next one may find out, unless so much time has passed that it was looked at before.
    let _ = run(&connections, "select 1").await;
    assert_ne!(run(&connections, "select 1").await.unwrap(), first);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_keeps_no_reading_waiting() {
    let database = TestDatabase::empty().await;
    let connections = ready(&database, 1);
    let process = run(&connections, "select 1").await.unwrap();
    let mut holder = database.pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(7)").execute(&mut *holder).await.unwrap();
    let waiting = "select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')";
    tokio::select! {
        _ = run(&connections, "select pg_advisory_xact_lock(7)") => panic!("the lock is held"),
        () = wait_until(&database, waiting, process) => {}
    }
    // It would wait for the lock as long as a statement may.
    let next = run(&connections, "select 1").await.unwrap();
    assert_ne!(next, process, "another connection was opened");
    holder.rollback().await.unwrap();
}

#[tokio::test]
async fn as_many_read_at_once_as_there_are_connections_and_the_others_wait() {
    let database = TestDatabase::empty().await;
    let connections = ready(&database, 3);
    let readers = (0..60).map(|_| {
        let connections = connections.clone();
        tokio::spawn(async move { run(&connections, "select 1").await.unwrap() })
    });
    let processes: HashSet<i32> = futures_util::future::join_all(readers).await.into_iter().map(Result::unwrap).collect();
    assert!((1..=3).contains(&processes.len()), "{processes:?}");
    connections.close().await;
    assert!(run(&connections, "select 1").await.is_err());
    let open = "select not exists (select from pg_stat_activity where pid = $1)";
    for process in processes {
        wait_until(&database, open, process).await;
    }
}

/// Whatever stands in the future of a reading is moved several times on its way through the layers of HTTP.
#[tokio::test]
async fn a_reading_is_small_to_move() {
    let database = TestDatabase::empty().await;
    let connections = ready(&database, 1);
    let reading = connections.read(async |connection| sqlx::query("select 1").fetch_all(connection).await);
    assert!(size_of_val(&reading) < 2_000, "{} bytes", size_of_val(&reading));
    assert_eq!(reading.await.unwrap().len(), 1);
}
