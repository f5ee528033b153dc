//! Exports: the grid's rows as a file, sent while they are read.

use crate::support::TestApp;
use crate::support::planner::{ORG, Planner, assert_problem, data, planners_app};
use crate::support::test_app;
use axum::body::Body;
use axum::http::{Request, Response, Version};
use http_body_util::BodyExt as _;
use pfa_vanguard::domain::export::ExportFormat;
use pfa_vanguard::domain::filter::Filter;
use pfa_vanguard::domain::sort::Sort;
use pfa_vanguard::service::records::PageQuery;
use pfa_vanguard::service::{PfaMirrorService, Reader};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use std::time::{Duration, Instant};
use uuid::Uuid;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn rows(planner: &Planner<'_>, parameters: &str) -> Vec<Value> {
    data(&planner.get(&format!("records?limit=1000&{parameters}")).await)
}

#[tokio::test]
async fn an_export_has_the_rows_of_the_grid_in_its_order() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    ana.publish("5", json!({"category": "Power"})).await;
    let sandbox = ana.open().await;
    sandbox.edit("1", json!({"forecastStart": "2025-02-20", "model": null})).await;
    let session = format!("session={}", sandbox.id);
    for parameters in [
        String::new(),
        session.clone(),
        format!("{session}&sort=-forecastStart"),
        format!("{session}&sort=-monthlyRate,category"),
        "category=Power".to_owned(),
        "isDiscontinued=true&sort=pfaId".to_owned(),
        "contains={\"category\":\"Lifting\"}&q=crane".to_owned(),
        "manufacturer=Nobody".to_owned(),
    ] {
        let parameters = parameters.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        let lean = format!("{parameters}&fields=pfaId,isActualized,monthlyRate,model");
        // Whoever asks for the third time gets what is remembered.
        for parameters in [&parameters, &lean].into_iter().cycle().take(8) {
            let answer = ana.get(&format!("records/export?{parameters}")).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/x-ndjson"), "{parameters}");
            let mut expected = rows(&ana, parameters).await;
            if parameters.contains("fields=") {
                for row in &mut expected {
                    row.as_object_mut().unwrap().remove("_meta");
                }
            }
            assert_eq!(lines(&answer.text), expected, "{parameters}");
        }
    }
}

#[tokio::test]
async fn with_fields_a_row_has_only_these() {
    let app = planners_app().await;
    let ana = app.planner("ana");
    let sandbox = ana.open().await;
    sandbox.edit("1", json!({"monthlyRate": 1.50})).await;
    let selection = format!("session={}&fields=pfaId,forecastStart,monthlyRate,isActualized,source&sort=pfaId", sandbox.id);
    let mut expected = rows(&ana, &selection).await;
    for row in &mut expected {
        row.as_object_mut().unwrap().remove("_meta");
    }
    assert_eq!(lines(&ana.get(&format!("records/export?{selection}")).await.text), expected);
    let csv = ana.get(&format!("records/export?format=csv&{selection}")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"records.csv\"");
    assert_eq!(
        csv.text,
        "pfaId,forecastStart,monthlyRate,isActualized,source\r\n1,2025-01-01,1.5,false,Rental\r\n2,2025-02-01,0,false,Purchase\r\n\
         3,2025-01-01,8000,true,Rental\r\n5,,100,false,Rental\r\n"
    );
}

#[tokio::test]
async fn csv_has_every_field_and_no_formulas() {
    let app = test_app().await;
    let record =
        json!({"pfaId": "=1", "model": "@SUM(A1)", "equipment": "a, \"b\"", "monthlyRate": 10.5, "pemsRemarks": "not in the dictionary"});
    app.load(ORG, &[record.as_object().unwrap().clone()]).await;
    let csv = app.planner("ana").get("records/export?format=csv").await.text;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let names: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(names, pfa_vanguard::domain::field::Field::keys());
    let row = reader.records().next().unwrap().unwrap();
    let cell = |name: &str| row[names.iter().position(|key| key == name).unwrap()].to_owned();
    assert_eq!([cell("pfaId"), cell("model"), cell("equipment"), cell("monthlyRate")], ["'=1", "'@SUM(A1)", "a, \"b\"", "10.5"]);
}

#[tokio::test]
async fn bad_questions_and_foreign_sandboxes_are_refused() {
    let app = planners_app().await;
    let (ana, ben) = (app.planner("ana"), app.planner("ben"));
    let session = ana.open().await.id;
    let answer = ana.get("records/export?format=xml&limit=5&sort=nothing").await;
    assert_problem(&answer, 400, "invalid_parameter");
    assert_eq!(answer.faults(), ["format", "sort", "limit"]);
    assert_problem(&ben.get(&format!("records/export?session={session}")).await, 404, "session_not_found");
    assert_problem(&ana.in_organization("NOWHERE").get("records/export").await, 404, "organization_not_found");
}

/// Whoever is refused leaves the connection as it was.
#[tokio::test]
async fn a_refused_export_leaves_nothing_behind() {
    let app = planners_app().await;
    let one = PgPoolOptions::new().max_connections(1).connect_with(app.pool().connect_options().as_ref().clone()).await.unwrap();
    let service = PfaMirrorService::new(one.clone());
    let state = async || -> (i32, String, String, String) {
        let state = "select pg_backend_pid(), current_setting('statement_timeout'), current_setting('plan_cache_mode'),
                            current_setting('transaction_isolation')";
        sqlx::query_as(state).fetch_one(&one).await.unwrap()
    };
    let before = state().await;
    for (organization, session) in [("NOWHERE", None), (ORG, Some(Uuid::nil()))] {
        let reader = Reader { organization: organization.into(), user: "ana".into(), session };
        let query = PageQuery::new(reader, Filter::default(), Sort::default(), 0);
        assert!(service.export_records(query, ExportFormat::Ndjson).await.is_err());
        assert_eq!(state().await, before);
    }
}

/// An organization whose export does not fit into what is buffered on the way.
async fn large_app() -> TestApp {
    let app = test_app().await;
    let remarks = "x".repeat(2_000);
    let records: Vec<_> =
        (0..5_000).map(|id| json!({"pfaId": id.to_string(), "pemsRemarks": remarks}).as_object().unwrap().clone()).collect();
    app.load(ORG, &records).await;
    app
}

async fn begin(app: &TestApp) -> Response<Body> {
    app.begin(Request::get(format!("/api/v1/orgs/{ORG}/records/export")).body(Body::empty()).unwrap()).await
}

/// Processes of the server that send an export.
async fn senders(app: &TestApp) -> Vec<i32> {
    sqlx::query_scalar(
        "select pid from pg_stat_activity
          where datname = current_database() and state = 'active' and query like '%) merged' and pid <> pg_backend_pid()",
    )
    .fetch_all(app.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_client_that_leaves_costs_nothing_more() {
    let app = large_app().await;
    let (mut first, second) = (begin(&app).await, begin(&app).await);
    assert!(first.body_mut().frame().await.unwrap().is_ok());
    assert_eq!(senders(&app).await.len(), 2, "both wait for their clients");
    let refused = app.planner("ana").get("records/export").await;
    assert_problem(&refused, 429, "exports_busy");
    assert_eq!(refused.header("retry-after"), "5");
    drop((first, second));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !senders(&app).await.is_empty() {
        assert!(Instant::now() < deadline, "the server goes on sending to nobody");
        tokio::task::yield_now().await;
    }
    let whole = app.planner("ana").get("records/export").await;
    assert_eq!(whole.text.lines().count(), 5_000);
}

#[tokio::test]
async fn over_http_1_0_nothing_is_exported() {
    let app = planners_app().await;
    let request = Request::get(format!("/api/v1/orgs/{ORG}/records/export")).version(Version::HTTP_10);
    assert_problem(&app.send(request.body(Body::empty()).unwrap()).await, 505, "http_version");
}

#[tokio::test]
async fn an_export_that_is_not_whole_does_not_look_so() {
    let app = large_app().await;
    let mut answer = begin(&app).await;
    assert!(answer.body_mut().frame().await.unwrap().is_ok());
    let sender = senders(&app).await[0];
    sqlx::query("select pg_terminate_backend($1)").bind(sender).execute(app.pool()).await.unwrap();
    assert!(answer.into_body().collect().await.is_err());

    let answer = begin(&app).await;
    let stop = app.service.clone();
    stop.stop();
    assert!(answer.into_body().collect().await.is_err(), "the service stops");
}
