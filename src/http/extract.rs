//! Extractors whose rejections are problems.

use crate::domain::json::unfit_for_jsonb;
use crate::http::parameters::Parameters;
use crate::http::problem::{FieldError, Problem};
use axum::Json as AxumJson;
use axum::body::HttpBody as _;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path as AxumPath, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::convert::Infallible;

/// The header that names the caller while authentication is off.
pub const USER_HEADER: &str = "x-user-id";

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub String);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(USER_HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self("dev".to_owned())) };
        match value.to_str().map(str::trim) {
            Ok(user) if (1..=100).contains(&user.len()) && values.next().is_none() => Ok(Self(user.to_owned())),
            _ => Err(Problem::invalid_parameters(vec![FieldError {
                field: "X-User-Id".into(),
                message: "must be given once, with 1 to 100 visible ASCII characters".into(),
                allowed: Vec::new(),
            }])),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query()))
    }
}

/// Path parameters. A path that cannot be decoded leads nowhere.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // NUL is valid in a path but can be in no key of the database.
        let has_nul = parts.uri.path().contains("%00");
        match AxumPath::<T>::from_request_parts(parts, state).await {
            Ok(AxumPath(value)) if !has_nul => Ok(Self(value)),
            _ => Err(Problem::not_found("not_found", "this path leads nowhere")),
        }
    }
}

/// A JSON body that may be missing altogether; then it is the default.
#[derive(Debug, Clone, Copy)]
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_empty = request.body().is_end_stream() && !request.headers().contains_key(header::CONTENT_TYPE);
        if is_empty { Ok(Self(T::default())) } else { Json::from_request(request, state).await.map(|Json(body)| Self(body)) }
    }
}

/// A JSON body.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match AxumJson::<Value>::from_request(request, state).await {
            Ok(AxumJson(value)) => match unfit_for_jsonb(&value) {
                None => T::deserialize(value).map(Self).map_err(|error| Problem::invalid_body(error.to_string())),
                Some(problem) => Err(Problem::invalid_body(format!("the body {problem}"))),
            },
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::unsupported_media_type()),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::too_large()),
            Err(rejection) => Err(Problem::invalid_body(rejection.body_text())),
        }
    }
}
