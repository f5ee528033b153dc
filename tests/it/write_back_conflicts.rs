//! Conflicts on the way to PEMS: a committed change whose fields PEMS itself changed meanwhile. It had
//! been published, so everybody may decide.

use crate::support::model::{Modification, Object};
use crate::support::planner::{ORG, Planner, assert_problem, data, planners_app};
use crate::support::world::shown;
use serde_json::{Value, json};
use uuid::Uuid;

/// A published change of ana's on the first record; then PEMS says something else.
async fn meet(ana: Planner<'_>, ours: Value, pems: Value) -> Value {
    ana.publish("1", ours).await;
    load(ana, pems).await;
    let mut conflicts = ana.conflicts().await;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    conflicts.remove(0)
}

/// Loads the first record as PEMS has it now.
async fn load(ana: Planner<'_>, changes: Value) {
    let mut record =
        json!({"pfaId": "1", "category": "Lifting", "class": "Crane", "source": "Rental", "dor": "PROJECT", "monthlyRate": 15000,
        "originalStart": "2025-01-01", "originalEnd": "2025-03-02", "forecastStart": "2025-01-01", "forecastEnd": "2025-03-02",
        "equipment": "Crane 1", "pemsRemarks": "kept"})
        .as_object()
        .unwrap()
        .clone();
    record.extend(changes.as_object().unwrap().clone());
    ana.app.load(ORG, &[record]).await;
}

#[tokio::test]
async fn a_change_that_met_another_one_in_pems_waits_for_anybody() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let conflict = meet(ana, json!({"model": "A", "class": "A"}), json!({"model": "PEMS"})).await;
    assert_eq!((&conflict["stage"], &conflict["userId"]), (&json!("writeBack"), &json!("ana")));
    assert_eq!(conflict["fields"], json!([{"field": "model", "base": null, "ours": "A", "theirs": "PEMS"}]));
    assert_eq!(ben.conflicts().await, std::slice::from_ref(&conflict));
    assert_eq!(data(&ben.get("conflicts?stage=writeBack").await).len(), 1);
    // Whose session it was is told, so it can be asked for; what else is in it is nobody's business.
    let of_session = format!("conflicts?session={}", conflict["sessionId"].as_str().unwrap());
    assert_eq!(data(&ben.get(&of_session).await), std::slice::from_ref(&conflict));
    assert_problem(&ben.get(&format!("{of_session}&stage=commit")).await, 404, "session_not_found");
    let row = ben.row("1").await;
    assert_eq!((&row["model"], &row["class"], &row["_meta"]["syncState"]), (&json!("PEMS"), &json!("Crane"), &json!("conflict")));
    assert!(data(&ana.get("sync/pending").await).is_empty(), "it does not go to PEMS");
    assert!(ana.in_organization("OTHER").conflicts().await.is_empty());
    assert_problem(&ana.in_organization("OTHER").resolve(&conflict, json!({"resolution": "mine"})).await, 404, "conflict_not_found");
}

#[tokio::test]
async fn mine_is_committed_again_by_whoever_decides() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let conflict = meet(ana, json!({"model": "A", "class": "A"}), json!({"model": "PEMS"})).await;
    let answer = ben.resolve(&conflict, json!({"resolution": "mine", "reason": "ana is right"})).await;
    assert_eq!(answer.json(), json!({"id": conflict["id"], "pfaId": "1", "outcome": "committed", "resolution": {"model": "mine"}}));
    let row = ben.row("1").await;
    assert_eq!((&row["model"], &row["class"], &row["_meta"]["syncState"]), (&json!("A"), &json!("A"), &json!("committed")));
    let pending = data(&ana.get("sync/pending").await);
    assert_eq!((&pending[0]["delta"], &pending[0]["attempts"]), (&json!({"class": "A", "model": "A"}), &json!(0)));
    let newest = &ana.history("1").await[0];
    assert_eq!(
        (&newest["by"], &newest["reason"], &newest["resolution"]),
        (&json!("ben"), &json!("ana is right"), &json!({"model": "mine"}))
    );
    assert_eq!(
        newest["fields"],
        json!([{"field": "class", "from": "Crane", "to": "A"}, {"field": "model", "from": "PEMS", "to": "A"}]),
        "what everybody sees change"
    );
    // The new base is what PEMS has now: the same load again is no conflict.
    load(ana, json!({"model": "PEMS"})).await;
    assert!(ana.conflicts().await.is_empty());
    load(ana, json!({"model": "PEMS again"})).await;
    assert_eq!(ana.conflicts().await.len(), 1);
}

#[tokio::test]
async fn theirs_drops_the_fields_in_conflict() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let conflict = meet(ana, json!({"model": "A", "class": "A"}), json!({"model": "PEMS"})).await;
    assert_eq!(ben.resolve(&conflict, json!({"resolution": "theirs"})).await.json()["outcome"], "committed");
    let pending = data(&ana.get("sync/pending").await);
    assert_eq!(pending[0]["delta"], json!({"class": "A"}), "the rest still goes to PEMS");
    assert_eq!((&ana.row("1").await["model"], &ana.row("1").await["class"]), (&json!("PEMS"), &json!("A")));
}

#[tokio::test]
async fn theirs_of_every_field_drops_the_change() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let conflict = meet(ana, json!({"model": "A"}), json!({"model": "PEMS"})).await;
    assert_eq!(ana.resolve(&conflict, json!({"resolution": "theirs"})).await.json()["outcome"], "dropped");
    assert!(data(&ana.get("sync/pending").await).is_empty() && ana.conflicts().await.is_empty());
    assert_eq!((&ana.row("1").await["model"], &ana.row("1").await["_meta"]["syncState"]), (&json!("PEMS"), &json!("pristine")));
}

#[tokio::test]
async fn fields_are_decided_one_by_one_and_kpis_follow() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let conflict = meet(
        ana,
        json!({"forecastEnd": "2025-04-11", "monthlyRate": 10, "model": "A"}),
        json!({"forecastEnd": "2025-04-01", "monthlyRate": 20, "model": "PEMS"}),
    )
    .await;
    let choices = json!({"forecastEnd": "mine", "monthlyRate": {"value": 15000}, "model": "theirs"});
    let answer = ben.resolve(&conflict, json!({"resolution": "fields", "fields": choices})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let pending = data(&ana.get("sync/pending").await);
    assert_eq!(pending[0]["delta"], json!({"forecastEnd": "2025-04-11", "monthlyRate": 15000}));
    let total = ana.get("kpis").await.json()["total"].clone();
    assert_eq!((total["forecastCost"].to_string(), total["planCost"].to_string()), ("58162.13".into(), "38451.22".into()));
}

#[tokio::test]
async fn a_published_change_is_no_sandboxes_to_undo() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    let conflict = meet(ana, json!({"model": "A"}), json!({"model": "PEMS"})).await;
    ana.resolve(&conflict, json!({"resolution": "mine"})).await;
    assert_problem(&sandbox.undo().await, 409, "nothing_to_undo");
}

#[tokio::test]
async fn a_resolution_keeps_the_rules_of_what_pems_says_now() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let conflict =
        meet(ana, json!({"forecastEnd": "2025-02-01", "model": "A"}), json!({"forecastStart": "2025-02-15", "forecastEnd": "2025-03-03"}))
            .await;
    let mine = ana.resolve(&conflict, json!({"resolution": "mine"})).await;
    assert_problem(&mine, 400, "invalid_edit");
    assert_eq!(mine.faults(), ["forecastEnd"]);
    assert_eq!(ana.resolve(&conflict, json!({"resolution": "theirs"})).await.json()["outcome"], "committed");
}

/// As the write-back leaves them: refused by PEMS, while the mirror has long been the same again.
#[tokio::test]
async fn a_conflict_that_has_settled_is_still_decided() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let record = app.mirror_rows(ORG).await.remove(0);
    for (order, resolution, outcome, delta) in [
        (1, json!({"resolution": "theirs"}), "dropped", None),
        (2, json!({"resolution": "mine"}), "committed", Some(json!({"class": "A", "model": "A"}))),
        (
            3,
            json!({"resolution": "fields", "fields": {"model": "theirs", "class": {"value": "C"}}}),
            "committed",
            Some(json!({"class": "C"})),
        ),
    ] {
        let session: Uuid = ana.open().await.id.parse().unwrap();
        let delta_written: Object = json!({"model": "A", "class": "A"}).as_object().unwrap().clone();
        let modification = Modification {
            mirror_id: record.id,
            session,
            user: "ana".into(),
            state: "conflict",
            stage: Some("writeBack"),
            delta: delta_written,
            order,
            at: shown(order),
        };
        app.write_modifications(ORG, &[modification]).await;
        let conflict = ben.conflicts().await.remove(0);
        assert_eq!(conflict["fields"].as_array().unwrap().len(), 2, "every field of the change: {conflict}");
        let answer = ben.resolve(&conflict, resolution.clone()).await;
        assert_eq!(answer.json()["outcome"], outcome, "{}", answer.text);
        let pending = data(&ana.get("sync/pending").await);
        assert_eq!(pending.first().map(|change| change["delta"].clone()), delta, "{resolution}");
        sqlx::query("delete from pfa_modification").execute(app.pool()).await.unwrap();
        app.write_modifications(ORG, &[]).await;
    }
}

#[tokio::test]
async fn many_are_resolved_by_whoever_decides() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    // Two published changes of one record, and a refused draft of ana's that is not ben's to decide.
    ana.publish("1", json!({"model": "A"})).await;
    ben.publish("1", json!({"class": "B"})).await;
    let sandbox = ana.open().await;
    sandbox.edit("2", json!({"model": "A"})).await;
    ben.publish("2", json!({"model": "B"})).await;
    sandbox.commit("").await;
    load(ana, json!({"model": "PEMS", "class": "PEMS"})).await;
    assert_eq!((ana.conflicts().await.len(), ben.conflicts().await.len()), (3, 2));
    let done = ben.post("conflicts/resolve", json!({"select": {"pfaId": ["1", "2"]}, "resolution": "mine"})).await.json();
    assert_eq!((&done["matched"], &done["refused"]), (&json!(2), &json!([])));
    let row = ben.row("1").await;
    assert_eq!((&row["model"], &row["class"]), (&json!("A"), &json!("B")));
    assert_eq!(ana.conflicts().await.len(), 1);
}

/// Both are decided in one call, each on what is published then.
#[tokio::test]
async fn of_two_changes_of_one_field_the_later_one_is_decided_on_the_earlier_one() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    ana.publish("1", json!({"model": "A"})).await;
    ben.publish("1", json!({"model": "B"})).await;
    load(ana, json!({"model": "PEMS"})).await;
    // Both were found by one reading of PEMS, in any order.
    sqlx::query("update pfa_modification set conflicted_at = now() + (now() - committed_at)").execute(app.pool()).await.unwrap();
    let done = ana.post("conflicts/resolve", json!({"select": {"pfaId": ["1"]}, "resolution": "mine"})).await.json();
    assert_eq!((&done["matched"], &done["refused"]), (&json!(2), &json!([])));
    assert_eq!(ben.row("1").await["model"], "B");
    let history = ana.history("1").await;
    assert_eq!(history[0]["fields"], json!([{"field": "model", "from": "A", "to": "B"}]));
    assert_eq!(history[1]["fields"], json!([{"field": "model", "from": "PEMS", "to": "A"}]));
}
