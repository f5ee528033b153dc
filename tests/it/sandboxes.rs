//! Opening, listing, looking at and discarding sandboxes; nobody reaches somebody else's.

use crate::support::planner::{assert_problem, data, planners_app};
use axum::http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_sandbox_opens_empty_and_tells_where_it_is() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let answer = ana.post("sessions", json!({"name": "  what if we rent later "})).await;
    assert_eq!(answer.status, 201);
    let session = answer.json();
    assert_eq!(answer.header("location"), format!("/api/v1/orgs/ORG/sessions/{}", session["id"].as_str().unwrap()));
    for (key, value) in [
        ("name", json!("what if we rent later")),
        ("organization", json!("ORG")),
        ("userId", json!("ana")),
        ("status", json!("open")),
        ("draftCount", json!(0)),
        ("conflictCount", json!(0)),
        ("undoDepth", json!(0)),
        ("redoDepth", json!(0)),
        ("lastEditedAt", Value::Null),
        ("closedAt", Value::Null),
        ("idleDays", json!(0)),
    ] {
        assert_eq!(session[key], value, "{key}");
    }
    let looked = app.get_as("ana", answer.header("location")).await.json();
    assert_eq!((&looked["id"], &looked["createdAt"]), (&session["id"], &session["createdAt"]));
}

#[tokio::test]
async fn a_name_is_not_needed() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    for body in [None, Some(String::new()), Some("{}".into()), Some(r#"{"name": null}"#.into()), Some(r#"{"name": "  "}"#.into())] {
        let answer = ana.send(Method::POST, "sessions", &[], body.clone()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["name"]), (201, &Value::Null), "{body:?}");
    }
}

#[tokio::test]
async fn bad_openings_are_refused_with_the_field() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    for (body, code, fault) in [
        (json!({"name": 5}), "invalid_body", "name"),
        (json!({"name": "x", "title": "y"}), "invalid_body", "title"),
        (json!({"name": "x".repeat(501)}), "invalid_parameter", "name"),
    ] {
        let answer = ana.post("sessions", body).await;
        assert_problem(&answer, 400, code);
        assert_eq!(answer.faults(), [fault]);
    }
    assert_problem(&ana.post("sessions?a=1", json!({})).await, 400, "invalid_parameter");
    assert_problem(&ana.post("sessions", json!(["x"])).await, 400, "invalid_body");
    assert_problem(&ana.in_organization("NOPE").post("sessions", json!({})).await, 404, "organization_not_found");
    assert_eq!(data(&ana.get("sessions").await).len(), 0);
}

#[tokio::test]
async fn the_list_holds_my_sandboxes_newest_first() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let (first, second, third) = (ana.open().await, ana.open().await, ana.open().await);
    let (foreign, elsewhere) = (ben.open().await, ana.in_organization("OTHER").open().await);
    first.edit("1", json!({"dor": "BEO"})).await;
    assert_eq!(first.commit("").await.status, 200);
    assert_eq!(second.discard().await.status, 204);

    let ids = async |query: &str| -> Vec<String> {
        data(&ana.get(&format!("sessions{query}")).await).iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").await, [third.id.as_str(), &first.id], "neither {}, {} nor discarded ones", foreign.id, elsewhere.id);
    assert_eq!(ids("?status=open").await, [third.id.as_str()]);
    assert_eq!(ids("?status=committed").await, [first.id.as_str()]);
    assert_eq!(ids("?status=committed&status=open").await.len(), 2);
    for query in ["status=discarded", "limit=0", "limit=1001", "cursor=x", "user=ben"] {
        let answer = ana.get(&format!("sessions?{query}")).await;
        assert_problem(&answer, 400, "invalid_parameter");
        assert_eq!(answer.faults(), [query.split('=').next().unwrap()]);
    }
    assert_problem(&ana.in_organization("NOPE").get("sessions").await, 404, "organization_not_found");
}

#[tokio::test]
async fn the_list_has_pages() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let mut opened = Vec::new();
    for _ in 0..5 {
        opened.insert(0, ana.open().await.id);
    }
    // Sessions of the same moment must not be lost between pages.
    sqlx::query("update pfa_session set created_at = '2026-01-01T00:00:00Z'").execute(app.pool()).await.unwrap();
    opened.sort();
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ana.get(&format!("sessions?limit=2{cursor}")).await.json();
        listed.extend(page["data"].as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap().to_owned()));
        match page["page"]["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, opened);
    let foreign = app.planner("ben").get(&format!("sessions?limit=2{cursor}")).await;
    assert_problem(&foreign, 400, "invalid_parameter");
}

#[tokio::test]
async fn counts_follow_the_work() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    sandbox.edit("1", json!({"dor": "BEO"})).await;
    sandbox.edit("2", json!({"model": "X"})).await;
    sandbox.undo().await;
    let look = sandbox.look().await;
    assert_eq!((&look["draftCount"], &look["undoDepth"], &look["redoDepth"]), (&json!(1), &json!(1), &json!(1)));
    assert!(look["lastEditedAt"].is_string());
    app.planner("ben").publish("1", json!({"dor": "PROJECT", "category": "Other"})).await;
    assert_eq!(sandbox.look().await["base"]["publishedSince"], 1);
}

#[tokio::test]
async fn discarding_drops_every_draft_and_the_sandbox() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let (sandbox, other) = (ana.open().await, ana.open().await);
    sandbox.edit("1", json!({"category": "Mine"})).await;
    other.edit("1", json!({"category": "Other"})).await;
    assert_eq!(sandbox.discard().await.status, 204);
    assert_problem(&sandbox.discard().await, 404, "session_not_found");
    assert_eq!(ana.row("1").await["category"], "Lifting");
    assert_eq!(other.row("1").await["category"], "Other");
    let left: i64 = sqlx::query_scalar("select count(*) from pfa_modification").fetch_one(app.pool()).await.unwrap();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn a_committed_sandbox_cannot_be_discarded() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"dor": "BEO"})).await;
    sandbox.commit("").await;
    assert_problem(&sandbox.discard().await, 409, "session_committed");
    assert_eq!(sandbox.look().await["status"], "committed");
}

/// A sandbox of somebody else, of another organization, of nobody, no id at all, or one that was discarded.
#[tokio::test]
async fn a_foreign_sandbox_does_not_exist_on_any_route() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let (sandbox, discarded) = (ana.open().await, ana.open().await);
    sandbox.edit("1", json!({"category": "Mine"})).await;
    discarded.edit("1", json!({"category": "Gone"})).await;
    assert_eq!(discarded.discard().await.status, 204);
    let nobodys = "00000000-0000-4000-8000-000000000000";
    for (caller, id) in [
        (ben, sandbox.id.as_str()),
        (ana.in_organization("OTHER"), &sandbox.id),
        (ana, &discarded.id),
        (ana, nobodys),
        (ana, "no-id"),
        (ana, &sandbox.id[..35]),
        (ana, "%20"),
    ] {
        let set = json!({"dor": "BEO"}).to_string();
        let bulk = json!({"select": {"pfaIds": ["1"]}, "operation": {"type": "resetToPlan"}}).to_string();
        for (method, path, body) in [
            (Method::GET, "", None),
            (Method::DELETE, "", None),
            (Method::PATCH, "/records/1", Some(set)),
            (Method::DELETE, "/records/1", None),
            (Method::POST, "/edits", Some(bulk)),
            (Method::POST, "/undo", None),
            (Method::POST, "/redo", None),
            (Method::GET, "/changes", None),
            (Method::POST, "/commit", None),
            (Method::POST, "/commit?dryRun=true", None),
        ] {
            let answer = caller.send(method.clone(), &format!("sessions/{id}{path}"), &[("idempotency-key", "k")], body).await;
            let problem = assert_problem(&answer, 404, "session_not_found");
            assert!(!problem.to_string().contains("ana"), "{method} {path}: nothing of its owner");
        }
    }
    for session in [&sandbox.id, &discarded.id] {
        let reader = if session == &sandbox.id { ben } else { ana };
        for path in ["records", "records/1", "records/export", "kpis", "timeline", "conflicts"] {
            let answer = reader.get(&format!("{path}?session={session}")).await;
            assert_problem(&answer, 404, "session_not_found");
        }
    }
    assert_problem(&ana.in_organization("NOPE").get(&format!("sessions/{}", sandbox.id)).await, 404, "organization_not_found");
    assert_eq!(sandbox.row("1").await["category"], "Mine", "nothing happened to it");
    assert_eq!(sandbox.look().await["undoDepth"], 1);
}

#[tokio::test]
async fn every_sandbox_route_refuses_unknown_parameters() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for (method, path) in [
        (Method::GET, ""),
        (Method::DELETE, ""),
        (Method::DELETE, "/records/1"),
        (Method::POST, "/undo"),
        (Method::POST, "/redo"),
        (Method::GET, "/changes"),
        (Method::POST, "/commit"),
    ] {
        let answer = sandbox.send(method, &format!("{path}?bogus=1"), &[], None).await;
        assert_problem(&answer, 400, "invalid_parameter");
        assert_eq!(answer.faults(), ["bogus"]);
    }
}

#[tokio::test]
async fn many_sandboxes_live_side_by_side() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let mut sandboxes = Vec::new();
    for number in 0..20 {
        let planner = if number % 2 == 0 { ana } else { ben };
        let sandbox = planner.open().await;
        assert_eq!(sandbox.edit("1", json!({"monthlyRate": 1000 + number})).await.status, 200);
        sandboxes.push(sandbox);
    }
    for (number, sandbox) in sandboxes.iter().enumerate() {
        assert_eq!(sandbox.row("1").await["monthlyRate"], 1000 + number);
        assert_eq!(sandbox.look().await["draftCount"], 1);
    }
    assert_eq!(ana.row("1").await["monthlyRate"], 15000);
    assert_eq!(data(&ana.get("sessions").await).len(), 10);
}
