//! Kills of PostgreSQL in the middle of a first load, which takes indexes away and begins the files of the mirror anew without a
//! log: it is whole or absent afterwards, and the mirror has all its indexes.

use super::database::{backend, connect, postmaster, start, wait_for_the_cut};
use pfa_vanguard::db::migrate::MIGRATOR;
use pfa_vanguard::domain::generate::Plan;
use pfa_vanguard::domain::record::{Record, canonicalise};
use pfa_vanguard::error::Result;
use pfa_vanguard::service::PfaMirrorService;
use pfa_vanguard::service::ingest::Batch;
use rustix::process::{Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection as _, PgPool};
use std::os::unix::fs::PermissionsExt as _;
use uuid::Uuid;

const ORGANIZATION: &str = "HOLNG";
const RECORDS: u64 = 2_000;

/// Where the load is cut off: before its indexes are built, in the middle of them, or right after its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Rows,
    Index(&'static str),
    Commit,
}

/// Loads the records, and kills PostgreSQL at this place; in the middle of a statement its own backend, because it would go on for a
/// while when only the postmaster is gone.
async fn load(service: &PfaMirrorService, records: &[Record], cut: Cut, pool: &PgPool) -> Result<()> {
    let kill = |process| kill_process(process, Signal::KILL).unwrap();
    let postmaster = postmaster(pool).await;
    let mut load = service.begin_load(&[ORGANIZATION]).await?;
    load.stage(records).await?;
    let applied = load.apply(&Batch::import(ORGANIZATION, Uuid::new_v4(), "test")).await?;
    assert_eq!(applied.inserted, records.len() as u64);
    let backend = backend(pool).await.expect("the load is in its transaction");
    if cut == Cut::Rows {
        kill(postmaster);
    }
    let loaded = load
        .commit(|index| {
            if matches!(cut, Cut::Index(place) if place == index) {
                kill(backend);
            }
        })
        .await;
    if cut == Cut::Commit {
        kill(postmaster);
    }
    loaded
}

/// Every index of the mirror as it is defined, with its comment.
async fn indexes(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisready, obj_description(indexrelid, 'pg_class'))
           from pg_index where indrelid = 'pfa_mirror'::regclass order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// How many records there are, as the table has them; every index has them, too.
async fn count(pool: &PgPool) -> usize {
    sqlx::raw_sql("create extension if not exists amcheck; analyze pfa_mirror").execute(pool).await.unwrap();
    let trees: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
          where i.indrelid = 'pfa_mirror'::regclass and a.amname = 'btree'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(trees.len() >= 15, "{trees:?}");
    for tree in trees {
        sqlx::query("select bt_index_check($1::regclass, true)").bind(&tree).execute(pool).await.expect(&tree);
    }
    let all = count_by(pool, "bitmapscan", "true").await.0;
    for (index, records) in [
        ("pfa_mirror_containment", r#"data @> '{"source": "Rental", "category": "Lifting"}'"#),
        ("pfa_mirror_text", "pfa_search_text(data) like '%liebherr%'"),
    ] {
        let [(found, plan), (expected, _)] = [count_by(pool, "seqscan", records).await, count_by(pool, "bitmapscan", records).await];
        assert!(all == 0 || expected > 0 && plan.contains(index), "{index} is not asked: {plan}");
        assert_eq!(found, expected, "{index}");
    }
    all
}

/// The number of these records without one kind of scan, and the plan by which they were counted.
async fn count_by(pool: &PgPool, without: &str, records: &str) -> (usize, String) {
    let mut connection = pool.acquire().await.unwrap().detach();
    let settings = format!("set enable_{without} = off; set enable_indexscan = off; set enable_indexonlyscan = off");
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut connection).await.unwrap();
    let statement = format!("select count(*) from pfa_mirror where organization_id = '{ORGANIZATION}' and {records}");
    let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("explain {statement}"))).fetch_all(&mut connection).await.unwrap();
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    (usize::try_from(count).unwrap(), plan.join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_leaves_a_first_load_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    // The account that PostgreSQL runs as must reach it when the test runs as root.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut server = start(dir.path()).await;
    let mut pool = connect(&server, "pfa-vanguard", 4).await;
    MIGRATOR.run(&pool).await.unwrap();
    PfaMirrorService::new(pool.clone()).save_organization(ORGANIZATION, ORGANIZATION).await.unwrap();
    let log: String = sqlx::query_scalar("show wal_level").fetch_one(&pool).await.unwrap();
    assert_eq!(log, "minimal", "or else the files are not begun anew");
    let before = indexes(&pool).await;
    let plan = Plan::skewed(RECORDS, 1, 42).organizations.remove(0);
    let records: Vec<Record> = plan.records().filter_map(|raw| canonicalise(raw).ok()).map(|(record, _)| record).collect();
    for cut in [Cut::Rows, Cut::Index("pfa_mirror_class"), Cut::Index("pfa_mirror_text"), Cut::Commit] {
        let service = PfaMirrorService::new(pool.clone());
        let observer = connect(&server, "observer", 1).await;
        let mut watching = pool.acquire().await.unwrap().detach();
        let loaded = load(&service, &records, cut, &observer).await;
        wait_for_the_cut(&mut watching).await;
        if !matches!(cut, Cut::Index(_)) {
            server.wait_for_exit().await;
            drop(server);
            server = start(dir.path()).await;
        }
        pool = connect(&server, "pfa-vanguard", 4).await;
        let expected = if cut == Cut::Commit { records.len() } else { 0 };
        assert_eq!((loaded.is_ok(), count(&pool).await), (cut == Cut::Commit, expected), "{cut:?}");
        assert_eq!(indexes(&pool).await, before, "{cut:?}");
    }
    pool.close().await;
    server.stop_and_delete().await.unwrap();
}
