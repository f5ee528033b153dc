//! The PEMS of the demo: a stand-in with the records that the mirror holds.

use super::CommandError;
use crate::app::AppError;
use crate::config::{SettingError, Settings};
use crate::domain::field::{Field, Kind};
use crate::fake_pems::{BASE_PATH, FakeOptions, FakePems};
use crate::pems::FieldMap;
use crate::service::PfaMirrorService;
use chrono::{TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

/// Where it listens, unless somebody else does.
const PORT: u16 = 8_089;
/// What changes on either side arrives on the other within seconds.
const SYNC_CRON: &str = "*/15 * * * * *";
const PUSH_INTERVAL_SECONDS: u32 = 2;
const RATE_PER_SECOND: u32 = 100;

/// A running stand-in; it ends with the process.
pub(super) struct StandIn {
    pub address: SocketAddr,
    options: FakeOptions,
}

impl StandIn {
    /// Fills it with what the mirror has of these organizations and lets it serve. Whatever the mirror
    /// took over from it before is there again, also after a restart.
    pub async fn start(service: &PfaMirrorService, organizations: &[&str]) -> Result<Self, CommandError> {
        let options = FakeOptions::default();
        let fields = FieldMap::built_in().map_err(|error| CommandError::Incomplete(error.to_string()))?;
        let pems = FakePems::new(options.clone(), fields);
        for organization in organizations {
            let records = service.read_mirror(organization).await?;
            // People have been at work there for hours, so a reading of what changed lately is short.
            let (now, count) = (Utc::now(), records.len());
            pems.with_records(|kept| {
                for (place, record) in records.into_iter().enumerate() {
                    let ago = TimeDelta::seconds(i64::try_from(count - place).unwrap_or(0));
                    kept.put_changed(organization, &as_in_pems(record), now - ago);
                }
            });
        }
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(AppError::from)?,
        };
        let address = listener.local_addr().map_err(AppError::from)?;
        let router = pems.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, options })
    }

    /// Settings that lead to it.
    pub fn settings(&self, settings: &Settings) -> Result<Settings, CommandError> {
        let mut settings = settings.clone();
        let url = format!("http://{}{BASE_PATH}", self.address);
        settings.pems.pems_url = Some(url.parse().map_err(|_| SettingError { name: "PFA_PEMS_URL", problem: url })?);
        settings.pems.pems_tenant = Some(self.options.tenant.clone());
        settings.pems.pems_username = Some(self.options.username.clone());
        settings.pems.pems_password = Some(SecretString::from(self.options.password.clone()));
        settings.pems.pems_api_key = None;
        settings.pems.pems_rate_per_second = RATE_PER_SECOND;
        SYNC_CRON.clone_into(&mut settings.pems.sync_cron);
        settings.pems.push_interval_seconds = PUSH_INTERVAL_SECONDS;
        Ok(settings)
    }
}

/// A null where the dictionary has none is what could not be read; it cannot be read there either.
fn as_in_pems(mut record: Map<String, Value>) -> Map<String, Value> {
    for (key, value) in &mut record {
        let is_spoilt =
            value.is_null() && Field::from_key(key).is_some_and(|field| matches!(field.kind(), Kind::Word(_) | Kind::Flag | Kind::Amount));
        if is_spoilt {
            *value = Value::from("?");
        }
    }
    record
}
