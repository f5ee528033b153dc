//! What was published: the history of a record, and the changes that wait for PEMS.

use crate::support::planner::{ORG, Planner, assert_problem, data, planners_app};
use axum::http::Method;
use pfa_vanguard::domain::kpi::Split;
use pfa_vanguard::service::{PfaMirrorService, Reader};
use serde_json::{Value, json};

/// Every entry of a list, page by page.
async fn pages(planner: Planner<'_>, path: &str, limit: usize) -> Vec<Value> {
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = planner.get(&format!("{path}?limit={limit}{cursor}")).await;
        let page = data(&answer);
        assert!(page.len() <= limit);
        assert_eq!(answer.json()["page"]["limit"], limit);
        entries.extend(page);
        match answer.json()["page"]["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return entries,
        }
    }
}

#[tokio::test]
async fn the_history_tells_who_when_why_from_what_to_what() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    assert!(ana.history("1").await.is_empty());
    let sandbox = ana.open().await;
    let edit = json!({"select": {"pfaIds": ["1"]}, "reason": "later", "operation": {"type": "set", "fields": {"monthlyRate": 12000.5, "equipment": null}}});
    sandbox.bulk(edit).await;
    assert!(ana.history("1").await.is_empty(), "a draft is no history");
    sandbox.commit("").await;
    ben.publish("1", json!({"monthlyRate": 100})).await;
    app.load("ORG", &[json!({"pfaId": "1", "category": "PEMS"}).as_object().unwrap().clone()]).await;

    let history = ben.history("1").await;
    assert_eq!(history.len(), 3);
    let (import, second, first) = (&history[0], &history[1], &history[2]);
    assert_eq!((&first["by"], &first["source"], &first["sourceId"]), (&json!("ana"), &json!("session"), &json!(sandbox.id)));
    assert_eq!((&first["reason"], &first["version"]), (&json!("later"), &json!(1)));
    assert_eq!(
        first["fields"],
        json!([{"field": "equipment", "from": "Crane 1", "to": null}, {"field": "monthlyRate", "from": 15000, "to": 12000.5}])
    );
    assert_eq!(second["fields"], json!([{"field": "monthlyRate", "from": 12000.5, "to": 100}]));
    assert_eq!((&second["by"], &second["reason"]), (&json!("ben"), &Value::Null));
    assert_eq!((&import["source"], &import["by"], &import["version"]), (&json!("import"), &json!("test"), &json!(2)));
    let category = import["fields"].as_array().unwrap().iter().find(|field| field["field"] == "category").unwrap();
    assert_eq!(*category, json!({"field": "category", "from": "Lifting", "to": "PEMS"}));
    let times: Vec<_> = history.iter().map(|entry| entry["at"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted_by(|a, b| a > b), "newest first: {times:?}");
}

#[tokio::test]
async fn the_history_has_pages() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    for number in 0..5 {
        ana.publish("1", json!({"monthlyRate": number})).await;
    }
    let all = ana.history("1").await;
    assert_eq!(all.len(), 5);
    for limit in [1, 2, 5] {
        assert_eq!(pages(ana, "records/1/history", limit).await, all);
    }
    let cursor = ana.get("records/1/history?limit=1").await.json()["page"]["nextCursor"].as_str().unwrap().to_owned();
    assert_problem(&ana.get(&format!("records/2/history?cursor={cursor}")).await, 400, "invalid_parameter");
}

#[tokio::test]
async fn only_the_history_of_a_record_can_be_asked_for() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    assert_problem(&ana.get("records/99/history").await, 404, "record_not_found");
    assert_problem(&ana.in_organization("NOPE").get("records/1/history").await, 404, "organization_not_found");
    for (query, fault) in [("limit=0", "limit"), ("limit=1001", "limit"), ("cursor=e30", "cursor"), ("session=x", "session")] {
        let answer = ana.get(&format!("records/1/history?{query}")).await;
        assert_problem(&answer, 400, "invalid_parameter");
        assert_eq!(answer.faults(), [fault]);
    }
    ana.publish("1", json!({"model": "A"})).await;
    assert!(ana.in_organization("OTHER").history("1").await.is_empty(), "the same id of another organization");
}

#[tokio::test]
async fn pending_changes_come_in_the_order_of_their_commits() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    assert!(data(&ana.get("sync/pending").await).is_empty());
    for (planner, pfa_id) in [(ana, "3"), (ben, "1"), (ana, "2"), (ben, "3"), (ana, "1")] {
        planner.publish(pfa_id, json!({"model": format!("{} {pfa_id}", planner.user)})).await;
    }
    let pending = data(&ben.get("sync/pending").await);
    let order: Vec<_> = pending.iter().map(|change| change["delta"]["model"].as_str().unwrap().to_owned()).collect();
    assert_eq!(order, ["ana 3", "ben 1", "ana 2", "ben 3", "ana 1"]);
    let first = &pending[0];
    for (key, value) in [
        ("pfaId", json!("3")),
        ("delta", json!({"model": "ana 3"})),
        ("modifiedFields", json!(["model"])),
        ("syncState", json!("committed")),
        ("attempts", json!(0)),
        ("nextAttemptAt", Value::Null),
        ("lastError", Value::Null),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    assert!(first["id"].is_string() && first["committedAt"].is_string());
    assert_eq!(first["mirrorId"], ana.row("3").await["_meta"]["id"]);
    let names: Vec<_> = pending.iter().map(|change| change["pfaId"].as_str().unwrap()).collect();
    assert_eq!(names, ["3", "1", "2", "3", "1"]);
    for limit in [1, 2, 5] {
        assert_eq!(pages(ana, "sync/pending", limit).await, pending);
    }
    assert!(data(&ana.in_organization("OTHER").get("sync/pending").await).is_empty());
}

/// All drafts of one commit have the same time; none may be lost between pages.
#[tokio::test]
async fn pages_keep_changes_of_one_commit_apart() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    sandbox.bulk(json!({"select": {"filter": {}}, "operation": {"type": "set", "fields": {"contract": "C"}}})).await;
    sandbox.commit("").await;
    let pending = data(&ana.get("sync/pending").await);
    assert_eq!(pending.len(), 4);
    assert_eq!(pages(ana, "sync/pending", 1).await, pending);
}

#[tokio::test]
async fn only_pending_changes_of_an_organization_can_be_asked_for() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    assert_problem(&ana.in_organization("NOPE").get("sync/pending").await, 404, "organization_not_found");
    for (query, fault) in [("limit=x", "limit"), ("cursor=x", "cursor"), ("state=failed", "state")] {
        let answer = ana.get(&format!("sync/pending?{query}")).await;
        assert_problem(&answer, 400, "invalid_parameter");
        assert_eq!(answer.faults(), [fault]);
    }
}

#[tokio::test]
async fn changes_tell_base_ours_theirs_and_what_they_cost() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    sandbox.edit("1", json!({"forecastEnd": "2025-04-11", "model": "A"})).await;
    sandbox.edit("2", json!({"isDiscontinued": true})).await;
    app.planner("ben").publish("1", json!({"model": "B"})).await;
    let changes = sandbox.changes().await;
    assert_eq!(
        changes[0]["fields"],
        json!([{"field": "forecastEnd", "base": "2025-03-02", "ours": "2025-04-11", "theirs": "2025-03-02", "conflict": false},
               {"field": "model", "base": null, "ours": "A", "theirs": "B", "conflict": true}])
    );
    assert_eq!((&changes[0]["pfaId"], &changes[0]["syncState"], &changes[0]["wouldMerge"]), (&json!("1"), &json!("draft"), &json!(false)));
    let cost = |number: usize, key: &str| changes[number]["costDifference"][key].to_string();
    assert_eq!((cost(0, "forecastCost"), cost(0, "variance"), cost(0, "planCost")), ("19710.91".into(), "19710.91".into(), "0.00".into()));
    assert_eq!((cost(1, "forecastCost"), cost(1, "planCost"), cost(1, "variance")), ("-1000.50".into(), "-1000.50".into(), "0.00".into()));
    let paged = pages(ana, &format!("sessions/{}/changes", sandbox.id), 1).await;
    assert_eq!(paged, changes);
    let cursor = sandbox.send(Method::GET, "/changes?limit=1", &[], None).await.json()["page"]["nextCursor"].as_str().unwrap().to_owned();
    let other = ana.open().await.send(Method::GET, &format!("/changes?cursor={cursor}"), &[], None).await;
    assert_problem(&other, 400, "invalid_parameter");
}

/// They are added up once for each publication and refresh, and are those of this moment all the same, in every process.
#[tokio::test]
async fn kpis_follow_every_publication_refresh_and_restore() {
    let app = planners_app().await;
    let (ana, other_process) = (app.planner("ana"), PfaMirrorService::new(app.pool().clone()));
    let reader = Reader { organization: ORG.into(), user: "ben".into(), session: None };
    let read = async || {
        let (answer, kpis) = (ana.get("kpis").await.json(), other_process.find_kpis(&reader).await.unwrap());
        let cost = Split::of(&kpis.groups).total().forecast_cost;
        assert_eq!(answer["total"]["forecastCost"].to_string().parse(), Ok(cost));
        assert_eq!(answer["refreshedAt"].is_null(), kpis.refreshed_at.is_none());
        cost
    };
    let before = read().await;
    assert_eq!(read().await, before);
    app.service.refresh_views("test").await.unwrap();
    assert_eq!(read().await, before);
    ana.publish("1", json!({"monthlyRate": 30440})).await;
    let dearer = read().await;
    assert!(dearer > before, "{dearer} {before}");
    app.service.refresh_views("test").await.unwrap();
    assert_eq!(read().await, dearer);
    ana.publish("1", json!({"monthlyRate": 0})).await;
    assert!(read().await < before);
    // What is kept is not read again: nobody changes the notes of publications without a publication.
    let kept = read().await;
    sqlx::raw_sql("delete from pfa_summary_change").execute(app.pool()).await.unwrap();
    assert_eq!(read().await, kept);
    // A database that was restored has come to the same number at another time, and with other figures.
    let restore = "update organizations set last_published_at = last_published_at + interval '1 second'";
    sqlx::raw_sql(restore).execute(app.pool()).await.unwrap();
    assert_eq!(read().await, dearer);
}
