//! The former application's SQLite file comes into the mirror whole and exact.

use crate::support::former::{change_former_file, former_file};
use crate::support::import::Import;
use serde_json::{Value, json};

const TWO_ORGANIZATIONS: &str = r#"
    insert into "PfaRecord" ("id", "pfaId", "organizationId", "areaSilo", "category", "class", "source", "dor", "isActualized",
            "isDiscontinued", "isFundsTransferable", "monthlyRate", "purchasePrice", "manufacturer", "model", "originalStart", "originalEnd",
            "forecastStart", "forecastEnd", "actualStart", "actualEnd", "hasPlan", "hasActuals", "contract", "equipment", "lastModified", "costCode")
    values ('r1', '10245', 'RIO', 'Silo 1', 'Lifting', 'Crane', 'Rental', 'BEO', 1, 0, 1, 15000.1, 0, 'Liebherr', 'LTM 1250-6.1',
            1735689600000, 1738281600000, '2025-03-01T00:00:00.000Z', '2025-04-01 10:00:00', 1740787200000, null, 1, 0,
            'C-1', 'TAG-7 - a "crane"' || char(9) || '\' || char(10) || 'é', 1741000000123, 'X9'),
           ('h1', 'PFA-001', 'HOLNG', null, null, null, 'Purchase', 'PROJECT', 0, 1, 0, null, 0.1 + 0.2, null, null,
            null, null, null, null, null, null, 0, 0, null, null, null, null),
           ('r2', '10246', 'RIO', '', 'Lifting', null, 'Rental', 'PROJECT', 0, 0, 0, 99999999999.9999, 12345.67, null, null,
            -86400000, 0, null, null, null, null, 1, 1, null, null, '2025-03-03T11:06:40.123Z', null)"#;

async fn data(import: &Import, organization: &str, pfa_id: &str) -> Value {
    let statement = "select data from pfa_mirror where organization_id = $1 and pfa_id = $2";
    sqlx::query_scalar(statement).bind(organization).bind(pfa_id).fetch_one(&import.database.pool).await.unwrap()
}

#[tokio::test]
async fn every_value_comes_as_it_was() {
    let import = Import::new().await;
    former_file(&import.path("former.db"), TWO_ORGANIZATIONS);
    let (code, out, err) = import.import_sqlite(&[]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    for says in ["HOLNG: 1 records inserted", "RIO: 2 records inserted", "verified: 3 records, all as in the file"] {
        assert!(out.contains(says), "{says} in {out}");
    }
    let expected = json!({"pfaId": "10245", "areaSilo": "Silo 1", "category": "Lifting", "class": "Crane", "source": "Rental", "dor": "BEO",
        "isActualized": true, "isDiscontinued": false, "isFundsTransferable": true, "monthlyRate": 15000.1, "purchasePrice": 0,
        "manufacturer": "Liebherr", "model": "LTM 1250-6.1", "originalStart": "2025-01-01", "originalEnd": "2025-01-31",
        "forecastStart": "2025-03-01", "forecastEnd": "2025-04-01", "actualStart": "2025-03-01", "actualEnd": null, "hasPlan": true,
        "hasActuals": false, "contract": "C-1", "equipment": "TAG-7 - a \"crane\"\t\\\né", "costCode": "X9"});
    assert_eq!(data(&import, "RIO", "10245").await, expected);
    let second = data(&import, "RIO", "10246").await;
    assert_eq!((second["monthlyRate"].to_string(), second["purchasePrice"].to_string()), ("99999999999.9999".into(), "12345.67".into()));
    assert_eq!((&second["originalStart"], &second["originalEnd"]), (&json!("1969-12-31"), &json!("1970-01-01")));
    assert_eq!((&second["areaSilo"], &second["hasActuals"]), (&Value::Null, &json!(true)));
    let other = data(&import, "HOLNG", "PFA-001").await;
    assert_eq!((&other["source"], &other["isDiscontinued"], &other["hasPlan"]), (&json!("Purchase"), &json!(true), &json!(false)));
    assert_eq!((&other["monthlyRate"], &other["purchasePrice"], &other["category"]), (&json!(0), &json!(0.3), &Value::Null));
    assert!(other.get("costCode").is_none() && other.get("id").is_none() && other.get("organizationId").is_none());
    assert_eq!(import.count("select count(*) from pfa_mirror where pems_version in ('2025-03-03T11:06:40.123Z')").await, 2);
}

#[tokio::test]
async fn a_rerun_changes_nothing_and_a_change_comes_through() {
    let import = Import::new().await;
    let file = import.path("former.db");
    former_file(&file, TWO_ORGANIZATIONS);
    import.import_sqlite(&[]).await;
    let places = "select string_agg(ctid::text || xmin::text, ' ' order by id) from pfa_mirror";
    let before: String = sqlx::query_scalar(places).fetch_one(&import.database.pool).await.unwrap();
    let (code, out, err) = import.import_sqlite(&[]).await;
    assert!(
        code == Some(0) && out.contains("RIO: 0 records inserted, 0 updated, 2 unchanged") && out.contains("verified: 3"),
        "{out}{err}"
    );
    assert!(err.contains("pg_dump"), "a way back is named before: {err}");
    let after: String = sqlx::query_scalar(places).fetch_one(&import.database.pool).await.unwrap();
    assert_eq!((before, import.count("select max(version) from pfa_mirror").await), (after, 1));

    change_former_file(&file, r#"update "PfaRecord" set "monthlyRate" = 1 where "pfaId" = '10245'"#);
    let (code, out, _) = import.import_sqlite(&[]).await;
    assert!(code == Some(0) && out.contains("RIO: 0 records inserted, 1 updated, 1 unchanged"), "{out}");
    assert_eq!(import.count("select version from pfa_mirror where pfa_id = '10245'").await, 2);
    assert_eq!(import.count("select count(*) from pfa_mirror_history where source = 'import'").await, 1);
}

#[tokio::test]
async fn one_organization_can_be_picked_and_renamed() {
    let import = Import::new().await;
    former_file(&import.path("former.db"), TWO_ORGANIZATIONS);
    let (code, out, err) = import.import_sqlite(&["--org", "HOLNG"]).await;
    assert!(code == Some(0) && out.contains("HOLNG: 1 records inserted") && !out.contains("RIO"), "{out}{err}");
    assert!(!err.contains("pg_dump"), "there is nothing to save: {err}");
    let (code, out, err) = import.import_sqlite(&["--org", "NEW", "--source-org", "RIO"]).await;
    assert!(code == Some(0) && out.contains("NEW: 2 records inserted"), "{out}{err}");
    assert_eq!(import.count("select count(*) from organizations").await, 2);
    let (code, _, err) = import.import_sqlite(&["--org", "NONE"]).await;
    assert!(code == Some(1) && err.contains("no row whose organizationId is \"NONE\"") && err.contains("RIO"), "{err}");
}

#[tokio::test]
async fn a_table_without_organizations_needs_one() {
    let import = Import::new().await;
    former_file(&import.path("former.db"), TWO_ORGANIZATIONS);
    change_former_file(&import.path("former.db"), r#"alter table "PfaRecord" drop column "organizationId""#);
    let (code, _, err) = import.import_sqlite(&[]).await;
    assert!(code == Some(1) && err.contains("--org must say"), "{err}");
    let (code, _, err) = import.import_sqlite(&["--org", "ORG", "--source-org", "RIO"]).await;
    assert!(code == Some(1) && err.contains("--source-org has nothing"), "{err}");
    let (code, out, err) = import.import_sqlite(&["--org", "ORG"]).await;
    assert!(code == Some(0) && out.contains("ORG: 3 records inserted"), "{out}{err}");
}

#[tokio::test]
async fn the_file_stays_as_it_is() {
    let import = Import::new().await;
    let file = import.path("former.db");
    former_file(&file, TWO_ORGANIZATIONS);
    change_former_file(&file, "pragma journal_mode = wal");
    let before = std::fs::read(&file).unwrap();
    let (code, _, err) = import.import_sqlite(&[]).await;
    assert_eq!((code, before == std::fs::read(&file).unwrap()), (Some(0), true), "{err}");
}

#[tokio::test]
async fn a_hundred_thousand_rows_stream_through_little_memory() {
    let import = Import::new().await;
    former_file(
        &import.path("former.db"),
        r#"insert into "PfaRecord" ("id", "pfaId", "organizationId", "monthlyRate", "forecastStart", "costCode")
           with recursive n (i) as (select 1 union all select i + 1 from n where i < 100000)
           select 'r' || i, i, case i % 3 when 0 then 'RIO' else 'HOLNG' end, i % 100, 1735689600000 + i % 900 * 86400000,
                  hex(zeroblob(50)) from n"#,
    );
    // Held in memory all at once, so many records would take four times that.
    let (code, out, err) = import.run_within_kib(60_000, &["import", "--format", "sqlite", "former.db"]).await;
    assert!(code == Some(0) && out.contains("verified: 100,000 records, all as in the file"), "{out}{err}");
}
