//! `verify`: compares the mirror of an organization with PEMS and changes nothing.

use super::CommandError;
use super::import::organization_code;
use super::lines::say;
use super::sync::{IfNew, read, tell_findings};
use crate::config::Settings;
use crate::service::sync::SyncScope;
use clap::Args;

/// Options of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Code of the organization.
    #[arg(long = "org", value_name = "CODE", value_parser = organization_code)]
    organization: String,
}

pub(super) async fn run(settings: &Settings, args: &VerifyArgs) -> Result<(), CommandError> {
    let outcome = read(settings, &args.organization, SyncScope::Verify, IfNew::Refuse).await?;
    tell_findings(&outcome);
    let same = outcome.applied.unchanged;
    if outcome.findings_total == 0 && outcome.errored == 0 {
        say(&format!("{}: {same} records, all as in PEMS.", args.organization));
        return Ok(());
    }
    Err(CommandError::Incomplete(format!(
        "{}: {same} records are as in PEMS, {} are not; differences: {}",
        args.organization, outcome.errored, outcome.findings_total
    )))
}
