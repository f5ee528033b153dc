//! `fake-pems`: a stand-in for PEMS, to try things out.

use super::CommandError;
use super::lines::say;
use crate::domain::generate::Plan;
use crate::domain::record::canonicalise;
use crate::fake_pems::{BASE_PATH, FakeOptions, FakePems};
use crate::pems::FieldMap;
use clap::Args;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::net::TcpListener;

/// Options of `fake-pems`.
#[derive(Debug, Args)]
pub struct FakePemsArgs {
    /// Port on the loopback address.
    #[arg(long, default_value_t = 8089)]
    port: u16,
    /// Milliseconds that every answer takes.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Requests a second that an organization may send.
    #[arg(long, default_value = "10")]
    rate_per_second: NonZeroU32,
}

pub(super) async fn run(args: &FakePemsArgs) -> Result<(), CommandError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let file_error = |source| CommandError::File { path: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(file_error)?;
    let options = FakeOptions {
        latency: Duration::from_millis(args.latency_ms),
        rate_per_second: Some(args.rate_per_second),
        ..FakeOptions::default()
    };
    let FakeOptions { tenant, username, password, api_key, .. } = options.clone();
    let fields = FieldMap::built_in().map_err(|error| CommandError::Incomplete(error.to_string()))?;
    let pems = FakePems::new(options, fields);
    let count = fill(&pems);
    say(&format!(
        "A stand-in for PEMS with {count} records:\n\n\
         \x20 export PFA_PEMS_URL=http://{address}{BASE_PATH} PFA_PEMS_TENANT={tenant} PFA_PEMS_USERNAME={username} PFA_PEMS_PASSWORD={password}\n\n\
         or, for the last two, PFA_PEMS_API_KEY={api_key}.\n\n\
         Its users edit at http://{address}/control/records/HOLNG/10098 (GET, PATCH, DELETE). Ctrl-C stops it."
    ));
    let stopped = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, pems.router()).with_graceful_shutdown(stopped).await.map_err(file_error)
}

/// The records of the demo.
fn fill(pems: &FakePems) -> usize {
    let plan = Plan::demo();
    pems.with_records(|records| {
        let mut count = 0;
        for organization in &plan.organizations {
            for (record, _) in organization.records().filter_map(|raw| canonicalise(raw).ok()) {
                records.put(&organization.code, &record.data);
                count += 1;
            }
        }
        count
    })
}
