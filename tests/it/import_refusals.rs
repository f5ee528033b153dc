//! Files that an import cannot take, or not whole: one clear message, an exit code, the mirror as it
//! was, and a run in the log that says why.

use crate::support::former::former_file;
use crate::support::import::Import;

const ROWS: &str = r#"
    insert into "PfaRecord" ("id", "pfaId", "organizationId", "isActualized", "monthlyRate", "forecastStart", "model", "lastModified")
    values ('a', '1', 'ORG', 0, 10, 1735689600000, 'x', null),
           ('b', '2', 'ORG', 'maybe', 'abc', 'soon', x'00ff', 'yesterday'),
           ('c', null, 'ORG', 0, 0, null, null, null),
           ('d', '1', 'ORG', 0, 0, null, null, null),
           ('e', '5', 'O RG', 0, 0, null, null, null),
           ('f', '6', null, 0, 0, null, null, null)"#;

/// One line of complaint, a failed run, and the record that was there before.
async fn assert_refused(import: &Import, (code, _, err): (Option<i32>, String, String), reason: &str) {
    let complaints: Vec<_> = err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(code == Some(1) && complaints.len() == 1 && complaints[0].contains(reason), "{reason} in {err}");
    let (organization, status, error) = import.log().await.pop().unwrap();
    assert_eq!((organization.as_str(), status.as_str()), ("ORG", "failed"));
    assert!(error.is_some_and(|error| error.contains(reason)));
    assert_eq!(import.count("select count(*) from pfa_mirror").await, 1);
}

async fn with_a_record() -> Import {
    let import = Import::new().await;
    import.import("ndjson", "{\"pfaId\": \"0\"}\n", &[]).await;
    import
}

#[tokio::test]
async fn a_sqlite_file_without_the_table_is_refused() {
    let import = with_a_record().await;
    rusqlite::Connection::open(import.path("former.db")).unwrap().execute_batch("create table \"User\" (id text)").unwrap();
    assert_refused(&import, import.import_sqlite(&["--org", "ORG"]).await, "has no table PfaRecord; its tables are: User").await;
    let (code, _, err) = import.import_sqlite(&[]).await;
    assert!(code == Some(1) && err.contains("has no table PfaRecord"), "{err}");
}

#[tokio::test]
async fn what_is_no_sqlite_file_is_refused() {
    let import = with_a_record().await;
    for content in [&b""[..], b"pfaId,category\n1,x\n", b"SQLite format 3\0 and then nothing that makes sense"] {
        std::fs::write(import.path("former.db"), content).unwrap();
        assert_refused(&import, import.import_sqlite(&["--org", "ORG"]).await, "former.db: is no SQLite file").await;
    }
}

#[tokio::test]
async fn a_damaged_sqlite_file_is_refused() {
    let import = with_a_record().await;
    former_file(
        &import.path("former.db"),
        r#"insert into "PfaRecord" ("id", "pfaId", "organizationId", "equipment")
           with recursive n (i) as (select 1 union all select i + 1 from n where i < 500) select i, i, 'ORG', hex(zeroblob(100)) from n"#,
    );
    let mut bytes = std::fs::read(import.path("former.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xA5);
    std::fs::write(import.path("former.db"), bytes).unwrap();
    assert_refused(&import, import.import_sqlite(&["--org", "ORG"]).await, "damaged").await;
}

#[tokio::test]
async fn a_table_without_ids_is_refused() {
    let import = with_a_record().await;
    assert_refused(&import, import.import("csv", "category,class\na,b\n", &[]).await, "the table has no column pfaId").await;
    assert_refused(&import, import.import("csv", "", &[]).await, "the table has no header line").await;
    let path = import.path("former.db");
    former_file(&path, r#"alter table "PfaRecord" drop column "pfaId""#);
    assert_refused(&import, import.import_sqlite(&["--org", "ORG"]).await, "PfaRecord has no column pfaId").await;
}

#[tokio::test]
async fn dirty_rows_are_told_with_record_and_field_and_the_rest_is_loaded() {
    let import = Import::new().await;
    former_file(&import.path("former.db"), ROWS);
    let (code, out, err) = import.import_sqlite(&[]).await;
    assert_eq!(code, Some(1), "{err}");
    for says in [
        "row 2: monthlyRate \"abc\" of record 2 is no amount",
        "row 2: isActualized \"maybe\" of record 2 is neither",
        "row 2: forecastStart \"soon\" of record 2 is no date",
        "row 2: model \"x'00ff'\" of record 2 is binary; null stands for it",
        "row 2: lastModified \"yesterday\" of record 2 is no moment",
        "row 3 (id c): pfaId is missing",
        "row 4: pfaId \"1\" stands in the file before",
        "row 5 (id e): organizationId \"O RG\" must be",
        "row 6 (id f): organizationId \"\" must be",
        "error: bad rows: 4, unreadable values: 5; null stands for these, the other rows are loaded",
    ] {
        assert!(err.contains(says), "{says} in {err}");
    }
    assert!(out.contains("ORG: 2 records inserted, 0 updated, 0 unchanged; bad rows: 2; unreadable values: 5"), "{out}");
    assert!(out.contains("verified: 2 records, all as in the file except for unreadable values"), "{out}");
    assert_eq!(import.count("select count(*) from pfa_mirror where pfa_id = '2' and monthly_rate is null and model is null").await, 1);
    assert_eq!(import.log().await, [("ORG".into(), "completed_with_errors".into(), None)]);
}

#[tokio::test]
async fn a_flood_of_dirty_values_is_told_in_part() {
    let import = Import::new().await;
    let lines: Vec<_> = (0..130).map(|id| format!("{{\"pfaId\": {id}, \"monthlyRate\": \"abc\"}}\nbad\n")).collect();
    let (_, out, err) = import.import("ndjson", &lines.concat(), &[]).await;
    assert!(out.contains("bad lines: 130; unreadable values: 130"), "{out}");
    assert!(err.contains("more bad lines follow") && err.contains("more unreadable values follow; the log of the run has the first 1,000"));
    assert!(err.lines().count() < 130, "{err}");
    assert_eq!(import.count("select jsonb_array_length(findings)::bigint from pfa_sync_log").await, 130);
}

#[tokio::test]
async fn strict_takes_dirty_rows_for_a_reason_to_load_nothing() {
    let import = with_a_record().await;
    former_file(&import.path("former.db"), ROWS);
    assert_refused(&import, import.import_sqlite(&["--strict"]).await, "nothing was loaded because of bad lines or unreadable values")
        .await;
    // Values alone are enough.
    let outcome = import.import("ndjson", "{\"pfaId\": \"1\", \"monthlyRate\": \"abc\"}\n", &["--strict"]).await;
    assert!(outcome.2.contains("line 1: monthlyRate \"abc\" of record 1"), "{}", outcome.2);
    assert_refused(&import, outcome, "nothing was loaded").await;
}

#[tokio::test]
async fn options_of_sqlite_files_are_for_sqlite_files() {
    let import = Import::new().await;
    let (code, _, err) = import.import("csv", "pfaId\n1\n", &["--source-org", "X"]).await;
    assert!(code == Some(2) && err.contains("--source-org"), "{err}");
    let (code, _, err) = import.run(&["import", "--format", "csv", "file"]).await;
    assert!(code == Some(2) && err.contains("--org"), "{err}");
}
