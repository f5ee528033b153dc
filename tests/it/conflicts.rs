//! Conflicts that a commit found: listed, resolved one by one or many at once, by their owner alone.

use crate::support::app::Answer;
use crate::support::planner::{Planner, Sandbox, assert_problem, data, planners_app};
use serde_json::{Value, json};

/// A sandbox whose commit was refused: ana's and ben's changes of the same fields of these records.
async fn refused<'a>(ana: Planner<'a>, pfa_ids: &[&str], ours: &Value, theirs: &Value) -> Sandbox<'a> {
    let sandbox = ana.open().await;
    for pfa_id in pfa_ids {
        assert_eq!(sandbox.edit(pfa_id, ours.clone()).await.status, 200);
        Planner { user: "ben", ..ana }.publish(pfa_id, theirs.clone()).await;
    }
    assert_problem(&sandbox.commit("").await, 409, "commit_conflict");
    sandbox
}

fn faults(answer: &Answer) -> Vec<String> {
    let mut faults = answer.faults();
    faults.sort();
    faults
}

#[tokio::test]
async fn conflicts_are_listed_with_base_ours_and_theirs() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = refused(ana, &["1"], &json!({"model": "A", "class": "A", "dor": "BEO"}), &json!({"model": "B", "class": null})).await;
    let conflicts = ana.conflicts().await;
    assert_eq!(conflicts.len(), 1);
    let conflict = &conflicts[0];
    assert_eq!((&conflict["pfaId"], &conflict["sessionId"], &conflict["userId"]), (&json!("1"), &json!(sandbox.id), &json!("ana")));
    assert_eq!(conflict["stage"], "commit");
    assert!(conflict["createdAt"].is_string());
    assert_eq!(
        conflict["fields"],
        json!([{"field": "class", "base": "Crane", "ours": "A", "theirs": null}, {"field": "model", "base": null, "ours": "A", "theirs": "B"}])
    );
}

#[tokio::test]
async fn the_list_is_filtered_and_has_pages() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let first = refused(ana, &["1", "2", "3"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    let second = refused(ana, &["5"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    let ids = async |query: &str| -> Vec<String> {
        data(&ana.get(&format!("conflicts?{query}")).await).iter().map(|one| one["pfaId"].as_str().unwrap().to_owned()).collect()
    };
    let mut all = ids("").await;
    all.sort();
    assert_eq!(all, ["1", "2", "3", "5"]);
    assert_eq!(ids("").await[3], "5", "oldest first");
    assert_eq!(ids(&format!("session={}", second.id)).await, ["5"]);
    assert_eq!(ids(&format!("session={}", first.id)).await.len(), 3);
    assert_eq!(ids("pfaId=1&pfaId=5").await, ["1", "5"]);
    assert_eq!((ids("stage=commit").await.len(), ids("stage=writeBack").await.len()), (4, 0));
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ana.get(&format!("conflicts?limit=1{cursor}")).await.json();
        paged.extend(page["data"].as_array().unwrap().iter().map(|one| one["id"].clone()));
        match page["page"]["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, ana.conflicts().await.iter().map(|one| one["id"].clone()).collect::<Vec<_>>());
    for (query, fault) in [("session=x", "session"), ("stage=draft", "stage"), ("limit=0", "limit"), ("cursor=x", "cursor"), ("id=1", "id")]
    {
        let answer = ana.get(&format!("conflicts?{query}")).await;
        assert_problem(&answer, 400, "invalid_parameter");
        assert_eq!(answer.faults(), [fault]);
    }
    assert_problem(&ana.in_organization("NOPE").get("conflicts").await, 404, "organization_not_found");
}

#[tokio::test]
async fn mine_stands_over_what_is_published() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = refused(ana, &["1"], &json!({"model": "A", "dor": "BEO"}), &json!({"model": "B"})).await;
    let conflict = ana.conflicts().await.remove(0);
    let answer = ana.resolve(&conflict, json!({"resolution": "mine", "reason": "agreed with ben"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json(), json!({"id": conflict["id"], "pfaId": "1", "outcome": "draft", "resolution": {"model": "mine"}}));
    assert_eq!(ana.row("1").await["model"], "B", "a draft again, seen by nobody else");
    assert_eq!(ana.row("1").await["_meta"]["syncState"], "committed");
    let change = &sandbox.changes().await[0];
    assert_eq!((&change["syncState"], &change["fields"][1]["base"]), (&json!("draft"), &json!("B")), "on what is published now");
    assert_eq!(sandbox.commit("").await.json()["committed"], 1);
    assert_eq!(ana.row("1").await["model"], "A");
    assert_problem(&ana.resolve(&conflict, json!({"resolution": "mine"})).await, 404, "conflict_not_found");
}

#[tokio::test]
async fn theirs_lets_the_fields_in_conflict_go() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = refused(ana, &["1", "2"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    sandbox.edit("1", json!({"dor": "BEO"})).await;
    let conflicts = ana.conflicts().await;
    let of = |pfa_id: &str| conflicts.iter().find(|conflict| conflict["pfaId"] == pfa_id).unwrap();
    assert_eq!(ana.resolve(of("1"), json!({"resolution": "theirs"})).await.json()["outcome"], "draft");
    assert_eq!(sandbox.row("1").await["_meta"]["syncState"], "draft");
    assert_eq!((&sandbox.row("1").await["model"], &sandbox.row("1").await["dor"]), (&json!("B"), &json!("BEO")));
    assert_eq!(ana.resolve(of("2"), json!({"resolution": "theirs"})).await.json()["outcome"], "dropped");
    let look = sandbox.look().await;
    assert_eq!((&look["draftCount"], &look["conflictCount"]), (&json!(1), &json!(0)));
    assert_eq!(sandbox.row("2").await, ana.row("2").await);
}

#[tokio::test]
async fn each_field_is_decided_by_itself_or_gets_a_third_value() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let ours = json!({"model": "A", "class": "A", "monthlyRate": 100, "contract": "A"});
    let sandbox = refused(ana, &["1"], &ours, &json!({"model": "B", "class": "B", "monthlyRate": 200})).await;
    let conflict = ana.conflicts().await.remove(0);
    let choices = json!({"model": "mine", "class": "theirs", "monthlyRate": {"value": 150.5}});
    let answer = ana.resolve(&conflict, json!({"resolution": "fields", "fields": choices})).await;
    assert_eq!(answer.json()["resolution"], json!({"model": "mine", "class": "theirs", "monthlyRate": "value"}));
    let row = sandbox.row("1").await;
    assert_eq!((&row["model"], &row["class"], &row["contract"]), (&json!("A"), &json!("B"), &json!("A")));
    assert_eq!(row["monthlyRate"].to_string(), "150.5");
    sandbox.commit("").await;
    assert_eq!(ana.row("1").await["monthlyRate"].to_string(), "150.5");
}

#[tokio::test]
async fn bad_resolutions_are_refused_with_every_fault() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = refused(ana, &["1"], &json!({"model": "A", "class": "A"}), &json!({"model": "B", "class": "B"})).await;
    let conflict = ana.conflicts().await.remove(0);
    for (body, code, named) in [
        (json!({}), "invalid_body", vec!["resolution"]),
        (json!({"resolution": 1, "fields": 2, "reason": 3, "bogus": 4}), "invalid_body", vec!["bogus", "fields", "reason", "resolution"]),
        (json!({"resolution": "ours", "reason": "x".repeat(501)}), "invalid_edit", vec!["reason", "resolution"]),
        (json!({"resolution": "mine", "fields": {"model": "mine"}}), "invalid_edit", vec!["fields"]),
        (json!({"resolution": "fields"}), "invalid_edit", vec!["fields"]),
        (json!({"resolution": "fields", "fields": {}}), "invalid_edit", vec!["fields"]),
        (json!({"resolution": "fields", "fields": {"model": "mine"}}), "invalid_edit", vec!["class"]),
        (json!({"resolution": "fields", "fields": {"model": "mine", "dor": "mine"}}), "invalid_edit", vec!["class", "dor"]),
        (
            json!({"resolution": "fields", "fields": {"model": {"value": 5}, "class": {"value": "x", "why": "y"}, "pfaId": {"value": "2"}}}),
            "invalid_edit",
            vec!["class", "model", "pfaId"],
        ),
        (json!({"resolution": "fields", "fields": {"model": "B", "class": null}}), "invalid_edit", vec!["class", "model"]),
    ] {
        let answer = ana.resolve(&conflict, body.clone()).await;
        assert_problem(&answer, 400, code);
        assert_eq!(faults(&answer), named, "{body}");
    }
    let mine = json!({"resolution": "mine"});
    assert_problem(&ana.post("conflicts/no-id/resolve", mine.clone()).await, 404, "conflict_not_found");
    let nobodys = json!({"id": "00000000-0000-4000-8000-000000000000"});
    assert_problem(&ana.resolve(&nobodys, mine.clone()).await, 404, "conflict_not_found");
    assert_problem(&ana.post(&format!("conflicts/{}/resolve?a=1", conflict["id"].as_str().unwrap()), mine).await, 400, "invalid_parameter");
    assert_eq!(sandbox.look().await["conflictCount"], 1, "nothing was decided");
}

#[tokio::test]
async fn a_resolution_keeps_the_rules() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = refused(ana, &["1"], &json!({"forecastEnd": "2025-02-01"}), &json!({"forecastStart": "2025-02-15"})).await;
    let conflict = ana.conflicts().await.remove(0);
    assert_eq!(conflict["rules"], json!(["forecastStart must not be after forecastEnd"]));
    let mine = ana.resolve(&conflict, json!({"resolution": "mine"})).await;
    assert_problem(&mine, 400, "invalid_edit");
    assert_eq!(mine.faults(), ["forecastEnd"]);
    let third = json!({"resolution": "fields", "fields": {"forecastEnd": {"value": "2025-02-16"}}});
    assert_eq!(ana.resolve(&conflict, third).await.status, 200);
    assert_eq!(sandbox.commit("").await.status, 200);
    assert_eq!(ana.row("1").await["forecastEnd"], "2025-02-16");
}

#[tokio::test]
async fn nobody_sees_or_resolves_conflicts_of_a_foreign_sandbox() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let sandbox = refused(ana, &["1"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    let conflict = ana.conflicts().await.remove(0);
    for foreign in [ben, ana.in_organization("OTHER")] {
        assert!(foreign.conflicts().await.is_empty());
        assert_problem(&foreign.get(&format!("conflicts?session={}", sandbox.id)).await, 404, "session_not_found");
        assert_problem(&foreign.resolve(&conflict, json!({"resolution": "theirs"})).await, 404, "conflict_not_found");
        let many = foreign.post("conflicts/resolve", json!({"select": {"session": sandbox.id}, "resolution": "theirs"})).await;
        assert_problem(&many, 404, "session_not_found");
        let by_id = foreign.post("conflicts/resolve", json!({"select": {"ids": [conflict["id"]]}, "resolution": "theirs"})).await;
        assert_eq!(by_id.json()["matched"], 0);
    }
    let nowhere = ana.in_organization("NOPE");
    assert_problem(&nowhere.resolve(&conflict, json!({"resolution": "mine"})).await, 404, "organization_not_found");
    assert_problem(
        &nowhere.post("conflicts/resolve", json!({"select": {"stage": "commit"}, "resolution": "mine"})).await,
        404,
        "organization_not_found",
    );
    assert_eq!(ana.conflicts().await.len(), 1);
}

#[tokio::test]
async fn many_conflicts_are_resolved_by_a_selection() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let first = refused(ana, &["1", "2", "3"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    let second = refused(ana, &["5"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    let resolve = async |select: Value, resolution: &str| {
        let answer = ana.post("conflicts/resolve", json!({"select": select, "resolution": resolution, "reason": "cleared up"})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    };
    assert_eq!(resolve(json!({"stage": "writeBack"}), "mine").await["matched"], 0);
    let one = resolve(json!({"session": first.id, "pfaId": "1"}), "mine").await;
    assert_eq!((&one["matched"], &one["resolved"][0]["outcome"]), (&json!(1), &json!("draft")));
    let two = resolve(json!({"session": first.id, "stage": "commit"}), "theirs").await;
    assert_eq!((&two["matched"], two["resolved"].as_array().unwrap().len(), &two["refused"]), (&json!(2), 2, &json!([])));
    assert_eq!(first.look().await["draftCount"], 1);
    let last = ana.conflicts().await.remove(0);
    let by_id = resolve(json!({"ids": [last["id"]]}), "mine").await;
    assert_eq!((&by_id["matched"], &by_id["resolved"][0]["pfaId"]), (&json!(1), &json!("5")));
    assert_eq!((first.commit("").await.status.as_u16(), second.commit("").await.status.as_u16()), (200, 200));
    assert_eq!(ana.history("5").await[0]["reason"], "cleared up");
}

#[tokio::test]
async fn those_that_cannot_be_resolved_so_are_listed_and_left() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = refused(ana, &["1"], &json!({"forecastEnd": "2025-02-01"}), &json!({"forecastStart": "2025-02-15"})).await;
    sandbox.edit("2", json!({"forecastEnd": "2025-05-01"})).await;
    app.planner("ben").publish("2", json!({"forecastEnd": "2025-06-01"})).await;
    sandbox.commit("").await;
    let done = ana.post("conflicts/resolve", json!({"select": {"session": sandbox.id}, "resolution": "mine"})).await.json();
    assert_eq!((&done["matched"], &done["resolved"][0]["pfaId"]), (&json!(2), &json!("2")));
    assert_eq!((&done["refused"][0]["pfaId"], &done["refused"][0]["errors"][0]["field"]), (&json!("1"), &json!("forecastEnd")));
    assert_eq!(ana.conflicts().await.len(), 1);
}

#[tokio::test]
async fn a_selection_says_what_it_selects() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    refused(ana, &["1"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    for (body, code, named) in [
        (json!({}), "invalid_body", vec!["resolution", "select"]),
        (json!({"select": [], "resolution": "mine"}), "invalid_body", vec!["select"]),
        (json!({"select": {}, "resolution": "mine"}), "invalid_edit", vec!["select"]),
        (json!({"select": {"ids": []}, "resolution": "mine"}), "invalid_edit", vec!["select.ids"]),
        (json!({"select": {"pfaId": []}, "resolution": "mine"}), "invalid_edit", vec!["select.pfaId"]),
        (json!({"select": {"session": null}, "resolution": "mine"}), "invalid_edit", vec!["select.session"]),
        (
            json!({"select": {"ids": ["x"], "stage": "y", "session": "z", "user": "ben"}, "resolution": "all"}),
            "invalid_edit",
            vec!["resolution", "select.ids", "select.session", "select.stage", "select.user"],
        ),
    ] {
        let answer = ana.post("conflicts/resolve", body.clone()).await;
        assert_problem(&answer, 400, code);
        assert_eq!(faults(&answer), named, "{body}");
    }
    assert_problem(
        &ana.post("conflicts/resolve?a=1", json!({"select": {"stage": "commit"}, "resolution": "mine"})).await,
        400,
        "invalid_parameter",
    );
    assert_eq!(ana.conflicts().await.len(), 1);
}

#[tokio::test]
async fn the_history_has_the_resolution() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = refused(ana, &["1"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    ana.resolve(&ana.conflicts().await[0], json!({"resolution": "mine", "reason": "agreed"})).await;
    let newest = &ana.history("1").await[0];
    assert_eq!((&newest["resolution"], &newest["fields"]), (&json!({"model": "mine"}), &json!([])), "nothing changed for everybody yet");
    assert_eq!((&newest["by"], &newest["reason"], &newest["sourceId"]), (&json!("ana"), &json!("agreed"), &json!(sandbox.id)));
    sandbox.commit("").await;
    let newest = &ana.history("1").await[0];
    assert_eq!(newest["fields"], json!([{"field": "model", "from": "B", "to": "A"}]));
    assert!(newest.get("resolution").is_none());
}

#[tokio::test]
async fn a_resolution_is_a_step_that_can_be_undone() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = refused(ana, &["1", "2"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    ana.post("conflicts/resolve", json!({"select": {"session": sandbox.id}, "resolution": "theirs"})).await;
    assert!(sandbox.changes().await.is_empty());
    let step = sandbox.undo().await.json();
    assert_eq!((&step["step"]["kind"], &step["step"]["records"]), (&json!("resolve"), &json!(2)));
    assert_eq!(sandbox.row("1").await["model"], "A");
    assert_problem(&sandbox.commit("").await, 409, "commit_conflict");
    assert_eq!(ana.conflicts().await.len(), 2);
}

/// What somebody else published was taken back meanwhile: no field is in conflict any more, but the
/// draft waits for a decision all the same, and gets it.
#[tokio::test]
async fn a_conflict_that_has_settled_is_still_decided() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    for (resolution, outcome, left) in [
        (json!({"resolution": "theirs"}), "dropped", Value::Null),
        (json!({"resolution": "mine"}), "draft", json!("A")),
        (json!({"resolution": "fields", "fields": {"model": {"value": "C"}}}), "draft", json!("C")),
    ] {
        let sandbox = refused(ana, &["1"], &json!({"model": "A"}), &json!({"model": "B"})).await;
        ben.publish("1", json!({"model": null})).await;
        let conflict = ana.conflicts().await.remove(0);
        assert_eq!(conflict["fields"], json!([{"field": "model", "base": null, "ours": "A", "theirs": null}]));
        let answer = ana.resolve(&conflict, resolution).await;
        assert_eq!(answer.json()["outcome"], outcome, "{}", answer.text);
        assert_eq!(sandbox.row("1").await["model"], left);
        assert_eq!(sandbox.discard().await.status, 204);
    }
}

#[tokio::test]
async fn discarding_the_sandbox_takes_its_conflicts_along() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = refused(ana, &["1"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    assert_eq!(ana.row("1").await["_meta"]["syncState"], "conflict");
    sandbox.discard().await;
    assert!(ana.conflicts().await.is_empty());
    assert_eq!(ana.row("1").await["_meta"]["syncState"], "committed");
    assert_eq!(ana.row("1").await["_meta"]["modifiedBy"], "ben");
}

#[tokio::test]
async fn a_refused_edit_that_is_undone_or_dropped_is_no_conflict() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let sandbox = refused(ana, &["1", "2"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    let states = async || [ben.row("1").await["_meta"]["syncState"].clone(), ben.row("2").await["_meta"]["syncState"].clone()];
    assert_eq!(states().await, ["conflict", "conflict"]);
    assert_eq!(sandbox.undo().await.json()["conflictCount"], 1);
    assert_eq!(states().await, ["conflict", "committed"]);
    assert_eq!(sandbox.drop_draft("1").await.status, 204);
    assert_eq!(states().await, ["committed", "committed"]);
    assert!(ana.conflicts().await.is_empty() && sandbox.changes().await.is_empty());
    // Done again they are drafts, until a commit says otherwise.
    sandbox.undo().await;
    let look = sandbox.look().await;
    assert_eq!((&look["draftCount"], &look["conflictCount"], &look["status"]), (&json!(1), &json!(0), &json!("open")));
    assert_problem(&sandbox.commit("").await, 409, "commit_conflict");
    assert_eq!(states().await, ["conflict", "committed"]);
}

#[tokio::test]
async fn an_edit_of_a_refused_draft_decides_it_or_leaves_it_in_conflict() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = refused(ana, &["1"], &json!({"model": "A"}), &json!({"model": "B"})).await;
    assert_eq!(sandbox.edit("1", json!({"class": "X"})).await.json()["_meta"]["syncState"], "conflict");
    assert_eq!(
        sandbox.edit("1", json!({"model": "C"})).await.json()["_meta"]["syncState"],
        "conflict",
        "a third value is still not theirs"
    );
    let row = sandbox.edit("1", json!({"model": "B"})).await.json();
    assert_eq!((&row["_meta"]["syncState"], &row["class"]), (&json!("draft"), &json!("X")), "theirs is");
    assert!(ana.conflicts().await.is_empty());
    assert_eq!(sandbox.commit("").await.json()["committed"], 1);
}
