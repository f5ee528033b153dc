//! `/control` of the stand-in: look at its records and change them as a user of PEMS would, and
//! switch faults on and off.

use super::faults::Fault;
use super::{FakePems, FakeRecord};
use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Router<FakePems> {
    Router::new().route("/records/{organization}/{id}", get(show).patch(edit).delete(remove)).route("/faults", delete(heal).put(fail))
}

async fn show(State(pems): State<FakePems>, Path((organization, id)): Path<(String, String)>) -> Response {
    let shown = pems.with_records(|records| records.get(&organization, &id).map(shown));
    shown.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |record| Json(record).into_response())
}

async fn edit(
    State(pems): State<FakePems>,
    Path((organization, id)): Path<(String, String)>,
    Json(changes): Json<Map<String, Value>>,
) -> StatusCode {
    found(pems.with_records(|records| records.edit(&organization, &id, &changes)))
}

async fn remove(State(pems): State<FakePems>, Path((organization, id)): Path<(String, String)>) -> StatusCode {
    found(pems.with_records(|records| records.delete(&organization, &id)))
}

async fn fail(State(pems): State<FakePems>, Json(fault): Json<Fault>) -> StatusCode {
    pems.fail_always(fault);
    StatusCode::NO_CONTENT
}

async fn heal(State(pems): State<FakePems>) -> StatusCode {
    pems.reset();
    StatusCode::NO_CONTENT
}

fn found(is_there: bool) -> StatusCode {
    if is_there { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

fn shown(record: &FakeRecord) -> Value {
    let mut texts: Map<_, _> = record.texts.iter().map(|(field, text)| (field.key().to_owned(), json!(text))).collect();
    texts.extend(record.more.iter().map(|(name, text)| (name.clone(), json!(text))));
    texts.insert("changedBy".to_owned(), json!(record.changed_by));
    texts.insert("changedAt".to_owned(), json!(record.changed_at));
    Value::Object(texts)
}
