//! Sending requests to PEMS and reading their envelope.

use super::error::{PemsError, shortened};
use super::field_map::FieldMap;
use super::limits::Limits;
use super::wire::Envelope;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer: a page of ten thousand rows has about ten million bytes.
const MOST_BYTES: usize = 128 * 1024 * 1024;

/// How the service makes itself known to PEMS.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// HTTP basic.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// An API key, in the header `X-API-Key`.
    ApiKey(SecretString),
}

/// Where PEMS is and how it is asked.
#[derive(Debug, Clone)]
pub struct PemsOptions {
    /// The base address, for example `https://host/axis/restservices`.
    pub url: Url,
    /// The tenant.
    pub tenant: String,
    /// Who asks.
    pub credentials: Credentials,
    /// Rows of a page.
    pub page_size: u32,
    /// Requests a second for each organization.
    pub rate_per_second: NonZeroU32,
    /// How long a reading may take.
    pub read_timeout: Duration,
    /// How long a writing may take.
    pub write_timeout: Duration,
    /// How long PEMS is left alone after too many failures.
    pub rest: Duration,
    /// The pause before the first repetition of a reading; it doubles with each.
    pub retry_pause: Duration,
    /// What is called how.
    pub fields: FieldMap,
}

/// A client of one PEMS; cheap to clone.
#[derive(Debug, Clone)]
pub struct PemsClient {
    pub(super) options: Arc<PemsOptions>,
    http: Client,
    limits: Arc<Limits>,
}

impl PemsClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`PemsError::Unsayable`] when a setting cannot stand in a header, or TLS cannot be set up.
    pub fn new(options: PemsOptions) -> Result<Self, PemsError> {
        // Both the database driver and this client use ring; whoever is first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .default_headers(headers(&options)?)
            .connect_timeout(CONNECT_TIMEOUT)
            // Credentials go to the configured host only.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&options.url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| PemsError::Unsayable(format!("PEMS cannot be asked: {error}")))?;
        let limits = Arc::new(Limits::new(options.rate_per_second, options.rest));
        Ok(Self { options: Arc::new(options), http, limits })
    }

    /// The field map.
    #[must_use]
    pub fn fields(&self) -> &FieldMap {
        &self.options.fields
    }

    /// Sends one request for an organization and gives what its envelope holds.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        organization: &str,
        path: &str,
        body: &(impl Serialize + Sync),
        timeout: Duration,
    ) -> Result<T, PemsError> {
        let address = format!("{}/{path}", self.options.url.as_str().trim_end_matches('/'));
        let body = serde_json::to_vec(body).map_err(|error| PemsError::Unsayable(error.to_string()))?;
        let organization_header = HeaderValue::from_str(organization)
            .map_err(|_| PemsError::Unsayable("this organization code cannot stand in a header".into()))?;
        let request = self
            .http
            .post(address)
            .timeout(timeout)
            .header("organization", organization_header)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(body);
        self.limits
            .run(organization, async {
                let response = request.send().await.map_err(|error| sending_error(&error, timeout))?;
                let (status, retry_after) = (response.status(), retry_after(&response));
                let body = read_body(response, timeout).await?;
                open_envelope(status, retry_after, &body)
            })
            .await
    }
}

fn headers(options: &PemsOptions) -> Result<HeaderMap, PemsError> {
    let text = |name: &str, value: &str| {
        HeaderValue::from_str(value).map_err(|_| PemsError::Unsayable(format!("{name} holds characters that no header can have")))
    };
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("tenant"), text("PFA_PEMS_TENANT", &options.tenant)?);
    let (name, mut value) = match &options.credentials {
        Credentials::Basic { username, password } => {
            let pair = BASE64_STANDARD.encode(format!("{username}:{}", password.expose_secret()));
            (AUTHORIZATION, text("PFA_PEMS_PASSWORD", &format!("Basic {pair}"))?)
        }
        Credentials::ApiKey(key) => (HeaderName::from_static("x-api-key"), text("PFA_PEMS_API_KEY", key.expose_secret())?),
    };
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(headers)
}

fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn sending_error(error: &reqwest::Error, timeout: Duration) -> PemsError {
    match error {
        _ if error.is_timeout() => PemsError::TimedOut(timeout),
        _ if error.is_connect() => PemsError::Unreachable(cause_of(error)),
        _ => PemsError::Cut(cause_of(error)),
    }
}

/// The innermost cause: the outer ones repeat the address.
fn cause_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    shortened(&cause.to_string())
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

async fn read_body(mut response: Response, timeout: Duration) -> Result<Vec<u8>, PemsError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| sending_error(&error, timeout))? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(PemsError::TooLarge(MOST_BYTES));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error of an envelope counts whatever the status is.
fn open_envelope<T: DeserializeOwned>(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Result<T, PemsError> {
    if status == StatusCode::UNAUTHORIZED {
        return Err(PemsError::Unauthorized);
    }
    if status == StatusCode::FORBIDDEN {
        // The credentials are known; what was asked is not theirs to do.
        return Err(PemsError::Refused { message: "authorization failed (status 403)".into(), is_final: true });
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Err(PemsError::TooManyRequests { retry_after });
    }
    let envelope = serde_json::from_slice::<Envelope<T>>(body);
    if let Some(alert) = envelope.as_ref().ok().and_then(|envelope| envelope.errors.as_ref()).and_then(|alerts| alerts.first()) {
        let message = alert.message.as_deref().or(alert.name.as_deref()).unwrap_or("an error without a message");
        return Err(PemsError::refused(message));
    }
    if !status.is_success() {
        return Err(PemsError::Failed {
            status: status.as_u16(),
            message: shortened(&String::from_utf8_lossy(&body[..body.len().min(1_000)])),
        });
    }
    let envelope = envelope.map_err(|error| PemsError::Malformed(error.to_string()))?;
    envelope.result.and_then(|result| result.data).ok_or_else(|| PemsError::Malformed("an answer without a result".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn opened(status: u16, body: &Value) -> Result<Value, PemsError> {
        open_envelope(StatusCode::from_u16(status).expect("a status"), None, body.to_string().as_bytes())
    }

    #[test]
    fn the_error_of_an_envelope_counts_with_any_status() {
        let alert = json!({"Result": null, "ErrorAlert": [{"Name": "X", "Message": "Record not found."}]});
        for status in [200, 400, 500] {
            assert_eq!(opened(status, &alert), Err(PemsError::Refused { message: "Record not found.".into(), is_final: true }));
        }
        let fine = json!({"Result": {"ResultData": {"a": 1}}, "ErrorAlert": []});
        assert_eq!(opened(200, &fine), Ok(json!({"a": 1})));
        assert_eq!(opened(500, &fine).map_err(|error| error.is_trouble()), Err(true));
        assert!(matches!(opened(200, &json!({"Result": null})), Err(PemsError::Malformed(_))));
        assert!(matches!(opened(200, &json!([1])), Err(PemsError::Malformed(_))));
        assert_eq!(opened(401, &fine), Err(PemsError::Unauthorized));
        assert_eq!(opened(429, &fine), Err(PemsError::TooManyRequests { retry_after: None }));
        assert_eq!(opened(302, &fine).map_err(|error| error.is_passing()), Err(true));
    }
}
