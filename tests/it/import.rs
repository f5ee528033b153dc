//! `import` and `generate` as a user runs them: the real binary on a database of its own.

use crate::support::import::Import;
use crate::support::server::TestDatabase;

const MIXED: &str =
    "{\"pfaId\": \"1\", \"monthlyRate\": \"abc\"}\nnot json\n\n{\"category\": \"no id\"}\n{\"pfaId\": \"2\"}\n{\"pfaId\": \"1\"}\n";

#[tokio::test]
async fn bad_lines_are_told_by_number_and_the_good_ones_load() {
    let import = Import::new().await;
    let (code, out, err) = import.import("ndjson", MIXED, &[]).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("2 records inserted") && out.contains("bad lines: 3") && out.contains("unreadable values: 1"), "{out}");
    for says in
        ["line 1: monthlyRate \"abc\"", "line 2: is no JSON", "line 4: pfaId is missing", "line 6: pfaId \"1\" stands in the file before"]
    {
        assert!(err.contains(says), "{says} in {err}");
    }
    assert_eq!(import.count("select count(*) from pfa_mirror").await, 2);
    assert_eq!(import.count("select count(*) from pfa_sync_log where status = 'completed_with_errors' and records_errored = 3 and jsonb_array_length(findings) = 1").await, 1);
}

#[tokio::test]
async fn a_rerun_changes_nothing() {
    let import = Import::new().await;
    import.import("ndjson", MIXED, &[]).await;
    let (_, out, _) = import.import("ndjson", MIXED, &[]).await;
    assert!(out.contains("0 records inserted, 0 updated, 2 unchanged"), "{out}");
    assert_eq!(import.count("select max(version) from pfa_mirror").await, 1);
}

#[tokio::test]
async fn strict_refuses_all() {
    let import = Import::new().await;
    let (code, out, err) = import.import("ndjson", MIXED, &["--strict"]).await;
    assert_eq!(code, Some(1));
    assert!(out.contains("0 records inserted") && err.contains("nothing was loaded"), "{out}{err}");
    assert_eq!(import.count("select count(*) from pfa_mirror").await, 0);
    assert_eq!(import.count("select count(*) from pfa_sync_log where status = 'failed'").await, 1);
    let (code, ..) = import.import("ndjson", "{\"pfaId\": \"1\"}\n", &["--strict"]).await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn tables_load_with_loose_headers() {
    let import = Import::new().await;
    let table = "\u{feff}PFA Id;x\n";
    let (code, _, err) = import.import("csv", table, &[]).await;
    assert!(code == Some(1) && err.contains("no column pfaId"), "{err}");

    let table =
        "PFA Id,Monthly Rate,Forecast Start,is actualized,Cost Code\r\n1,\"$15,000.00\",2025-03-01,yes,X7\r\n2,,,no\r\n3,12,,N,\r\n";
    let (code, out, err) = import.import("csv", table, &[]).await;
    assert!(code == Some(1) && err.contains("line 3: has 4 columns instead of 5"), "{err}");
    assert!(out.contains("2 records inserted"), "{out}");
    assert_eq!(
        import.count("select count(*) from pfa_mirror where monthly_rate = 15000 and is_actualized and data->>'Cost Code' = 'X7'").await,
        1
    );
}

#[tokio::test]
async fn a_quote_that_stays_open_loses_nothing_silently() {
    let import = Import::new().await;
    let (code, out, err) = import.import("csv", "pfaId,category\n1,\"a\nb\"\n\n3,5\" hose\n2,\"open\n4,c\n", &[]).await;
    assert!(code == Some(1) && err.contains("line 6: has a quote that is not closed"), "{err}");
    assert!(out.contains("3 records inserted"), "{out}");
}

#[tokio::test]
async fn a_refresh_under_way_does_not_fail_an_import() {
    let import = Import::new().await;
    // A first load would wait for the refresh: it takes the indexes away.
    import.import("ndjson", "{\"pfaId\": \"0\"}\n", &[]).await;
    let mut refresh = import.database.pool.begin().await.unwrap();
    sqlx::query("select refresh_pfa_materialized_views('test')").execute(&mut *refresh).await.unwrap();
    let (code, out, err) = import.import("ndjson", "{\"pfaId\": \"1\"}\n", &[]).await;
    assert!(code == Some(0) && out.contains("1 records inserted"), "{out}{err}");
}

#[tokio::test]
async fn demo_keeps_out_of_somebodys_own_records() {
    let import = Import::new().await;
    std::fs::write(import.dir.path().join("own"), "{\"pfaId\": \"1\"}\n").unwrap();
    import.run(&["import", "--org", "HOLNG", "--format", "ndjson", "own"]).await;
    let (code, _, err) = import.run(&["demo", "--bind", "127.0.0.1:0"]).await;
    assert!(code == Some(1) && err.contains("HOLNG in this database is not the demo's"), "{err}");
    assert_eq!(import.count("select count(*) from pfa_modification").await, 0);
}

#[tokio::test]
async fn the_log_can_be_json_a_line() {
    let import = Import::new().await;
    let (code, _, err) = import.run(&["migrate", "--log", "debug", "--log-format", "json"]).await;
    let entries: Vec<serde_json::Value> = err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(code == Some(0) && !entries.is_empty());
    assert!(entries.iter().all(|entry| entry["level"].is_string() && entry["timestamp"].is_string()), "{entries:?}");
}

#[tokio::test]
async fn serve_can_refuse_to_migrate() {
    let database = TestDatabase::empty().await;
    let import = Import::on(database);
    let (code, _, err) = import.run(&["serve", "--no-migrate", "--bind", "127.0.0.1:0"]).await;
    assert!(code == Some(1) && err.contains("migrations are waiting"), "{err}");
}

#[tokio::test]
async fn what_jsonb_cannot_hold_costs_its_value_only() {
    let import = Import::new().await;
    let (code, out, err) = import.import("ndjson", "{\"pfaId\": \"1\"}\n{\"pfaId\": \"2\", \"x\": 1e200000}\n", &[]).await;
    assert!(code == Some(1) && out.contains("2 records inserted"), "{out}{err}");
    assert!(err.contains("line 2: x ") && err.contains("holds a number that is too large"), "{err}");
}

#[tokio::test]
async fn what_cannot_be_read_is_one_line() {
    let import = Import::new().await;
    let (code, _, err) = import.run(&["import", "--org", "ORG", "--format", "ndjson", "absent.ndjson"]).await;
    assert!(code == Some(1) && err.lines().count() == 1 && err.contains("absent.ndjson"), "{err}");
    let (code, _, err) = import.run(&["import", "--org", "ORG", "--format", "ndjson", "."]).await;
    assert!(code == Some(1) && err.contains("directory"), "{err}");
    assert_eq!(import.count("select count(*) from pfa_mirror").await, 0);
    let (code, _, err) = import.run(&["import", "--org", "O RG", "--format", "ndjson", "x"]).await;
    assert!(code == Some(2) && err.lines().count() == 1 && err.contains("--org"), "{err}");
}

#[tokio::test]
async fn generate_fills_and_a_second_run_changes_nothing() {
    let import = Import::new().await;
    let generate = ["generate", "--records", "3000", "--orgs", "3", "--seed", "7"];
    let (code, out, err) = import.run(&generate).await;
    assert!(code == Some(0) && out.contains("3000 records inserted"), "{out}{err}");
    let (_, out, _) = import.run(&generate).await;
    assert!(out.contains("0 records inserted, 0 updated, 3000 unchanged"), "{out}");
    assert_eq!(import.count("select count(distinct organization_id) from pfa_mirror").await, 3);
    let (code, out, _) = import.run(&["analyze", "--org", "HOLNG", "--category", "Lifting", "--source", "Rental"]).await;
    assert!(code == Some(0) && out.contains("grid page"), "{out}");
    let (code, out, _) = import.run(&["refresh"]).await;
    assert!(code == Some(0) && out.contains("Refreshed"), "{out}");
    let (code, out, _) = import.run(&["migrate"]).await;
    assert!(code == Some(0) && out.contains("up to date"), "{out}");
}
