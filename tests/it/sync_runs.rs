//! Sync runs over HTTP and from the command line: start, look, list, cancel.

use crate::support::pems::TestPems;
use crate::support::{TestApp, test_app};
use pfa_vanguard::fake_pems::{FakeOptions, Fault};
use pfa_vanguard::jobs::{run_dead_runs, run_sync};
use pfa_vanguard::service::sync::SyncScope;
use pfa_vanguard::service::sync::runs::{RunDirection, RunType};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

async fn world(count: usize) -> (TestApp, TestPems) {
    let (app, pems) = (test_app().await, TestPems::start().await);
    app.service.save_organization("A", "A").await.unwrap();
    let records: Vec<_> = (0..count).map(|n| json!({"pfaId": format!("{n:03}")}).as_object().unwrap().clone()).collect();
    pems.put("A", &records);
    (app.with_pems(pems.client()), pems)
}

/// Starts a run after another one, which has ended a moment ago and may still hold its lock.
async fn start_next(app: &TestApp, body: Value) -> Value {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let answer = app.post("/api/v1/orgs/A/sync/runs", &body).await;
        if answer.status != 409 {
            return answer.json();
        }
        assert!(Instant::now() < deadline, "the run before does not end: {}", answer.text);
    }
}

async fn wait_for_the_end(app: &TestApp, run: &Value) -> Value {
    let path = format!("/api/v1/orgs/A/sync/runs/{}", run["id"].as_str().unwrap());
    for _ in 0..600 {
        let run = app.get(&path).await.json();
        if run["status"] != "running" {
            return run;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the run does not end");
}

#[tokio::test]
async fn a_run_is_started_looked_at_and_listed() {
    let (app, pems) = world(10).await;
    let answer = app.post("/api/v1/orgs/A/sync/runs", &json!({"type": "full", "direction": "read"})).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let run = answer.json();
    assert_eq!(answer.header("location"), format!("/api/v1/orgs/A/sync/runs/{}", run["id"].as_str().unwrap()));
    assert_eq!((&run["type"], &run["direction"], &run["requestedBy"]), (&json!("full"), &json!("read"), &json!("dev")));
    let ended = wait_for_the_end(&app, &run).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let full = ended.clone();
    assert_eq!(
        ended["counts"],
        json!({"total": 10, "processed": 10, "inserted": 10, "updated": 0, "unchanged": 0, "discontinued": 0, "errored": 0})
    );
    assert!(ended["durationMs"].is_i64() && ended["findings"] == json!([]) && ended["error"].is_null());

    pems.pems.with_records(|records| records.edit("A", "001", json!({"forecastEnd": "soon"}).as_object().unwrap()));
    let run = start_next(&app, json!({"type": "manual", "pfaIds": ["001"]})).await;
    let ended = wait_for_the_end(&app, &run).await;
    assert_eq!((&ended["status"], &ended["findingsTotal"]), (&json!("completed_with_errors"), &json!(1)));
    assert_eq!(ended["findings"][0]["field"], "forecastEnd");

    let first = app.get("/api/v1/orgs/A/sync/runs?limit=1").await.json();
    assert_eq!((&first["data"][0]["id"], &first["data"][0]["findings"]), (&run["id"], &json!([])));
    let cursor = first["page"]["nextCursor"].as_str().unwrap();
    let second = app.get(&format!("/api/v1/orgs/A/sync/runs?limit=1&cursor={cursor}")).await.json();
    assert_eq!((&second["data"][0]["type"], &second["page"]["nextCursor"]), (&json!("full"), &Value::Null));
    let organizations = app.get("/api/v1/orgs").await.json();
    assert_eq!(organizations["data"][0]["lastSyncAt"], full["completedAt"], "a record by hand is no reading of the organization");
    assert!(organizations["data"][0]["lastSyncAgeSeconds"].as_i64().is_some_and(|age| (0..60).contains(&age)));
    wait_for_the_end(&app, &start_next(&app, json!({"type": "verify"})).await).await;
    let organizations = app.get("/api/v1/orgs").await.json();
    assert_eq!(organizations["data"][0]["lastSyncAt"], full["completedAt"], "a comparison reads nothing into the mirror");
}

#[tokio::test]
async fn a_run_is_cancelled_and_a_second_one_waits_for_nobody() {
    let options = FakeOptions { latency: Duration::from_millis(300), ..FakeOptions::default() };
    let app = test_app().await;
    let pems = TestPems::start_with(options).await;
    app.service.save_organization("A", "A").await.unwrap();
    pems.put("A", &(0..40).map(|n| json!({"pfaId": format!("{n:03}")}).as_object().unwrap().clone()).collect::<Vec<_>>());
    let app = app.with_pems(pems.client());
    let run = app.post("/api/v1/orgs/A/sync/runs", &json!({"type": "full"})).await.json();
    let second = app.post("/api/v1/orgs/A/sync/runs", &json!({"type": "incremental"})).await;
    assert_eq!((second.status.as_u16(), &second.json()["code"]), (409, &json!("load_running")));
    let path = format!("/api/v1/orgs/A/sync/runs/{}/cancel", run["id"].as_str().unwrap());
    let cancelling = app.post(&path, &json!({})).await.json();
    assert_eq!((&cancelling["status"], &cancelling["cancelling"]), (&json!("running"), &json!(true)));
    let ended = wait_for_the_end(&app, &run).await;
    assert_eq!((&ended["status"], &ended["cancelling"]), (&json!("cancelled"), &json!(false)));
    assert_eq!(app.post(&path, &json!({})).await.json()["status"], "cancelled", "once more changes nothing");
    assert!(app.mirror_rows("A").await.is_empty());
}

#[tokio::test]
async fn a_run_that_fails_says_why() {
    let (app, pems) = world(3).await;
    pems.pems.fail_always(Fault::Unauthorized);
    let run = app.post("/api/v1/orgs/A/sync/runs", &json!({"type": "full"})).await.json();
    let ended = wait_for_the_end(&app, &run).await;
    assert_eq!(ended["status"], "failed");
    assert!(ended["error"].as_str().unwrap().starts_with("PEMS refused the credentials"));
}

#[tokio::test]
async fn a_run_that_cannot_be_is_refused_with_every_fault() {
    let (app, _pems) = world(0).await;
    for (body, fields) in [
        (json!({}), vec!["type"]),
        (json!({"type": "sometimes"}), vec!["type"]),
        (json!({"type": "full", "direction": "sideways"}), vec!["direction"]),
        (json!({"type": "full", "colour": 1}), vec!["colour"]),
        (json!({"type": "manual"}), vec!["pfaIds"]),
        (json!({"type": "full", "pfaIds": ["1"], "maxVanishedPercent": 101}), vec!["pfaIds", "maxVanishedPercent"]),
        (json!({"type": "incremental", "maxVanishedPercent": 5}), vec!["maxVanishedPercent"]),
    ] {
        let answer = app.post("/api/v1/orgs/A/sync/runs", &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.faults()),
            (400, fields.into_iter().map(str::to_owned).collect()),
            "{body}: {}",
            answer.text
        );
    }
    assert_eq!(app.get("/api/v1/orgs/A/sync/runs?limit=0&colour=1").await.faults(), ["limit", "colour"]);
    for path in ["/api/v1/orgs/A/sync/runs/1?x=1", "/api/v1/orgs/A/sync/runs/1/cancel?x=1"] {
        let answer = if path.contains("cancel") { app.post(path, &json!({})).await } else { app.get(path).await };
        assert_eq!(answer.faults(), ["x"]);
    }
    let off = test_app().await;
    off.service.save_organization("A", "A").await.unwrap();
    let answer = off.post("/api/v1/orgs/A/sync/runs", &json!({"type": "full"})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (409, &json!("pems_off")));
}

#[tokio::test]
async fn runs_of_other_organizations_are_not_found() {
    let (app, _pems) = world(1).await;
    app.service.save_organization("B", "B").await.unwrap();
    let run = app.post("/api/v1/orgs/A/sync/runs", &json!({"type": "full"})).await.json();
    wait_for_the_end(&app, &run).await;
    let id = run["id"].as_str().unwrap();
    for id in [id, "nonsense"] {
        assert_eq!(app.get(&format!("/api/v1/orgs/B/sync/runs/{id}")).await.json()["code"], "run_not_found");
        assert_eq!(app.post(&format!("/api/v1/orgs/B/sync/runs/{id}/cancel"), &json!({})).await.json()["code"], "run_not_found");
    }
    for answer in [app.get("/api/v1/orgs/C/sync/runs").await, app.post("/api/v1/orgs/C/sync/runs", &json!({"type": "full"})).await] {
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (404, &json!("organization_not_found")));
    }
}

/// The command against a stand-in, in processes of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_reads_and_tells() {
    let (app, pems) = world(10).await;
    let sync = |arguments: &[&str], more: &[(&str, &str)]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pfa-vanguard"));
        command.arg("sync").args(arguments);
        if !arguments.contains(&"--org") {
            command.args(["--org", "A"]);
        }
        command.env("DATABASE_URL", app.database.url()).env("PFA_LOG", "error");
        command.env("PFA_PEMS_URL", &pems.address).env("PFA_PEMS_TENANT", "DEMO").env("PFA_PEMS_RATE_PER_SECOND", "1000");
        command.env("PFA_PEMS_USERNAME", "vanguard").env("PFA_PEMS_PASSWORD", "vanguard").env("PFA_PEMS_PAGE_SIZE", "4");
        command.envs(more.iter().copied()).output().unwrap()
    };
    let said = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8(output.stderr.clone()).unwrap();
    let full = sync(&["--type", "full"], &[]);
    assert!(
        full.status.success() && said(&full).contains("A: 10 records inserted, 0 updated, 0 unchanged, 0 discontinued"),
        "{}",
        said(&full)
    );
    pems.pems.with_records(|records| records.edit("A", "003", json!({"category": "Pumps", "forecastEnd": "soon"}).as_object().unwrap()));
    let some = sync(&["--type", "manual", "--ids", "003,004"], &[]);
    assert!(said(&some).contains("record 003: forecastEnd") && said(&some).contains("1 updated, 1 unchanged"), "{}", said(&some));
    let nameless = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&nameless, "[read]\npfs_model = 'model'\n").unwrap();
    let nameless = nameless.path().to_str().unwrap();
    for (arguments, more, code, says) in [
        (&["--type", "full"][..], &[("PFA_PEMS_FIELD_MAP", nameless)][..], 2, "pfaId"),
        (&["--type", "manual"], &[], 2, "--ids"),
        (&["--type", "incremental", "--ids", "003"], &[], 2, "--ids"),
        (&["--type", "full"], &[("PFA_PEMS_PASSWORD", "wrong")], 1, "PEMS refused the credentials"),
        (&["--type", "full"], &[("PFA_PEMS_TENANT", "")], 1, "PEMS refused the credentials"),
        (&["--type", "full"], &[("PFA_PEMS_URL", "http://pems.example/axis")], 2, "must begin with https://"),
        (&["--type", "full"], &[("PFA_PEMS_API_KEY", "k")], 2, "PFA_PEMS_API_KEY"),
        (&["--type", "full"], &[("PFA_PEMS_FIELD_MAP", "/nowhere.toml")], 2, "/nowhere.toml"),
    ] {
        let output = sync(arguments, more);
        assert!(output.status.code() == Some(code) && said(&output).contains(says), "{arguments:?} {more:?}: {}", said(&output));
        assert!(!said(&output).contains("wrong") || says != "PEMS refused the credentials");
    }

    // A new organization is created when PEMS has records of it.
    pems.put("B", &[json!({"pfaId": "1"}).as_object().unwrap().clone()]);
    let new = sync(&["--type", "full", "--org", "B"], &[]);
    assert!(new.status.success() && said(&new).contains("B: 1 records inserted"), "{}", said(&new));
    for (code, more, says) in
        [("BB", &[][..], "PEMS has no records of an organization \"BB\""), ("C", &[("PFA_PEMS_PASSWORD", "x")], "refused")]
    {
        let output = sync(&["--type", "full", "--org", code], more);
        assert!(output.status.code() == Some(1) && said(&output).contains(says), "{}", said(&output));
    }
    let codes: Vec<_> = app.service.list_organizations().await.unwrap().into_iter().map(|organization| organization.code).collect();
    assert_eq!(codes, ["A", "B"]);
}

/// Only a reading of everything finds what PEMS does not have any more.
#[tokio::test]
async fn the_nightly_sync_discontinues_what_vanished() {
    let (app, pems) = world(20).await;
    let full = SyncScope::Full { most_vanished_percent: 10 };
    run_sync(&app.service, &pems.client(), &full).await;
    assert!(pems.pems.with_records(|records| records.delete("A", "007")));
    let discontinued = async || app.mirror_rows("A").await.iter().filter(|row| row.data["isDiscontinued"] == true).count();
    run_sync(&app.service, &pems.client(), &SyncScope::Incremental).await;
    assert_eq!(discontinued().await, 0);
    run_sync(&app.service, &pems.client(), &full).await;
    assert_eq!(discontinued().await, 1);
}

/// A run whose process has ended is closed by whoever looks; one that goes on is not.
#[tokio::test]
async fn dead_runs_are_closed_and_living_ones_are_not() {
    let (app, _) = world(1).await;
    app.service.save_organization("B", "B").await.unwrap();
    let living = app.service.begin_load(&["B"]).await.unwrap();
    for organization in ["A", "B"] {
        app.service.begin_run(organization, RunType::Full, RunDirection::Read, None).await.unwrap();
    }
    run_dead_runs(&app.service).await;
    let states = async |organization: &str| app.service.list_runs(organization, None, 1).await.unwrap().remove(0).status;
    assert_eq!((states("A").await.as_str(), states("B").await.as_str()), ("failed", "running"));
    living.abandon().await;
}
