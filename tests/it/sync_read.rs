//! Reading PEMS into the mirror: complete or not at all, whatever PEMS does; the log tells how it went.

use crate::support::pems::TestPems;
use crate::support::{TestApp, test_app};
use pfa_vanguard::error::Error;
use pfa_vanguard::fake_pems::Fault;
use pfa_vanguard::pems::{FieldMap, PemsClient, PemsOptions};
use pfa_vanguard::service::ingest::Applied;
use pfa_vanguard::service::sync::runs::{Run, RunOutcome};
use pfa_vanguard::service::sync::{SyncRequest, SyncScope};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

type Object = Map<String, Value>;

fn object(value: &Value) -> Object {
    value.as_object().unwrap().clone()
}

const FULL: SyncScope = SyncScope::Full { most_vanished_percent: 10 };

struct World {
    app: TestApp,
    pems: TestPems,
}

impl World {
    /// An organization of so many records in PEMS, and an empty mirror.
    async fn of(count: usize) -> Self {
        let (app, pems) = (test_app().await, TestPems::start().await);
        app.service.save_organization("A", "A").await.unwrap();
        let records: Vec<_> = (0..count)
            .map(|n| {
                object(&json!({"pfaId": format!("{n:03}"), "category": "Lifting", "source": "Rental", "monthlyRate": 3044,
                "forecastStart": "2025-01-01", "forecastEnd": "2025-01-11"}))
            })
            .collect();
        pems.put("A", &records);
        Self { app, pems }
    }

    async fn sync(&self, scope: SyncScope) -> Result<RunOutcome, Error> {
        self.sync_from(&self.pems.client(), scope).await
    }

    async fn sync_from(&self, pems: &PemsClient, scope: SyncScope) -> Result<RunOutcome, Error> {
        let request = SyncRequest { organization: "A".into(), scope, requested_by: Some("ana".into()) };
        let run = self.app.service.begin_read(request).await?;
        self.app.service.read_pems(pems, run, &CancellationToken::new()).await
    }

    async fn last_run(&self) -> Run {
        let run = self.app.service.list_runs("A", None, 1).await.unwrap().remove(0);
        self.app.service.find_run("A", run.id).await.unwrap()
    }

    fn edit(&self, id: &str, changes: &Value) {
        assert!(self.pems.pems.with_records(|records| records.edit("A", id, &object(changes))));
    }

    fn delete(&self, id: &str) {
        assert!(self.pems.pems.with_records(|records| records.delete("A", id)));
    }

    /// Ids, versions and some values of the mirror.
    async fn mirror(&self) -> Vec<(String, i64, String, bool)> {
        let rows = self.app.mirror_rows("A").await;
        let text = |data: &Object, key: &str| data[key].as_str().unwrap_or_default().to_owned();
        rows.iter()
            .map(|row| (text(&row.data, "pfaId"), row.version, text(&row.data, "category"), row.data["isDiscontinued"] == true))
            .collect()
    }
}

#[tokio::test]
async fn a_full_run_fills_the_mirror_and_the_next_one_changes_nothing() {
    let world = World::of(10).await;
    let first = world.sync(FULL).await.unwrap();
    assert_eq!((first.applied.inserted, first.applied.updated, first.applied.unchanged), (10, 0, 0));
    let before: Vec<(String, String)> =
        sqlx::query_as("select pfa_id, xmin::text from pfa_mirror order by 1").fetch_all(world.app.pool()).await.unwrap();
    let second = world.sync(FULL).await.unwrap();
    assert_eq!((second.applied.inserted, second.applied.updated, second.applied.unchanged), (0, 0, 10));
    let after: Vec<(String, String)> =
        sqlx::query_as("select pfa_id, xmin::text from pfa_mirror order by 1").fetch_all(world.app.pool()).await.unwrap();
    assert_eq!(before, after, "no row was written");
    let run = world.last_run().await;
    assert_eq!((run.run_type.as_str(), run.direction.as_str(), run.status.as_str()), ("full", "read", "completed"));
    assert_eq!((run.total, run.processed, run.unchanged, run.requested_by.as_deref()), (10, 10, 10, Some("ana")));
    assert!(run.completed_at.is_some() && run.error.is_none());
    let kpis = world.app.get("/api/v1/orgs/A/kpis").await.json();
    assert_eq!(kpis["total"]["forecastCost"].to_string(), "10000.00");
}

#[tokio::test]
async fn changes_have_versions_a_history_and_exact_kpis() {
    let world = World::of(12).await;
    world.sync(FULL).await.unwrap();
    world.edit("003", &json!({"category": "Pumps", "monthlyRate": 6088}));
    world.delete("007");
    let outcome = world.sync(FULL).await.unwrap();
    assert_eq!((outcome.applied.updated, outcome.applied.discontinued, outcome.applied.unchanged), (1, 1, 10));
    let mirror = world.mirror().await;
    assert_eq!(mirror[3], ("003".into(), 2, "Pumps".into(), false));
    assert_eq!(mirror[7], ("007".into(), 2, "Lifting".into(), true));
    let history = world.app.get("/api/v1/orgs/A/records/003/history").await.json();
    let entry = &history["data"][0];
    assert_eq!((&entry["by"], &entry["source"], &entry["version"]), (&json!("PEMS"), &json!("sync"), &json!(2)));
    assert_eq!(entry["fields"][0], json!({"field": "category", "from": "Lifting", "to": "Pumps"}));
    let kpis = world.app.get("/api/v1/orgs/A/kpis").await.json();
    assert_eq!((kpis["total"]["forecastCost"].to_string().as_str(), &kpis["total"]["recordCount"]), ("12000.00", &json!(11)));

    // It comes back.
    world.pems.put("A", &[object(&json!({"pfaId": "007", "category": "Lifting"}))]);
    assert_eq!(world.sync(FULL).await.unwrap().applied.updated, 1);
    assert!(!world.mirror().await[7].3);
}

#[tokio::test]
async fn an_incremental_run_brings_what_changed_and_discontinues_nothing() {
    let world = World::of(10).await;
    assert_eq!(world.sync(SyncScope::Incremental).await.unwrap().applied.inserted, 10, "the first one reads all");
    // As if everything had been read long ago.
    sqlx::query("update pfa_sync_log set read_up_to = to_char(now() + interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
        .execute(world.app.pool())
        .await
        .unwrap();
    world.edit("003", &json!({"category": "Pumps"}));
    let nothing = world.sync(SyncScope::Incremental).await.unwrap();
    assert_eq!(nothing.applied.total(), 0);
    sqlx::query("update pfa_sync_log set read_up_to = null where records_total = 0").execute(world.app.pool()).await.unwrap();
    sqlx::query("update pfa_sync_log set read_up_to = to_char(now() + interval '9 minutes', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') where read_up_to is not null")
        .execute(world.app.pool())
        .await
        .unwrap();
    world.delete("005");
    let some = world.sync(SyncScope::Incremental).await.unwrap();
    assert_eq!((some.applied.updated, some.applied.discontinued), (1, 0), "the overlap reaches it");
    assert!(!world.mirror().await[5].3);
}

#[tokio::test]
async fn some_records_by_hand_and_nothing_else() {
    let world = World::of(10).await;
    let wanted = |ids: &[&str]| SyncScope::Records(ids.iter().map(|id| (*id).to_owned()).collect());
    let outcome = world.sync(wanted(&["002", "008", "nobody"])).await.unwrap();
    assert_eq!((outcome.applied.inserted, outcome.applied.discontinued), (2, 0));
    assert_eq!(world.mirror().await.len(), 2);
    // More than one filter holds.
    let many: Vec<_> = (0..250).map(|n| format!("{n:03}")).collect();
    assert_eq!(world.sync(SyncScope::Records(many)).await.unwrap().applied.inserted, 8);
}

/// Every fault at every request: the mirror is as before or complete, the log tells which, and the next run heals.
#[tokio::test]
async fn no_fault_at_any_request_leaves_half_a_mirror() {
    let mut world = World::of(10).await;
    world.pems = world.pems.impatient();
    world.sync(FULL).await.unwrap();
    world.pems.pems.reset();
    world.sync(FULL).await.unwrap();
    let requests = world.pems.pems.requests().len() as u64;
    assert_eq!(requests, 5, "a head, a count and three pages");
    for (round, fault) in Fault::ALL.into_iter().enumerate() {
        for number in 0..requests {
            let category = format!("{round}-{number}");
            world.pems.pems.reset();
            world.edit("004", &json!({"category": category}));
            world.pems.pems.fail_request(number, fault);
            let before = world.mirror().await;
            let outcome = world.sync(FULL).await;
            let (after, run) = (world.mirror().await, world.last_run().await);
            match &outcome {
                Ok(_) => {
                    assert_eq!(after[4].2, category, "{fault:?} at {number}");
                    let expected = if run.findings_total == 0 { "completed" } else { "completed_with_errors" };
                    assert_eq!((run.status.as_str(), run.error.as_deref()), (expected, None), "{fault:?} at {number}");
                }
                Err(error) => {
                    assert_eq!(before, after, "{fault:?} at {number}");
                    assert_eq!((run.status.as_str(), run.error), ("failed", Some(error.to_string())), "{fault:?} at {number}");
                }
            }
            assert!(after.iter().all(|row| !row.3) && after.len() == 10, "{fault:?} at {number}: nothing is discontinued");
            let is_page = number >= 2;
            match fault {
                Fault::Unauthorized => assert!(matches!(outcome, Err(Error::Pems(_)))),
                Fault::TruncatedPage | Fault::DuplicatePage if is_page => match outcome {
                    // One record that is missing is asked for by its id.
                    Ok(outcome) => assert_eq!(outcome.applied.total(), 10, "{fault:?} at {number}"),
                    Err(error) => assert!(matches!(error, Error::PagesNotWhole { .. }), "{fault:?} at {number}: {error}"),
                },
                Fault::MalformedValue if is_page => assert_eq!(outcome.unwrap().findings_total, 1, "{fault:?} at {number}"),
                _ => assert!(outcome.is_ok(), "{fault:?} at {number}: {outcome:?}"),
            }
            world.pems.pems.reset();
            world.sync(FULL).await.unwrap();
            assert_eq!(world.mirror().await[4].2, category, "the next run heals {fault:?} at {number}");
        }
    }
}

/// A fault that does not end, from every request on, also from that which asks for a vanished record by its id: the run has
/// failed, and the mirror is as before.
#[tokio::test]
async fn a_fault_that_lasts_fails_the_run_and_changes_nothing() {
    let world = World::of(10).await;
    world.sync(FULL).await.unwrap();
    world.delete("009");
    world.edit("004", &json!({"category": "Pumps"}));
    let before = world.mirror().await;
    for fault in [Fault::Status500, Fault::TooManyRequests { seconds: 0 }, Fault::CutBody, Fault::ErrorEnvelope, Fault::Unauthorized] {
        for first in 0..6 {
            world.pems.pems.reset();
            (first..first + 100).for_each(|number| world.pems.pems.fail_request(number, fault));
            let error = world.sync(FULL).await.unwrap_err();
            let run = world.last_run().await;
            assert_eq!(before, world.mirror().await, "{fault:?} from {first} on");
            assert_eq!((run.status.as_str(), run.error), ("failed", Some(error.to_string())), "{fault:?} from {first} on");
        }
    }
    // Pages that stay cut are never a whole reading, and what they lack has not vanished.
    for (first, fault) in (2..5).flat_map(|first| [(first, Fault::TruncatedPage), (first, Fault::DuplicatePage)]) {
        world.pems.pems.reset();
        (first..100).for_each(|number| world.pems.pems.fail_request(number, fault));
        let ended = world.sync(FULL).await;
        let after = world.mirror().await;
        assert!(after[..9].iter().all(|row| !row.3), "{fault:?} from {first} on: {ended:?}");
        assert!(ended.is_ok() || after == before, "{fault:?} from {first} on");
    }
    world.pems.pems.reset();
    world.sync(FULL).await.unwrap();
    let after = world.mirror().await;
    assert!(after[9].3 && after[..9].iter().all(|row| !row.3) && after[4].2 == "Pumps", "{after:?}");
}

/// PEMS that cannot be reached, or that does not know our grid: one message, a failed run, the mirror as before.
#[tokio::test]
async fn a_pems_that_cannot_be_used_fails_the_run() {
    let world = World::of(3).await;
    world.sync(FULL).await.unwrap();
    let before = world.mirror().await;
    let nowhere = PemsOptions { url: "http://127.0.0.1:1/axis".parse().unwrap(), ..world.pems.options() };
    let fields = FieldMap::parse("[names]\ngrid = 'NOPE'\ngridId = '1'\nscreen = 'X'").unwrap();
    let unknown = PemsOptions { fields, ..world.pems.options() };
    for (options, says) in [(nowhere, "refused"), (unknown, "Grid NOPE is not a valid grid")] {
        let error = world.sync_from(&PemsClient::new(options).unwrap(), FULL).await.unwrap_err().to_string();
        let run = world.last_run().await;
        assert!(error.contains(says), "{error}");
        assert_eq!((run.status.as_str(), run.error), ("failed", Some(error)));
        assert_eq!(before, world.mirror().await);
    }
}

#[tokio::test]
async fn a_read_that_lacks_too_much_discontinues_nothing() {
    let world = World::of(20).await;
    world.sync(FULL).await.unwrap();
    for id in ["001", "002", "003"] {
        world.delete(id);
    }
    let error = world.sync(FULL).await.unwrap_err();
    assert!(matches!(error, Error::TooManyVanished { vanished: 3, live: 20, .. }), "{error}");
    assert_eq!(world.last_run().await.error, Some(error.to_string()));
    world.pems.pems.with_records(|records| records.clear("A"));
    assert!(matches!(world.sync(FULL).await, Err(Error::TooManyVanished { vanished: 20, .. })));
    assert!(world.mirror().await.iter().all(|row| !row.3 && row.1 == 1));
    let all = world.sync(SyncScope::Full { most_vanished_percent: 100 }).await.unwrap();
    assert_eq!(all.applied.discontinued, 20);
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_with_record_and_field() {
    let world = World::of(3).await;
    world.edit("001", &json!({"forecastEnd": "soon", "monthlyRate": "much"}));
    let outcome = world.sync(FULL).await.unwrap();
    assert_eq!((outcome.applied.inserted, outcome.findings_total), (3, 2));
    let run = world.last_run().await;
    let found: Vec<_> = run.findings.iter().map(|finding| (finding.pfa_id.as_str(), finding.field.as_str())).collect();
    assert_eq!((found, run.status.as_str()), (vec![("001", "monthlyRate"), ("001", "forecastEnd")], "completed_with_errors"));
}

/// A committed change stays on top; what PEMS changed on the same field makes it a conflict.
#[tokio::test]
async fn committed_changes_stay_on_top_or_conflict() {
    let world = World::of(3).await;
    world.sync(FULL).await.unwrap();
    let session = world.app.post("/api/v1/orgs/A/sessions", &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    let edits = json!({"select": {"pfaIds": ["000", "001"]}, "operation": {"type": "set", "fields": {"monthlyRate": 100}}});
    world.app.post(&format!("/api/v1/orgs/A/sessions/{session}/edits"), &edits).await;
    world.app.post(&format!("/api/v1/orgs/A/sessions/{session}/commit"), &json!({})).await;
    world.edit("000", &json!({"category": "Pumps"}));
    world.edit("001", &json!({"monthlyRate": 200}));
    world.sync(FULL).await.unwrap();
    let merged = world.app.get("/api/v1/orgs/A/records/000").await.json();
    assert_eq!(
        (&merged["category"], &merged["monthlyRate"], &merged["_meta"]["syncState"]),
        (&json!("Pumps"), &json!(100), &json!("committed"))
    );
    let disputed = world.app.get("/api/v1/orgs/A/records/001").await.json();
    assert_eq!((&disputed["monthlyRate"], &disputed["_meta"]["syncState"]), (&json!(200), &json!("conflict")));
    let conflicts = world.app.get("/api/v1/orgs/A/conflicts").await.json();
    assert_eq!(conflicts["data"][0]["fields"][0], json!({"field": "monthlyRate", "base": 3044, "ours": 100, "theirs": 200}));
}

#[tokio::test]
async fn a_run_can_be_cancelled_and_the_service_can_stop() {
    let world = World::of(10).await;
    let request = || SyncRequest { organization: "A".into(), scope: FULL, requested_by: None };
    let run = world.app.service.begin_read(request()).await.unwrap();
    let id = run.id;
    assert!(matches!(world.app.service.begin_read(request()).await, Err(Error::LoadRunning(_))));
    assert!(world.app.service.cancel_run("A", id).await.unwrap().is_cancelling);
    let error = world.app.service.read_pems(&world.pems.client(), run, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, Error::RunCancelled));
    assert_eq!(world.last_run().await.status, "cancelled");
    assert!(world.mirror().await.is_empty());

    let run = world.app.service.begin_read(request()).await.unwrap();
    let stop = CancellationToken::new();
    world.pems.pems.before_requests({
        let stop = stop.clone();
        move |request, _| {
            if request.number > 0 {
                stop.cancel();
            }
        }
    });
    world.app.service.read_pems(&world.pems.client(), run, &stop).await.unwrap_err();
    let run = world.last_run().await;
    assert_eq!((run.status.as_str(), run.error.as_deref()), ("failed", Some("the service was stopped")));
    world.pems.pems.reset();
    let healed = async {
        loop {
            if let Ok(outcome) = world.sync(FULL).await {
                return outcome;
            }
        }
    };
    assert_eq!(tokio::time::timeout(std::time::Duration::from_secs(20), healed).await.unwrap().applied.inserted, 10);
}

/// PEMS goes on working: records that come and go while the pages are read move others to pages that
/// were read already. None of them is lost or discontinued.
#[tokio::test]
async fn records_that_move_between_pages_are_no_trouble() {
    let world = World::of(20).await;
    world.sync(FULL).await.unwrap();
    world.pems.pems.reset();
    world.pems.pems.before_requests(|request, records| match request.number {
        3 => assert!(records.delete("A", "001")),
        5 => records.put("A", &object(&json!({"pfaId": "0005", "category": "New"}))),
        _ => {}
    });
    let outcome = world.sync(FULL).await.unwrap();
    let Applied { inserted, updated, unchanged, discontinued } = outcome.applied;
    assert_eq!((inserted, updated, discontinued, unchanged), (0, 0, 0, 20), "001 was read before it was deleted");
    assert!(world.pems.pems.requests().len() > 7, "004 slipped through and was asked for");
    world.pems.pems.reset();
    let healed = world.sync(FULL).await.unwrap().applied;
    assert_eq!((healed.inserted, healed.discontinued), (1, 1));
}
