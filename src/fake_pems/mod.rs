//! A stand-in for PEMS: the same wire format, records of its own, users who edit there, limits and
//! faults that can be switched on. For the demo, for trying things out, and for the tests.

mod control;
mod faults;
mod grid;
mod records;
mod screen;

pub use faults::Fault;
pub use records::{FakeRecord, Records};

use crate::pems::FieldMap;
use crate::pems::wire::{GRID_PATH, SCREEN_PATH};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use faults::FaultPlan;
use governor::{DefaultKeyedRateLimiter, Quota};
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Below this path PEMS offers its services.
pub const BASE_PATH: &str = "/axis/restservices";

/// How the stand-in behaves.
#[derive(Debug, Clone)]
pub struct FakeOptions {
    /// The tenant that it serves.
    pub tenant: String,
    /// The user that it knows.
    pub username: String,
    /// The user's password.
    pub password: String,
    /// A key that is as good as both.
    pub api_key: String,
    /// How long every answer takes.
    pub latency: Duration,
    /// Requests a second that an organization may send.
    pub rate_per_second: Option<NonZeroU32>,
}

impl Default for FakeOptions {
    fn default() -> Self {
        Self {
            tenant: "DEMO".to_owned(),
            username: "vanguard".to_owned(),
            password: "vanguard".to_owned(),
            api_key: "vanguard-key".to_owned(),
            latency: Duration::ZERO,
            rate_per_second: None,
        }
    }
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its number since the last reset, from 0.
    pub number: u64,
    /// Code of the organization.
    pub organization: String,
    /// Whether it writes.
    pub is_write: bool,
}

type Hook = Box<dyn FnMut(&Request, &mut Records) + Send>;

/// The stand-in; clones share their records.
#[derive(Clone)]
pub struct FakePems {
    shared: Arc<Shared>,
}

struct Shared {
    options: FakeOptions,
    fields: FieldMap,
    state: Mutex<FakeState>,
    tokens: Option<DefaultKeyedRateLimiter<String>>,
}

#[derive(Default)]
struct FakeState {
    records: Records,
    faults: FaultPlan,
    requests: Vec<Request>,
    hook: Option<Hook>,
}

impl FakePems {
    /// A PEMS without records that calls its fields as a map says.
    #[must_use]
    pub fn new(options: FakeOptions, fields: FieldMap) -> Self {
        let tokens = options.rate_per_second.map(|rate| DefaultKeyedRateLimiter::keyed(Quota::per_second(rate)));
        Self { shared: Arc::new(Shared { options, fields, state: Mutex::default(), tokens }) }
    }

    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> &FakeOptions {
        &self.shared.options
    }

    /// Its services, and `/control` for whoever plays with it.
    pub fn router(&self) -> Router {
        Router::new()
            .route(&format!("{BASE_PATH}/{GRID_PATH}"), post(serve_grid))
            .route(&format!("{BASE_PATH}/{SCREEN_PATH}"), post(serve_screen))
            .nest("/control", control::routes())
            .with_state(self.clone())
    }

    /// Reads or changes the records, as its users do.
    pub fn with_records<T>(&self, work: impl FnOnce(&mut Records) -> T) -> T {
        work(&mut self.state().records)
    }

    /// Makes a request fail: the one with this number, counted from 0 since the last reset.
    pub fn fail_request(&self, number: u64, fault: Fault) {
        self.state().faults.at(number, fault);
    }

    /// Makes every request fail from now on, until the next reset.
    pub fn fail_always(&self, fault: Fault) {
        self.state().faults.always(fault);
    }

    /// Calls this before each request is served, with what it may change: users who are faster.
    pub fn before_requests(&self, hook: impl FnMut(&Request, &mut Records) + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// Forgets the requests, faults and hooks.
    pub fn reset(&self) {
        let mut state = self.state();
        *state = FakeState { records: std::mem::take(&mut state.records), ..FakeState::default() };
    }

    /// The requests since the last reset.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, FakeState> {
        // A hook of a test that panicked leaves records that are whole.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request in, or answers it.
    fn admit(&self, headers: &HeaderMap, is_write: bool) -> Result<(String, Option<Fault>), Response> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let organization = text("organization").to_owned();
        if self.shared.tokens.as_ref().is_some_and(|tokens| tokens.check_key(&organization).is_err()) {
            return Err(too_many(1));
        }
        let mut state = self.state();
        let request = Request { number: state.requests.len() as u64, organization: organization.clone(), is_write };
        state.requests.push(request.clone());
        let fault = state.faults.of(request.number);
        if let Some(mut hook) = state.hook.take() {
            hook(&request, &mut state.records);
            state.hook = Some(hook);
        }
        drop(state);
        let options = &self.shared.options;
        let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", options.username, options.password)));
        let is_known = (text("authorization") == expected || text("x-api-key") == options.api_key) && text("tenant") == options.tenant;
        match fault {
            _ if !is_known => Err(refusal(StatusCode::UNAUTHORIZED, "Authorization failed")),
            Some(Fault::Unauthorized) => Err(refusal(StatusCode::UNAUTHORIZED, "Authorization failed")),
            Some(Fault::Status500) => Err((StatusCode::INTERNAL_SERVER_ERROR, "trouble inside").into_response()),
            Some(Fault::TooManyRequests { seconds }) => Err(too_many(seconds)),
            Some(Fault::ErrorEnvelope) => Err(refusal(StatusCode::OK, "The record is locked by another user")),
            fault => Ok((organization, fault)),
        }
    }

    /// Sends an answer, slow or cut as the fault says.
    async fn send(&self, body: &Value, fault: Option<Fault>) -> Response {
        tokio::time::sleep(self.shared.options.latency).await;
        match fault {
            Some(Fault::Hang { seconds }) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            Some(Fault::CutBody) => return cut(&body.to_string()),
            _ => {}
        }
        Json(body).into_response()
    }
}

async fn serve_grid(State(pems): State<FakePems>, headers: HeaderMap, body: Bytes) -> Response {
    let (organization, fault) = match pems.admit(&headers, false) {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let answer = {
        let state = pems.state();
        grid::answer(&pems.shared.fields, &state.records, &organization, &body, fault)
    };
    match answer {
        Ok(body) => pems.send(&body, fault).await,
        Err(message) => refusal(StatusCode::BAD_REQUEST, &message),
    }
}

async fn serve_screen(State(pems): State<FakePems>, headers: HeaderMap, body: Bytes) -> Response {
    let (organization, fault) = match pems.admit(&headers, true) {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    // What is cut or late was written all the same.
    let answer = screen::write(&pems.shared.fields, &mut pems.state().records, &organization, &body);
    match answer {
        Ok(body) => pems.send(&body, fault).await,
        Err(message) => refusal(StatusCode::BAD_REQUEST, &message),
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"Result": null, "ErrorAlert": [{"Name": "ERROR", "Message": message}]}))).into_response()
}

fn too_many(seconds: u64) -> Response {
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, HeaderValue::from(seconds))], "slow down").into_response()
}

/// Half of a body, then the end of the connection.
fn cut(body: &str) -> Response {
    let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
    let stream = futures_util::stream::iter([Ok(half), Err(std::io::Error::other("cut"))]);
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
