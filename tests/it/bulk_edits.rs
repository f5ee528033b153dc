//! Bulk edits: a selection × an operation, one step to undo, previewable, with a list of what was refused.

use crate::support::planner::{ORG, Sandbox, assert_problem, data, planners_app};
use axum::http::Method;
use serde_json::{Value, json};

fn set(select: &Value, fields: &Value) -> Value {
    json!({"select": select, "operation": {"type": "set", "fields": fields}})
}

/// Matched, changed, unchanged and refused records of an answer.
async fn counts(sandbox: &Sandbox<'_>, edit: Value) -> (Value, Value, Value, usize) {
    let answer = sandbox.bulk(edit.clone()).await;
    assert_eq!(answer.status, 200, "{edit}: {}", answer.text);
    let done = answer.json();
    (done["matched"].clone(), done["changed"].clone(), done["unchanged"].clone(), done["refused"].as_array().unwrap().len())
}

#[tokio::test]
async fn ids_select_records() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let edit = set(&json!({"pfaIds": ["1", "2", "1", "4", "99", ""]}), &json!({"dor": "BEO"}));
    let done = sandbox.bulk(edit.clone()).await.json();
    assert_eq!((&done["matched"], &done["changed"], &done["unchanged"]), (&json!(3), &json!(3), &json!(0)));
    assert_eq!((&done["notFound"], &done["refused"], &done["preview"]), (&json!(["", "99"]), &json!([]), &json!(false)));
    assert_eq!(sandbox.row("4").await["dor"], "BEO", "named ones also when they are hidden");
    assert_eq!(counts(&sandbox, edit).await, (json!(3), json!(0), json!(3), 0));
    assert_eq!(sandbox.look().await["undoDepth"], 1, "what changes nothing is no step");
}

#[tokio::test]
async fn the_filter_of_the_grid_selects_what_the_sandbox_sees() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("5", json!({"category": "Lifting"})).await;
    sandbox.edit("1", json!({"category": "Other"})).await;
    for (filter, matched) in [
        (json!({"category": "Lifting"}), 2),
        (json!({"category": ["Lifting", "Other"]}), 3),
        (json!({"category": ["Power"]}), 1),
        (json!({"category": ["Power"], "isDiscontinued": true}), 1),
        (json!({"overlaps": "2025-03-15..2025-12-31"}), 1),
        (json!({"monthlyRateMin": 8000, "monthlyRateMax": "15000"}), 2),
        (json!({"contains": {"pemsRemarks": "kept"}}), 1),
        (json!({"q": "crane"}), 1),
        (json!({"status": ["actualized", "discontinued"]}), 2),
        (json!({}), 4),
        (json!({"category": "Nothing"}), 0),
    ] {
        let mut edit = set(&json!({"filter": filter}), &json!({"contract": "C"}));
        edit["preview"] = json!(true);
        assert_eq!(counts(&sandbox, edit).await.0, matched, "{filter}");
    }
}

#[tokio::test]
async fn nothing_selected_is_nothing_done() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for select in [json!({"pfaIds": []}), json!({"pfaIds": ["99"]}), json!({"filter": {"category": "Nothing"}})] {
        let done = sandbox.bulk(set(&select, &json!({"dor": "BEO"}))).await;
        assert_eq!(done.status, 200);
        let done = done.json();
        assert_eq!([&done["matched"], &done["changed"], &done["unchanged"]], [&json!(0); 3], "{select}");
        assert_eq!(done["kpiDifference"]["forecastCost"].to_string(), "0.00");
    }
    assert_eq!(sandbox.look().await["undoDepth"], 0);
}

/// No value of a condition is no condition, which would be every record.
#[tokio::test]
async fn an_empty_list_in_a_filter_is_refused() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for filter in [json!({"category": []}), json!({"status": [], "source": ["Rental"]}), json!({"q": []}), json!({"category": null})] {
        let answer = sandbox.bulk(set(&json!({"filter": filter}), &json!({"dor": "BEO"}))).await;
        assert_problem(&answer, 400, "invalid_edit");
        assert!(answer.faults()[0].starts_with("select.filter."), "{filter}: {}", answer.text);
    }
    assert_eq!(sandbox.look().await["draftCount"], 0);
}

#[tokio::test]
async fn shifting_moves_the_forecast_and_of_an_actualized_record_only_its_end() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let shift = json!({"select": {"pfaIds": ["1", "3", "5"]}, "operation": {"type": "shiftDates", "days": 30}});
    assert_eq!(counts(&sandbox, shift).await, (json!(3), json!(2), json!(1), 0), "one without dates has nothing to move");
    let (moved, actual) = (sandbox.row("1").await, sandbox.row("3").await);
    assert_eq!((&moved["forecastStart"], &moved["forecastEnd"]), (&json!("2025-01-31"), &json!("2025-04-01")));
    assert_eq!((&moved["originalStart"], &moved["originalEnd"]), (&json!("2025-01-01"), &json!("2025-03-02")));
    assert_eq!(
        (&actual["forecastEnd"], &actual["actualStart"], &actual["actualEnd"]),
        (&json!("2025-01-31"), &json!("2025-01-01"), &json!("2025-03-02"))
    );
    // And back: the drafts are gone.
    let back = json!({"select": {"pfaIds": ["1", "3"]}, "operation": {"type": "shiftDates", "days": -30}});
    assert_eq!(counts(&sandbox, back).await, (json!(2), json!(2), json!(0), 0));
    assert_eq!(sandbox.look().await["draftCount"], 0);
}

#[tokio::test]
async fn a_shift_counts_days_over_months_and_leap_years() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"forecastStart": "2024-02-28", "forecastEnd": "2024-02-29"})).await;
    let shift = |days: i64| json!({"select": {"pfaIds": ["1"]}, "operation": {"type": "shiftDates", "days": days}});
    sandbox.bulk(shift(1)).await;
    let row = sandbox.row("1").await;
    assert_eq!((&row["forecastStart"], &row["forecastEnd"]), (&json!("2024-02-29"), &json!("2024-03-01")));
    sandbox.bulk(shift(366)).await;
    assert_eq!(sandbox.row("1").await["forecastStart"], "2025-03-01");
    let refused = sandbox.bulk(shift(400_000)).await.json();
    assert_eq!(refused["refused"][0]["pfaId"], "1");
    assert!(refused["refused"][0]["errors"][0]["message"].as_str().unwrap().contains("1900 to 2999"), "{refused}");
}

#[tokio::test]
async fn a_duration_counts_from_the_start() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let edit = json!({"select": {"pfaIds": ["1", "2", "3", "5"]}, "operation": {"type": "setDuration", "days": 90}});
    let done = sandbox.bulk(edit).await.json();
    assert_eq!((&done["matched"], &done["changed"]), (&json!(4), &json!(2)));
    assert_eq!(sandbox.row("1").await["forecastEnd"], "2025-04-01");
    assert_eq!(sandbox.row("2").await["forecastEnd"], "2025-05-02");
    let refused = done["refused"].as_array().unwrap();
    assert_eq!((&refused[0]["pfaId"], &refused[0]["errors"][0]["field"]), (&json!("3"), &json!("forecastEnd")), "it is actualized");
    assert_eq!((&refused[1]["pfaId"], &refused[1]["errors"][0]["field"]), (&json!("5"), &json!("forecastStart")), "it has no start");
    let none = json!({"select": {"pfaIds": ["1"]}, "operation": {"type": "setDuration", "days": 0}});
    sandbox.bulk(none).await;
    assert_eq!(sandbox.row("1").await["forecastEnd"], "2025-01-01");
}

#[tokio::test]
async fn a_reset_takes_the_dates_of_the_plan() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let reset = json!({"select": {"pfaIds": ["1", "3", "5"]}, "operation": {"type": "resetToPlan"}});
    sandbox.edit("1", json!({"forecastStart": "2026-01-01", "forecastEnd": "2026-02-01"})).await;
    sandbox.edit("3", json!({"actualEnd": "2025-02-01"})).await;
    let done = sandbox.bulk(reset).await.json();
    assert_eq!((&done["changed"], &done["unchanged"]), (&json!(1), &json!(1)), "an actualized record on plan stays as it is");
    assert_eq!(
        done["refused"][0]["errors"],
        json!([
        {"field": "originalStart", "message": "the plan has no such date"}, {"field": "originalEnd", "message": "the plan has no such date"}])
    );
    assert_eq!(sandbox.row("1").await["_meta"]["syncState"], "pristine");
}

#[tokio::test]
async fn a_set_clears_and_sets_many() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let edit = set(&json!({"filter": {}}), &json!({"equipment": null, "monthlyRate": 10.25, "isFundsTransferable": true}));
    assert_eq!(counts(&sandbox, edit).await, (json!(4), json!(4), json!(0), 0));
    for row in data(&sandbox.read("records").await) {
        assert!(row["equipment"].is_null() && row["monthlyRate"] == json!(10.25) && row["isFundsTransferable"] == true);
    }
}

#[tokio::test]
async fn what_rules_forbid_is_listed_and_the_rest_is_done() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let mut edit = set(&json!({"filter": {}}), &json!({"forecastStart": "2025-03-01"}));
    let done = sandbox.bulk(edit.clone()).await.json();
    assert_eq!((&done["matched"], &done["changed"]), (&json!(4), &json!(3)));
    let refused = done["refused"].as_array().unwrap();
    assert_eq!((refused.len(), &refused[0]["pfaId"]), (1, &json!("3")));
    assert_eq!(refused[0]["errors"].as_array().unwrap().len(), 2, "it is actualized, and would start after its end: {refused:?}");
    assert_eq!(sandbox.row("3").await["forecastStart"], "2025-01-01");

    // All or nothing.
    edit["mode"] = json!("atomic");
    edit["operation"]["fields"] = json!({"forecastStart": "2025-03-02"});
    let before = sandbox.changes().await;
    let problem = assert_problem(&sandbox.bulk(edit.clone()).await, 400, "edit_refused");
    assert_eq!((&problem["matched"], &problem["refused"][0]["pfaId"]), (&json!(4), &json!("3")));
    assert_eq!(sandbox.changes().await, before);
    edit["select"] = json!({"pfaIds": ["1", "2"]});
    assert_eq!(counts(&sandbox, edit).await, (json!(2), json!(2), json!(0), 0));
}

#[tokio::test]
async fn a_preview_tells_the_difference_and_changes_nothing() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    sandbox.edit("1", json!({"forecastEnd": "2025-04-01"})).await;
    let all = async || (sandbox.look().await["draftCount"].clone(), sandbox.changes().await, data(&sandbox.read("records").await));
    let before = all().await;
    let edit = json!({"select": {"pfaIds": ["1", "2", "3"]}, "operation": {"type": "setDuration", "days": 60}, "preview": true});
    let preview = sandbox.bulk(edit.clone()).await.json();
    assert_eq!((&preview["preview"], &preview["changed"]), (&json!(true), &json!(2)));
    // From 90 days to 60 of 15,000 a month; the purchase costs the same whatever its dates.
    assert_eq!(preview["kpiDifference"]["forecastCost"].to_string(), "-14783.18");
    assert_eq!(preview["kpiDifference"]["variance"].to_string(), "-14783.18");
    assert_eq!(preview["kpiDifference"]["planCost"].to_string(), "0.00");
    assert_eq!(all().await, before);

    let total = async || sandbox.read("kpis").await.json()["total"]["forecastCost"].to_string().parse::<f64>().unwrap();
    let was = total().await;
    let mut real = edit;
    real["preview"] = json!(false);
    let done = sandbox.bulk(real).await.json();
    assert_eq!((&done["kpiDifference"], &done["changed"]), (&preview["kpiDifference"], &preview["changed"]));
    assert!((total().await - was + 14783.18).abs() < 0.011, "the KPIs of the sandbox say the same");
    assert_eq!(ana.row("1").await["forecastEnd"], "2025-03-02");
}

#[tokio::test]
async fn a_preview_tells_of_records_that_come_and_go() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let mut edit = set(&json!({"pfaIds": ["1", "4"]}), &json!({"isDiscontinued": true}));
    edit["preview"] = json!(true);
    let done = sandbox.bulk(edit.clone()).await.json();
    assert_eq!((&done["kpiDifference"]["recordCount"], &done["unchanged"]), (&json!(-1), &json!(1)));
    assert_eq!(done["kpiDifference"]["planCost"].to_string(), "-29566.36");
    edit["operation"]["fields"] = json!({"isDiscontinued": false, "isActualized": true});
    let done = sandbox.bulk(edit).await.json();
    assert_eq!((&done["kpiDifference"]["recordCount"], &done["kpiDifference"]["actualizedCount"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn a_reason_goes_with_every_record() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    let mut edit = set(&json!({"pfaIds": ["1", "2"]}), &json!({"dor": "BEO"}));
    edit["reason"] = json!(" moved to BEO ");
    sandbox.bulk(edit).await;
    assert_eq!(sandbox.undo().await.json()["step"]["reason"], "moved to BEO");
    sandbox.redo().await;
    sandbox.commit("").await;
    for pfa_id in ["1", "2"] {
        assert_eq!(ana.history(pfa_id).await[0]["reason"], "moved to BEO");
    }
}

#[tokio::test]
async fn too_many_records_are_413() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let ids = |number: u32| (0..number).map(|id| id.to_string()).collect::<Vec<_>>();
    let edit = set(&json!({"pfaIds": ids(50_001)}), &json!({"dor": "BEO"}));
    assert_problem(&sandbox.bulk(edit).await, 413, "selection_too_large");
    let edit = set(&json!({"pfaIds": ids(50_000)}), &json!({"dor": "BEO"}));
    assert_eq!(counts(&sandbox, edit).await, (json!(5), json!(5), json!(0), 0));
    sandbox.undo().await;

    // A busy machine may take longer than statements of the service may.
    let mut load = app.pool().begin().await.unwrap();
    sqlx::query("set local statement_timeout = 0").execute(&mut *load).await.unwrap();
    sqlx::query(
        "insert into pfa_mirror (organization_id, data)
         select organization_id, data || jsonb_build_object('pfaId', 'many' || n)
           from pfa_mirror, generate_series(1, 50000) n where organization_id = $1 and pfa_id = '5'",
    )
    .bind(ORG)
    .execute(&mut *load)
    .await
    .unwrap();
    load.commit().await.unwrap();
    let edit = set(&json!({"filter": {"category": "Access"}}), &json!({"dor": "BEO"}));
    assert_problem(&sandbox.bulk(edit).await, 413, "selection_too_large");
    assert_eq!(sandbox.look().await["draftCount"], 0);
}

#[tokio::test]
async fn bad_edits_are_refused_with_every_fault() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let (select, reset) = (json!({"pfaIds": ["1"]}), json!({"type": "resetToPlan"}));
    let edit = |select: Value, operation: Value| json!({"select": select, "operation": operation});
    for (body, code, faults) in [
        (json!({}), "invalid_body", vec!["select", "operation"]),
        (json!({"select": select}), "invalid_body", vec!["operation"]),
        (edit(json!({}), reset.clone()), "invalid_edit", vec!["select"]),
        (edit(json!({"pfaIds": ["1"], "filter": {}}), reset.clone()), "invalid_edit", vec!["select"]),
        (edit(json!([["1"], null]), reset.clone()), "invalid_body", vec!["select"]),
        (edit(json!({"pfaIds": "1"}), reset.clone()), "invalid_body", vec!["select.pfaIds"]),
        (edit(json!({"pfaIds": [1]}), reset.clone()), "invalid_body", vec!["select.pfaIds"]),
        (edit(json!({"ids": ["1"]}), reset.clone()), "invalid_body", vec!["select.ids"]),
        (edit(json!({"filter": []}), reset.clone()), "invalid_body", vec!["select.filter"]),
        (
            edit(
                json!({"filter": {"source": "Lease", "bogus": 1, "overlaps": "2025", "category": {"a": 1}, "session": "x"}}),
                reset.clone(),
            ),
            "invalid_edit",
            vec![
                "select.filter.bogus",
                "select.filter.category",
                "select.filter.overlaps",
                "select.filter.session",
                "select.filter.source",
            ],
        ),
        (edit(select.clone(), json!({"type": "delete"})), "invalid_edit", vec!["operation.type"]),
        (edit(select.clone(), json!({})), "invalid_body", vec!["operation.type"]),
        (edit(select.clone(), json!(["resetToPlan"])), "invalid_body", vec!["operation"]),
        (edit(select.clone(), json!({"type": "set"})), "invalid_edit", vec!["operation.fields"]),
        (edit(select.clone(), json!({"type": "set", "fields": {}})), "invalid_edit", vec!["fields"]),
        (edit(select.clone(), json!({"type": "set", "fields": {"dor": "BEO"}, "days": 1})), "invalid_edit", vec!["operation.fields"]),
        (edit(select.clone(), json!({"type": "shiftDates"})), "invalid_edit", vec!["operation.days"]),
        (edit(select.clone(), json!({"type": "shiftDates", "days": "30"})), "invalid_body", vec!["operation.days"]),
        (edit(select.clone(), json!({"type": "shiftDates", "days": 1.5})), "invalid_body", vec!["operation.days"]),
        (edit(select.clone(), json!({"type": "shiftDates", "days": 99_999_999_999_i64})), "invalid_body", vec!["operation.days"]),
        (edit(select.clone(), json!({"type": "shiftDates", "days": -401_769})), "invalid_edit", vec!["operation.days"]),
        (edit(select.clone(), json!({"type": "shiftDates", "days": i32::MIN})), "invalid_edit", vec!["operation.days"]),
        (edit(select.clone(), json!({"type": "setDuration", "days": -1})), "invalid_edit", vec!["operation.days"]),
        (edit(select.clone(), json!({"type": "resetToPlan", "days": 1})), "invalid_edit", vec!["operation.type"]),
        (
            json!({"select": {}, "operation": {"type": "set", "fields": {"dor": "x", "pfaId": "1"}}, "mode": "all", "reason": "x".repeat(501)}),
            "invalid_edit",
            vec!["dor", "mode", "pfaId", "reason", "select"],
        ),
        (
            json!({"select": 1, "operation": {"type": 2, "bogus": 3}, "preview": "yes", "mode": 5, "reason": []}),
            "invalid_body",
            vec!["mode", "operation.bogus", "operation.type", "preview", "reason", "select"],
        ),
    ] {
        let answer = sandbox.bulk(body.clone()).await;
        assert_problem(&answer, 400, code);
        let (mut named, mut expected) = (answer.faults(), faults);
        named.sort();
        expected.sort_unstable();
        assert_eq!(named, expected, "{body}");
    }
    let answer = sandbox.send(Method::POST, "/edits?preview=true", &[], Some(edit(select, reset).to_string())).await;
    assert_problem(&answer, 400, "invalid_parameter");
    let both = edit(json!({"pfaIds": ["1"]}), json!({"type": "set", "fields": {"dor": "x"}})).to_string();
    let answer = sandbox.send(Method::POST, "/edits?preview=true", &[], Some(both)).await;
    assert_problem(&answer, 400, "invalid_edit");
    assert_eq!(answer.faults(), ["dor", "preview"], "the parameter and the body at once");
    assert_eq!(sandbox.look().await["draftCount"], 0);
}
