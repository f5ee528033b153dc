//! Every rule about what an edit may set, broken by a patch of one record and by a bulk edit.

use crate::support::planner::{Sandbox, assert_problem, planners_app};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Asserts that a patch of a record is refused both ways, for these fields, and leaves nothing behind.
async fn assert_refused(sandbox: &Sandbox<'_>, pfa_id: &str, patch: &Value, fields: &[&str], says: &str) {
    let before = (sandbox.row(pfa_id).await, sandbox.look().await["undoDepth"].clone());
    let single = sandbox.edit(pfa_id, patch.clone()).await;
    let problem = assert_problem(&single, 400, "invalid_edit");
    let named: BTreeSet<_> = single.faults().into_iter().collect();
    assert_eq!(named, fields.iter().map(ToString::to_string).collect(), "{patch}");
    assert!(problem["errors"].to_string().contains(says), "{patch}: {problem}");

    let edit = |mode: &str| json!({"select": {"pfaIds": [pfa_id]}, "operation": {"type": "set", "fields": patch}, "mode": mode});
    for mode in ["skipInvalid", "atomic"] {
        let bulk = sandbox.bulk(edit(mode)).await;
        let errors = match bulk.status.as_u16() {
            // A rule about this record: it alone is refused.
            200 => bulk.json()["refused"][0]["errors"].clone(),
            400 if bulk.json()["code"] == "edit_refused" => bulk.json()["refused"][0]["errors"].clone(),
            // A value that no record may have.
            _ => assert_problem(&bulk, 400, "invalid_edit")["errors"].clone(),
        };
        let named: BTreeSet<_> = errors.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
        assert_eq!(named, fields.iter().copied().collect(), "{mode} {patch}: {}", bulk.text);
        assert!(errors.to_string().contains(says), "{mode} {patch}: {errors}");
    }
    assert_eq!((sandbox.row(pfa_id).await, sandbox.look().await["undoDepth"].clone()), before, "{patch}: nothing was saved");
}

#[tokio::test]
async fn what_comes_from_pems_alone_cannot_be_edited() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for (key, value) in
        [("pfaId", json!("2")), ("originalStart", json!("2025-02-01")), ("originalEnd", json!(null)), ("hasPlan", json!(false))]
    {
        assert_refused(&sandbox, "1", &json!({key: value}), &[key], "cannot be edited").await;
    }
    for key in ["pemsRemarks", "colour", "_meta", "forecast_start", "ForecastStart", ""] {
        assert_refused(&sandbox, "1", &json!({key: "x"}), &[key], "unknown field").await;
    }
}

#[tokio::test]
async fn every_editable_field_can_be_edited() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let patch = json!({
        "forecastStart": "2025-05-01", "forecastEnd": "2025-06-01", "category": "A", "class": "B", "source": "Purchase", "dor": "BEO",
        "areaSilo": "C", "monthlyRate": 1.5, "purchasePrice": 2.25, "manufacturer": "D", "model": "E", "equipment": "F", "contract": "G",
        "isDiscontinued": true, "isFundsTransferable": true, "isActualized": false, "actualStart": "2025-05-01", "actualEnd": "2025-06-01",
        "hasActuals": true,
    });
    let answer = sandbox.edit("1", patch.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for (key, value) in patch.as_object().unwrap() {
        assert_eq!(answer.json()[key], *value, "{key}");
    }
}

#[tokio::test]
async fn no_layer_starts_after_its_end() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for (patch, fields) in [
        (json!({"forecastStart": "2025-03-03"}), vec!["forecastStart"]),
        (json!({"forecastEnd": "2024-12-31"}), vec!["forecastEnd"]),
        (json!({"forecastStart": "2025-06-02", "forecastEnd": "2025-06-01"}), vec!["forecastStart", "forecastEnd"]),
        (json!({"actualStart": "2025-06-02", "actualEnd": "2025-06-01"}), vec!["actualStart", "actualEnd"]),
    ] {
        assert_refused(&sandbox, "1", &patch, &fields, "must not be after").await;
    }
    // The merged record counts: what an earlier edit of the sandbox has set, too.
    assert_eq!(sandbox.edit("1", json!({"actualStart": "2025-06-02"})).await.status, 200);
    let both = ["actualStart", "actualEnd"];
    assert_refused(&sandbox, "1", &json!({"actualEnd": "2025-06-01"}), &both, "must not be after").await;
    for good in [
        json!({"actualEnd": "2025-06-02"}),
        json!({"forecastStart": "2025-03-02"}),
        json!({"forecastEnd": null}),
        json!({"forecastStart": "2029-01-01"}),
        json!({"forecastStart": null, "forecastEnd": "2025-01-01"}),
    ] {
        assert_eq!(sandbox.edit("1", good.clone()).await.status, 200, "{good}");
    }
}

#[tokio::test]
async fn words_are_of_their_lists() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for value in [json!("Lease"), json!("rental"), json!(""), json!(1), json!(true), json!(["Rental"])] {
        assert_refused(&sandbox, "1", &json!({"source": value}), &["source"], "Purchase").await;
    }
    for value in [json!("beo"), json!("BEO "), json!({"value": "BEO"})] {
        assert_refused(&sandbox, "1", &json!({"dor": value}), &["dor"], "PROJECT").await;
    }
}

#[tokio::test]
async fn money_is_never_negative_and_in_whole_cents() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for key in ["monthlyRate", "purchasePrice"] {
        for (number, says) in [
            ("-0.01", "negative"),
            ("-1e3", "negative"),
            ("0.001", "2 decimals"),
            ("1e-3", "2 decimals"),
            ("100000000000", "11 digits"),
            ("1e300", "11 digits"),
            ("0.123456", "decimals"),
        ] {
            // Written by hand: the digits must arrive as they are.
            let patch: Value = serde_json::from_str(&format!(r#"{{"{key}": {number}}}"#)).unwrap();
            assert_refused(&sandbox, "1", &patch, &[key], says).await;
        }
        for value in [json!("15000"), json!(true), json!([1]), json!({})] {
            assert_refused(&sandbox, "1", &json!({key: value}), &[key], "must be a number").await;
        }
        for number in ["0", "-0", "0.01", "99999999999.99", "1.50e3", "12.3400"] {
            let patch: Value = serde_json::from_str(&format!(r#"{{"{key}": {number}}}"#)).unwrap();
            assert_eq!(sandbox.edit("1", patch).await.status, 200, "{number}");
        }
    }
}

#[tokio::test]
async fn flags_are_booleans() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for key in ["isDiscontinued", "isFundsTransferable", "isActualized", "hasActuals"] {
        for value in [json!("true"), json!("Y"), json!(1), json!([])] {
            assert_refused(&sandbox, "1", &json!({key: value}), &[key], "true or false").await;
        }
    }
}

#[tokio::test]
async fn dates_are_days_of_the_calendar() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for value in ["2025-02-29", "2025-13-01", "01.02.2025", "2025-1-1", "", " ", "soon", "1899-12-31", "3000-01-01", "-2025-01-01"] {
        assert_refused(&sandbox, "1", &json!({"actualStart": value}), &["actualStart"], "YYYY-MM-DD").await;
    }
    for value in [json!(20_250_101), json!(true), json!(["2025-01-01"])] {
        assert_refused(&sandbox, "1", &json!({"forecastEnd": value}), &["forecastEnd"], "YYYY-MM-DD").await;
    }
}

#[tokio::test]
async fn texts_are_texts_and_not_endless() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for (key, most) in
        [("category", 200), ("class", 200), ("areaSilo", 200), ("manufacturer", 200), ("model", 200), ("equipment", 500), ("contract", 500)]
    {
        assert_refused(&sandbox, "1", &json!({key: "ü".repeat(most + 1)}), &[key], "too long").await;
        for value in [json!(1), json!(false), json!(["x"]), json!({"x": 1})] {
            assert_refused(&sandbox, "1", &json!({key: value}), &[key], "must be a text").await;
        }
        let long = sandbox.edit("1", json!({key: "ü".repeat(most)})).await;
        assert_eq!(long.status, 200, "{key}");
        assert_eq!(sandbox.edit("1", json!({key: "  "})).await.json()[key], Value::Null, "blank is none");
    }
}

#[tokio::test]
async fn null_is_only_where_the_dictionary_allows_it() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for key in ["source", "dor", "monthlyRate", "purchasePrice", "isDiscontinued", "isFundsTransferable", "isActualized", "hasActuals"] {
        assert_refused(&sandbox, "1", &json!({key: null}), &[key], "must not be null").await;
    }
    let nullable = ["forecastStart", "forecastEnd", "actualStart", "actualEnd", "category", "class", "areaSilo", "manufacturer", "model"];
    let patch: Value = nullable
        .iter()
        .chain(&["equipment", "contract"])
        .map(|key| ((*key).to_owned(), Value::Null))
        .collect::<serde_json::Map<_, _>>()
        .into();
    assert_eq!(sandbox.edit("1", patch).await.status, 200);
}

#[tokio::test]
async fn the_forecast_of_an_actualized_record_does_not_move() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for (patch, fields) in [
        (json!({"forecastStart": "2024-12-31"}), vec!["forecastStart"]),
        (json!({"forecastEnd": "2025-02-01", "model": "X"}), vec!["forecastEnd"]),
        (json!({"forecastEnd": null}), vec!["forecastEnd"]),
    ] {
        assert_refused(&sandbox, "3", &patch, &fields, "actualized").await;
    }
    // Not by actualizing it in the same edit, nor in a later one.
    assert_refused(
        &sandbox,
        "1",
        &json!({"forecastEnd": "2025-04-01", "isActualized": true}),
        &["forecastEnd", "isActualized"],
        "actualized",
    )
    .await;
    assert_eq!(sandbox.edit("1", json!({"forecastEnd": "2025-04-01"})).await.status, 200);
    assert_refused(&sandbox, "1", &json!({"isActualized": true}), &["forecastEnd", "isActualized"], "actualized").await;
    // Other fields, the same dates, and a record that is no longer actualized are free.
    for (pfa_id, patch) in [
        ("3", json!({"actualEnd": "2025-02-05", "category": "X"})),
        ("3", json!({"forecastStart": "2025-01-01"})),
        ("3", json!({"isActualized": false, "forecastEnd": "2025-02-05"})),
    ] {
        assert_eq!(sandbox.edit(pfa_id, patch.clone()).await.status, 200, "{patch}");
    }
}

#[tokio::test]
async fn every_fault_is_named_at_once() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let wrong = json!({"pfaId": "9", "colour": "red", "dor": "x", "monthlyRate": -1, "isActualized": 1, "forecastEnd": "soon", "model": 5, "source": null});
    let fields = ["pfaId", "colour", "dor", "monthlyRate", "isActualized", "forecastEnd", "model", "source"];
    assert_refused(&sandbox, "1", &wrong, &fields, "unknown field").await;
    // Two rules of the merged record.
    let backward = json!({"forecastStart": "2025-06-02", "actualStart": "2025-09-01", "actualEnd": "2025-08-01"});
    assert_refused(&sandbox, "1", &backward, &["forecastStart", "actualStart", "actualEnd"], "must not be after").await;
    // Values and rules; of a rule that looks at a field whose value is wrong nobody can say whether it is broken.
    let both = json!({"dor": "x", "forecastStart": "2025-06-02", "actualStart": "2025-09-01", "actualEnd": "soon"});
    let answer = sandbox.edit("1", both).await;
    let problem = assert_problem(&answer, 400, "invalid_edit");
    assert_eq!(answer.faults(), ["actualEnd", "dor", "forecastStart"], "{problem}");
    assert!(sandbox.row("1").await["_meta"]["syncState"] == "pristine", "nothing was saved");
    let problem = sandbox.edit("1", json!({"colour": 1})).await.json();
    assert!(problem["errors"][0]["allowed"].as_array().unwrap().len() == 19, "{problem}");
}

#[tokio::test]
async fn the_answer_stays_small_whatever_is_sent() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let many: Value = (0..10_000).map(|number| (format!("unknown{number}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    let long = json!({"x".repeat(100_000): 1, "source": "y".repeat(100_000)});
    for wrong in [many, long] {
        let answer = sandbox.edit("1", wrong.clone()).await;
        assert!(answer.status == 400 && answer.text.len() < 40_000, "{} bytes", answer.text.len());
        let answer = sandbox.bulk(json!({"select": {"pfaIds": ["1"]}, "operation": {"type": "set", "fields": wrong}})).await;
        assert!(answer.status == 400 && answer.text.len() < 40_000, "{} bytes", answer.text.len());
    }
}

/// What PEMS itself says wrongly does not stand in the way of other edits, and can be put right.
#[tokio::test]
async fn a_rule_looks_only_at_what_an_edit_changes() {
    let app = planners_app().await;
    let wrong = json!({"pfaId": "9", "forecastStart": "2025-03-01", "forecastEnd": "2025-01-01", "monthlyRate": "abc"});
    app.load("ORG", &[wrong.as_object().unwrap().clone()]).await;
    let sandbox = app.planner("ana").open().await;
    assert_eq!(sandbox.edit("9", json!({"category": "X"})).await.status, 200);
    assert_refused(&sandbox, "9", &json!({"forecastEnd": "2025-02-01"}), &["forecastEnd"], "must not be after").await;
    assert_eq!(sandbox.edit("9", json!({"forecastEnd": "2025-04-01", "monthlyRate": 5})).await.status, 200);
}
