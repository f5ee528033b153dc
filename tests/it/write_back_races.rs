//! People in PEMS are faster or slower than the write-back; two processes write at once. Somebody's
//! change is never overwritten without a word where PEMS lets that be seen.

use crate::support::circuit::Circuit;
use crate::support::planner::{ORG, data};
use crate::support::process::{ServiceProcess, get};
use pfa_vanguard::domain::field::Field;
use pfa_vanguard::fake_pems::Fault;
use pfa_vanguard::pems::{PemsClient, PemsOptions};
use pfa_vanguard::service::PfaMirrorService;
use pfa_vanguard::service::sync::{SyncRequest, SyncScope};
use pfa_vanguard::service::write_back::{WriteRequest, WriteScope};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// When somebody in PEMS is at work.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// Before the change is claimed.
    BeforeClaim,
    /// After the record was read and before it is written.
    BetweenReadAndWrite,
    /// Before the record is read again.
    AfterWrite,
}

/// What they do.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    SameField,
    OtherField,
    Delete,
}

/// One change of ana's on its way, and somebody in PEMS.
async fn race(moment: Moment, act: Act) -> Circuit {
    let circuit = Circuit::of(1).await;
    circuit.app.planner("ana").publish("1", json!({"model": "ours"})).await;
    let number = match moment {
        Moment::BeforeClaim => 0,
        Moment::BetweenReadAndWrite => 2,
        Moment::AfterWrite => 3,
    };
    circuit.pems.pems.before_requests(move |request, records| {
        if request.number == number {
            let done = match act {
                Act::SameField => records.edit(ORG, "1", json!({"model": "theirs"}).as_object().unwrap()),
                Act::OtherField => records.edit(ORG, "1", json!({"class": "theirs"}).as_object().unwrap()),
                Act::Delete => records.delete(ORG, "1"),
            };
            assert!(done);
        }
    });
    let _ = circuit.write().await;
    circuit
}

/// What is left: the state, model and class in PEMS, model and class as everybody reads them.
async fn end(circuit: &Circuit) -> (String, [String; 2], [String; 2]) {
    let row = circuit.app.planner("ana").row("1").await;
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    circuit.assert_sound().await;
    (circuit.state().await, [circuit.in_pems("1", Field::Model), circuit.in_pems("1", Field::Class)], [text("model"), text("class")])
}

fn both<'a>(model: &'a str, class: &'a str) -> [String; 2] {
    [model.to_owned(), class.to_owned()]
}

#[tokio::test]
async fn the_same_field_before_the_claim_is_a_conflict() {
    let circuit = race(Moment::BeforeClaim, Act::SameField).await;
    assert_eq!(end(&circuit).await, ("conflict".into(), both("theirs", "Crane"), both("theirs", "Crane")));
    assert_eq!(circuit.writes(), 0);
}

#[tokio::test]
async fn another_field_is_merged_whenever_it_comes() {
    for moment in [Moment::BeforeClaim, Moment::BetweenReadAndWrite, Moment::AfterWrite] {
        let circuit = race(moment, Act::OtherField).await;
        assert_eq!(end(&circuit).await, ("synced".into(), both("ours", "theirs"), both("ours", "theirs")), "{moment:?}");
        let history = circuit.app.planner("ana").history("1").await;
        let theirs = history.iter().find(|entry| entry["by"] == "PEMS").unwrap_or_else(|| panic!("{moment:?}: {history:?}"));
        assert_eq!(theirs["fields"], json!([{"field": "class", "from": "Crane", "to": "theirs"}]), "{moment:?}");
    }
}

#[tokio::test]
async fn a_later_change_of_the_same_field_stands_and_both_are_in_the_history() {
    let circuit = race(Moment::AfterWrite, Act::SameField).await;
    assert_eq!(end(&circuit).await, ("synced".into(), both("theirs", "Crane"), both("theirs", "Crane")));
    let history = circuit.app.planner("ana").history("1").await;
    assert_eq!((&history[0]["by"], &history[0]["fields"][0]["to"]), (&json!("PEMS"), &json!("theirs")));
    assert_eq!((&history[1]["by"], &history[1]["fields"][0]["to"]), (&json!("ana"), &json!("ours")));
}

/// The one that PEMS, whose screens have no condition, lets nobody see: of two changes within
/// milliseconds the later one stands. What is left agrees everywhere.
#[tokio::test]
async fn of_two_writers_within_milliseconds_the_later_one_stands() {
    let circuit = race(Moment::BetweenReadAndWrite, Act::SameField).await;
    assert_eq!(end(&circuit).await, ("synced".into(), both("ours", "Crane"), both("ours", "Crane")));
}

#[tokio::test]
async fn a_record_that_is_gone_is_a_final_error_whenever_that_happens() {
    for moment in [Moment::BeforeClaim, Moment::BetweenReadAndWrite, Moment::AfterWrite] {
        let circuit = race(moment, Act::Delete).await;
        let (state, _, shown) = end(&circuit).await;
        assert_eq!((state.as_str(), shown), ("failed", both("", "Crane")), "{moment:?}");
        let error = circuit.states().await.remove(0).2.unwrap();
        assert!(error.to_lowercase().contains("record"), "{moment:?}: {error}");
    }
}

#[tokio::test]
async fn a_reading_that_began_before_does_not_take_a_change_back() {
    let circuit = Circuit::of(2).await;
    let ana = circuit.app.planner("ana");
    ana.publish("1", json!({"model": "ours"})).await;
    // The page of the reading is made before the change is written, and comes after it.
    let mut asked = Some(circuit.when_asked(2));
    circuit.pems.pems.fail_request(2, Fault::Hang { seconds: 1 });
    let patient = PemsClient::new(PemsOptions { read_timeout: Duration::from_secs(20), ..circuit.pems.options() }).unwrap();
    let request = SyncRequest { organization: ORG.into(), scope: SyncScope::Incremental, requested_by: None };
    let run = circuit.app.service.begin_read(request).await.unwrap();
    let stop = CancellationToken::new();
    let reading = circuit.app.service.read_pems(&patient, run, &stop);
    let writing = async {
        asked.take().unwrap().await.unwrap();
        circuit.write().await
    };
    let (read, written) = tokio::join!(reading, writing);
    assert_eq!(written.unwrap().expect("a turn").applied.updated, 1);
    assert_eq!(read.unwrap().applied.updated, 0, "what was read is older than what was written");
    assert_eq!((ana.row("1").await["model"].clone(), circuit.in_pems("1", Field::Model)), (json!("ours"), "ours".into()));
    circuit.assert_sound().await;
}

#[tokio::test]
async fn two_processes_write_every_change_once() {
    let circuit = Circuit::of(30).await;
    let ana = circuit.app.planner("ana");
    let sandbox = ana.open().await;
    for id in 1..=30 {
        sandbox.edit(&id.to_string(), json!({"model": "ours"})).await;
    }
    assert_eq!(sandbox.commit("").await.status, 200);
    // Each has a pool and a limit of its own.
    let other = PfaMirrorService::new(circuit.app.database.another_pool().await);
    let (first_client, second_client) = (circuit.pems.client(), circuit.pems.client());
    for _ in 0..20 {
        let (first, second) = tokio::join!(
            circuit.app.service.write_back_all(&first_client, &circuit.options),
            other.write_back_all(&second_client, &circuit.options),
        );
        first.unwrap();
        second.unwrap();
    }
    other.close().await;
    assert!(circuit.states().await.iter().all(|(state, attempts, _)| (state.as_str(), *attempts) == ("synced", 1)));
    assert_eq!(circuit.writes(), 30);
    assert!(data(&ana.get("sync/pending").await).is_empty());
    circuit.assert_sound().await;
}

/// The same with processes of the operating system, and organizations that are due in both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_side_by_side_write_every_change_once() {
    let mut circuit = Circuit::idle().await;
    let codes = ["A", "B", "C", "D", "E", "F"];
    let records: Vec<_> = (1..=20).map(|id| json!({"pfaId": id.to_string(), "source": "Rental"}).as_object().unwrap().clone()).collect();
    let ids: Vec<_> = (1..=20).map(|id| id.to_string()).collect();
    for code in codes {
        circuit.pems.put(code, &records);
        circuit.begin(code).await;
        let sandbox = circuit.planner("ana").open().await;
        sandbox.bulk(json!({"select": {"pfaIds": ids}, "operation": {"type": "set", "fields": {"model": "ours"}}})).await;
        assert_eq!(sandbox.commit("").await.json()["committed"], 20);
        circuit.planner("ana").post("sync/write-back/pause", json!({})).await;
    }
    let settings = [
        ("PFA_PEMS_URL", circuit.pems.address.as_str()),
        ("PFA_PEMS_TENANT", "DEMO"),
        ("PFA_PEMS_USERNAME", "vanguard"),
        ("PFA_PEMS_PASSWORD", "vanguard"),
        // Slow enough for both to get their share.
        ("PFA_PEMS_RATE_PER_SECOND", "20"),
        ("PFA_PUSH_INTERVAL_SECONDS", "1"),
    ];
    let url = circuit.app.database.url();
    let processes = [0, 1].map(|_| ServiceProcess::start_with(&url, &settings));
    sqlx::query("update organizations set write_back_paused_at = null, write_back_paused_by = null")
        .execute(circuit.app.pool())
        .await
        .unwrap();
    circuit.app.wait_until("select not exists (select from pfa_modification where sync_state in ('committed', 'syncing'))").await;
    // The counter comes a moment after the change is settled.
    let written = |process: &ServiceProcess| -> u32 {
        let metrics = get(&process.address, "/metrics");
        let line = metrics.lines().find(|line| line.starts_with("pfa_write_backs_total") && line.contains("written"));
        line.and_then(|line| line.rsplit_once(' ')).map_or(0, |(_, count)| count.parse().unwrap())
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    while processes.iter().map(written).sum::<u32>() < 120 {
        assert!(Instant::now() < deadline, "the counters do not tell of all");
    }
    assert!(processes.iter().all(|process| written(process) > 0), "both have written");
    drop(processes);
    let ended: Vec<(String, i32, i64)> = sqlx::query_as("select sync_state, attempts, count(*) from pfa_modification group by 1, 2")
        .fetch_all(circuit.app.pool())
        .await
        .unwrap();
    assert_eq!(ended, [("synced".to_owned(), 1, 120)]);
    assert_eq!(circuit.writes(), 120);
}

#[tokio::test]
async fn organizations_have_their_turns_side_by_side() {
    let circuit = Circuit::of(5).await;
    for organization in ["OTHER", "THIRD"] {
        circuit.app.service.save_organization(organization, organization).await.unwrap();
        let record = json!({"pfaId": "1", "source": "Rental"}).as_object().unwrap().clone();
        circuit.pems.put(organization, std::slice::from_ref(&record));
        circuit.app.load(organization, &[record]).await;
        circuit.app.planner("ana").in_organization(organization).publish("1", json!({"model": "ours"})).await;
    }
    for id in 1..=5 {
        circuit.app.planner("ana").publish(&id.to_string(), json!({"model": "ours"})).await;
    }
    // One is in trouble, the others do not wait for it.
    circuit.app.planner("ana").in_organization("OTHER").post("sync/write-back/pause", json!({"reason": "stock-taking"})).await;
    circuit.pems.pems.with_records(|records| records.clear("THIRD"));
    circuit.app.service.write_back_all(&circuit.pems.client(), &circuit.options).await.unwrap();
    let states: Vec<(String, String, i64)> =
        sqlx::query_as("select organization_id, sync_state, count(*) from pfa_modification group by 1, 2 order by 1, 2")
            .fetch_all(circuit.app.pool())
            .await
            .unwrap();
    let expected =
        [("ORG", "synced", 5), ("OTHER", "committed", 1), ("THIRD", "failed", 1)].map(|(a, b, c)| (a.to_owned(), b.to_owned(), c));
    assert_eq!(states, expected);
}

#[tokio::test]
async fn a_claim_whose_lease_ran_out_is_taken_over_and_its_old_holder_changes_nothing() {
    let circuit = Circuit::of(1).await;
    circuit.app.planner("ana").publish("1", json!({"model": "ours"})).await;
    // Somebody claims it, and is away for longer than the lease.
    let expire = "update pfa_modification set lease_until = now() - interval '1 second' where sync_state = 'syncing'";
    let pool = circuit.app.pool().clone();
    let wait = circuit.when_asked(1);
    circuit.pems.pems.fail_request(1, Fault::Hang { seconds: 5 });
    let other = PfaMirrorService::new(circuit.app.database.another_pool().await);
    let slow = circuit.write();
    let taken_over = async {
        wait.await.unwrap();
        sqlx::query(expire).execute(&pool).await.unwrap();
        // Its lock is gone with its connection.
        sqlx::query("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid() and database = (select oid from pg_database where datname = current_database())")
            .execute(&pool)
            .await
            .unwrap();
        let turn = loop {
            let request = WriteRequest { organization: ORG.into(), scope: WriteScope::Due, requested_by: None };
            if let Ok(turn) = other.begin_write(request).await {
                break turn;
            }
        };
        other.write_back(&circuit.pems.client(), &circuit.options, turn).await
    };
    let (_, taken) = tokio::join!(slow, taken_over);
    assert_eq!(taken.unwrap().expect("a turn").applied.updated, 1);
    other.close().await;
    let (state, attempts, _) = circuit.states().await.remove(0);
    assert_eq!((state.as_str(), attempts, circuit.writes()), ("synced", 2, 1));
    circuit.assert_sound().await;
}
