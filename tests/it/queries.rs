//! `POST …/records/query`: rows as a grid's row model asks for them.

mod model;
mod random;

use crate::support::planner::{ORG, Planner, assert_problem, percent_encode, planners_app};
use crate::support::test_app;
use serde_json::{Value, json};

async fn ask(planner: &Planner<'_>, body: Value) -> Value {
    let answer = planner.post("records/query", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["rows"].as_array().unwrap().iter().map(|row| row["pfaId"].as_str().unwrap()).collect()
}

/// As AG Grid sends it, key by key.
#[tokio::test]
async fn a_request_of_a_grid_is_taken_as_it_is() {
    let app = planners_app().await;
    let answer = ask(
        &app.planner("ana"),
        json!({
            "startRow": 0, "endRow": 100,
            "rowGroupCols": [], "groupKeys": [], "pivotCols": [], "pivotMode": false,
            "valueCols": [{"id": "monthlyRate", "displayName": "Monthly rate", "field": "monthlyRate", "aggFunc": "sum"}],
            "filterModel": {
                "category": {"filterType": "set", "values": ["Lifting", "Access", null]},
                "monthlyRate": {"filterType": "number", "operator": "OR", "conditions": [
                    {"filterType": "number", "type": "inRange", "filter": 8000, "filterTo": 15000},
                    {"filterType": "number", "type": "blank"}]},
                "model": null,
                "dor": {"filterType": "multi", "filterModels": [null, {"filterType": "text", "type": "notEqual", "filter": "beo"}]}
            },
            "sortModel": [{"colId": "monthlyRate", "sort": "desc", "type": "default"}]
        }),
    )
    .await;
    assert_eq!(ids(&answer), ["1", "3"]);
    assert_eq!(answer["rowCount"], 2);
    assert_eq!(answer["grandTotals"], json!({"recordCount": 2, "monthlyRate": 23000}));
    assert_eq!(answer["rows"][0]["_meta"]["syncState"], "pristine");
    assert_eq!(answer["rows"][0]["pemsRemarks"], "kept");

    // Dates come with midnight, lists may be null, and a pivot without columns is none.
    let body = json!({"filterModel": {"forecastStart": {"filterType": "set", "values": ["2025-02-01 00:00:00", "2025-03-01T00:00:00.000Z"]},
        "purchasePrice": {"filterType": "number", "type": "lessThan", "filter": 1e14}}, "rowGroupCols": null, "valueCols": null, "pivotMode": true});
    let answer = ask(&app.planner("ana"), body).await;
    assert_eq!(ids(&answer), ["2"]);
    assert_eq!(answer["moment"], ask(&app.planner("ben"), json!({})).await["moment"]);
    let noon = json!({"forecastStart": {"filterType": "date", "type": "lessThan", "dateFrom": "2025-01-01 12:00:00"}});
    assert_problem(&app.planner("ana").post("records/query", json!({"filterModel": noon})).await, 400, "invalid_parameter");
}

/// What is missing is told by its own name, as the form of the filter has it.
#[tokio::test]
async fn what_is_missing_is_told_by_name() {
    let app = planners_app().await;
    let long = "k".repeat(300_000);
    for (body, field) in [
        (json!({"filter": {"field": "category", "op": "eq"}}), "filter.value"),
        (json!({"filter": {"field": "category"}}), "filter.value"),
        (json!({"filter": {"op": "eq", "value": 1}}), "filter.field"),
        (
            json!({"filterModel": {"filterType": "join", "type": "NOR", "conditions": [{"colId": "dor", "filterType": "text", "type": "blank"}]}}),
            "filterModel.type",
        ),
        (
            json!({"filterModel": {"filterType": "join", "conditions": [{"colId": "dor", "filterType": "text", "type": "blank"}]}}),
            "filterModel.type",
        ),
        (
            json!({"filterModel": {"forecastEnd": {"filterType": "date", "type": "equals", "dateFrom": null}}}),
            "filterModel.forecastEnd.dateFrom",
        ),
        (json!({"valueCols": [{"field": "category"}]}), "valueCols[0].aggFunc"),
        (json!({"sortModel": [{"colId": "forecastCost", "sort": "asc"}]}), "sortModel[0].colId"),
        (json!({"rowGroupCols": [{}]}), "rowGroupCols[0].field"),
        (json!({long.clone(): 1}), &long[..100]),
        (json!({"filter": {long.clone(): 1}}), "filter.kkk"),
    ] {
        let answer = app.planner("ana").post("records/query", body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.len() < 3_000, "{} bytes", answer.text.len());
        assert!(answer.faults()[0].starts_with(field), "{field}: {}", answer.text);
    }
}

/// However much is at fault, the first faults are told, and no more is made of the rest.
#[tokio::test]
async fn many_faults_are_cut() {
    let app = planners_app().await;
    let faults = vec![json!({"field": "x"}); 60];
    for body in [json!({"filter": {"or": faults}}), json!({"valueCols": vec![json!({}); 10_000]}), json!({"fields": vec!["x"; 10_000]})] {
        let problem = assert_problem(&app.planner("ana").post("records/query", body).await, 400, "invalid_parameter");
        assert!((1..=50).contains(&problem["errors"].as_array().unwrap().len()), "{problem}");
    }
}

#[tokio::test]
async fn groups_are_opened_until_records_come() {
    let app = planners_app().await;
    let planner = app.planner("ana");
    let columns = |names: &[&str]| names.iter().map(|name| json!({"field": name})).collect::<Vec<_>>();
    let mut body = json!({"rowGroupCols": columns(&["category", "source"]), "valueCols": columns(&["forecastCost", "purchasePrice"]),
        "sortModel": [{"colId": "forecastCost", "sort": "desc"}]});
    let all = json!({"recordCount": 4, "forecastCost": 38_451.22, "purchasePrice": 1000.5});
    let answer = ask(&planner, body.clone()).await;
    let group = |category: &str, cost: f64, price: f64, count: i64| json!({"category": category, "forecastCost": cost, "purchasePrice": price, "_group": {"level": 0, "recordCount": count}});
    let groups = [group("Lifting", 37_450.72, 0.0, 2), group("Power", 1000.5, 1000.5, 1), group("Access", 0.0, 0.0, 1)];
    let is_same = |found: &Value, expected: &Value| model::normalized(found) == model::normalized(expected);
    assert!(is_same(&answer["rows"], &json!(groups)), "{answer}");
    assert_eq!(answer["rowCount"], 3);
    assert!(is_same(&answer["grandTotals"], &all), "{answer}");

    body["groupKeys"] = json!(["Lifting"]);
    let answer = ask(&planner, body.clone()).await;
    assert_eq!((answer["rows"][0]["category"].as_str(), answer["rows"][0]["source"].as_str()), (Some("Lifting"), Some("Rental")));
    assert_eq!(answer["rows"][0]["_group"], json!({"level": 1, "recordCount": 2}));
    assert_eq!(answer["rowCount"], 1);

    body["groupKeys"] = json!(["Lifting", "Rental"]);
    body["fields"] = json!(["pfaId"]);
    body["sortModel"] = json!([{"colId": "ag-Grid-AutoColumn", "sort": "asc"}, {"colId": "pfaId", "sort": "desc"}]);
    let answer = ask(&planner, body.clone()).await;
    assert_eq!(ids(&answer), ["3", "1"]);
    assert_eq!(answer["rows"][0].as_object().unwrap().len(), 2, "{answer}");
    assert!(is_same(&answer["grandTotals"], &all), "whatever is opened: {answer}");

    for without in [json!(null), json!("")] {
        body["groupKeys"] = json!(["Lifting", without]);
        assert_eq!(ask(&planner, body.clone()).await["rowCount"], 0);
    }
    body["groupKeys"] = json!([]);
    body["startRow"] = json!(2);
    body["sortModel"] = json!([{"colId": "ag-Grid-AutoColumn-category", "sort": "desc"}]);
    let answer = ask(&planner, body.clone()).await;
    assert_eq!((answer["rows"][0]["category"].as_str(), answer["rowCount"].as_i64()), (Some("Access"), Some(3)));
    body["startRow"] = json!(3);
    let answer = ask(&planner, body).await;
    assert_eq!((answer["rows"].as_array().map(Vec::len), answer["rowCount"].as_i64()), (Some(0), Some(3)));
}

#[tokio::test]
async fn trees_hold_comparisons_and_the_grids_own_filters() {
    let app = planners_app().await;
    let planner = app.planner("ana");
    for (tree, expected) in [
        (json!({}), vec!["1", "2", "3", "5"]),
        (json!({"category": "Lifting"}), vec!["1", "3"]),
        (json!({"category": ["Lifting"], "not": {"field": "monthlyRate", "op": "lt", "value": 10000}}), vec!["1"]),
        (json!({"or": [{"q": "crane"}, {"field": "purchasePrice", "op": "gt", "value": "1000.49"}]}), vec!["1", "2"]),
        (json!({"not": {"field": "forecastStart", "op": "gte", "value": "2025-02-01"}}), vec!["1", "3", "5"]),
        (json!({"field": "forecastStart", "value": null}), vec!["5"]),
        (json!({"field": "forecastStart", "op": "between", "from": "2025-01-02", "to": "2025-02-01"}), vec!["2"]),
        (json!({"field": "isDiscontinued", "op": "in", "values": [true, false]}), vec!["1", "2", "3", "4", "5"]),
        (json!({"or": [{"status": ["discontinued"]}, {"field": "equipment", "op": "startsWith", "value": "CRANE"}]}), vec!["1", "4"]),
        (json!({"field": "category", "op": "in", "values": []}), vec![]),
        (json!({"field": "monthlyRate", "op": "in", "values": []}), vec![]),
        (json!({"and": [{"category": ["Lifting", "Power"]}, {"category": "Power"}]}), vec!["2"]),
        (json!({"contains": {"pemsRemarks": "kept"}, "overlaps": "2025-01-01..2025-01-01"}), vec!["1"]),
    ] {
        let body = json!({"filter": tree, "sortModel": [{"colId": "pfaId", "sort": "asc"}]});
        assert_eq!(ids(&ask(&planner, body).await), expected, "{tree}");
    }
}

/// Columns that read what is missing or unreadable in a way of their own are not asked what a record contains.
#[tokio::test]
async fn what_is_contained_is_what_the_record_says() {
    let app = test_app().await;
    let raw = [
        json!({"pfaId": "1", "category": "Lifting", "isActualized": true, "source": "Rental"}),
        json!({"pfaId": "2", "category": "Lifting", "isActualized": "perhaps", "source": "Leasing"}),
        json!({"pfaId": "3", "category": "", "isActualized": false, "isDiscontinued": true}),
        json!({"pfaId": "4", "manufacturer": "Liebherr", "model": "LTM"}),
    ]
    .map(|record| record.as_object().unwrap().clone());
    app.load(ORG, &raw).await;
    // A flag that nobody could read, as a record of an older version may have it.
    let unread = "update pfa_mirror set data = data || '{\"isActualized\": null}' where pfa_id = '2'";
    sqlx::query(unread).execute(app.pool()).await.unwrap();
    let planner = app.planner("ana");
    let everything = ask(&planner, json!({"filter": {"field": "isDiscontinued", "op": "in", "values": [true, false]}, "sortModel": [{"colId": "pfaId", "sort": "asc"}]})).await;
    for contained in [
        json!({"isActualized": true}),
        json!({"isActualized": false}),
        json!({"isActualized": null}),
        json!({"category": "Lifting", "isActualized": true}),
        json!({"category": "Lifting", "source": "Leasing"}),
        json!({"category": ""}),
        json!({"category": null}),
        json!({"manufacturer": "Liebherr", "model": "LTM"}),
        json!({"manufacturer": ["Liebherr"]}),
        json!({"isDiscontinued": true}),
        json!({"pfaId": "4"}),
        json!({"pfaId": 4}),
    ] {
        let has = |row: &&Value| contained.as_object().unwrap().iter().all(|(key, value)| row[key] == *value);
        let shown = everything["rows"].as_array().unwrap().iter().filter(|row| row["isDiscontinued"] == false);
        let (has_it, has_not): (Vec<_>, Vec<_>) = shown.partition(has);
        for (tree, expected) in [(json!({"contains": contained}), has_it), (json!({"not": {"contains": contained}}), has_not)] {
            let expected: Vec<_> = expected.iter().map(|row| row["pfaId"].as_str().unwrap()).collect();
            let mut found = ask(&planner, json!({"filter": tree})).await;
            found["rows"].as_array_mut().unwrap().sort_by_key(|row| row["pfaId"].to_string());
            assert_eq!(ids(&found), expected, "{tree}");
        }
    }
}

/// What a grid shows can be paged through by cursors, and exported.
#[tokio::test]
async fn pages_and_exports_take_trees_as_a_parameter() {
    let app = planners_app().await;
    let planner = app.planner("ana");
    let tree = json!({"or": [{"category": "Power"}, {"field": "monthlyRate", "op": "lt", "value": 10000}]});
    let tree_only = format!("sort=pfaId&filter={}", percent_encode(&tree.to_string()));
    let first = planner.get(&format!("records?{tree_only}&limit=2&count=exact")).await.json();
    let pfa_ids = |rows: &Value| rows.as_array().unwrap().iter().map(|row| row["pfaId"].clone()).collect::<Vec<_>>();
    assert_eq!((pfa_ids(&first["data"]), &first["page"]["count"]), (vec![json!("2"), json!("3")], &json!(3)));
    let cursor = first["page"]["nextCursor"].as_str().unwrap();
    let second = planner.get(&format!("records?{tree_only}&limit=2&cursor={cursor}")).await.json();
    assert_eq!(pfa_ids(&second["data"]), ["5"]);
    let export = planner.get(&format!("records/export?{tree_only}&fields=pfaId&category=Power&category=Access")).await;
    assert_eq!(export.text, "{\"pfaId\": \"2\"}\n{\"pfaId\": \"5\"}\n");

    let other = percent_encode(&json!({"category": "Power"}).to_string());
    assert_eq!(planner.get(&format!("records?sort=pfaId&filter={other}&cursor={cursor}")).await.faults(), ["cursor"]);
    for (text, fault) in [("[]", "filter"), ("{\"a\":1}", "filter.a"), ("{\"q\":\"\\u0000\"}", "filter")] {
        assert_eq!(planner.get(&format!("records?filter={}", percent_encode(text))).await.faults()[0], fault, "{text}");
    }
}

#[tokio::test]
async fn a_sandbox_is_asked_as_its_planner_sees_it() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"category": "Power", "monthlyRate": 9000})).await;
    let body = |session: Value| {
        json!({"session": session, "filter": {"field": "category", "value": "Power"}, "valueCols": [{"field": "monthlyRate"}],
            "sortModel": [{"colId": "pfaId", "sort": "asc"}]})
    };
    let answer = ask(&sandbox.planner, body(json!(sandbox.id))).await;
    assert_eq!((ids(&answer), &answer["grandTotals"]["monthlyRate"]), (vec!["1", "2"], &json!(9000)));
    assert_eq!(answer["rows"][0]["_meta"]["modifiedFields"], json!(["category", "monthlyRate"]));
    assert_eq!(ids(&ask(&sandbox.planner, body(Value::Null)).await), ["2"]);
    let in_query = sandbox.planner.post(&format!("records/query?session={}", sandbox.id), body(Value::Null)).await;
    assert_eq!(ids(&in_query.json()), ["1", "2"]);

    assert_problem(&app.planner("ben").post("records/query", body(json!(sandbox.id))).await, 404, "session_not_found");
    let elsewhere = sandbox.planner.in_organization("OTHER");
    assert_problem(&elsewhere.post("records/query", body(json!(sandbox.id))).await, 404, "session_not_found");
    let nowhere = sandbox.planner.in_organization("NOWHERE");
    assert_problem(&nowhere.post("records/query", body(Value::Null)).await, 404, "organization_not_found");
}

/// Who groups by a flag that hides records otherwise sees both groups, and what is in them.
#[tokio::test]
async fn discontinued_records_can_be_a_group() {
    let app = planners_app().await;
    let planner = app.planner("ana");
    let mut body = json!({"rowGroupCols": [{"field": "isDiscontinued"}], "valueCols": [{"field": "isDiscontinued", "aggFunc": "count"}]});
    let answer = ask(&planner, body.clone()).await;
    let groups = json!([{"isDiscontinued": false, "_group": {"level": 0, "recordCount": 4}}, {"isDiscontinued": true, "_group": {"level": 0, "recordCount": 1}}]);
    assert_eq!((&answer["rows"], &answer["grandTotals"]), (&groups, &json!({"recordCount": 5, "isDiscontinued": 5})));
    body["groupKeys"] = json!(["true"]);
    assert_eq!(ids(&ask(&planner, body).await), ["4"]);
}

/// What the filter of a bulk edit selects is what the grid shows for it.
#[tokio::test]
async fn a_bulk_edit_takes_the_same_trees() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    let edit = |tree: Value| json!({"select": {"filter": tree}, "operation": {"type": "set", "fields": {"model": "M"}}});
    let answer = sandbox.bulk(edit(json!({"or": [{"category": "Power"}, {"field": "monthlyRate", "op": "lte", "value": 100}]}))).await;
    assert_eq!((answer.status.as_u16(), answer.json()["matched"].as_i64()), (200, Some(2)), "{}", answer.text);
    let answer = sandbox.bulk(edit(json!({"or": [{"category": "Power"}, {"field": "rate"}]}))).await;
    let problem = assert_problem(&answer, 400, "invalid_edit");
    assert_eq!(problem["errors"][0]["field"], "select.filter.or[1].field");
}

#[tokio::test]
async fn every_fault_of_a_request_is_told_with_its_place() {
    let app = planners_app().await;
    let planner = app.planner("ana");
    let body = json!({
        "session": "x", "startRow": 5, "endRow": 5, "fields": ["pfaId", "price"],
        "filter": {"and": [{"field": "source", "op": "eq", "value": "Lease"}, {"or": []}, {"field": "dor", "op": "like", "value": "B%"},
                           {"categories": "x"}, 7, {"field": "forecastStart", "op": "between", "from": "2025-02-30", "to": 1},
                           {"field": "monthlyRate", "op": "contains", "value": "1"}, {"field": "model", "op": "isNull", "value": 1}]},
        "filterModel": {"rate": {"filterType": "number", "type": "equals", "filter": 1},
                        "monthlyRate": {"filterType": "number", "type": "contains", "filter": 1},
                        "model": {"filterType": "text", "operator": "XOR", "conditions": []},
                        "isActualized": {"filterType": "boolean", "type": "maybe"},
                        "class": {"filterType": "text", "type": "equals", "filter": "x", "caseSensitive": true}},
        "rowGroupCols": [{"field": "category"}, {"id": "category"}, {"field": "price"}], "groupKeys": ["a", "b"],
        "valueCols": [{"field": "model", "aggFunc": "sum"}, {"field": "cost"}, {"field": "dor", "aggFunc": "count"}, {"field": "dor", "aggFunc": "max"}],
        "sortModel": [{"colId": "price", "sort": "asc"}, {"colId": "model", "sort": "up"}, {"colId": "dor", "sort": "asc", "type": "absolute"},
                      {"colId": "dor", "sort": "desc"}],
        "pivotMode": true, "pivotCols": [{"field": "dor"}]
    });
    let problem = assert_problem(&planner.post("records/query?limit=1", body).await, 400, "invalid_parameter");
    let mut fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    let mut expected = vec![
        "session",
        "endRow",
        "fields[1]",
        "limit",
        "filter.and[0].value",
        "filter.and[1].or",
        "filter.and[2].op",
        "filter.and[3].categories",
        "filter.and[4]",
        "filter.and[5].from",
        "filter.and[5].to",
        "filter.and[6].value",
        "filter.and[7].value",
        "filterModel.rate",
        "filterModel.monthlyRate.type",
        "filterModel.model.operator",
        "filterModel.model.conditions",
        "filterModel.isActualized.type",
        "filterModel.class.caseSensitive",
        "rowGroupCols[1].field",
        "rowGroupCols[2].field",
        "groupKeys",
        "valueCols[0].aggFunc",
        "valueCols[1].field",
        "valueCols[3].field",
        "sortModel[0].colId",
        "sortModel[1].sort",
        "sortModel[2].type",
        "sortModel[3].colId",
        "pivotCols",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!(
        problem["errors"].as_array().unwrap().iter().find(|error| error["field"] == "filter.and[0].value").unwrap()["allowed"],
        json!(["Rental", "Purchase"])
    );
}

#[tokio::test]
async fn a_filter_is_neither_too_deep_nor_too_long() {
    let app = planners_app().await;
    let planner = app.planner("ana");
    let deep = |levels: usize| (0..levels).fold(json!({"category": "Lifting"}), |tree, _| json!({"not": tree}));
    let wide = |many: usize| json!({"or": vec![json!({"field": "model", "value": "x"}); many]});
    let set = |many: usize| json!({"field": "model", "op": "in", "values": vec!["x"; many]});
    for (tree, is_good) in
        [(deep(20), true), (deep(21), false), (wide(99), true), (wide(100), false), (set(1_000), true), (set(1_001), false)]
    {
        let answer = planner.post("records/query", json!({"filter": tree})).await;
        if is_good {
            assert_eq!(answer.status, 200, "{}", answer.text);
        } else {
            let problem = assert_problem(&answer, 400, "invalid_parameter");
            assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{problem}");
        }
    }
}

/// What a value says is no SQL, wherever it stands.
#[tokio::test]
async fn values_are_only_values() {
    let app = planners_app().await;
    let planner = app.planner("ana");
    let evil = "' or true --";
    for tree in [
        json!({"field": "category", "value": evil}),
        json!({"field": "category", "op": "in", "values": [evil]}),
        json!({"field": "category", "op": "contains", "value": evil}),
        json!({"category": evil}),
    ] {
        let answer = ask(&planner, json!({"filter": tree, "rowGroupCols": [{"field": "category"}], "groupKeys": [evil]})).await;
        assert_eq!((answer["rowCount"].as_i64(), &answer["grandTotals"]), (Some(0), &json!({"recordCount": 0})));
    }
    for name in ["category\" from pfa_mirror; --", "data", "organization_id"] {
        let answer = planner.post("records/query", json!({"rowGroupCols": [{"field": name}], "valueCols": [{"field": name}]})).await;
        assert_problem(&answer, 400, "invalid_parameter");
    }
}

/// Rows, their number and the totals are of one moment, also while somebody publishes; and what was kept for the next block is
/// forgotten then.
#[tokio::test]
async fn an_answer_is_of_one_moment() {
    let app = test_app().await;
    let record = |number: usize| json!({"pfaId": format!("{number:03}"), "source": "Rental", "category": "A", "monthlyRate": 100});
    let records: Vec<_> = (0..60).map(|number| record(number).as_object().unwrap().clone()).collect();
    app.load("ORG", &records).await;
    let publish = async {
        for round in 0..12 {
            let sandbox = app.planner("ana").open().await;
            // One leaves the group, and the rest takes over what it cost.
            let rate = if round % 2 == 0 { 200 } else { 100 };
            let select = json!({"pfaIds": (0..60).step_by(2).map(|number| format!("{number:03}")).collect::<Vec<_>>()});
            let fields = json!({"monthlyRate": rate, "category": if round % 2 == 0 { "B" } else { "A" }});
            let body = json!({"select": select, "operation": {"type": "set", "fields": fields}});
            assert_eq!(sandbox.bulk(body).await.status, 200);
            assert_eq!(sandbox.commit("").await.status, 200);
        }
    };
    let read = async {
        let planner = app.planner("ben");
        for round in 0..60 {
            let first = (round % 4) * 10;
            let body = json!({"startRow": 0, "endRow": 100, "filter": {"category": "A"}, "valueCols": [{"field": "monthlyRate"}],
                "sortModel": [{"colId": "pfaId", "sort": "asc"}]});
            let answer = ask(&planner, body.clone()).await;
            let rows = answer["rows"].as_array().unwrap();
            let sum: f64 = rows.iter().map(|row| row["monthlyRate"].as_f64().unwrap()).sum();
            assert_eq!(Some(sum), answer["grandTotals"]["monthlyRate"].as_f64(), "{}", rows.len());
            assert_eq!(answer["rowCount"], rows.len());

            let mut block = body;
            (block["startRow"], block["endRow"]) = (json!(first), json!(first + 10));
            let answer = ask(&planner, block).await;
            let all_are_there = answer["rowCount"] == 60;
            let expected: Vec<_> = (0..60).filter(|number| all_are_there || number % 2 == 1).map(|number| format!("{number:03}")).collect();
            let rest = &expected[expected.len().min(first)..];
            assert_eq!(ids(&answer), rest[..rest.len().min(10)], "from {first} of {}", answer["rowCount"]);
        }
    };
    tokio::join!(publish, read);
}
