//! The real router in process, on a database of its own.

use super::server::TestDatabase;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::http::AppState;
use pfa_vanguard::http::admission::Admission;
use pfa_vanguard::http::router::router;
use pfa_vanguard::pems::PemsClient;
use pfa_vanguard::service::PfaMirrorService;
use pfa_vanguard::service::ingest::{Applied, Batch};
use pfa_vanguard::service::write_back::WriteBackOptions;
use serde_json::{Map, Value};
use sqlx::PgPool;
use std::time::{Duration, Instant};
use tower::ServiceExt as _;
use uuid::Uuid;

/// A service under test.
pub struct TestApp {
    pub service: PfaMirrorService,
    pub database: TestDatabase,
    router: Router,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// A header as text; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The keys of `errors` of a problem.
    pub fn faults(&self) -> Vec<String> {
        self.json()["errors"].as_array().into_iter().flatten().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

/// A service on a fresh database.
pub async fn test_app() -> TestApp {
    TestApp::on(TestDatabase::migrated().await)
}

impl TestApp {
    /// A service on this database.
    pub fn on(database: TestDatabase) -> Self {
        let service = PfaMirrorService::new(database.pool.clone());
        let router = router(app_state(service.clone()));
        Self { service, database, router }
    }

    /// The same service, with a PEMS.
    pub fn with_pems(self, pems: PemsClient) -> Self {
        let state = AppState { pems: Some(pems), ..app_state(self.service.clone()) };
        Self { router: router(state), ..self }
    }

    /// The same, with every page read as one of which drafts are nearly all.
    pub fn with_crowds_everywhere(self) -> Self {
        let service = self.service.with_crowds_everywhere();
        let router = router(app_state(service.clone()));
        Self { service, router, ..self }
    }

    pub fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    /// Waits until a query says true, for a minute at most.
    pub async fn wait_until(&self, condition: &'static str) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !sqlx::query_scalar::<_, bool>(condition).fetch_one(self.pool()).await.unwrap() {
            assert!(Instant::now() < deadline, "it does not come to {condition}");
        }
    }

    /// GET as the default caller.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// GET as somebody.
    pub async fn get_as(&self, user: &str, path: &str) -> Answer {
        self.send(Request::get(path).header("x-user-id", user).body(Body::empty()).unwrap()).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = Request::builder().method(Method::POST).uri(path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// The beginning of an answer, with a body that nobody has read yet.
    pub async fn begin(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Any request.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.begin(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// Loads raw records through the real way in.
    pub async fn load(&self, organization: &str, raw: &[Map<String, Value>]) -> Applied {
        self.service.save_organization(organization, organization).await.unwrap();
        let records: Vec<_> = raw.iter().map(|raw| canonicalise(raw.clone()).unwrap().0).collect();
        let mut load = self.service.begin_load(&[organization]).await.unwrap();
        load.stage(&records).await.unwrap();
        let batch = Batch::import(organization, Uuid::new_v4(), "test");
        let applied = load.apply(&batch).await.unwrap();
        load.commit(|_| ()).await.unwrap();
        applied
    }

    /// Lets the planner believe that no sandbox has a draft, as after statistics that were made while an edit was under way, or after a preview.
    pub async fn forget_drafts(&self) {
        sqlx::raw_sql(
            "analyze pfa_modification, pfa_overlay, pfa_edit_change, pfa_mirror_history;
             update pg_class set reltuples = 0
              where oid in (select indexrelid from pg_index where indrelid = any (array['pfa_modification', 'pfa_overlay', 'pfa_edit_change', 'pfa_mirror_history']::regclass[]))
                 or oid = any (array['pfa_modification', 'pfa_overlay', 'pfa_edit_change', 'pfa_mirror_history']::regclass[])",
        )
        .execute(self.pool())
        .await
        .unwrap();
    }
}

/// State for a router; metrics go to a recorder that nobody else sees.
pub fn app_state(service: PfaMirrorService) -> AppState {
    AppState {
        service,
        admission: Admission::new(100, Duration::from_secs(10)),
        pems: None,
        most_vanished_percent: 10,
        write_back: WriteBackOptions::default(),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
    }
}
