//! A stand-in for PEMS on a port of its own, and a client of it.

use pfa_vanguard::domain::record::canonicalise;
use pfa_vanguard::fake_pems::{BASE_PATH, FakeOptions, FakePems};
use pfa_vanguard::pems::{Credentials, FieldMap, PemsClient, PemsOptions};
use serde_json::{Map, Value};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::net::TcpListener;

/// A running stand-in; it ends with the runtime of the test.
pub struct TestPems {
    pub pems: FakePems,
    pub address: String,
    /// What it calls how; its clients know.
    fields: FieldMap,
    /// How long its clients wait for an answer: a busy machine delays one, and that is no fault.
    pub patience: Duration,
}

impl TestPems {
    /// A stand-in that behaves well.
    pub async fn start() -> Self {
        Self::start_with(FakeOptions::default()).await
    }

    pub async fn start_with(options: FakeOptions) -> Self {
        Self::start_mapped(options, FieldMap::built_in().unwrap()).await
    }

    /// A stand-in that calls its fields as a map says.
    pub async fn start_mapped(options: FakeOptions, fields: FieldMap) -> Self {
        let pems = FakePems::new(options, fields.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}{BASE_PATH}", listener.local_addr().unwrap());
        let router = pems.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { pems, address, fields, patience: Duration::from_mins(1) }
    }

    /// With clients that do not wait long, where it is to be silent.
    pub fn impatient(mut self) -> Self {
        self.patience = Duration::from_secs(1);
        self
    }

    /// How a service asks it: with small pages.
    pub fn options(&self) -> PemsOptions {
        PemsOptions {
            url: self.address.parse().unwrap(),
            tenant: "DEMO".into(),
            credentials: Credentials::Basic { username: "vanguard".into(), password: "vanguard".into() },
            page_size: 4,
            rate_per_second: NonZeroU32::new(10_000).unwrap(),
            read_timeout: self.patience,
            write_timeout: self.patience,
            rest: Duration::from_millis(200),
            retry_pause: Duration::from_millis(5),
            fields: self.fields.clone(),
        }
    }

    pub fn client(&self) -> PemsClient {
        PemsClient::new(self.options()).unwrap()
    }

    /// Saves raw records in PEMS, in their canonical form.
    pub fn put(&self, organization: &str, raw: &[Map<String, Value>]) {
        self.pems.with_records(|records| {
            for raw in raw {
                records.put(organization, &canonicalise(raw.clone()).unwrap().0.data);
            }
        });
    }
}
