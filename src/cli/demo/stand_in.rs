//! The PEMS of the demo: a stand-in with the records that the mirror holds.

use super::CommandError;
use crate::app::AppError;
use crate::config::{SettingError, Settings};
use crate::fake_pems::{BASE_PATH, FakeOptions, FakePems};
use crate::pems::FieldMap;
use crate::service::PfaMirrorService;
use secrecy::SecretString;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

/// Where it listens, unless somebody else does.
const PORT: u16 = 8_089;
/// What changes on either side arrives on the other within seconds.
const SYNC_CRON: &str = "*/10 * * * * *";
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
            pems.with_records(|kept| records.iter().for_each(|record| kept.put(organization, record)));
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
