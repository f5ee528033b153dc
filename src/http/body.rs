//! JSON bodies: extractors whose rejections are problems that name every field of a wrong type at once.

use crate::domain::json::unfit_for_jsonb;
use crate::http::parameters::shorten;
use crate::http::problem::{FieldError, MOST_FAULTS, Problem};
use axum::Json as AxumJson;
use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use std::fmt;
use std::marker::PhantomData;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Most characters of a message about a value.
const MOST_MESSAGE: usize = 200;

/// A JSON object as body.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + PartialSchema, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match AxumJson::<Value>::from_request(request, state).await {
            Ok(AxumJson(value)) => match unfit_for_jsonb(&value) {
                None => read_body(value).map(Self),
                Some(problem) => Err(Problem::invalid_body(format!("the body {problem}"))),
            },
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::unsupported_media_type()),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::too_large()),
            Err(rejection) => Err(Problem::invalid_body(rejection.body_text().chars().take(MOST_MESSAGE).collect::<String>())),
        }
    }
}

/// A JSON object as body, or none at all, which is the default; then its media type says nothing.
#[derive(Debug, Clone, Copy)]
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + PartialSchema + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = match Bytes::from_request(Request::from_parts(parts.clone(), body), state).await {
            Ok(bytes) => bytes,
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => return Err(Problem::too_large()),
            Err(rejection) => return Err(Problem::invalid_body(rejection.body_text())),
        };
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        Json::from_request(Request::from_parts(parts, Body::from(bytes)), state).await.map(|Json(body)| Self(body))
    }
}

/// What a body holds where nothing can be said: a key in it was meant for something else.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoKeys {}

/// Reads a typed body. What is at fault is taken out and the rest read again, until every fault is known.
fn read_body<T: DeserializeOwned + PartialSchema>(mut value: Value) -> Result<T, Problem> {
    if !value.is_object() {
        return Err(Problem::invalid_body("the body must be a JSON object"));
    }
    let mut faults = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize(&value) {
            Ok(body) if faults.is_empty() => return Ok(body),
            Ok(_) => break,
            Err(error) => error,
        };
        let mut path = keys_of(error.path());
        let message: String = error.inner().to_string().chars().take(MOST_MESSAGE).collect();
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
        let field = path.iter().map(String::as_str).chain(missing.map(|(name, _)| name)).collect::<Vec<_>>().join(".");
        note(&mut faults, &field, if missing.is_some() { "is missing" } else { &message });
        let last = path.pop();
        if faults.len() == MOST_FAULTS || !last.is_some_and(|key| take_out(&mut value, &path, &key)) {
            break;
        }
    }
    // Of the body's own missing fields the reading tells only the first.
    for field in required_fields::<T>() {
        if value.get(&field).is_none() {
            note(&mut faults, &field, "is missing");
        }
    }
    Err(Problem::invalid_body_fields(faults))
}

/// Notes a fault, but not that a field is missing which was taken out a moment ago.
fn note(faults: &mut Vec<FieldError>, field: &str, message: &str) {
    let field = shorten(field);
    let inside = format!("{field}.");
    if !faults.iter().any(|fault| fault.field == field || fault.field.starts_with(&inside)) {
        faults.push(FieldError { field, message: message.to_owned(), allowed: Vec::new() });
    }
}

/// The fields that a body must have, as the OpenAPI document tells them.
fn required_fields<T: PartialSchema>() -> Vec<String> {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object.required,
        _ => Vec::new(),
    }
}

/// The keys that lead to a value; of a list the whole list.
fn keys_of(path: &Path) -> Vec<String> {
    let keys = path.iter().map_while(|segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
    });
    keys.collect()
}

fn take_out(value: &mut Value, path: &[String], key: &str) -> bool {
    let parent = path.iter().try_fold(value, |value, key| value.get_mut(key));
    parent.and_then(Value::as_object_mut).is_some_and(|object| object.remove(key).is_some())
}

/// For `#[serde(deserialize_with)]`: serde would read a struct from a list of its values, too.
///
/// # Errors
/// When it is no object, or not the one that is wanted.
pub fn only_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct OnlyObject<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyObject<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(OnlyObject(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its reading is of interest")]
    struct Outer {
        name: Option<String>,
        #[serde(deserialize_with = "only_object")]
        inner: Inner,
        list: Option<Vec<String>>,
        must: String,
    }

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its reading is of interest")]
    struct Inner {
        number: i32,
        flag: Option<bool>,
    }

    fn faults(body: Value) -> Vec<String> {
        let problem = serde_json::to_value(read_body::<Outer>(body).expect_err("faults")).expect("JSON");
        let errors = problem["errors"].as_array().into_iter().flatten();
        errors.map(|error| error["field"].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn every_field_at_fault_is_named_at_once() {
        assert!(read_body::<Outer>(json!({"inner": {"number": 1}, "must": ""})).is_ok());
        assert_eq!(
            faults(json!({"name": 1, "inner": {"number": "1", "flag": 2, "x": 3}, "list": ["a", 1, 2], "bogus": {}})),
            ["bogus", "inner.flag", "inner.number", "inner.x", "list", "name", "must"]
        );
        assert_eq!(faults(json!({"list": 1})), ["list", "inner", "must"]);
        assert_eq!(faults(json!({"inner": {"flag": 1}, "name": []})), ["inner.flag", "inner.number", "name", "must"]);
        assert_eq!(faults(json!({"inner": [1, true]})), ["inner", "must"], "no list instead of an object");
        assert!(faults(json!([1])).is_empty(), "there is no field to name");
    }

    #[test]
    fn there_are_not_too_many_faults() {
        let body = (0..1_000).map(|number| (number.to_string(), json!(1))).collect();
        assert_eq!(faults(Value::Object(body)).len(), MOST_FAULTS);
    }
}
