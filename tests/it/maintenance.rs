//! Maintenance tasks and the look at the database: nothing is lost, nobody sees a difference, one at a time.

use crate::support::circuit::Circuit;
use crate::support::planner::{assert_problem, planners_app};
use crate::support::{TestApp, test_app};
use axum::body::Body;
use axum::http::Request;
use pfa_vanguard::error::Error;
use pfa_vanguard::jobs::run_housekeeping;
use pfa_vanguard::service::PfaMirrorService;
use pfa_vanguard::service::maintenance::Task;
use serde_json::{Value, json};

async fn run(app: &TestApp, task: &str) -> Value {
    let answer = app.post(&format!("/api/v1/ops/maintenance/{task}"), &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let run = answer.json();
    assert_eq!((&run["task"], &run["requestedBy"], &run["failed"]), (&json!(task), &json!("dev"), &json!(false)));
    run
}

/// All changes wherever they are: in the table or the archive, as JSON without what only the archive has.
async fn changes(app: &TestApp, table: &str) -> Vec<(String, Value)> {
    let query = format!("select mirror_id::text || ' ' || id, to_jsonb(d) - 'archived_at' from {table} d order by 1");
    sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_all(app.pool()).await.unwrap()
}

#[tokio::test]
async fn what_arrived_long_ago_is_archived_and_nobody_sees_a_difference() {
    let circuit = Circuit::of(6).await;
    let (app, ana) = (&circuit.app, circuit.app.planner("ana"));
    for id in 1..=4 {
        ana.publish(&id.to_string(), json!({"model": "A"})).await;
    }
    circuit.write_until_done().await;
    ana.publish("5", json!({"model": "B"})).await;
    // Three arrived more than thirty days ago, one just not, and one waits for ever.
    sqlx::query(
        "update pfa_modification d
            set synced_at = now() - case m.pfa_id when '4' then interval '29 days' else interval '31 days' end,
                committed_at = now() - interval '1 year', attempts = 3, last_error = 'late', change_reason = 'why'
           from pfa_mirror m
          where m.organization_id = d.organization_id and m.id = d.mirror_id and d.sync_state = 'synced'",
    )
    .execute(app.pool())
    .await
    .unwrap();
    let before = changes(app, "pfa_modification").await;
    let read = async || {
        let (records, pending) = (ana.get("records?sort=pfaId").await, ana.get("sync/pending").await);
        let total = ana.get("kpis").await.json()["total"].clone();
        (ana.history("1").await, records.json()["data"].clone(), pending.json()["data"].clone(), total)
    };
    let seen = read().await;

    assert_eq!(run(app, "archive").await["affected"], 3);
    assert_eq!(run(app, "archive").await["affected"], 0, "what has moved is done");
    let (left, archived) = (changes(app, "pfa_modification").await, changes(app, "pfa_modification_archive").await);
    assert_eq!((left.len(), archived.len()), (2, 3));
    let mut all = [left, archived].concat();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(all, before, "whole and once, wherever they are");
    assert_eq!(read().await, seen);
    circuit.assert_sound().await;
    circuit.read().await.unwrap();
    circuit.assert_sound().await;
}

#[tokio::test]
async fn old_log_rows_go_but_the_last_good_ones() {
    let app = planners_app().await;
    sqlx::raw_sql(
        "delete from pfa_sync_log;
         insert into pfa_sync_log (organization_id, sync_type, sync_direction, status, read_up_to, started_at, completed_at)
         select 'ORG', kind, direction, status, stamp, now() - days * interval '1 day', now() - days * interval '1 day'
           from (values ('full',        'read',  'completed', '1',  400),
                        ('incremental', 'read',  'completed', '2',  300),
                        ('incremental', 'read',  'failed',    null, 200),
                        ('import',      'read',  'completed', null, 150),
                        ('verify',      'read',  'completed', null, 100),
                        ('incremental', 'read',  'failed',    null, 89),
                        ('incremental', 'write', 'completed', null, 200)) runs (kind, direction, status, stamp, days);
         insert into pfa_refresh_log (reason, outcome, started_at, completed_at)
         select 'schedule', 'completed', now() - days * interval '1 day', now() - days * interval '1 day' from (values (95), (92), (1)) ages (days)",
    )
    .execute(app.pool())
    .await
    .unwrap();
    let runs = async || -> Vec<i64> {
        sqlx::query_scalar("select extract(day from now() - started_at)::bigint from pfa_sync_log order by started_at")
            .fetch_all(app.pool())
            .await
            .unwrap()
    };
    run_housekeeping(&app.service).await;
    // From 300 days ago it is known where to begin again, the last good reading is 150 days old, and the only write-back is the last one.
    assert_eq!(runs().await, [300, 200, 150, 89]);
    let kept: i64 = sqlx::query_scalar("select count(*) from pfa_refresh_log where started_at < now() - interval '2 days'")
        .fetch_one(app.pool())
        .await
        .unwrap();
    assert_eq!(kept, 0);
    let tasks: Vec<String> = app.service.list_maintenance().await.unwrap().into_iter().map(|run| run.task).collect();
    assert_eq!(tasks, ["archive", "prune-logs"]);
}

#[tokio::test]
async fn vacuum_and_reindex_leave_everything_usable() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    ana.publish("1", json!({"model": "A"})).await;
    let seen = ana.get("records").await.json()["data"].clone();
    // What a reindex that was cut off leaves behind.
    sqlx::raw_sql(
        "create index pfa_mirror_grid_ccnew on pfa_mirror (category);
         create index pfa_overlay_grid_ccold1 on pfa_overlay (category);
         update pg_index set indisvalid = false where indexrelid in ('pfa_mirror_grid_ccnew'::regclass, 'pfa_overlay_grid_ccold1'::regclass)",
    )
    .execute(app.pool())
    .await
    .unwrap();
    // Nobody may be in the way of a refresh, nor it in theirs.
    for task in ["vacuum-analyze", "reindex"] {
        let refreshes = async {
            for _ in 0..10 {
                match app.service.refresh_views("test").await {
                    Ok(_) | Err(Error::RefreshRunning) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let (done, ()) = tokio::join!(run(&app, task), refreshes);
        assert!(done["affected"].as_i64().unwrap() >= 16, "{done}");
    }
    assert_eq!(ana.get("records").await.json()["data"], seen);
    let database = app.get("/api/v1/ops/database").await.json();
    let (tables, indexes) = (database["tables"].as_array().unwrap(), database["indexes"].as_array().unwrap());
    assert!(indexes.iter().all(|index| index["valid"] == true && !index["name"].as_str().unwrap().contains("_cc")), "{indexes:?}");
    let mirror = tables.iter().find(|table| table["name"] == "pfa_mirror").unwrap();
    assert!(mirror["vacuumedAt"].is_string() && mirror["analyzedAt"].is_string(), "{mirror}");
    assert!(mirror["rows"].as_i64().unwrap() > 3 && mirror["indexBytes"].as_i64().unwrap() > 100_000, "{mirror}");
    let done: Vec<_> = database["maintenance"].as_array().unwrap().iter().map(|run| run["task"].clone()).collect();
    assert_eq!(done, ["reindex", "vacuum-analyze"]);
}

#[tokio::test]
async fn the_database_is_told_with_its_connections_and_the_age_of_the_summaries() {
    let app = planners_app().await;
    app.service.refresh_views("test").await.unwrap();
    let answer = app.get("/api/v1/ops/database").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let database = answer.json();
    assert!(database["bytes"].as_i64().unwrap() > 1_000_000 && database["refreshAgeSeconds"].as_i64().unwrap() < 60, "{database}");
    assert!(database["connections"].as_i64().unwrap() >= 1 && database["mostConnections"].as_i64().unwrap() >= 10);
    assert!(database["pools"]["main"]["open"].as_i64().unwrap() >= 1 && database["pools"]["summaries"]["most"].as_i64().unwrap() >= 1);
    let names: Vec<_> = database["tables"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert!(["pfa_mirror", "pfa_kpi_summary", "organizations"].iter().all(|name| names.contains(name)), "{names:?}");
}

#[tokio::test]
async fn one_task_runs_at_a_time_and_only_known_ones() {
    let app = test_app().await;
    let unknown = app.post("/api/v1/ops/maintenance/defragment?a=1", &json!({})).await;
    assert_problem(&unknown, 400, "invalid_parameter");
    assert_eq!(unknown.faults(), ["task", "a"]);
    assert_eq!(unknown.json()["errors"][0]["allowed"], json!(["vacuum-analyze", "archive", "prune-logs", "reindex"]));
    let mut other = app.pool().acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock(hashtextextended('pfa maintenance', 0))").execute(&mut *other).await.unwrap();
    assert_problem(&app.post("/api/v1/ops/maintenance/archive", &json!({})).await, 409, "maintenance_running");
    sqlx::query("select pg_advisory_unlock_all()").execute(&mut *other).await.unwrap();
    assert_eq!(run(&app, "archive").await["affected"], 0);
}

/// Whether a vacuum of the mirror waits for somebody's lock.
const VACUUM_WAITS: &str = "
    select exists (select from pg_stat_activity
                    where query like 'vacuum%pfa\\_mirror' and wait_event_type = 'Lock' and datname = current_database())";

/// A client that does not wait stops nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_goes_on_without_its_client() {
    let app = planners_app().await;
    let mut holder = app.pool().begin().await.unwrap();
    sqlx::query("lock table pfa_mirror in access exclusive mode").execute(&mut *holder).await.unwrap();
    let request = Request::post("/api/v1/ops/maintenance/vacuum-analyze").body(Body::empty()).unwrap();
    tokio::select! {
        _ = app.begin(request) => panic!("the table is locked"),
        () = app.wait_until(VACUUM_WAITS) => {}
    }
    assert!(app.service.list_maintenance().await.unwrap().is_empty());
    assert_problem(&app.post("/api/v1/ops/maintenance/archive", &json!({})).await, 409, "maintenance_running");
    holder.rollback().await.unwrap();
    app.wait_until("select exists (select from pfa_maintenance_log)").await;
    assert!(app.service.list_maintenance().await.unwrap()[0].error.is_none());
}

/// A service that ends does not wait for hours of work; the log says so, and the next process can go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_a_task() {
    let app = planners_app().await;
    let other = PfaMirrorService::new(app.database.another_pool().await);
    let mut holder = app.pool().begin().await.unwrap();
    sqlx::query("lock table pfa_mirror in access exclusive mode").execute(&mut *holder).await.unwrap();
    let (ended, ()) = tokio::join!(other.maintain(Task::VacuumAnalyze, None), async {
        app.wait_until(VACUUM_WAITS).await;
        other.stop();
    });
    assert!(matches!(ended, Err(Error::Stopping)), "{ended:?}");
    other.close().await;
    let logged = app.service.list_maintenance().await.unwrap().remove(0);
    assert_eq!(logged.error.as_deref(), Some("the service is stopping"));
    holder.rollback().await.unwrap();
    app.wait_until("select not exists (select from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database()))")
        .await;
    assert!(app.service.maintain(Task::Archive, None).await.is_ok());
}
