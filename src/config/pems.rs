//! Settings of PEMS: where it is, who asks, how hard and when. Without an address PEMS is off.

use super::{SettingError, cron_expression, number_within};
use crate::pems::{Credentials, FieldMap, PemsClient, PemsOptions};
use crate::service::write_back::WriteBackOptions;
use clap::Args;
use reqwest::Url;
use secrecy::SecretString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

const READ_TIMEOUT: Duration = Duration::from_mins(1);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long PEMS is left alone after too many failures.
const REST: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Settings of PEMS.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings of PEMS")]
pub struct PemsSettings {
    /// Base address of PEMS, `https://host/axis/restservices`. Without it PEMS is off.
    #[arg(long, env = "PFA_PEMS_URL", value_name = "URL", global = true, value_parser = pems_url)]
    pub pems_url: Option<Url>,

    /// Tenant of PEMS.
    #[arg(long, env = "PFA_PEMS_TENANT", value_name = "TENANT", global = true)]
    pub pems_tenant: Option<String>,

    /// User of PEMS, with the password.
    #[arg(long, env = "PFA_PEMS_USERNAME", value_name = "NAME", global = true)]
    pub pems_username: Option<String>,

    /// Password of the user.
    #[arg(long, env = "PFA_PEMS_PASSWORD", hide_env_values = true, value_name = "PASSWORD", global = true, value_parser = secret)]
    pub pems_password: Option<SecretString>,

    /// API key of PEMS, instead of user and password.
    #[arg(long, env = "PFA_PEMS_API_KEY", hide_env_values = true, value_name = "KEY", global = true, value_parser = secret)]
    pub pems_api_key: Option<SecretString>,

    /// Records that PEMS is asked for at once.
    #[arg(long, env = "PFA_PEMS_PAGE_SIZE", value_name = "N", default_value = "5000", global = true, value_parser = number_within::<1, 10_000>)]
    pub pems_page_size: u32,

    /// Requests a second that PEMS is sent for each organization.
    #[arg(long, env = "PFA_PEMS_RATE_PER_SECOND", value_name = "N", default_value = "10", global = true, value_parser = number_within::<1, 10_000>)]
    pub pems_rate_per_second: u32,

    /// File that says which field of PEMS is which key of a record, instead of the map that is built in.
    #[arg(long, env = "PFA_PEMS_FIELD_MAP", value_name = "FILE", global = true)]
    pub pems_field_map: Option<PathBuf>,

    /// When to read what PEMS changed: a cron expression with seconds; every quarter of an hour unless set.
    #[arg(long, env = "PFA_SYNC_CRON", value_name = "CRON", default_value = "0 5/15 * * * *", global = true, value_parser = cron_expression)]
    pub sync_cron: String,

    /// When to read everything, which alone finds what PEMS does not have any more: a cron expression with seconds; every
    /// night unless set.
    #[arg(long, env = "PFA_SYNC_FULL_CRON", value_name = "CRON", default_value = "0 40 1 * * *", global = true, value_parser = cron_expression)]
    pub full_sync_cron: String,

    /// Seconds between looks for changes that are due for PEMS.
    #[arg(long, env = "PFA_PUSH_INTERVAL_SECONDS", value_name = "N", default_value = "10", global = true, value_parser = number_within::<1, 86_400>)]
    pub push_interval_seconds: u32,

    /// Seconds after which a change that a process was writing when it ended may be taken over. Longer than
    /// a reading and a writing of one record take.
    #[arg(long, env = "PFA_PUSH_LEASE_SECONDS", value_name = "N", default_value = "180", global = true, value_parser = number_within::<1, 86_400>)]
    pub push_lease_seconds: u32,

    /// So often a change is sent to PEMS before it is given up; then a person retries or drops it.
    #[arg(long, env = "PFA_PUSH_MAX_ATTEMPTS", value_name = "N", default_value = "12", global = true, value_parser = number_within::<1, 1_000>)]
    pub push_max_attempts: u32,

    /// Per cent of an organization's records that a full sync may find vanished; more, and it changes nothing.
    #[arg(long, env = "PFA_SYNC_MAX_VANISHED_PERCENT", value_name = "N", default_value = "10", global = true, value_parser = number_within::<0, 100>)]
    pub sync_max_vanished_percent: u32,
}

impl PemsSettings {
    /// How changes are written back.
    #[must_use]
    pub fn write_back(&self) -> WriteBackOptions {
        WriteBackOptions {
            lease: Duration::from_secs(self.push_lease_seconds.into()),
            most_attempts: self.push_max_attempts,
            ..WriteBackOptions::default()
        }
    }

    /// A client of PEMS; none when PEMS is off.
    ///
    /// # Errors
    /// The first setting that is wrong or missing.
    pub fn client(&self) -> Result<Option<PemsClient>, SettingError> {
        let Some(url) = &self.pems_url else { return Ok(None) };
        let tenant = self.pems_tenant.clone().ok_or_else(|| wrong("PFA_PEMS_TENANT", "is needed with PFA_PEMS_URL"))?;
        let fields = match &self.pems_field_map {
            Some(path) => FieldMap::load(path),
            None => FieldMap::built_in(),
        };
        let options = PemsOptions {
            url: url.clone(),
            tenant,
            credentials: self.credentials()?,
            page_size: self.pems_page_size,
            rate_per_second: NonZeroU32::new(self.pems_rate_per_second).unwrap_or(NonZeroU32::MIN),
            read_timeout: READ_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            rest: REST,
            retry_pause: RETRY_PAUSE,
            fields: fields.map_err(|error| wrong("PFA_PEMS_FIELD_MAP", &error.to_string()))?,
        };
        PemsClient::new(options).map(Some).map_err(|error| wrong("PFA_PEMS_URL", &error.to_string()))
    }

    fn credentials(&self) -> Result<Credentials, SettingError> {
        match (&self.pems_username, &self.pems_password, &self.pems_api_key) {
            (Some(username), Some(password), None) => Ok(Credentials::Basic { username: username.clone(), password: password.clone() }),
            (None, None, Some(key)) => Ok(Credentials::ApiKey(key.clone())),
            (Some(_), None, None) => Err(wrong("PFA_PEMS_PASSWORD", "is needed with PFA_PEMS_USERNAME")),
            (None, Some(_), None) => Err(wrong("PFA_PEMS_USERNAME", "is needed with PFA_PEMS_PASSWORD")),
            (None, None, None) => {
                Err(wrong("PFA_PEMS_USERNAME", "and PFA_PEMS_PASSWORD, or PFA_PEMS_API_KEY, are needed with PFA_PEMS_URL"))
            }
            (_, _, Some(_)) => Err(wrong("PFA_PEMS_API_KEY", "stands instead of PFA_PEMS_USERNAME and PFA_PEMS_PASSWORD, not beside them")),
        }
    }
}

fn wrong(name: &'static str, problem: &str) -> SettingError {
    SettingError { name, problem: problem.to_owned() }
}

/// Credentials travel with every request, so the way must be safe.
fn pems_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|_| "must be an address such as https://host/axis/restservices".to_owned())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password; they have settings of their own".to_owned());
    }
    let is_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback => Ok(url),
        _ => Err("must begin with https:// (http:// is accepted on a loopback address only)".to_owned()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants it so")]
fn secret(text: &str) -> Result<SecretString, String> {
    Ok(SecretString::from(text))
}
