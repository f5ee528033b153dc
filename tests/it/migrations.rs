//! The schema: it builds from nothing, a second run changes nothing, and its rules hold.

use crate::support::TestApp;
use crate::support::server::TestDatabase;
use pfa_vanguard::db::migrate::{MIGRATOR, count_pending, migrate};
use serde_json::json;

#[tokio::test]
async fn an_empty_database_is_migrated_once() {
    let database = TestDatabase::empty().await;
    assert_eq!(count_pending(&database.pool).await.unwrap(), MIGRATOR.iter().count());
    migrate(&database.pool).await.unwrap();
    assert_eq!(count_pending(&database.pool).await.unwrap(), 0);
    migrate(&database.pool).await.unwrap();
}

#[tokio::test]
async fn two_processes_that_migrate_at_once_both_succeed() {
    let database = TestDatabase::empty().await;
    let (first, second) = tokio::join!(migrate(&database.pool), migrate(&database.pool));
    first.unwrap();
    second.unwrap();
}

#[tokio::test]
async fn a_migration_that_was_edited_after_it_landed_is_refused() {
    let database = TestDatabase::migrated().await;
    sqlx::query("update _sqlx_migrations set checksum = 'x' where version = (select min(version) from _sqlx_migrations)")
        .execute(&database.pool)
        .await
        .unwrap();
    assert!(migrate(&database.pool).await.is_err());
}

/// Names of the product: tables, views and functions that others build on.
#[tokio::test]
async fn the_promised_names_are_there() {
    let database = TestDatabase::migrated().await;
    for name in [
        "organizations",
        "pfa_session",
        "pfa_mirror",
        "pfa_modification",
        "pfa_modification_archive",
        "pfa_sync_log",
        "pfa_mirror_history",
        "pfa_refresh_log",
        "pfa_merged_live",
        "pfa_kpi_summary",
        "pfa_timeline_bounds",
    ] {
        let comment: Option<String> =
            sqlx::query_scalar("select obj_description($1::regclass, 'pg_class')").bind(name).fetch_one(&database.pool).await.unwrap();
        assert!(comment.is_some_and(|comment| comment.len() > 20), "{name} is there and says what it is");
    }
    for function in ["refresh_pfa_materialized_views(text)", "analyze_pfa_query_performance(text,text,text)"] {
        sqlx::query("select $1::regprocedure").bind(function).execute(&database.pool).await.unwrap();
    }
}

#[tokio::test]
async fn every_key_and_index_begins_with_the_organization() {
    let database = TestDatabase::migrated().await;
    let others: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_index i
           join pg_class c on c.oid = i.indexrelid
           join pg_class t on t.oid = i.indrelid
           join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
          where t.relnamespace = 'public'::regnamespace and a.attname <> 'organization_id'
          order by 1",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    // What is done to the whole database belongs to no organization, nor does the driver's table.
    let logs = ["pfa_maintenance_log_newest_first", "pfa_maintenance_log_pkey", "pfa_refresh_log_newest_first", "pfa_refresh_log_pkey"];
    assert_eq!(others, [&["_sqlx_migrations_pkey"][..], &logs].concat());
}

#[tokio::test]
async fn every_index_says_which_reading_it_serves() {
    let database = TestDatabase::migrated().await;
    let indexes: Vec<(String, Option<String>)> = sqlx::query_as(
        "select c.relname::text, obj_description(c.oid, 'pg_class') from pg_index i
           join pg_class c on c.oid = i.indexrelid
          where c.relnamespace = 'public'::regnamespace and c.relname like 'pfa%'
            and not exists (select from pg_constraint where conindid = i.indexrelid)",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert!(indexes.len() >= 15, "{} indexes", indexes.len());
    for (name, comment) in indexes {
        assert!(comment.is_some_and(|comment| comment.len() > 10), "{name} has a comment");
    }
}

/// The overlay repeats the mirror's generated columns; the view reads both.
#[tokio::test]
async fn the_overlay_has_every_generated_column_of_the_mirror() {
    let database = TestDatabase::migrated().await;
    let missing: Vec<String> = sqlx::query_scalar(
        "select column_name::text from (
             select column_name, generation_expression from information_schema.columns where table_name = 'pfa_mirror' and is_generated = 'ALWAYS'
             except
             select column_name, generation_expression from information_schema.columns where table_name = 'pfa_overlay') missing",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert!(missing.is_empty(), "{missing:?}");
    let generated: i64 =
        sqlx::query_scalar("select count(*) from information_schema.columns where table_name = 'pfa_mirror' and is_generated = 'ALWAYS'")
            .fetch_one(&database.pool)
            .await
            .unwrap();
    assert!(generated >= 20);
}

#[tokio::test]
async fn a_session_has_one_draft_a_record_and_states_hold_together() {
    let database = TestDatabase::migrated().await;
    sqlx::raw_sql(
        "insert into organizations (organization_id, name) values ('A', 'A');
         insert into pfa_mirror (organization_id, id, data) values ('A', '00000000-0000-0000-0000-000000000001', '{\"pfaId\": \"1\"}');
         insert into pfa_session (organization_id, id, user_id) values ('A', '00000000-0000-0000-0000-000000000002', 'planner');",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    let insert = async |more: &str, values: &str| -> Option<String> {
        let statement = format!(
            "insert into pfa_modification (organization_id, session_id, mirror_id, user_id{more})
             values ('A', '00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000001', 'planner'{values})"
        );
        let outcome = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&database.pool).await;
        outcome.err().map(|error| error.as_database_error().unwrap().constraint().unwrap().to_owned())
    };
    assert_eq!(insert(", delta", ", '{\"dor\": \"BEO\"}'").await, None);
    for (more, values, constraint) in [
        (", delta", ", '{\"dor\": \"BEO\"}'", "pfa_modification_one_open_per_record"),
        (", delta", ", '{}'", "pfa_modification_delta_is_object"),
        (", delta", ", '{\"pfaId\": \"2\"}'", "pfa_modification_delta_is_object"),
        (", delta, sync_state, committed_at", ", '{\"dor\": \"BEO\"}', 'lost', now()", "pfa_modification_state_is_known"),
        (", delta, sync_state", ", '{\"dor\": \"BEO\"}', 'committed'", "pfa_modification_published_has_time"),
        (", delta, sync_state", ", '{\"dor\": \"BEO\"}', 'conflict'", "pfa_modification_conflict_has_stage"),
    ] {
        assert_eq!(insert(more, values).await.as_deref(), Some(constraint));
    }
}

#[tokio::test]
async fn a_record_that_something_refers_to_cannot_be_deleted() {
    let database = TestDatabase::migrated().await;
    sqlx::raw_sql(
        r#"insert into organizations (organization_id, name) values ('A', 'A');
           insert into pfa_session (organization_id, id, user_id) values ('A', '00000000-0000-0000-0000-00000000000a', 'planner');
           insert into pfa_mirror (organization_id, id, data)
           select 'A', ('00000000-0000-0000-0000-00000000000' || n)::uuid, jsonb_build_object('pfaId', n::text) from generate_series(1, 4) n;
           insert into pfa_modification (organization_id, session_id, mirror_id, user_id, delta)
           select 'A', '00000000-0000-0000-0000-00000000000a', id, 'planner', '{"dor": "BEO"}' from pfa_mirror where pfa_id = '1';
           insert into pfa_mirror_history (organization_id, mirror_id, version, change_number, changed_by, source, before, after)
           select 'A', id, 1, 1, 'planner', 'import', '{}', '{}' from pfa_mirror where pfa_id = '2';
           insert into pfa_overlay (organization_id, id, session_id, data, version, last_synced_at, sync_state, modified_fields, modified_by, modified_at)
           select 'A', id, pfa_everybody(), data, 1, now(), 'committed', '{}', 'planner', now() from pfa_mirror where pfa_id = '3';"#,
    )
    .execute(&database.pool)
    .await
    .unwrap();
    let delete = async |pfa_id: &str| sqlx::query("delete from pfa_mirror where pfa_id = $1").bind(pfa_id).execute(&database.pool).await;
    for referred in ["1", "2", "3"] {
        let refusal = delete(referred).await.unwrap_err();
        assert_eq!(refusal.as_database_error().unwrap().constraint(), Some("pfa_mirror_keeps_record"), "{referred}");
    }
    assert_eq!(delete("4").await.unwrap().rows_affected(), 1);
    for (statement, constraint) in [
        ("truncate pfa_mirror", "pfa_mirror_keeps_records"),
        ("update pfa_mirror set id = gen_random_uuid()", "pfa_mirror_keeps_key"),
        ("update pfa_mirror set organization_id = 'B'", "pfa_mirror_keeps_key"),
        ("update pfa_mirror set data = data || '{\"pfaId\": \"9\"}' where pfa_id = '2'", "pfa_mirror_keeps_pfa_id"),
    ] {
        let refusal = sqlx::query(statement).execute(&database.pool).await.unwrap_err();
        assert_eq!(refusal.as_database_error().unwrap().constraint(), Some(constraint), "{statement}");
    }
    let everything = "truncate pfa_mirror, pfa_modification, pfa_overlay, pfa_mirror_history";
    sqlx::query(everything).execute(&database.pool).await.unwrap();
}

#[tokio::test]
async fn no_change_of_a_record_goes_without_a_version() {
    let database = TestDatabase::migrated().await;
    sqlx::raw_sql(
        r#"insert into organizations (organization_id, name) values ('A', 'A');
           insert into pfa_mirror (organization_id, data) values ('A', '{"pfaId": "1", "dor": "BEO"}');"#,
    )
    .execute(&database.pool)
    .await
    .unwrap();
    for (change, version) in [
        (r#"data = data || '{"dor": "PROJECT"}'"#, 2),
        (r#"data = data || '{"dor": "PROJECT"}'"#, 2),
        (r#"data = data || '{"dor": "BEO"}', version = version + 1"#, 3),
        ("pems_version = 'x', last_synced_at = now()", 3),
        (r#"data = '{"pfaId": "1"}', pems_version = 'y'"#, 4),
        (r#"data = '{"pfaId": "1", "monthlyRate": 1.50}', version = 2"#, 5),
        (r#"data = '{"pfaId": "1", "monthlyRate": 1.5}'"#, 6),
    ] {
        let statement = sqlx::AssertSqlSafe(format!("update pfa_mirror set {change} returning version"));
        let counted: i64 = sqlx::query_scalar(statement).fetch_one(&database.pool).await.unwrap();
        assert_eq!(counted, version, "{change}");
    }
}

/// The version before sandboxes could be edited: drafts, a published change and views of the day before.
#[tokio::test]
async fn what_an_older_version_wrote_is_read_the_same_after_the_migration() {
    let database = TestDatabase::empty().await;
    MIGRATOR.run_to(20_261_122_100_700, &database.pool).await.unwrap();
    sqlx::raw_sql(
        r#"insert into organizations (organization_id, name) values ('A', 'A');
           insert into pfa_mirror (organization_id, id, data)
           select 'A', ('00000000-0000-0000-0000-00000000000' || n)::uuid,
                  jsonb_build_object('pfaId', n::text, 'source', 'Rental', 'monthlyRate', 3044, 'forecastStart', '2025-01-01', 'forecastEnd', '2025-01-11')
             from generate_series(1, 3) n;
           select refresh_pfa_materialized_views('test');
           insert into pfa_session (organization_id, id, user_id) values ('A', '00000000-0000-0000-0000-00000000000a', 'dev');
           insert into pfa_modification (organization_id, session_id, mirror_id, user_id, sync_state, delta, base, committed_at)
           values ('A', '00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-000000000001', 'dev', 'draft',
                   '{"monthlyRate": 6088}', '{"monthlyRate": 3044}', null),
                  ('A', '00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-000000000002', 'dev', 'committed',
                   '{"isDiscontinued": true}', '{"isDiscontinued": null}', now());
           select pfa_rebuild_overlay('A');
           update organizations set change_number = change_number + 1;"#,
    )
    .execute(&database.pool)
    .await
    .unwrap();
    migrate(&database.pool).await.unwrap();

    let app = TestApp::on(database);
    let session = "00000000-0000-0000-0000-00000000000a";
    let kpis = app.get("/api/v1/orgs/A/kpis").await.json();
    assert_eq!((kpis["total"]["forecastCost"].to_string().as_str(), &kpis["total"]["recordCount"]), ("2000.00", &json!(2)), "{kpis}");
    let what_if = app.get(&format!("/api/v1/orgs/A/kpis?session={session}")).await.json();
    assert_eq!(what_if["total"]["forecastCost"].to_string(), "3000.00");
    let sandbox = app.get(&format!("/api/v1/orgs/A/sessions/{session}")).await.json();
    assert_eq!((&sandbox["draftCount"], &sandbox["undoDepth"]), (&json!(1), &json!(0)));
    let commit = app.post(&format!("/api/v1/orgs/A/sessions/{session}/commit"), &json!({})).await.json();
    assert_eq!((&commit["committed"], &commit["closed"]), (&json!(1), &json!(true)), "{commit}");
    assert_eq!(app.get("/api/v1/orgs/A/kpis").await.json()["total"]["forecastCost"].to_string(), "3000.00");
}
