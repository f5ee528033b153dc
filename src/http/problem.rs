//! Errors on the wire: RFC 9457 problem+json with stable codes. The only place where an error gets
//! a status. Database text goes to the log, never into an answer.

use crate::domain::fault::Fault;
use crate::error::{Error, RefusedEdit, in_one_line};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tower_http::request_id::RequestId;
use utoipa::ToSchema;

/// So many faults are told in all: a value can be wrong thousands of times, and nobody reads beyond the first.
pub const MOST_FAULTS: usize = 50;

/// An answer that says what went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Names the kind of problem; relative to the service.
    #[serde(rename = "type")]
    #[schema(example = "/problems/invalid-parameter")]
    kind: String,
    /// The kind of problem, for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The kind of problem, for programs; never changes.
    #[schema(example = "invalid_parameter")]
    code: &'static str,
    /// What happened here.
    detail: String,
    /// The id of the request, also in the header X-Request-Id and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Every parameter or field at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// More that the kind of problem has to say: the report of a refused commit, the records of a refused edit.
    #[serde(flatten)]
    #[schema(value_type = Object, additional_properties = true)]
    more: Map<String, Value>,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
}

/// One parameter or field at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Its name.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// What is allowed, where that is a closed list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

impl From<Fault> for FieldError {
    fn from(Fault { field, message, allowed }: Fault) -> Self {
        Self { field, message, allowed }
    }
}

/// A record that an edit left alone, and why.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedAnswer {
    /// The record.
    pub pfa_id: String,
    /// Every field at fault.
    pub errors: Vec<FieldError>,
}

impl From<&RefusedEdit> for RefusedAnswer {
    fn from(refused: &RefusedEdit) -> Self {
        Self { pfa_id: refused.pfa_id.clone(), errors: refused.faults().into_iter().map(FieldError::from).collect() }
    }
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{}", code.replace('_', "-")),
            title,
            status: status.as_u16(),
            code,
            detail: detail.into(),
            request_id: None,
            errors: Vec::new(),
            more: Map::new(),
            retry_after_seconds: None,
        }
    }

    /// 400: parameters or fields at fault.
    #[must_use]
    pub fn invalid_parameters(errors: Vec<FieldError>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", "Invalid parameter", "not acceptable: ").naming(errors)
    }

    /// Appends the names of what is at fault to the detail.
    fn naming(mut self, mut errors: Vec<FieldError>) -> Self {
        errors.truncate(MOST_FAULTS);
        let names: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        self.detail.push_str(&names.join(", "));
        Self { errors, ..self }
    }

    /// 400: a body that is not what the route takes.
    #[must_use]
    pub fn invalid_body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_body", "Invalid body", detail)
    }

    /// 400: fields of a body that are missing, unknown or of the wrong type.
    #[must_use]
    pub fn invalid_body_fields(errors: Vec<FieldError>) -> Self {
        Self::invalid_body("not acceptable: ").naming(errors)
    }

    /// 404: a resource that is not there, or not the caller's.
    #[must_use]
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, "Not found", detail)
    }

    /// 405: the route has other methods.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", "this route has other methods")
    }

    /// 413: a body over the limit.
    #[must_use]
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "Body too large", "the body is over the limit")
    }

    /// 408: the body did not come in time.
    #[must_use]
    pub fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow_body", "Request timeout", "the body did not come in time, or not whole")
    }

    /// 415: a body of another media type.
    #[must_use]
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Unsupported media type",
            "send JSON with Content-Type: application/json",
        )
    }

    /// 500: a defect of the service.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Internal error",
            "the service has a defect; the log has more under this requestId",
        )
    }

    /// 400: an edit that sets fields to what they may not be; nothing was saved.
    #[must_use]
    pub fn invalid_edit(errors: Vec<FieldError>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_edit", "Invalid edit", "nothing was saved; not acceptable: ").naming(errors)
    }

    /// 409: something stands in the way.
    #[must_use]
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, "Conflict", detail)
    }

    /// Adds what the kind of problem has to say beyond the common members.
    #[must_use]
    pub fn with(mut self, more: Map<String, Value>) -> Self {
        self.more = more;
        self
    }

    /// 505: an answer that this version of HTTP cannot carry safely.
    #[must_use]
    pub fn http_version(detail: &str) -> Self {
        Self::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "http_version", "HTTP version not supported", detail)
    }

    /// 503: so many wait already that the caller would wait too long.
    #[must_use]
    pub fn overloaded(retry_after_seconds: u32) -> Self {
        Self::unavailable("overloaded", "too many requests are waiting", retry_after_seconds)
    }

    fn unavailable(code: &'static str, detail: &str, retry_after_seconds: u32) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "Service unavailable", detail);
        Self { retry_after_seconds: Some(retry_after_seconds), ..problem }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match &error {
            Error::OrganizationNotFound(_) => Self::not_found("organization_not_found", error.to_string()),
            Error::SessionNotFound => Self::not_found("session_not_found", error.to_string()),
            Error::RecordNotFound(_) => Self::not_found("record_not_found", error.to_string()),
            Error::DraftNotFound(_) => Self::not_found("draft_not_found", error.to_string()),
            Error::ConflictNotFound => Self::not_found("conflict_not_found", error.to_string()),
            Error::SessionCommitted => Self::conflict("session_committed", error.to_string()),
            Error::NothingToUndo => Self::conflict("nothing_to_undo", error.to_string()),
            Error::NothingToRedo => Self::conflict("nothing_to_redo", error.to_string()),
            Error::RefreshRunning => Self::conflict("refresh_running", error.to_string()),
            Error::MaintenanceRunning => Self::conflict("maintenance_running", error.to_string()),
            Error::LoadRunning(_) => Self::conflict("load_running", error.to_string()),
            Error::WriteBackRunning(_) => Self::conflict("write_back_running", error.to_string()),
            Error::WriteBackPaused(_) => Self::conflict("write_back_paused", error.to_string()),
            Error::PemsOff => Self::conflict("pems_off", error.to_string()),
            Error::RunNotFound => Self::not_found("run_not_found", error.to_string()),
            Error::TooManyVanished { .. } | Error::PagesNotWhole { .. } | Error::RunCancelled | Error::Pems(_) => {
                Self::unavailable("pems_failed", &error.to_string(), 60)
            }
            Error::InvalidEdit(faults) => Self::invalid_edit(faults.iter().cloned().map(FieldError::from).collect()),
            Error::EditRefused { matched, refused } => {
                let problem = Self::new(StatusCode::BAD_REQUEST, "edit_refused", "Invalid edit", error.to_string());
                let refused: Vec<_> = refused.iter().map(RefusedAnswer::from).collect();
                problem.with([("matched".to_owned(), json!(matched)), ("refused".to_owned(), json!(refused))].into_iter().collect())
            }
            Error::SelectionTooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "selection_too_large", "Selection too large", error.to_string())
            }
            Error::StaleRecord => Self::new(StatusCode::PRECONDITION_FAILED, "stale_record", "Precondition failed", error.to_string()),
            Error::IdempotencyKeyReused => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", "Unprocessable request", error.to_string())
            }
            Error::Busy => {
                tracing::warn!("a transaction was given up in favour of another");
                Self::unavailable("busy", &error.to_string(), 1)
            }
            Error::Stopping => Self::unavailable("stopping", &error.to_string(), 5),
            Error::ExportsBusy => {
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "exports_busy", "Too many requests", error.to_string());
                Self { retry_after_seconds: Some(5), ..problem }
            }
            Error::ExportCut => Self::unavailable("export_cut", &error.to_string(), 5),
            Error::StatementTimeout => {
                tracing::warn!("a statement was cancelled after its time-out");
                Self::unavailable("statement_timeout", &error.to_string(), 1)
            }
            Error::DatabaseUnavailable(_) => {
                tracing::error!(error = in_one_line(&error), "the database is not available");
                Self::unavailable("database_unavailable", "the database is not available", 5)
            }
            Error::Database(_) | Error::Migration(_) => {
                tracing::error!(error = in_one_line(&error), "unexpected error");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Problem {
    /// The problem travels in the extensions until [`render_problem`] knows the request's id.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a problem, with the id of its request, which the answer bears.
pub fn render_problem(mut response: Response) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let request_id = response.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).map(str::to_owned);
    let problem = Problem { request_id, ..problem };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(header::CONTENT_LENGTH);
    if let Some(seconds) = problem.retry_after_seconds {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    *response.body_mut() = serde_json::to_vec(&problem).unwrap_or_default().into();
    response
}
