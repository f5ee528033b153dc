//! Extractors of the caller, parameters and paths, whose rejections are problems.

use crate::http::parameters::Parameters;
use crate::http::problem::{FieldError, Problem};
use axum::extract::{FromRequestParts, Path as AxumPath};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
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
