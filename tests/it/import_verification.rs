//! An import holds the mirror against the file before anybody sees it, and passing errors of the
//! database do not end it.

use crate::support::import::Import;
use crate::support::test_app;
use pfa_vanguard::domain::record::{Record, canonicalise};
use pfa_vanguard::service::ingest::{Batch, Difference, Expected, Verification};
use serde_json::json;
use uuid::Uuid;

const THREE: &str = "{\"pfaId\": \"1\", \"monthlyRate\": 5, \"x\": 1e3}\n{\"pfaId\": \"2\", \"monthlyRate\": 5, \"y\": [1.50, {\"b\": null, \"a\": \"\\u00e9\"}]}\n{\"pfaId\": \"3\"}\n";

#[tokio::test]
async fn what_came_is_as_in_the_file() {
    let import = Import::new().await;
    let (code, out, err) = import.import("ndjson", THREE, &[]).await;
    assert!(code == Some(0) && out.contains("verified: 3 records, all as in the file;"), "{out}{err}");
    let (code, out, _) = import.import("csv", "pfaId,Monthly Rate\n1,$7.50\n9,\n", &[]).await;
    assert!(code == Some(0) && out.contains("1 records inserted, 1 updated") && out.contains("verified: 2 records"), "{out}");
}

#[tokio::test]
async fn a_row_that_arrives_as_another_one_is_found_and_nothing_is_loaded() {
    let import = Import::new().await;
    import
        .execute(
            "create function alter_row() returns trigger language plpgsql as $$
             begin
                 if new.data->>'pfaId' = '2' then new.data := new.data || '{\"monthlyRate\": 6, \"model\": \"other\"}'; end if;
                 if new.data->>'pfaId' = '3' then return null; end if;
                 return new;
             end $$;
             create trigger alter_row before insert on pfa_mirror for each row execute function alter_row()",
        )
        .await;
    let (code, out, err) = import.import("ndjson", THREE, &[]).await;
    assert!(code == Some(1) && !out.contains("verified"), "{out}{err}");
    for says in [
        "ORG: record 2 is not as it was read: model, monthlyRate",
        "ORG: record 3 is not in the mirror",
        "error: verification: 2 of 3 records of ORG are not in the mirror as they are in the file; nothing was loaded",
    ] {
        assert!(err.contains(says), "{says} in {err}");
    }
    assert_eq!(import.count("select count(*) from pfa_mirror").await, 0);
    let log = import.log().await;
    assert!(
        log.len() == 1 && log[0].1 == "failed" && log[0].2.as_ref().is_some_and(|error| error.starts_with("verification: 2 of 3")),
        "{log:?}"
    );
}

#[tokio::test]
async fn an_update_that_does_not_arrive_is_found() {
    let import = Import::new().await;
    import.import("ndjson", THREE, &[]).await;
    import
        .execute(
            "create function keep_row() returns trigger language plpgsql as $$ begin new.data := old.data; return new; end $$;
             create trigger keep_row before update on pfa_mirror for each row execute function keep_row()",
        )
        .await;
    let (code, _, err) = import.import("ndjson", &THREE.replace("\"x\": 1e3", "\"x\": 1001"), &[]).await;
    assert!(code == Some(1) && err.contains("ORG: record 1 is not as it was read: x") && err.contains("1 of 3 records"), "{err}");
    assert_eq!(import.count("select max(version) from pfa_mirror").await, 1);
}

#[tokio::test]
async fn passing_errors_cost_a_pause_only() {
    for fault in ["raise exception 'passing' using errcode = '40001'", "perform pg_terminate_backend(pg_backend_pid())"] {
        let import = Import::new().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "create sequence tries;
             create function fail_once() returns trigger language plpgsql as $$
             begin
                 if nextval('tries') = 1 then {fault}; end if;
                 return new;
             end $$;
             create trigger fail_once before insert on pfa_mirror for each row execute function fail_once()"
        )))
        .execute(&import.database.pool)
        .await
        .unwrap();
        let (code, out, err) = import.import("ndjson", THREE, &[]).await;
        assert!(code == Some(0) && out.contains("3 records inserted") && err.contains("trying again in 1 s"), "{out}{err}");
        let statuses: Vec<_> = import.log().await.into_iter().map(|(_, status, _)| status).collect();
        assert_eq!(statuses, ["failed", "completed"]);
    }
}

#[tokio::test]
async fn errors_that_stay_end_it_at_once() {
    let import = Import::new().await;
    import
        .execute(
            "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'never'; end $$;
             create trigger refuse before insert on pfa_mirror for each row execute function refuse()",
        )
        .await;
    let (code, _, err) = import.import("ndjson", THREE, &[]).await;
    assert!(code == Some(1) && err.contains("never") && !err.contains("trying again"), "{err}");
    assert_eq!(import.log().await[0].1, "failed");
}

#[tokio::test]
async fn summaries_and_statistics_are_those_of_the_file() {
    let import = Import::new().await;
    let lines: String = (0..1500).map(|id| json!({ "pfaId": id, "monthlyRate": id }).to_string() + "\n").collect();
    import.import("ndjson", &lines, &[]).await;
    assert_eq!(import.count("select record_count from pfa_timeline_bounds where organization_id = 'ORG'").await, 1500);
    assert_eq!(import.count("select reltuples::bigint from pg_class where relname = 'pfa_mirror'").await, 1500);
}

#[tokio::test]
async fn a_record_that_gets_lost_on_the_way_is_counted() {
    let app = test_app().await;
    app.service.save_organization("ORG", "ORG").await.unwrap();
    let record = |id: &str| -> Record { canonicalise(json!({"pfaId": id}).as_object().unwrap().clone()).unwrap().0 };
    let mut expected = Expected::default();
    assert_eq!(["1", "2", "1"].map(|id| expected.note(&record(id))), [true, true, false]);
    let mut load = app.service.begin_load(&["ORG"]).await.unwrap();
    load.stage(&[record("1")]).await.unwrap();
    let (applied, verification) = load.apply_and_verify(&Batch::import("ORG", Uuid::new_v4(), "test"), &expected).await.unwrap();
    assert_eq!((applied.inserted, verification), (1, Verification { same: 1, differences: vec![Difference::Lost(1)], different: 1 }));
    load.abandon().await;
    assert!(app.mirror_rows("ORG").await.is_empty());
}
