//! Undo and redo: every edit is a step, kept in the database.

use crate::support::app::app_state;
use crate::support::planner::{Sandbox, assert_problem, planners_app};
use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use pfa_vanguard::http::router::router;
use pfa_vanguard::service::PfaMirrorService;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// All that the sandbox changes, without the times.
async fn drafts(sandbox: &Sandbox<'_>) -> Vec<Value> {
    let mut changes = sandbox.changes().await;
    for change in &mut changes {
        change["updatedAt"].take();
    }
    changes
}

#[tokio::test]
async fn twenty_steps_are_undone_and_redone_one_by_one() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let mut states = vec![drafts(&sandbox).await];
    for number in 0..20 {
        let pfa_id = ["1", "2", "3"][number % 3];
        match number % 4 {
            0 | 1 => drop(sandbox.edit(pfa_id, json!({"monthlyRate": number, "model": format!("M{number}")})).await),
            2 => {
                let edit =
                    json!({"select": {"pfaIds": ["1", "2", "5"]}, "operation": {"type": "set", "fields": {"class": number.to_string()}}});
                assert_eq!(sandbox.bulk(edit).await.json()["changed"], 3);
            }
            _ => assert_eq!(sandbox.drop_draft("2").await.status, 204),
        }
        states.push(drafts(&sandbox).await);
    }
    assert_eq!(sandbox.look().await["undoDepth"], 20);
    for depth in (0..20).rev() {
        let step = sandbox.undo().await.json();
        assert_eq!((&step["undoDepth"], &step["redoDepth"]), (&json!(depth), &json!(20 - depth)));
        assert_eq!(drafts(&sandbox).await, states[depth], "after undoing to {depth}");
    }
    assert_problem(&sandbox.undo().await, 409, "nothing_to_undo");
    for (depth, state) in states.iter().enumerate().skip(1) {
        assert_eq!(sandbox.redo().await.status, 200);
        assert_eq!(drafts(&sandbox).await, *state, "after redoing to {depth}");
    }
    assert_problem(&sandbox.redo().await, 409, "nothing_to_redo");
}

#[tokio::test]
async fn a_bulk_edit_is_one_step() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"forecastEnd": "2025-04-01"})).await;
    let edit = json!({"select": {"filter": {}}, "operation": {"type": "shiftDates", "days": 7}, "reason": "a week later"});
    assert_eq!(sandbox.bulk(edit).await.json()["changed"], 3);
    let step = sandbox.undo().await.json();
    assert_eq!(
        (&step["step"]["kind"], &step["step"]["records"], &step["step"]["reason"]),
        (&json!("bulk"), &json!(3), &json!("a week later"))
    );
    assert_eq!((&step["draftCount"], &step["id"]), (&json!(1), &json!(sandbox.id)));
    assert_eq!(sandbox.row("1").await["forecastEnd"], "2025-04-01");
    let kind = sandbox.undo().await.json()["step"]["kind"].clone();
    assert_eq!((kind, sandbox.row("1").await), (json!("edit"), app.planner("ana").row("1").await));
}

#[tokio::test]
async fn a_new_edit_ends_what_could_be_redone() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for model in ["A", "B", "C"] {
        sandbox.edit("1", json!({"model": model})).await;
    }
    sandbox.undo().await;
    sandbox.undo().await;
    // An edit that changes nothing is no step and ends nothing.
    sandbox.edit("1", json!({"model": "A"})).await;
    assert_eq!(sandbox.look().await["redoDepth"], 2);
    sandbox.edit("1", json!({"model": "D"})).await;
    let problem = assert_problem(&sandbox.redo().await, 409, "nothing_to_redo");
    assert!(problem["detail"].as_str().unwrap().contains("another edit"), "{problem}");
    sandbox.undo().await;
    assert_eq!(sandbox.row("1").await["model"], "A");
}

#[tokio::test]
async fn steps_outlive_the_service() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"model": "A"})).await;
    sandbox.edit("1", json!({"model": "B"})).await;
    let restarted = router(app_state(PfaMirrorService::new(app.pool().clone())));
    for (step, model) in [("undo", "A"), ("redo", "B"), ("undo", "A")] {
        let uri = format!("/api/v1/orgs/ORG/sessions/{}/{step}", sandbox.id);
        let request = Request::post(uri).header("x-user-id", "ana").body(Body::empty()).unwrap();
        let answer = restarted.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(body["step"]["kind"], "edit");
        assert_eq!(sandbox.row("1").await["model"], model);
    }
}

#[tokio::test]
async fn what_is_committed_is_not_undone() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let sandbox = ana.open().await;
    sandbox.edit("1", json!({"model": "A"})).await;
    sandbox.commit("").await;
    for answer in [sandbox.undo().await, sandbox.redo().await] {
        let problem = assert_problem(&answer, 409, "session_committed");
        assert!(problem["detail"].as_str().unwrap().contains("committed"), "{problem}");
    }
    assert_eq!(ana.row("1").await["model"], "A");

    // Nor after a partial commit, which leaves the session open.
    let partial = ana.open().await;
    partial.edit("1", json!({"model": "C"})).await;
    partial.edit("2", json!({"model": "C"})).await;
    ben.publish("1", json!({"model": "B"})).await;
    assert_eq!(partial.commit("mode=partial").await.json()["committed"], 1);
    let problem = assert_problem(&partial.undo().await, 409, "nothing_to_undo");
    assert!(problem["detail"].as_str().unwrap().contains("committed meanwhile"), "{problem}");
    assert_eq!(ana.row("2").await["model"], "C");
}

#[tokio::test]
async fn undoing_leaves_other_sandboxes_and_what_is_published_alone() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let (sandbox, other) = (ana.open().await, ana.open().await);
    sandbox.edit("1", json!({"model": "A"})).await;
    other.edit("1", json!({"model": "B"})).await;
    app.planner("ben").publish("1", json!({"contract": "C"})).await;
    sandbox.undo().await;
    assert_eq!(other.row("1").await["model"], "B");
    let (mine, all) = (sandbox.row("1").await, ana.row("1").await);
    assert_eq!((&mine["contract"], &mine["model"]), (&json!("C"), &Value::Null));
    assert_eq!(mine, all);
}

#[tokio::test]
async fn an_edit_on_top_of_a_publication_is_undone_to_the_draft_before() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"model": "A"})).await;
    app.planner("ben").publish("1", json!({"model": "B"})).await;
    sandbox.edit("1", json!({"class": "X"})).await;
    sandbox.undo().await;
    let change = &sandbox.changes().await[0]["fields"];
    assert_eq!(*change, json!([{"field": "model", "base": null, "ours": "A", "theirs": "B", "conflict": true}]));
}

#[tokio::test]
async fn steps_take_no_body() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"model": "A"})).await;
    for path in ["/undo", "/redo"] {
        let send = async |kind: &str, body: &str| sandbox.send(Method::POST, path, &[("content-type", kind)], Some(body.to_owned())).await;
        let answer = send("application/json", r#"{"steps": 2}"#).await;
        assert_problem(&answer, 400, "invalid_body");
        assert_eq!(answer.faults(), ["steps"]);
        assert_problem(&send("application/json", "{").await, 400, "invalid_body");
        assert_problem(&send("text/plain", "2").await, 415, "unsupported_media_type");
        assert_eq!(sandbox.look().await["undoDepth"], 1, "nothing was done");
    }
    for (path, body) in [("/undo", ""), ("/redo", "{}")] {
        assert_eq!(sandbox.send(Method::POST, path, &[("content-type", "application/json")], Some(body.into())).await.status, 200);
    }
}

#[tokio::test]
async fn the_oldest_steps_are_forgotten_not_their_drafts() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for number in 1..=60 {
        sandbox.edit("1", json!({"monthlyRate": number})).await;
    }
    assert_eq!(sandbox.look().await["undoDepth"], 50);
    for _ in 0..50 {
        assert_eq!(sandbox.undo().await.status, 200);
    }
    assert_problem(&sandbox.undo().await, 409, "nothing_to_undo");
    assert_eq!(sandbox.row("1").await["monthlyRate"], 10);
}
