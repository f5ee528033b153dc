//! Commit: all drafts are published at once, or the clean ones, or none; of one field the first committer wins.

use crate::support::planner::{Planner, Sandbox, assert_problem, data, planners_app};
use axum::http::Method;
use serde_json::{Value, json};

/// A sandbox of a planner with one edit.
async fn edited<'a>(planner: Planner<'a>, pfa_id: &str, patch: Value) -> Sandbox<'a> {
    let sandbox = planner.open().await;
    let answer = sandbox.edit(pfa_id, patch).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    sandbox
}

#[tokio::test]
async fn a_commit_publishes_every_draft_and_closes_the_sandbox() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let sandbox = edited(ana, "1", json!({"forecastEnd": "2025-04-11", "equipment": null})).await;
    sandbox.edit("2", json!({"model": "A"})).await;
    let answer = sandbox.commit("").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"committed": 2, "merged": 0, "conflicts": [], "dryRun": false, "closed": true}));
    let row = ben.row("1").await;
    assert_eq!((&row["forecastEnd"], &row["equipment"]), (&json!("2025-04-11"), &Value::Null));
    let meta = &row["_meta"];
    assert_eq!((&meta["syncState"], &meta["modifiedBy"], &meta["version"]), (&json!("committed"), &json!("ana"), &json!(1)));
    assert_eq!(meta["modifiedFields"], json!(["equipment", "forecastEnd"]));
    let look = sandbox.look().await;
    assert_eq!((&look["status"], &look["draftCount"], &look["undoDepth"]), (&json!("committed"), &json!(0), &json!(0)));
    assert!(look["closedAt"].is_string());
    let pending: Vec<_> = data(&ana.get("sync/pending").await).iter().map(|change| change["pfaId"].clone()).collect();
    assert_eq!(pending.len(), 2);
}

#[tokio::test]
async fn a_committed_sandbox_cannot_be_committed_again() {
    let app = planners_app().await;
    let sandbox = edited(app.planner("ana"), "1", json!({"model": "A"})).await;
    sandbox.commit("").await;
    for query in ["", "mode=partial", "dryRun=true"] {
        assert_problem(&sandbox.commit(query).await, 409, "session_committed");
    }
    assert_eq!(app.planner("ana").history("1").await.len(), 1);
}

#[tokio::test]
async fn an_empty_sandbox_can_be_committed() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    assert_eq!(sandbox.commit("").await.json()["committed"], 0);
    assert_eq!(sandbox.look().await["status"], "committed");
}

#[tokio::test]
async fn disjoint_changes_merge_by_themselves() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let mine = edited(ana, "1", json!({"model": "A"})).await;
    mine.edit("2", json!({"model": "A"})).await;
    ben.publish("1", json!({"contract": "B"})).await;
    let change = &mine.changes().await[0];
    assert_eq!((&change["pfaId"], &change["wouldMerge"]), (&json!("1"), &json!(true)));
    let done = mine.commit("").await.json();
    assert_eq!((&done["committed"], &done["merged"]), (&json!(2), &json!(1)), "one of them met another change");
    let row = ben.row("1").await;
    assert_eq!((&row["model"], &row["contract"]), (&json!("A"), &json!("B")));
    assert_eq!(row["_meta"]["modifiedFields"], json!(["contract", "model"]));
}

#[tokio::test]
async fn the_same_change_of_two_is_no_conflict() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let mine = edited(ana, "1", json!({"monthlyRate": 12000})).await;
    app.planner("ben").publish("1", json!({"monthlyRate": 12000.00})).await;
    assert_eq!(mine.commit("").await.json()["committed"], 1);
    assert_eq!(ana.history("1").await.len(), 1, "the second time nothing changed for anybody");
}

#[tokio::test]
async fn of_two_commits_of_one_field_the_first_wins() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let mine = edited(ana, "1", json!({"monthlyRate": 100, "model": "A"})).await;
    mine.edit("2", json!({"model": "A"})).await;
    ben.publish("1", json!({"monthlyRate": 200})).await;

    let problem = assert_problem(&mine.commit("").await, 409, "commit_conflict");
    assert_eq!(
        (&problem["committed"], &problem["merged"], &problem["closed"], &problem["dryRun"]),
        (&json!(0), &json!(0), &json!(false), &json!(false))
    );
    let conflicts = problem["conflicts"].as_array().unwrap();
    assert_eq!((conflicts.len(), &conflicts[0]["pfaId"]), (1, &json!("1")));
    assert_eq!(conflicts[0]["fields"], json!([{"field": "monthlyRate", "base": 15000, "ours": 100, "theirs": 200}]));

    // Nothing was committed, and the sandbox goes on.
    assert_eq!(ben.row("2").await["model"], Value::Null);
    let look = mine.look().await;
    assert_eq!((&look["status"], &look["draftCount"], &look["conflictCount"]), (&json!("open"), &json!(1), &json!(1)));
    assert_eq!(mine.row("1").await["monthlyRate"], 100, "its own values stay in it");
    // Everybody sees that there is a conflict, and the published value.
    let row = ben.row("1").await;
    assert_eq!(
        (&row["_meta"]["syncState"], &row["_meta"]["modifiedBy"], &row["monthlyRate"]),
        (&json!("conflict"), &json!("ana"), &json!(200))
    );
    assert_eq!(row["model"], Value::Null);
}

#[tokio::test]
async fn every_conflict_is_in_the_refusal() {
    let app = planners_app().await;
    let mine = edited(app.planner("ana"), "1", json!({"model": "A", "class": "A"})).await;
    let ben = app.planner("ben");
    mine.edit("2", json!({"model": "A"})).await;
    mine.edit("3", json!({"model": "A"})).await;
    ben.publish("1", json!({"model": "B", "class": "B"})).await;
    ben.publish("3", json!({"model": "B"})).await;
    let problem = assert_problem(&mine.commit("").await, 409, "commit_conflict");
    let found: Vec<_> = problem["conflicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|conflict| (conflict["pfaId"].as_str().unwrap(), conflict["fields"].as_array().unwrap().len()))
        .collect();
    assert_eq!(found, [("1", 2), ("3", 1)]);
    assert!(problem["detail"].as_str().unwrap().contains("2 drafts"), "{problem}");
}

/// Each end is fine by itself; together the record would end before it starts.
#[tokio::test]
async fn a_merge_that_breaks_a_rule_is_a_conflict() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let mine = edited(ana, "1", json!({"forecastEnd": "2025-02-01"})).await;
    ben.publish("1", json!({"forecastStart": "2025-02-15"})).await;
    let change = &mine.changes().await[0];
    assert_eq!((&change["wouldMerge"], &change["errors"][0]["field"]), (&json!(false), &json!("forecastEnd")));
    let problem = assert_problem(&mine.commit("").await, 409, "commit_conflict");
    let conflict = &problem["conflicts"][0];
    assert_eq!(conflict["rules"], json!(["forecastStart must not be after forecastEnd"]));
    assert_eq!(conflict["fields"][0]["field"], "forecastEnd");

    // The forecast of what somebody has actualized meanwhile may not move.
    let mine = edited(ana, "2", json!({"forecastEnd": "2025-05-01"})).await;
    ben.publish("2", json!({"isActualized": true})).await;
    let problem = assert_problem(&mine.commit("").await, 409, "commit_conflict");
    assert!(problem["conflicts"][0]["rules"][0].as_str().unwrap().contains("actualized"), "{problem}");
}

#[tokio::test]
async fn a_dry_run_tells_the_same_and_changes_nothing() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let mine = edited(ana, "1", json!({"model": "A"})).await;
    mine.edit("2", json!({"model": "A"})).await;
    let clean = mine.commit("dryRun=true").await.json();
    assert_eq!(clean, json!({"committed": 2, "merged": 0, "conflicts": [], "dryRun": true, "closed": false}));
    ben.publish("1", json!({"model": "B"})).await;
    let state = async || (mine.look().await["draftCount"].clone(), mine.changes().await, ana.row("1").await, ana.row("2").await);
    let before = state().await;
    let atomic = mine.commit("dryRun=true").await;
    assert_eq!((atomic.status.as_u16(), &atomic.json()["committed"]), (200, &json!(0)));
    assert_eq!(atomic.json()["conflicts"][0]["fields"][0]["theirs"], "B");
    let partial = mine.commit("dryRun=true&mode=partial").await.json();
    assert_eq!((&partial["committed"], &partial["conflicts"].as_array().unwrap().len()), (&json!(1), &1));
    assert_eq!(state().await, before);
    assert!(ana.conflicts().await.is_empty());
}

#[tokio::test]
async fn a_partial_commit_publishes_the_clean_drafts() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let mine = edited(ana, "1", json!({"model": "A"})).await;
    mine.edit("2", json!({"model": "A"})).await;
    mine.edit("3", json!({"contract": "A"})).await;
    ben.publish("1", json!({"model": "B"})).await;
    ben.publish("3", json!({"model": "B"})).await;
    let done = mine.commit("mode=partial").await;
    assert_eq!(done.status, 200);
    let done = done.json();
    assert_eq!((&done["committed"], &done["merged"], &done["closed"]), (&json!(2), &json!(1), &json!(false)));
    assert_eq!(done["conflicts"][0]["pfaId"], "1");
    assert_eq!((&ben.row("2").await["model"], &ben.row("1").await["model"]), (&json!("A"), &json!("B")));
    let look = mine.look().await;
    assert_eq!((&look["status"], &look["draftCount"], &look["conflictCount"]), (&json!("open"), &json!(0), &json!(1)));
    // The conflict can be edited away, and the rest committed.
    assert_eq!(mine.edit("1", json!({"model": "B"})).await.status, 200);
    assert_eq!(mine.look().await["conflictCount"], 0);
    assert_eq!(mine.commit("").await.json()["closed"], true);
    assert!(ana.conflicts().await.is_empty());
}

#[tokio::test]
async fn a_refused_draft_that_is_clean_again_is_committed() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let mine = edited(ana, "1", json!({"model": "A"})).await;
    ben.publish("1", json!({"model": "B"})).await;
    assert_problem(&mine.commit("").await, 409, "commit_conflict");
    ben.publish("1", json!({"model": null})).await;
    assert_eq!(mine.commit("").await.json()["committed"], 1);
    assert_eq!(ben.row("1").await["model"], "A");
    assert!(ana.conflicts().await.is_empty());
}

async fn commit_with(sandbox: &Sandbox<'_>, key: &str, query: &str) -> crate::support::app::Answer {
    sandbox.send(Method::POST, &format!("/commit?{query}"), &[("idempotency-key", key)], None).await
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let mine = edited(ana, "1", json!({"model": "A"})).await;
    let first = commit_with(&mine, "k1", "").await;
    let again = commit_with(&mine, "k1", "").await;
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    assert_eq!(first.json()["committed"], 1);
    assert_eq!(ana.history("1").await.len(), 1, "it was committed once");
    // Without the key, or with another one, the sandbox is closed.
    assert_problem(&mine.commit("").await, 409, "session_committed");
    assert_problem(&commit_with(&mine, "k2", "").await, 409, "session_committed");

    // A refusal, too.
    let mine = edited(ana, "1", json!({"model": "C"})).await;
    ben.publish("1", json!({"model": "B"})).await;
    let (first, again) = (commit_with(&mine, "k3", "").await, commit_with(&mine, "k3", "").await);
    assert_problem(&first, 409, "commit_conflict");
    assert_problem(&again, 409, "commit_conflict");
    assert_eq!(first.json()["conflicts"], again.json()["conflicts"]);
}

#[tokio::test]
async fn a_key_belongs_to_one_commit_of_one_user() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let (first, second) = (edited(ana, "1", json!({"model": "A"})).await, edited(ana, "2", json!({"model": "A"})).await);
    assert_eq!(commit_with(&first, "k", "").await.status, 200);
    assert_problem(&commit_with(&second, "k", "").await, 422, "idempotency_key_reused");
    assert_problem(&commit_with(&first, "k", "mode=partial").await, 422, "idempotency_key_reused");
    assert_eq!(second.look().await["status"], "open");
    let foreign = edited(ben, "2", json!({"class": "B"})).await;
    assert_eq!(commit_with(&foreign, "k", "").await.status, 200, "somebody else's key is another one");
    // A dry run uses no key up.
    assert_eq!(commit_with(&second, "k9", "dryRun=true").await.json()["dryRun"], true);
    assert_eq!(commit_with(&second, "k9", "").await.json()["dryRun"], false);
}

#[tokio::test]
async fn requests_with_one_key_at_the_same_moment_commit_once() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let mine = edited(ana, "1", json!({"model": "A"})).await;
    let (a, b, c) = tokio::join!(commit_with(&mine, "k", ""), commit_with(&mine, "k", ""), commit_with(&mine, "k", ""));
    for answer in [&a, &b, &c] {
        assert_eq!((answer.status.as_u16(), answer.json()), (200, a.json()));
    }
    assert_eq!(ana.history("1").await.len(), 1);
}

#[tokio::test]
async fn of_commits_at_the_same_moment_one_wins() {
    let app = planners_app().await;
    let planners = ["ana", "ben", "cleo", "dan"].map(|user| app.planner(user));
    let mut sandboxes = Vec::new();
    for planner in planners {
        sandboxes.push(edited(planner, "1", json!({"model": planner.user, "contract": "same"})).await);
    }
    let [a, b, c, d] = [0, 1, 2, 3].map(|number| sandboxes[number].commit(""));
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    let statuses: Vec<_> = [&a, &b, &c, &d].iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 3, "{statuses:?}");
    let winner = statuses.iter().position(|status| *status == 200).unwrap();
    assert_eq!(planners[0].row("1").await["model"], planners[winner].user);
}

#[tokio::test]
async fn bad_commits_are_refused_and_commit_nothing() {
    let app = planners_app().await;
    let mine = edited(app.planner("ana"), "1", json!({"model": "A"})).await;
    for (query, faults) in [
        ("mode=all", vec!["mode"]),
        ("dryRun=1&mode=x&force=true", vec!["dryRun", "force", "mode"]),
        ("mode=atomic&mode=partial", vec!["mode"]),
    ] {
        let answer = mine.commit(query).await;
        assert_problem(&answer, 400, "invalid_parameter");
        let mut named = answer.faults();
        named.sort();
        assert_eq!(named, faults);
    }
    for key in ["", "  ", &"x".repeat(201), "ü"] {
        let answer = commit_with(&mine, key, "").await;
        assert_problem(&answer, 400, "invalid_parameter");
        assert_eq!(answer.faults(), ["Idempotency-Key"]);
    }
    let send = async |kind: &str, body: &str| mine.send(Method::POST, "/commit", &[("content-type", kind)], Some(body.to_owned())).await;
    let answer = send("application/json", r#"{"dryRun": true, "mode": "partial"}"#).await;
    assert_problem(&answer, 400, "invalid_body");
    assert_eq!(answer.faults(), ["dryRun", "mode"], "they are parameters");
    assert_problem(&send("application/json", "[]").await, 400, "invalid_body");
    assert_problem(&send("text/plain", "dryRun").await, 415, "unsupported_media_type");
    assert_eq!(mine.look().await["draftCount"], 1);
    assert_eq!(send("application/json", "").await.status, 200);
}

/// The first record as PEMS has it, but for some values.
async fn load_first(planner: Planner<'_>, changes: &Value) {
    let record: (sqlx::types::Json<serde_json::Map<String, Value>>,) =
        sqlx::query_as("select data from pfa_mirror where organization_id = 'ORG' and pfa_id = '1'")
            .fetch_one(planner.app.pool())
            .await
            .unwrap();
    let mut record = record.0.0;
    record.extend(changes.as_object().unwrap().clone());
    planner.app.load("ORG", &[record]).await;
}

#[tokio::test]
async fn what_pems_changed_meanwhile_counts_like_a_publication() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let mine = edited(ana, "1", json!({"model": "A", "class": "A"})).await;
    load_first(ana, &json!({"contract": "PEMS", "model": "PEMS"})).await;
    let problem = assert_problem(&mine.commit("").await, 409, "commit_conflict");
    assert_eq!(problem["conflicts"][0]["fields"], json!([{"field": "model", "base": null, "ours": "A", "theirs": "PEMS"}]));
    load_first(ana, &json!({"model": null})).await;
    assert_eq!(mine.commit("").await.json()["merged"], 1);
    let row = ana.row("1").await;
    assert_eq!((&row["contract"], &row["model"], &row["class"]), (&json!("PEMS"), &json!("A"), &json!("A")));
}

#[tokio::test]
async fn the_same_data_loaded_again_is_no_change() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let mine = edited(ana, "1", json!({"monthlyRate": 5})).await;
    let tag = mine.read("records/1").await.header("etag").to_owned();
    load_first(ana, &json!({"monthlyRate": "15000.00", "forecastEnd": "2025-03-02T00:00:00.000Z"})).await;
    assert_eq!(mine.read("records/1").await.header("etag"), tag, "the draft is not stale");
    assert_eq!(mine.commit("").await.json(), json!({"committed": 1, "merged": 0, "conflicts": [], "dryRun": false, "closed": true}));
}

/// An edit that comes while its sandbox is committed is in it, or is told that it came too late.
#[tokio::test]
async fn no_edit_is_lost_beside_a_commit() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    for number in 0..10 {
        let mine = edited(ana, "2", json!({"contract": format!("C{number}")})).await;
        let (edit, commit) = tokio::join!(mine.edit("1", json!({"model": format!("M{number}")})), mine.commit(""));
        assert_eq!(commit.status, 200, "{}", commit.text);
        let is_in = commit.json()["committed"] == 2;
        assert_eq!(edit.status.as_u16(), if is_in { 200 } else { 409 }, "{}", edit.text);
        assert_eq!(ana.row("1").await["model"] == format!("M{number}"), is_in);
    }
}

/// Pausing the write-back writes the organization's row without the publication lock: a commit that has compared its
/// drafts waits for that row, and publishes all of them then.
#[tokio::test]
async fn a_commit_beside_a_pause_of_the_write_back_publishes_everything() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let mine = edited(ana, "1", json!({"model": "A"})).await;
    mine.edit("2", json!({"model": "B"})).await;
    let mut pause = app.pool().begin().await.unwrap();
    sqlx::query("update organizations set write_back_paused_at = now(), write_back_paused_by = 'ben'").execute(&mut *pause).await.unwrap();
    let waits = "select exists (select from pg_stat_activity
                         where query like '%with compared as%' and wait_event_type = 'Lock' and datname = current_database())";
    let (commit, ()) = tokio::join!(mine.commit(""), async {
        app.wait_until(waits).await;
        pause.commit().await.unwrap();
    });
    assert_eq!(commit.json(), json!({"committed": 2, "merged": 0, "conflicts": [], "dryRun": false, "closed": true}), "{}", commit.text);
    for (pfa_id, model) in [("1", "A"), ("2", "B")] {
        assert_eq!((&ana.row(pfa_id).await["model"], ana.history(pfa_id).await.len()), (&json!(model), 1));
    }
    assert_eq!(data(&ana.get("sync/pending").await).len(), 2);
}
