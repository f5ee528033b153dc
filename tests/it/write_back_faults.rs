//! PEMS fails at every request of a write-back, in every way: nothing is lost, nothing is written
//! wrongly, the log tells the truth, and the next turn heals.

use crate::support::circuit::Circuit;
use crate::support::planner::ORG;
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::fake_pems::Fault;
use serde_json::json;
use std::collections::BTreeSet;

/// Requests of a turn with one change: the head, the reading, the writing, the reading again.
const REQUESTS: u64 = 4;
const WRITING: u64 = 2;

#[tokio::test]
async fn whatever_fails_the_next_turns_heal() {
    let mut circuit = Circuit::of(1).await;
    circuit.pems = circuit.pems.impatient();
    let ana = circuit.app.planner("ana");
    for (round, fault) in Fault::ALL.into_iter().enumerate() {
        for request in 0..REQUESTS {
            let model = format!("{round} {request}");
            ana.publish("1", json!({"model": model})).await;
            circuit.pems.pems.reset();
            circuit.pems.pems.fail_request(request, fault);
            let ended = circuit.write().await;
            let (state, attempts, error) = circuit.states().await.pop().unwrap();
            let told = format!("{fault:?} at request {request}: {state} after {attempts}, {error:?}");
            assert!(["synced", "committed"].contains(&state.as_str()), "{told}");
            assert_eq!(ana.row("1").await["model"], model, "everybody goes on reading it: {told}");
            if state == "committed" && request == 0 {
                let error = ended.expect_err("nothing was claimed").to_string();
                let run = circuit.last_run().await;
                assert_eq!((run.direction.as_str(), run.status.as_str(), run.error), ("write", "failed", Some(error)), "{told}");
            } else if state == "committed" {
                assert!(error.is_some(), "{told}");
                let run = circuit.last_run().await;
                assert!(run.error.is_some() || run.findings_total > 0, "the log tells: {told}");
            }
            circuit.write_until_done().await;
            assert_eq!(circuit.states().await.pop().unwrap().0, "synced", "{told}");
            assert_eq!(circuit.in_pems("1", Field::Model), model, "{told}");
            let wanted = if request == WRITING && matches!(fault, Fault::Hang { .. } | Fault::CutBody) { 1 } else { 2 };
            assert!(circuit.writes() <= wanted, "what was written is found and not written again: {told}, {} writes", circuit.writes());
        }
    }
    circuit.read().await.unwrap();
    circuit.assert_sound().await;
    let arrived: i64 = sqlx::query_scalar("select count(*) from pfa_mirror_history where source = 'sync' and changed_by = 'ana'")
        .fetch_one(circuit.app.pool())
        .await
        .unwrap();
    assert_eq!(arrived, i64::try_from(Fault::ALL.len()).unwrap() * 4, "every change arrived once");
}

/// A record is said to be gone only when PEMS says so twice, whatever fails on the way: its page comes without it, then its count.
#[tokio::test]
async fn a_record_is_gone_only_when_pems_says_so() {
    let mut circuit = Circuit::of(40).await;
    circuit.pems = circuit.pems.impatient();
    let ana = circuit.app.planner("ana");
    let mut id = 0;
    for fault in Fault::ALL {
        for request in 0..3 {
            id += 1;
            let pfa_id = id.to_string();
            circuit.pems.pems.reset();
            assert!(circuit.pems.pems.with_records(|records| records.delete(ORG, &pfa_id)));
            ana.publish(&pfa_id, json!({"model": "ours"})).await;
            circuit.pems.pems.fail_request(request, fault);
            let _ = circuit.write().await;
            let state = circuit.states().await.pop().unwrap();
            assert!(["committed", "failed"].contains(&state.0.as_str()), "{fault:?} at request {request}: {state:?}");
            circuit.write_until_done().await;
            let (state, _, error) = circuit.states().await.pop().unwrap();
            let told = (state.as_str(), error.as_deref());
            assert_eq!(told, ("failed", Some("PEMS does not have this record (any more)")), "{fault:?} at request {request}");
            assert_eq!(circuit.writes(), 0);
        }
    }
    // One that is there is not gone when its page comes without it.
    circuit.pems.pems.reset();
    ana.publish("40", json!({"model": "ours"})).await;
    circuit.pems.pems.fail_request(1, Fault::TruncatedPage);
    circuit.write_until_done().await;
    assert_eq!(circuit.states().await.pop().unwrap().0, "synced");
    circuit.assert_sound().await;
}

#[tokio::test]
async fn a_change_that_keeps_failing_is_given_up_after_the_last_attempt() {
    let circuit = Circuit::of(1).await;
    let ana = circuit.app.planner("ana");
    ana.publish("1", json!({"monthlyRate": 6088})).await;
    // The head is read in peace.
    for request in 1..100 {
        circuit.pems.pems.fail_request(request, Fault::ErrorEnvelope);
    }
    circuit.write().await.unwrap();
    let (state, attempts, error) = circuit.states().await.remove(0);
    assert_eq!((state.as_str(), attempts), ("failed", 3));
    assert_eq!(error.as_deref(), Some("PEMS refused: The record is locked by another user (after 3 attempts)"));
    let told: Vec<_> = circuit.last_run().await.findings.0.into_iter().map(|finding| finding.problem[..5].to_owned()).collect();
    assert_eq!(told, ["waits", "waits", "faile"]);
    assert_eq!(ana.row("1").await["monthlyRate"], 3044, "what was given up is not published any more");
    circuit.assert_sound().await;
}

#[tokio::test]
async fn a_pems_that_is_away_costs_no_attempt() {
    let circuit = Circuit::of(20).await;
    let ana = circuit.app.planner("ana");
    for id in 1..=20 {
        ana.publish(&id.to_string(), json!({"model": "A"})).await;
    }
    for (fault, first) in [
        (Fault::Unauthorized, 0),
        (Fault::Unauthorized, 3),
        (Fault::TooManyRequests { seconds: 0 }, 0),
        (Fault::TooManyRequests { seconds: 0 }, 7),
    ] {
        for _ in 0..5 {
            circuit.pems.pems.reset();
            for request in first..100 {
                circuit.pems.pems.fail_request(request, fault);
            }
            circuit.write().await.expect_err("PEMS is away");
        }
        circuit.pems.pems.reset();
        let states = circuit.states().await;
        let (waiting, synced): (Vec<_>, Vec<_>) = states.iter().partition(|(state, _, _)| state == "committed");
        assert!(!waiting.is_empty() && waiting.iter().all(|(_, attempts, _)| *attempts == 0), "{states:?}");
        assert_eq!(waiting.len() + synced.len(), 20, "{states:?}");
        if first > 0 {
            let run = circuit.last_run().await;
            assert!(run.status == "failed" && run.error.is_some(), "{run:?}");
        }
    }
    circuit.write_until_done().await;
    assert!(circuit.states().await.iter().all(|(state, attempts, _)| (state.as_str(), *attempts) == ("synced", 1)));
    circuit.assert_sound().await;
}

/// With whatever words it stays away: broken, left alone, full.
#[tokio::test]
async fn a_pems_that_stays_away_is_one_run_in_the_log() {
    let circuit = Circuit::of(2).await;
    let ana = circuit.app.planner("ana");
    ana.publish("1", json!({"model": "A"})).await;
    circuit.write().await.unwrap();
    ana.publish("2", json!({"model": "A"})).await;
    let written = circuit.last_run().await;
    let (mut runs, mut errors) = (Vec::new(), BTreeSet::new());
    for fault in [Fault::Unauthorized, Fault::Status500, Fault::TooManyRequests { seconds: 0 }] {
        circuit.pems.pems.reset();
        circuit.pems.pems.fail_always(fault);
        for _ in 0..4 {
            let error = circuit.write().await.expect_err("PEMS is away").to_string();
            let run = circuit.last_run().await;
            assert_eq!((run.status.as_str(), run.error.as_ref()), ("failed", Some(&error)));
            errors.insert(error);
            runs.push(run);
        }
    }
    assert!(errors.len() >= 3, "{errors:?}");
    assert!(runs.iter().all(|run| run.id == runs[0].id && run.started_at == runs[0].started_at && run.id != written.id), "{runs:?}");
    assert!(runs.is_sorted_by(|one, next| one.completed_at < next.completed_at), "it ends later and later");
    let untouched = circuit.app.service.find_run(ORG, written.id).await.unwrap();
    assert_eq!((untouched.completed_at, untouched.status), (written.completed_at, written.status), "a run that was one is left alone");
}

#[tokio::test]
async fn retry_after_is_kept() {
    let circuit = Circuit::of(1).await;
    circuit.app.planner("ana").publish("1", json!({"model": "A"})).await;
    circuit.pems.pems.fail_request(1, Fault::TooManyRequests { seconds: 3_600 });
    circuit.write().await.expect_err("PEMS wants fewer requests");
    let waits: f64 = sqlx::query_scalar("select extract(epoch from next_attempt_at - now())::float8 from pfa_modification")
        .fetch_one(circuit.app.pool())
        .await
        .unwrap();
    assert!((2_800.0..4_400.0).contains(&waits), "{waits}");
    assert!(circuit.app.planner("ana").get("sync/pending").await.json()["data"][0]["nextAttemptAt"].is_string());
    assert!(circuit.app.service.find_organizations_due().await.unwrap().is_empty());
    assert_eq!(circuit.app.planner("ana").get("sync/pending").await.json()["data"][0]["lastError"], "PEMS had too many requests");
}
