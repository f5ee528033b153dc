//! Accepted changes reach PEMS, field by field, and nobody's change is lost on the way.

use crate::support::circuit::Circuit;
use crate::support::planner::{ORG, data};
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::jobs::{Jobs, Schedule};
use pfa_vanguard::service::sync::SyncScope;
use pfa_vanguard::shutdown::Shutdown;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_committed_change_reaches_pems_and_the_next_reading_finds_nothing_new() {
    let circuit = Circuit::of(3).await;
    let ana = circuit.app.planner("ana");
    ana.publish(
        "1",
        json!({"monthlyRate": 6088.5, "forecastEnd": "2025-02-10", "isFundsTransferable": true, "model": "LTM 1250", "class": null}),
    )
    .await;
    let seen = circuit.app.get(&format!("/api/v1/orgs/{ORG}/kpis")).await.json()["total"].clone();
    let outcome = circuit.write().await.unwrap().expect("a turn");
    assert_eq!((outcome.applied.updated, outcome.errored, outcome.findings_total), (1, 0, 0));
    let shown = |field| circuit.in_pems("1", field);
    assert_eq!(shown(Field::MonthlyRate), "6088.5");
    assert_eq!(shown(Field::ForecastEnd), "2025-02-10T00:00:00.000Z");
    assert_eq!(
        (shown(Field::IsFundsTransferable), shown(Field::Model), shown(Field::Class)),
        ("Y".into(), "LTM 1250".into(), String::new())
    );
    assert_eq!(shown(Field::Category), "Lifting");
    assert_eq!(circuit.state().await, "synced");
    let row = ana.row("1").await;
    assert_eq!(
        (&row["_meta"]["syncState"], &row["_meta"]["version"], &row["monthlyRate"]),
        (&json!("pristine"), &json!(2), &json!(6088.5))
    );
    assert!(data(&ana.get("sync/pending").await).is_empty());
    let history = ana.history("1").await;
    assert_eq!((&history[0]["source"], &history[0]["by"], &history[0]["version"]), (&json!("sync"), &json!("ana"), &json!(2)));
    assert_eq!(history[1]["source"], "session");
    assert_eq!(history[0]["fields"], history[1]["fields"], "what was committed is what arrived");
    assert_eq!(circuit.app.get(&format!("/api/v1/orgs/{ORG}/kpis")).await.json()["total"], seen, "everybody goes on reading the same");
    let run = circuit.last_run().await;
    assert_eq!((run.direction.as_str(), run.status.as_str(), run.updated), ("write", "completed", 1));
    assert_eq!(history[0]["sourceId"], json!(run.id.to_string()));

    let again = circuit.read().await.unwrap();
    assert_eq!((again.applied.updated, again.applied.inserted, again.applied.unchanged), (0, 0, 3));
    let verified = circuit.read_scope(SyncScope::Verify).await.unwrap();
    assert_eq!((verified.applied.unchanged, verified.findings_total), (3, 0));
    assert!(circuit.write().await.unwrap().is_none(), "nothing is due");
    circuit.assert_sound().await;
}

#[tokio::test]
async fn only_what_differs_is_written_and_what_is_there_already_is_not() {
    let circuit = Circuit::of(1).await;
    let ana = circuit.app.planner("ana");
    ana.publish("1", json!({"model": "A", "class": "B"})).await;
    circuit.edit("1", &json!({"model": "A", "class": "B", "equipment": "E"}));
    let outcome = circuit.write().await.unwrap().expect("a turn");
    assert_eq!((outcome.applied.updated, outcome.applied.unchanged, circuit.writes()), (0, 1, 0), "the same change was made in PEMS");
    assert_eq!((circuit.state().await.as_str(), &ana.row("1").await["equipment"]), ("synced", &json!("E")));
    circuit.assert_sound().await;
}

#[tokio::test]
async fn changes_of_one_record_are_written_in_the_order_of_their_commits() {
    let circuit = Circuit::of(2).await;
    let (ana, ben) = (circuit.app.planner("ana"), circuit.app.planner("ben"));
    ana.publish("1", json!({"model": "first", "equipment": "E"})).await;
    ben.publish("1", json!({"model": "second"})).await;
    ana.publish("2", json!({"model": "other"})).await;
    circuit.write_until_done().await;
    assert_eq!(circuit.states().await.iter().map(|(state, _, _)| state.as_str()).collect::<Vec<_>>(), ["synced"; 3]);
    assert_eq!((circuit.in_pems("1", Field::Model), circuit.in_pems("1", Field::Equipment)), ("second".into(), "E".into()));
    let history = ana.history("1").await;
    let by: Vec<_> = history.iter().map(|entry| (entry["source"].as_str().unwrap(), entry["by"].as_str().unwrap())).collect();
    assert_eq!(by, [("sync", "ben"), ("sync", "ana"), ("session", "ben"), ("session", "ana")]);
    circuit.assert_sound().await;
}

#[tokio::test]
async fn another_field_of_pems_is_merged_and_the_same_one_is_a_conflict() {
    let circuit = Circuit::of(2).await;
    let ana = circuit.app.planner("ana");
    ana.publish("1", json!({"model": "A"})).await;
    ana.publish("2", json!({"model": "A", "class": "A"})).await;
    circuit.edit("1", &json!({"class": "PEMS"}));
    circuit.edit("2", &json!({"model": "PEMS"}));
    let outcome = circuit.write().await.unwrap().expect("a turn");
    assert_eq!((outcome.applied.updated, outcome.errored), (1, 1));
    let row = ana.row("1").await;
    assert_eq!((&row["model"], &row["class"], &row["_meta"]["syncState"]), (&json!("A"), &json!("PEMS"), &json!("pristine")));
    assert_eq!((circuit.in_pems("1", Field::Model), circuit.in_pems("1", Field::Class)), ("A".into(), "PEMS".into()));
    let conflict = ana.conflicts().await.remove(0);
    assert_eq!((&conflict["stage"], &conflict["pfaId"]), (&json!("writeBack"), &json!("2")));
    assert_eq!(conflict["fields"], json!([{"field": "model", "base": null, "ours": "A", "theirs": "PEMS"}]));
    assert_eq!((circuit.in_pems("2", Field::Model), circuit.in_pems("2", Field::Class)), ("PEMS".into(), "Crane".into()));
    let row = ana.row("2").await;
    assert_eq!((&row["model"], &row["class"], &row["_meta"]["syncState"]), (&json!("PEMS"), &json!("Crane"), &json!("conflict")));
    let run = circuit.last_run().await;
    assert_eq!((run.status.as_str(), run.errored), ("completed_with_errors", 1));
    assert_eq!(run.findings.0[0].problem, "conflict: model was changed in PEMS");
    circuit.assert_sound().await;

    // Decided, it goes on its way.
    ana.resolve(&conflict, json!({"resolution": "mine"})).await;
    circuit.write_until_done().await;
    assert_eq!((circuit.in_pems("2", Field::Model), circuit.in_pems("2", Field::Class)), ("A".into(), "A".into()));
    circuit.assert_sound().await;
}

#[tokio::test]
async fn a_rule_that_breaks_together_with_pems_is_a_conflict() {
    let circuit = Circuit::of(1).await;
    let ana = circuit.app.planner("ana");
    ana.publish("1", json!({"forecastEnd": "2025-01-20"})).await;
    circuit.edit("1", &json!({"forecastStart": "2025-03-01", "isActualized": true}));
    circuit.write().await.unwrap();
    let conflict = ana.conflicts().await.remove(0);
    assert_eq!(conflict["rules"].as_array().unwrap().len(), 2, "{conflict}");
    assert_eq!(circuit.writes(), 0);
    assert_eq!(ana.row("1").await["forecastEnd"], "2025-01-11", "it is withdrawn");
    circuit.assert_sound().await;
}

#[tokio::test]
async fn what_pems_cannot_be_told_is_given_up_before_it_is_asked() {
    let circuit = Circuit::of(1).await;
    let ana = circuit.app.planner("ana");
    ana.publish("1", json!({"actualStart": "2025-01-01", "hasActuals": true, "model": "A"})).await;
    circuit.write().await.unwrap();
    let (state, attempts, error) = circuit.states().await.remove(0);
    assert_eq!((state.as_str(), attempts), ("failed", 1));
    assert_eq!(error.as_deref(), Some("actualStart, hasActuals cannot be written to PEMS: the field map has no field for it"));
    assert_eq!(circuit.writes(), 0);
    circuit.assert_sound().await;
}

#[tokio::test]
async fn what_pems_refuses_for_good_is_withdrawn_and_told() {
    let circuit = Circuit::of(2).await;
    let (ana, ben) = (circuit.app.planner("ana"), circuit.app.planner("ben"));
    ana.publish("1", json!({"monthlyRate": 6088})).await;
    // Made upon the first one: without it, it says something else.
    ben.publish("1", json!({"monthlyRate": 9132})).await;
    circuit.pems.pems.with_records(|records| records.delete(ORG, "1"));
    circuit.write().await.unwrap();
    let states = circuit.states().await;
    assert_eq!((states[0].0.as_str(), states[1].0.as_str()), ("failed", "conflict"), "{states:?}");
    assert_eq!(states[0].2.as_deref(), Some("PEMS does not have this record (any more)"));
    let row = ana.row("1").await;
    assert_eq!(
        (&row["monthlyRate"], &row["_meta"]["syncState"]),
        (&json!(3044), &json!("conflict")),
        "a person decides first about the newest"
    );
    let newest = ana.history("1").await.remove(0);
    assert_eq!((&newest["by"], &newest["reason"]), (&json!("PEMS"), &json!("PEMS does not have this record (any more)")));
    assert_eq!(newest["fields"], json!([{"field": "monthlyRate", "from": 9132, "to": 3044}]));
    circuit.assert_sound().await;
}

#[tokio::test]
async fn a_change_that_pems_takes_and_does_not_keep_is_not_said_to_have_arrived() {
    let circuit = Circuit::of(1).await;
    let ana = circuit.app.planner("ana");
    ana.publish("1", json!({"model": "A"})).await;
    let mut has_written = false;
    circuit.pems.pems.before_requests(move |request, records| {
        if has_written {
            records.edit(ORG, "1", json!({"model": null}).as_object().unwrap());
        }
        has_written = request.is_write;
    });
    circuit.write().await.unwrap();
    let (state, attempts, error) = circuit.states().await.remove(0);
    assert_eq!((state.as_str(), attempts), ("failed", 3));
    assert_eq!(error.as_deref(), Some("PEMS took the change and did not keep model (after 3 attempts)"));
    assert_eq!(ana.row("1").await["model"], Value::Null);
    circuit.assert_sound().await;
}

#[tokio::test]
async fn a_change_that_arrives_while_somebody_edits_is_no_merge() {
    let circuit = Circuit::of(1).await;
    let (ana, ben) = (circuit.app.planner("ana"), circuit.app.planner("ben"));
    ana.publish("1", json!({"model": "A"})).await;
    let sandbox = ben.open().await;
    sandbox.edit("1", json!({"class": "B"})).await;
    circuit.write_until_done().await;
    assert_eq!(sandbox.commit("dryRun=true").await.json()["merged"], 0, "ben has read it so");
    circuit.edit("1", &json!({"equipment": "E"}));
    circuit.read().await.unwrap();
    let committed = sandbox.commit("").await.json();
    assert_eq!((&committed["committed"], &committed["merged"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_change_that_is_withdrawn_with_another_one_is_told() {
    let circuit = Circuit::of(1).await;
    let (ana, ben) = (circuit.app.planner("ana"), circuit.app.planner("ben"));
    ana.publish("1", json!({"monthlyRate": 6088})).await;
    ben.publish("1", json!({"monthlyRate": 9132, "model": "B"})).await;
    circuit.edit("1", &json!({"model": "PEMS"}));
    circuit.write().await.unwrap();
    assert_eq!((ana.row("1").await["monthlyRate"].clone(), ana.row("1").await["model"].clone()), (json!(6088), json!("PEMS")));
    let told: Vec<_> = ana.history("1").await.iter().map(|entry| entry["fields"].clone()).collect();
    let withdrawn = json!([{"field": "model", "from": "B", "to": "PEMS"}, {"field": "monthlyRate", "from": 9132, "to": 6088}]);
    assert!(told.contains(&withdrawn), "{told:?}");
    circuit.assert_sound().await;
}

#[tokio::test]
async fn a_value_that_nobody_can_read_is_repaired_by_a_change() {
    let circuit = Circuit::of(1).await;
    circuit.edit("1", &json!({"forecastEnd": "soon"}));
    circuit.read().await.unwrap();
    let ana = circuit.app.planner("ana");
    assert_eq!(ana.row("1").await["forecastEnd"], Value::Null);
    ana.publish("1", json!({"forecastEnd": "2025-02-01"})).await;
    circuit.write().await.unwrap();
    assert_eq!((circuit.state().await.as_str(), circuit.in_pems("1", Field::ForecastEnd)), ("synced", "2025-02-01T00:00:00.000Z".into()));
    circuit.assert_sound().await;
}

/// A machine that sleeps, or has no time for the service, longer than the interval: the jobs go on afterwards.
#[tokio::test]
async fn the_schedule_goes_on_after_a_standstill() {
    let circuit = Circuit::of(2).await;
    let ana = circuit.app.planner("ana");
    let shutdown = Shutdown::default();
    let never = "0 0 0 1 1 *".to_owned();
    let schedule = Schedule {
        refresh_cron: never.clone(),
        idle_session_days: 30,
        discards_idle_sessions: false,
        sync_cron: never.clone(),
        full_sync_cron: never,
        most_vanished_percent: 10,
        push_interval: Duration::from_secs(1),
        write_back: circuit.options,
    };
    let jobs = Jobs::start(circuit.app.service.clone(), Some(circuit.pems.client()), schedule, &shutdown).await.unwrap();
    for id in ["1", "2"] {
        ana.publish(id, json!({"model": "ours"})).await;
        circuit.app.wait_until("select not exists (select from pfa_modification where sync_state <> 'synced')").await;
        assert_eq!(circuit.in_pems(id, Field::Model), "ours");
        // The only thread of this runtime: nothing goes on, not even the clock of the scheduler.
        std::thread::sleep(Duration::from_secs(4));
    }
    jobs.stop().await;
    shutdown.drain().await;
}
