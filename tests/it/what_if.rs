//! What-if: readings inside a sandbox are exact at once, and published ones never hold anybody's drafts.

use crate::support::planner::{ORG, Sandbox, assert_problem, data, planners_app};
use pfa_vanguard::service::{PfaMirrorService, Reader};
use serde_json::{Value, json};

/// Figures of the KPI totals, digit by digit.
fn figures(kpis: &Value) -> [String; 5] {
    ["planCost", "forecastCost", "actualCost", "variance", "recordCount"].map(|key| kpis[key].to_string())
}

async fn totals(sandbox: &Sandbox<'_>) -> [String; 5] {
    figures(&sandbox.read("kpis").await.json()["total"])
}

#[tokio::test]
async fn kpis_of_a_sandbox_follow_each_edit_at_once() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    let published = async || figures(&ana.get("kpis").await.json()["total"]);
    let before = ["38451.22", "38451.22", "7884.36", "0.00", "4"];
    assert_eq!((published().await, totals(&sandbox).await), (before.map(str::to_owned), before.map(str::to_owned)));

    // 100 days instead of 60 of 15,000 a month.
    sandbox.edit("1", json!({"forecastEnd": "2025-04-11"})).await;
    assert_eq!(totals(&sandbox).await, ["38451.22", "58162.13", "7884.36", "19710.91", "4"]);
    sandbox.edit("4", json!({"isDiscontinued": false})).await;
    sandbox.edit("2", json!({"isDiscontinued": true})).await;
    assert_eq!(totals(&sandbox).await, ["45335.09", "65045.99", "7884.36", "19710.91", "4"]);
    assert_eq!(published().await, before, "published figures hold no drafts");
    assert_eq!(figures(&app.planner("ben").get("kpis").await.json()["total"]), before);
    for _ in 0..3 {
        sandbox.undo().await;
    }
    assert_eq!(totals(&sandbox).await, before);
}

#[tokio::test]
async fn groups_of_a_sandbox_follow_its_values() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"category": "New", "source": "Purchase", "purchasePrice": 7.25})).await;
    let kpis = sandbox.read("kpis?groupBy=category,source").await.json();
    let keys: Vec<_> = kpis["groups"].as_array().unwrap().iter().map(|group| group["key"].clone()).collect();
    assert_eq!(
        keys,
        [("Access", "Rental"), ("Lifting", "Rental"), ("New", "Purchase"), ("Power", "Purchase")]
            .map(|(category, source)| json!({"category": category, "source": source}))
    );
    assert_eq!(kpis["groups"][2]["planCost"].to_string(), "7.25");
    assert_eq!(kpis["total"]["purchase"]["planCost"].to_string(), "1007.75");
}

#[tokio::test]
async fn the_timeline_of_a_sandbox_follows_its_dates() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    let published = async || {
        let timeline = ana.get("timeline").await.json();
        (timeline["forecast"].clone(), timeline["actual"].clone(), timeline["actualizedCount"].clone())
    };
    let before = (json!({"start": "2025-01-01", "end": "2025-04-01"}), json!({"start": "2025-01-01", "end": "2025-01-31"}), json!(1));
    assert_eq!(published().await, before);
    sandbox.edit("1", json!({"forecastStart": "2024-06-01", "forecastEnd": "2026-06-01"})).await;
    sandbox.edit("2", json!({"isActualized": true, "actualStart": "2025-02-03", "actualEnd": "2027-01-01"})).await;
    sandbox.edit("4", json!({"isDiscontinued": false, "forecastEnd": "2028-01-01"})).await;
    let timeline = sandbox.read("timeline").await.json();
    assert_eq!(timeline["forecast"], json!({"start": "2024-06-01", "end": "2028-01-01"}));
    assert_eq!(timeline["actual"], json!({"start": "2025-01-01", "end": "2027-01-01"}));
    assert_eq!(timeline["plan"], json!({"start": "2025-01-01", "end": "2025-04-01"}));
    assert_eq!((&timeline["recordCount"], &timeline["actualizedCount"]), (&json!(5), &json!(2)));
    assert_eq!(published().await, before);
    // What stood at the edge and went away takes the edge with it.
    sandbox.undo().await;
    sandbox.edit("1", json!({"isDiscontinued": true})).await;
    assert_eq!(sandbox.read("timeline").await.json()["forecast"], json!({"start": "2025-01-01", "end": "2025-04-01"}));
}

#[tokio::test]
async fn published_figures_follow_a_commit_without_a_refresh() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    app.service.refresh_views("test").await.unwrap();
    let refreshed_at = ana.get("kpis").await.json()["refreshedAt"].clone();
    let (first, second) = (ana.open().await, app.planner("ben").open().await);
    first.edit("1", json!({"forecastEnd": "2025-04-11"})).await;
    second.edit("3", json!({"isDiscontinued": true})).await;
    second.edit("5", json!({"forecastStart": "2030-01-01"})).await;
    first.commit("").await;
    let kpis = ana.get("kpis").await.json();
    assert_eq!(figures(&kpis["total"]), ["38451.22", "58162.13", "7884.36", "19710.91", "4"]);
    second.commit("").await;
    let kpis = ana.get("kpis").await.json();
    assert_eq!(figures(&kpis["total"]), ["30566.86", "50277.77", "0.00", "19710.91", "3"]);
    assert_eq!(kpis["refreshedAt"], refreshed_at, "nothing was refreshed");
    let timeline = ana.get("timeline").await.json();
    // The latest start is no end; the bounds are the first start and the last end.
    assert_eq!(
        (&timeline["forecast"], &timeline["actual"]),
        (&json!({"start": "2025-01-01", "end": "2025-04-11"}), &json!({"start": null, "end": null}))
    );
    // And a refresh changes no figure.
    app.service.refresh_views("test").await.unwrap();
    assert_eq!(figures(&ana.get("kpis").await.json()["total"]), figures(&kpis["total"]));
    assert_eq!(ana.get("timeline").await.json()["forecast"], timeline["forecast"]);
}

#[tokio::test]
async fn a_sandbox_sees_what_others_publish_under_its_own_drafts() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("1", json!({"monthlyRate": 1})).await;
    app.planner("ben").publish("1", json!({"monthlyRate": 2, "model": "B"})).await;
    app.planner("ben").publish("2", json!({"model": "B"})).await;
    let rows = data(&sandbox.read("records?sort=pfaId").await);
    assert_eq!((&rows[0]["monthlyRate"], &rows[0]["model"], &rows[1]["model"]), (&json!(1), &json!("B"), &json!("B")));
    assert_eq!(rows[0]["_meta"]["modifiedFields"], json!(["model", "monthlyRate"]));
}

#[tokio::test]
async fn the_grid_of_a_sandbox_filters_sorts_and_counts_merged_values() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    sandbox.edit("5", json!({"monthlyRate": 99_999, "forecastStart": "2025-12-01"})).await;
    let page = sandbox.read("records?sort=-monthlyRate&limit=1&count=exact&monthlyRateMin=100").await.json();
    assert_eq!((&page["data"][0]["pfaId"], &page["page"]["count"]), (&json!("5"), &json!(3)));
    let cursor = page["page"]["nextCursor"].as_str().unwrap();
    let next = sandbox.read(&format!("records?sort=-monthlyRate&limit=1&monthlyRateMin=100&cursor={cursor}")).await.json();
    assert_eq!(next["data"][0]["pfaId"], "1");
    let foreign = app.planner("ana").get(&format!("records?sort=-monthlyRate&limit=1&monthlyRateMin=100&cursor={cursor}")).await;
    assert_problem(&foreign, 400, "invalid_parameter");
}

#[tokio::test]
async fn a_committed_sandbox_reads_as_everybody_does() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    sandbox.edit("1", json!({"model": "A"})).await;
    sandbox.commit("").await;
    assert_eq!(sandbox.row("1").await, ana.row("1").await);
    assert_eq!(totals(&sandbox).await, figures(&ana.get("kpis").await.json()["total"]));
}

#[tokio::test]
async fn nobody_reads_in_a_foreign_sandbox() {
    let app = planners_app().await;
    let sandbox = app.planner("ana").open().await;
    for path in ["records", "records/1", "kpis", "timeline"] {
        let query = format!("{path}?session={}", sandbox.id);
        for foreign in [app.planner("ben"), app.planner("ana").in_organization("OTHER")] {
            assert_problem(&foreign.get(&query).await, 404, "session_not_found");
        }
        assert_eq!(sandbox.read(path).await.status, 200);
        assert_problem(&app.planner("ana").get(&format!("{path}?session=mine")).await, 400, "invalid_parameter");
    }
}

/// They are computed once for each state of a sandbox, and are those of this moment all the same.
#[tokio::test]
async fn summaries_of_a_sandbox_follow_each_edit_publication_and_refresh() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let sandbox = ana.open().await;
    let reader = Reader { organization: ORG.into(), user: "ana".into(), session: sandbox.id.parse().ok() };
    let read = async |service: &PfaMirrorService| {
        let kpis = service.find_kpis(&reader).await.unwrap();
        (kpis.groups.clone(), kpis.refreshed_at, service.find_timeline(&reader).await.unwrap())
    };
    let mut seen = vec![read(&app.service).await];
    let mut changed = async || {
        let now = read(&app.service).await;
        assert_eq!(now, read(&PfaMirrorService::new(app.pool().clone())).await);
        assert!(!seen.contains(&now), "{now:?}");
        seen.push(now);
    };
    sandbox.edit("1", json!({"forecastEnd": "2025-04-11"})).await;
    changed().await;
    sandbox.edit("3", json!({"monthlyRate": 1})).await;
    changed().await;
    ben.publish("2", json!({"purchasePrice": 5})).await;
    changed().await;
    app.service.refresh_views("test").await.unwrap();
    changed().await;
    sandbox.undo().await;
    changed().await;
    sandbox.drop_draft("1").await;
    changed().await;
    // What is kept is not computed again: nobody changes an overlay without an edit.
    sandbox.edit("5", json!({"monthlyRate": 200})).await;
    let kept = read(&app.service).await;
    sqlx::raw_sql("delete from pfa_overlay where session_id <> pfa_everybody()").execute(app.pool()).await.unwrap();
    assert_eq!(read(&app.service).await, kept);
    // It is kept for its owner, while the sandbox is there.
    let other = Reader { user: "ben".into(), ..reader.clone() };
    assert!(app.service.find_kpis(&other).await.is_err() && app.service.find_timeline(&other).await.is_err());
    sandbox.discard().await;
    assert!(app.service.find_kpis(&reader).await.is_err() && app.service.find_timeline(&reader).await.is_err());
}
