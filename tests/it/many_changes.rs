//! Thousands of changes on top of each other, while the statistics of the database know of none. Each call has its time-out of thirty
//! seconds and a reading has [`PATIENCE`]; where the planner compared each with each, they took minutes.

use crate::support::planner::Sandbox;
use crate::support::{TestApp, test_app};
use pfa_vanguard::domain::generate::Plan;
use pfa_vanguard::service::ingest::Applied;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::time::Duration;

const MANY: i64 = 9_000;
/// Three times what a reading takes, and less than what it took.
const PATIENCE: Duration = Duration::from_secs(90);

struct Scene {
    app: TestApp,
    records: Vec<Map<String, Value>>,
}

impl Scene {
    async fn begin() -> Self {
        let app = test_app().await;
        let organization = Plan::demo().organizations.remove(0);
        let records: Vec<_> = organization.records().collect();
        app.load("HOLNG", &records).await;
        sqlx::query("analyze").execute(app.pool()).await.unwrap();
        Self { app, records }
    }

    async fn sandbox<'a>(&'a self, user: &'a str) -> Sandbox<'a> {
        self.app.planner(user).in_organization("HOLNG").open().await
    }

    /// Shifts what is planned, and gives how many drafts changed.
    async fn shift(&self, sandbox: &Sandbox<'_>, days: i64) -> i64 {
        self.app.forget_drafts().await;
        let edit = json!({"select": {"filter": {"status": "forecast"}}, "operation": {"type": "shiftDates", "days": days}});
        let answer = sandbox.bulk(edit).await;
        answer.json()["changed"].as_i64().unwrap_or_else(|| panic!("{}", answer.text))
    }

    async fn commit(&self, sandbox: &Sandbox<'_>) -> Value {
        self.app.forget_drafts().await;
        let answer = sandbox.commit("").await;
        assert!([200, 409].contains(&answer.status.as_u16()), "{}", answer.text);
        answer.json()
    }

    /// Reads the records that somebody has changed with these values.
    async fn read_anew(&self, values: &Value) -> Applied {
        sqlx::query("analyze pfa_modification").execute(self.app.pool()).await.unwrap();
        let touched: Vec<String> = sqlx::query_scalar("select pfa_id from pfa_mirror where id in (select mirror_id from pfa_modification)")
            .fetch_all(self.app.pool())
            .await
            .unwrap();
        let touched: HashSet<_> = touched.into_iter().collect();
        let records = self.records.iter().filter(|record| touched.contains(record["pfaId"].as_str().unwrap()));
        let records: Vec<_> =
            records.map(|record| record.clone().into_iter().chain(values.as_object().unwrap().clone()).collect()).collect();
        self.app.forget_drafts().await;
        tokio::time::timeout(PATIENCE, self.app.load("HOLNG", &records)).await.expect("a reading ends")
    }

    async fn resolve(&self, user: &str, stage: &str) -> i64 {
        self.app.forget_drafts().await;
        let resolution = json!({"select": {"stage": stage}, "resolution": "mine"});
        let answer = self.app.planner(user).in_organization("HOLNG").post("conflicts/resolve", resolution).await;
        let resolved = answer.json()["resolved"].as_array().map_or_else(|| panic!("{}", answer.text), Vec::len);
        i64::try_from(resolved).unwrap()
    }
}

#[tokio::test]
async fn what_lies_on_published_changes_is_committed_read_anew_and_resolved() {
    let scene = Scene::begin().await;
    for (user, days) in [("ana", 30), ("ben", 1)] {
        let sandbox = scene.sandbox(user).await;
        assert!(scene.shift(&sandbox, days).await > MANY);
        assert!(scene.commit(&sandbox).await["committed"].as_i64().unwrap() > MANY);
    }
    let elsewhere = scene.read_anew(&json!({"areaSilo": "Elsewhere"})).await;
    assert!(elsewhere.updated > MANY.unsigned_abs(), "{elsewhere:?}");
    assert_eq!(scene.resolve("ana", "writeBack").await, 0);
    let ends = scene.read_anew(&json!({"areaSilo": "Elsewhere", "forecastEnd": "2035-01-01"})).await;
    assert!(ends.updated > MANY.unsigned_abs(), "{ends:?}");
    assert!(scene.resolve("ana", "writeBack").await > MANY);
}

#[tokio::test]
async fn refused_drafts_are_edited_resolved_and_discarded() {
    let scene = Scene::begin().await;
    let (refused, first) = (scene.sandbox("cid").await, scene.sandbox("dan").await);
    for (sandbox, days) in [(&refused, 3), (&first, 7)] {
        assert!(scene.shift(sandbox, days).await > MANY);
    }
    assert!(scene.commit(&first).await["committed"].as_i64().unwrap() > MANY);
    let report = scene.commit(&refused).await;
    assert!(report["conflicts"].as_array().is_some_and(|conflicts| conflicts.len() > 1_000), "{report}");
    assert!(scene.shift(&refused, 1).await > MANY);
    assert!(scene.resolve("cid", "commit").await > MANY);
    assert_eq!(scene.resolve("cid", "commit").await, 0);
    scene.app.forget_drafts().await;
    assert_eq!(refused.discard().await.status, 204);
}
