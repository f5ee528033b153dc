//! Comparing the mirror with PEMS: every difference is told, nothing is changed.

use crate::support::circuit::Circuit;
use crate::support::planner::ORG;
use pfa_vanguard::fake_pems::Fault;
use pfa_vanguard::service::sync::SyncScope;
use serde_json::json;
use std::process::{Command, Output};

fn verify(circuit: &Circuit, organization: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pfa-vanguard"));
    command.args(["verify", "--org", organization]).env("DATABASE_URL", circuit.app.database.url()).env("PFA_LOG", "error");
    command.env("PFA_PEMS_URL", &circuit.pems.address).env("PFA_PEMS_TENANT", "DEMO").env("PFA_PEMS_RATE_PER_SECOND", "1000");
    command.env("PFA_PEMS_USERNAME", "vanguard").env("PFA_PEMS_PASSWORD", "vanguard").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_difference_is_told_and_nothing_is_changed() {
    let circuit = Circuit::of(10).await;
    // What is committed is not in the mirror yet, and no drift.
    circuit.app.planner("ana").publish("9", json!({"model": "ours"})).await;
    let same = verify(&circuit, ORG);
    assert!(same.status.success() && said(&same).contains("ORG: 10 records, all as in PEMS."), "{}", said(&same));
    circuit.edit("1", &json!({"monthlyRate": 1, "class": null}));
    circuit.pems.pems.with_records(|records| {
        records.delete(ORG, "2");
        records.put(ORG, json!({"pfaId": "new"}).as_object().unwrap());
    });
    let before = circuit.app.mirror_rows(ORG).await;
    let output = verify(&circuit, ORG);
    assert_eq!(output.status.code(), Some(1));
    for line in [
        "record 1: monthlyRate \"1\" PEMS has another value; the mirror has 3044",
        "record 1: class \"\" PEMS has another value; the mirror has Crane",
        "record 2:  \"\" PEMS lacks this record",
        "record new:  \"\" the mirror lacks this record",
        "8 records are as in PEMS, 2 are not; differences: 4",
    ] {
        assert!(said(&output).contains(line), "{line}: {}", said(&output));
    }
    let after = circuit.app.mirror_rows(ORG).await;
    let plain = |rows: &[crate::support::model::Row]| rows.iter().map(|row| (row.version, row.data.clone())).collect::<Vec<_>>();
    assert_eq!(plain(&before), plain(&after));
    let run = circuit.last_run().await;
    assert_eq!((run.run_type.as_str(), run.status.as_str(), run.findings_total), ("verify", "completed_with_errors", 4));
    // What was read is no drift any more, and what it discontinued is as it should be.
    circuit.read().await.unwrap();
    assert!(verify(&circuit, ORG).status.success());
    // Nor is a value that nobody can read.
    circuit.edit("3", &json!({"forecastEnd": "soon"}));
    circuit.read().await.unwrap();
    let unreadable = verify(&circuit, ORG);
    assert!(unreadable.status.success() && said(&unreadable).contains("all as in PEMS"), "{}", said(&unreadable));
    let unknown = verify(&circuit, "NONE");
    assert!(unknown.status.code() == Some(1) && said(&unknown).contains("organization \"NONE\" does not exist"), "{}", said(&unknown));
}

#[tokio::test]
async fn a_comparison_that_did_not_come_whole_says_nothing() {
    let circuit = Circuit::of(10).await;
    for request in 1..12 {
        circuit.pems.pems.fail_request(request, Fault::TruncatedPage);
    }
    circuit.read_scope(SyncScope::Verify).await.expect_err("pages are missing");
    let run = circuit.last_run().await;
    assert_eq!((run.status.as_str(), run.findings_total), ("failed", 0));
    circuit.pems.pems.reset();
    assert_eq!(circuit.read_scope(SyncScope::Verify).await.unwrap().findings_total, 0);
}
