//! Dead letters, pauses and write-backs by hand, over the real routes.

use crate::support::circuit::Circuit;
use crate::support::planner::{ORG, assert_problem, data};
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::fake_pems::Fault;
use pfa_vanguard::service::write_back::WriteScope;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A change of ana's on each of these records, which PEMS does not have.
async fn given_up(ids: &[&str]) -> Circuit {
    given_up_with(ids, json!({"model": "ours", "monthlyRate": 6088})).await
}

async fn given_up_with(ids: &[&str], change: Value) -> Circuit {
    let mut circuit = Circuit::of(3).await;
    // One after the other, so that they are given up in this order.
    circuit.options.at_once = 1;
    let ana = circuit.app.planner("ana");
    for id in ids {
        ana.publish(id, change.clone()).await;
    }
    let taken = circuit.pems.pems.with_records(|records| {
        let taken: Vec<_> = ids.iter().map(|id| ((*id).to_owned(), records.get(ORG, id).unwrap().texts.clone())).collect();
        records.clear(ORG);
        taken
    });
    circuit.write_until_done().await;
    // Somebody puts them there again.
    circuit.pems.pems.with_records(|records| {
        for (id, texts) in taken {
            records.put(ORG, json!({"pfaId": id}).as_object().unwrap());
            records.set(ORG, &id, texts, "PEMS");
        }
    });
    circuit
}

#[tokio::test]
async fn dead_letters_are_listed_and_sent_again() {
    let circuit = given_up(&["1", "2"]).await;
    let (ana, ben) = (circuit.app.planner("ana"), circuit.app.planner("ben"));
    let letters = data(&ben.get("sync/dead-letters").await);
    assert_eq!(letters.len(), 2);
    assert_eq!((&letters[0]["pfaId"], &letters[0]["userId"], &letters[0]["attempts"]), (&json!("1"), &json!("ana"), &json!(1)));
    assert_eq!(letters[0]["error"], "PEMS does not have this record (any more)");
    assert_eq!(letters[0]["delta"], json!({"model": "ours", "monthlyRate": 6088}));
    assert_eq!(letters[0]["fields"][1], json!({"field": "monthlyRate", "base": 3044, "ours": 6088, "theirs": 3044, "conflict": false}));
    assert_eq!(ana.row("1").await["_meta"]["syncState"], "failed");
    let page = ben.get("sync/dead-letters?limit=1").await.json();
    let cursor = page["page"]["nextCursor"].as_str().unwrap();
    assert_eq!(data(&ben.get(&format!("sync/dead-letters?limit=1&cursor={cursor}")).await)[0]["pfaId"], "2");

    let answer = ben.post("sync/dead-letters/retry", json!({"select": {"pfaId": ["1"]}, "reason": "it is there again"})).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"committed": 1, "conflicts": 0})));
    let row = ana.row("1").await;
    assert_eq!((&row["model"], &row["_meta"]["syncState"]), (&json!("ours"), &json!("committed")));
    let newest = ana.history("1").await.remove(0);
    assert_eq!((&newest["by"], &newest["reason"]), (&json!("ben"), &json!("it is there again")));
    circuit.assert_sound().await;
    circuit.write_until_done().await;
    assert_eq!(circuit.in_pems("1", Field::Model), "ours");
    assert_eq!(data(&ben.get("sync/dead-letters").await).len(), 1);
    circuit.assert_sound().await;
}

#[tokio::test]
async fn a_dead_letter_whose_field_others_changed_meanwhile_is_a_conflict() {
    let circuit = given_up(&["1"]).await;
    let (ana, ben) = (circuit.app.planner("ana"), circuit.app.planner("ben"));
    ben.publish("1", json!({"model": "ben's"})).await;
    let answer = ana.post("sync/dead-letters/retry", json!({"select": {"all": true}})).await.json();
    assert_eq!(answer, json!({"committed": 0, "conflicts": 1}));
    let conflict = ana.conflicts().await.remove(0);
    assert_eq!(conflict["fields"], json!([{"field": "model", "base": null, "ours": "ours", "theirs": "ben's"}]));
    assert_eq!(ana.row("1").await["model"], "ben's");
    circuit.assert_sound().await;
    ana.resolve(&conflict, json!({"resolution": "theirs"})).await;
    circuit.write_until_done().await;
    assert_eq!((circuit.in_pems("1", Field::Model), circuit.in_pems("1", Field::MonthlyRate)), ("ben's".into(), "6088".into()));
    circuit.assert_sound().await;
}

#[tokio::test]
async fn dropped_dead_letters_leave_their_reason_in_the_history() {
    let circuit = given_up(&["1", "2"]).await;
    let ana = circuit.app.planner("ana");
    let id = data(&ana.get("sync/dead-letters?pfaId=1").await)[0]["id"].clone();
    let answer = ana.post("sync/dead-letters/drop", json!({"select": {"ids": [id]}, "reason": "sold"})).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"dropped": 1})));
    let newest = ana.history("1").await.remove(0);
    assert_eq!((&newest["by"], &newest["reason"], &newest["fields"]), (&json!("ana"), &json!("sold"), &json!([])));
    assert_eq!(newest["resolution"], json!({"model": "theirs", "monthlyRate": "theirs"}));
    let row = ana.row("1").await;
    assert_eq!((&row["_meta"]["syncState"], &row["model"]), (&json!("pristine"), &Value::Null));
    assert_eq!(
        ana.post("sync/dead-letters/drop", json!({"select": {"pfaId": ["1"]}, "reason": "again"})).await.json(),
        json!({"dropped": 0})
    );
    assert_eq!(data(&ana.get("sync/dead-letters").await).len(), 1);
    circuit.assert_sound().await;
}

#[tokio::test]
async fn a_selection_of_dead_letters_says_what_it_selects() {
    let circuit = given_up(&["1"]).await;
    let ana = circuit.app.planner("ana");
    for (body, faults) in [
        (json!({"select": {}, "reason": "r"}), vec!["select"]),
        (json!({"select": {"all": false}, "reason": "r"}), vec!["select.all"]),
        (json!({"select": {"all": true, "pfaId": ["1"]}, "reason": "r"}), vec!["select"]),
        (json!({"select": {"ids": ["x"], "session": "y"}}), vec!["reason", "select.ids", "select.session"]),
        (json!({"select": {"pfaId": []}, "reason": "r"}), vec!["select.pfaId"]),
    ] {
        let dropped = ana.post("sync/dead-letters/drop", body.clone()).await;
        assert_problem(&dropped, 400, "invalid_parameter");
        assert_eq!(dropped.faults(), faults, "{body}");
        let retried = ana.post("sync/dead-letters/retry", body).await;
        assert_problem(&retried, 400, "invalid_parameter");
    }
    assert_problem(&ana.get("sync/dead-letters?limit=0").await, 400, "invalid_parameter");
    assert_eq!(data(&ana.get("sync/dead-letters").await).len(), 1);
}

#[tokio::test]
async fn dead_letters_of_other_organizations_are_out_of_reach() {
    let circuit = given_up(&["1"]).await;
    circuit.app.service.save_organization("OTHER", "OTHER").await.unwrap();
    let other = circuit.app.planner("ana").in_organization("OTHER");
    assert!(data(&other.get("sync/dead-letters").await).is_empty());
    let all = json!({"select": {"all": true}, "reason": "r"});
    assert_eq!(other.post("sync/dead-letters/retry", all.clone()).await.json()["committed"], 0);
    assert_eq!(other.post("sync/dead-letters/drop", all.clone()).await.json()["dropped"], 0);
    let nowhere = other.in_organization("NONE");
    assert_problem(&nowhere.get("sync/dead-letters").await, 404, "organization_not_found");
    assert_problem(&nowhere.post("sync/dead-letters/retry", all.clone()).await, 404, "organization_not_found");
    assert_problem(&nowhere.post("sync/dead-letters/drop", all).await, 404, "organization_not_found");
    assert_eq!(circuit.state().await, "failed");
}

#[tokio::test]
async fn a_paused_organization_waits_and_goes_on_when_resumed() {
    let circuit = Circuit::of(2).await;
    let (ana, ben) = (circuit.app.planner("ana"), circuit.app.planner("ben"));
    let paused = ana.post("sync/write-back/pause", json!({"reason": "month's end"})).await.json();
    assert_eq!((&paused["paused"], &paused["pausedBy"], &paused["pauseReason"]), (&json!(true), &json!("ana"), &json!("month's end")));
    ben.publish("1", json!({"model": "ours"})).await;
    assert!(circuit.write().await.unwrap().is_none());
    let state = ben.get("sync/write-back").await.json();
    assert_eq!((&state["paused"], &state["waiting"], &state["failed"], &state["syncing"]), (&json!(true), &json!(1), &json!(0), &json!(0)));
    assert!(state["oldestWaitingAt"].is_string());
    assert_problem(&ben.post("sync/runs", json!({"type": "full", "direction": "write"})).await, 409, "write_back_paused");
    assert_eq!(ben.post("sync/write-back/pause", json!({})).await.json()["pausedBy"], "ana", "paused is paused");
    let resumed = ben.post("sync/write-back/resume", json!({})).await.json();
    assert_eq!((&resumed["paused"], &resumed["pausedAt"]), (&json!(false), &Value::Null));
    circuit.write_until_done().await;
    assert_eq!(circuit.in_pems("1", Field::Model), "ours");
}

#[tokio::test]
async fn the_write_back_of_nowhere_is_not_found_and_what_it_does_not_know_is_refused() {
    let circuit = Circuit::of(1).await;
    let ana = circuit.app.planner("ana");
    let nowhere = ana.in_organization("NONE");
    assert_problem(&nowhere.get("sync/write-back").await, 404, "organization_not_found");
    assert_problem(&nowhere.post("sync/write-back/pause", json!({})).await, 404, "organization_not_found");
    assert_problem(&nowhere.post("sync/write-back/resume", json!({})).await, 404, "organization_not_found");
    assert_problem(&ana.get("sync/write-back?x=1").await, 400, "invalid_parameter");
    assert_problem(&ana.post("sync/write-back/pause", json!({"why": "x"})).await, 400, "invalid_body");
    assert_problem(&ana.post("sync/write-back/resume?x=1", json!({})).await, 400, "invalid_parameter");
}

#[tokio::test]
async fn a_write_back_by_hand_is_a_run_and_does_not_wait() {
    let circuit = Circuit::of(3).await;
    let ana = circuit.app.planner("ana");
    for id in ["1", "2", "3"] {
        ana.publish(id, json!({"model": "ours"})).await;
    }
    // All of them wait for a later attempt.
    sqlx::query("update pfa_modification set next_attempt_at = now() + interval '1 hour'").execute(circuit.app.pool()).await.unwrap();
    assert!(circuit.write().await.unwrap().is_none());
    for (body, written) in [
        (json!({"type": "incremental", "direction": "write"}), 0),
        (json!({"type": "manual", "direction": "write", "pfaIds": ["2"]}), 1),
        (json!({"type": "full", "direction": "write"}), 3),
    ] {
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut answer = ana.post("sync/runs", body.clone()).await;
        // One that has ended a moment ago may still hold its lock.
        while answer.status == 409 && Instant::now() < deadline {
            answer = ana.post("sync/runs", body.clone()).await;
        }
        assert_eq!(answer.status, 202, "{}", answer.text);
        let path = format!("sync/runs/{}", answer.json()["id"].as_str().unwrap());
        let mut run = ana.get(&path).await.json();
        while run["status"] == "running" && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
            run = ana.get(&path).await.json();
        }
        assert_eq!(
            (&run["status"], &run["direction"], &run["requestedBy"]),
            (&json!("completed"), &json!("write"), &json!("ana")),
            "{run}"
        );
        assert_eq!(circuit.writes(), written, "{body}");
    }
    assert_problem(&ana.post("sync/runs", json!({"type": "verify", "direction": "write"})).await, 400, "invalid_parameter");
}

#[tokio::test]
async fn a_write_back_by_hand_tries_each_change_once() {
    let mut circuit = Circuit::of(2).await;
    circuit.options.first_pause = Duration::from_hours(1);
    let ana = circuit.app.planner("ana");
    ana.publish("1", json!({"model": "ours"})).await;
    ana.publish("2", json!({"model": "ours"})).await;
    for request in 1..100 {
        circuit.pems.pems.fail_request(request, Fault::ErrorEnvelope);
    }
    let outcome = circuit.write_scope(WriteScope::Everything).await.unwrap().expect("a turn");
    assert_eq!(outcome.errored, 2);
    assert!(circuit.states().await.iter().all(|(state, attempts, _)| (state.as_str(), *attempts) == ("committed", 1)));
}

#[tokio::test]
async fn a_retry_that_would_break_a_rule_is_a_conflict() {
    let circuit = given_up_with(&["1"], json!({"forecastStart": "2025-01-10"})).await;
    let (ana, ben) = (circuit.app.planner("ana"), circuit.app.planner("ben"));
    ben.publish("1", json!({"forecastEnd": "2025-01-05"})).await;
    let answer = ana.post("sync/dead-letters/retry", json!({"select": {"all": true}})).await.json();
    assert_eq!(answer, json!({"committed": 0, "conflicts": 1}));
    assert_eq!(ana.row("1").await["forecastStart"], "2025-01-01");
    assert_eq!(ana.conflicts().await[0]["rules"].as_array().unwrap().len(), 1);
    circuit.assert_sound().await;
}
