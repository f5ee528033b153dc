//! Editing one record of a sandbox: a merge patch with three values, conditions, reasons, drafts that go away.

use crate::support::planner::{assert_problem, data, planners_app};
use axum::http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn the_answer_is_the_merged_row() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let answer = sandbox.edit("1", json!({"forecastStart": "2025-01-11", "monthlyRate": 12000.5})).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    let row = answer.json();
    assert_eq!((&row["forecastStart"], row["monthlyRate"].to_string()), (&json!("2025-01-11"), "12000.5".to_owned()));
    assert_eq!((&row["category"], &row["pemsRemarks"]), (&json!("Lifting"), &json!("kept")));
    let meta = &row["_meta"];
    assert_eq!((&meta["syncState"], &meta["version"], &meta["modifiedBy"]), (&json!("draft"), &json!(1), &json!("ana")));
    assert_eq!(meta["modifiedFields"], json!(["forecastStart", "monthlyRate"]));
    let read = sandbox.read("records/1").await;
    assert_eq!((read.json(), read.header("etag")), (row, answer.header("etag")));
}

#[tokio::test]
async fn null_clears_a_value_sets_and_what_is_absent_stays() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"equipment": null, "class": "Hoist"})).await;
    sandbox.edit("1", json!({"model": "LR 1300", "actualStart": "2025-01-02T00:00:00.000Z"})).await;
    let row = sandbox.row("1").await;
    for (key, value) in [
        ("equipment", Value::Null),
        ("class", json!("Hoist")),
        ("model", json!("LR 1300")),
        ("actualStart", json!("2025-01-02")),
        ("category", json!("Lifting")),
    ] {
        assert_eq!(row[key], value, "{key}");
    }
    assert_eq!(row["_meta"]["modifiedFields"], json!(["actualStart", "class", "equipment", "model"]));
}

#[tokio::test]
async fn nobody_else_sees_a_draft() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let (sandbox, other) = (ana.open().await, ana.open().await);
    let before = ana.row("1").await;
    sandbox.edit("1", json!({"category": "Mine"})).await;
    assert_eq!(ana.row("1").await, before);
    assert_eq!(other.row("1").await, before);
    assert_eq!(app.planner("ben").row("1").await, before);
    assert_eq!(data(&sandbox.read("records?category=Mine").await).len(), 1);
    assert_eq!(data(&ana.get("records?category=Mine").await).len(), 0);
    assert_eq!(app.planner("ben").get("conflicts").await.json()["data"], json!([]));
}

#[tokio::test]
async fn a_field_set_back_leaves_the_draft_and_an_empty_draft_is_none() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"monthlyRate": 1, "dor": "BEO"})).await;
    // The same by meaning.
    let row = sandbox.edit("1", json!({"monthlyRate": 15000.00})).await.json();
    assert_eq!(row["_meta"]["modifiedFields"], json!(["dor"]));
    let row = sandbox.edit("1", json!({"dor": "PROJECT"})).await.json();
    assert_eq!((&row["_meta"]["syncState"], &row["_meta"]["modifiedFields"]), (&json!("pristine"), &json!([])));
    let look = sandbox.look().await;
    assert_eq!((&look["draftCount"], &look["undoDepth"]), (&json!(0), &json!(3)), "each was a step");
    assert_eq!(row, app.planner("ana").row("1").await);
}

#[tokio::test]
async fn an_edit_that_changes_nothing_is_no_step() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let answer = sandbox.edit("1", json!({"category": "Lifting", "monthlyRate": 15000.0, "equipment": " Crane 1 "})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["_meta"]["syncState"]), (200, &json!("pristine")));
    let look = sandbox.look().await;
    assert_eq!((&look["draftCount"], &look["undoDepth"], &look["lastEditedAt"]), (&json!(0), &json!(0), &Value::Null));
}

#[tokio::test]
async fn a_reason_goes_with_the_change() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    let patch = |body: Value| Some(body.to_string());
    let answer = sandbox.send(Method::PATCH, "/records/1?reason=+later+delivery+", &[], patch(json!({"dor": "BEO"}))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(sandbox.changes().await[0]["reason"], "later delivery");
    sandbox.edit("1", json!({"model": "X"})).await;
    assert_eq!(sandbox.changes().await[0]["reason"], "later delivery", "an edit without a reason keeps it");
    sandbox.commit("").await;
    assert_eq!(ana.history("1").await[0]["reason"], "later delivery");

    let sandbox = ana.open().await;
    for (query, fault) in [(format!("reason={}", "x".repeat(501)), "reason"), ("reason=%00".into(), "reason"), ("why=x".into(), "why")] {
        let answer = sandbox.send(Method::PATCH, &format!("/records/1?{query}"), &[], patch(json!({"dor": "PROJECT"}))).await;
        assert_problem(&answer, 400, "invalid_parameter");
        assert_eq!(answer.faults(), [fault]);
    }
    let both = sandbox.send(Method::PATCH, "/records/1?reason=%00&why=x", &[], patch(json!({"dor": "x", "pfaId": "2"}))).await;
    assert_problem(&both, 400, "invalid_edit");
    assert_eq!(both.faults(), ["reason", "dor", "pfaId", "why"], "all at once");
    assert_eq!(sandbox.look().await["draftCount"], 0);
}

#[tokio::test]
async fn an_edit_of_a_record_that_has_changed_since_is_refused() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    let edit = async |tag: &str, body: Value| sandbox.send(Method::PATCH, "/records/1", &[("if-match", tag)], Some(body.to_string())).await;
    let read = sandbox.read("records/1").await;
    let edited = edit(read.header("etag"), json!({"model": "A"})).await;
    assert_eq!(edited.status, 200);
    assert_problem(&edit(read.header("etag"), json!({"model": "B"})).await, 412, "stale_record");
    assert_eq!(sandbox.row("1").await["model"], "A");
    // The answer of an edit has the tag for the next one; a list may hold it; a star is any.
    assert_eq!(edit(&format!("\"x\", {}", edited.header("etag")), json!({"model": "C"})).await.status, 200);
    assert_eq!(edit("*", json!({"model": "D"})).await.status, 200);
    for tag in ["", "\"x\"", "x", &format!("W/{}", sandbox.read("records/1").await.header("etag"))] {
        assert_problem(&edit(tag, json!({"model": "E"})).await, 412, "stale_record");
    }
    // Somebody else's publication makes it stale, too.
    let tag = sandbox.read("records/1").await.header("etag").to_owned();
    app.planner("ben").publish("1", json!({"contract": "C-1"})).await;
    assert_problem(&edit(&tag, json!({"model": "F"})).await, 412, "stale_record");
    assert_eq!(sandbox.row("1").await["model"], "D");
}

#[tokio::test]
async fn a_dropped_draft_is_gone_until_it_is_undone() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    let draft = sandbox.edit("1", json!({"category": "Mine"})).await.json();
    assert_eq!(sandbox.drop_draft("1").await.status, 204);
    assert_eq!(sandbox.row("1").await, ana.row("1").await);
    assert_problem(&sandbox.drop_draft("1").await, 404, "draft_not_found");
    assert_problem(&sandbox.drop_draft("99").await, 404, "record_not_found");
    let step = sandbox.undo().await.json();
    assert_eq!((&step["step"]["kind"], &step["step"]["records"], &step["draftCount"]), (&json!("drop"), &json!(1), &json!(1)));
    assert_eq!(sandbox.row("1").await["category"], draft["category"]);
}

#[tokio::test]
async fn a_discontinued_record_can_be_revived() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    assert_eq!(sandbox.edit("4", json!({"isDiscontinued": false})).await.status, 200);
    let ids = |rows: Vec<Value>| rows.iter().map(|row| row["pfaId"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert!(ids(data(&sandbox.read("records").await)).contains(&"4".to_owned()));
    assert!(!ids(data(&ana.get("records").await)).contains(&"4".to_owned()));
}

#[tokio::test]
async fn records_that_are_not_there_cannot_be_edited() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    assert_problem(&sandbox.edit("99", json!({"dor": "BEO"})).await, 404, "record_not_found");
    assert_problem(&sandbox.edit("%00", json!({"dor": "BEO"})).await, 404, "not_found");
    assert_problem(&sandbox.edit("%ff", json!({"dor": "BEO"})).await, 404, "not_found");
}

#[tokio::test]
async fn of_a_key_that_is_given_twice_the_last_one_counts() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let body = r#"{"model": "first", "model": "last"}"#;
    let answer = sandbox.send(Method::PATCH, "/records/1", &[], Some(body.into())).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["model"]), (200, &json!("last")));
}

#[tokio::test]
async fn a_committed_sandbox_takes_no_more_edits() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"dor": "BEO"})).await;
    sandbox.commit("").await;
    assert_problem(&sandbox.edit("1", json!({"dor": "PROJECT"})).await, 409, "session_committed");
    assert_problem(&sandbox.drop_draft("1").await, 409, "session_committed");
    assert_problem(
        &sandbox.bulk(json!({"select": {"pfaIds": ["1"]}, "operation": {"type": "resetToPlan"}})).await,
        409,
        "session_committed",
    );
}

#[tokio::test]
async fn edits_of_one_record_at_the_same_moment_all_count() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let edits = ["model", "class", "contract", "manufacturer", "areaSilo"].map(|field| {
        let sandbox = &sandbox;
        async move { sandbox.edit("1", json!({field: "at once"})).await.status.as_u16() }
    });
    let [first, second, third, fourth, fifth] = edits;
    assert_eq!(tokio::join!(first, second, third, fourth, fifth), (200, 200, 200, 200, 200));
    assert_eq!(sandbox.row("1").await["_meta"]["modifiedFields"].as_array().unwrap().len(), 5);
    assert_eq!(sandbox.look().await["undoDepth"], 5);
}

#[tokio::test]
async fn amounts_keep_every_digit() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    for amount in ["99999999999.99", "12345678901.01", "0.07", "4503599627.37"] {
        let body = format!(r#"{{"purchasePrice": {amount}}}"#);
        let answer = sandbox.send(Method::PATCH, "/records/2", &[], Some(body)).await;
        assert_eq!(answer.json()["purchasePrice"].to_string(), amount);
    }
    sandbox.commit("").await;
    assert_eq!(ana.get("kpis").await.json()["total"]["purchase"]["planCost"].to_string(), "4503599627.37");
}
