//! The scheduled syncs: what PEMS changed, and at times everything, organization after organization.

use crate::error::{Error, in_one_line};
use crate::pems::PemsClient;
use crate::service::PfaMirrorService;
use crate::service::sync::{SyncRequest, SyncScope};

/// Reads every organization from PEMS; one that fails waits for the next time, and so do the others only
/// when the service stops.
pub async fn run_sync(service: &PfaMirrorService, pems: &PemsClient, scope: &SyncScope) {
    let organizations = match service.list_organizations().await {
        Ok(organizations) => organizations,
        Err(error) => return tracing::error!(error = in_one_line(&error), "the sync could not begin"),
    };
    for organization in organizations {
        let request = SyncRequest { organization: organization.code.clone(), scope: scope.clone(), requested_by: None };
        let ended = async { service.read_pems_until_stopped(pems, service.begin_read(request).await?).await }.await;
        match ended {
            Ok(outcome) => tracing::info!(organization = organization.code, applied = ?outcome.applied, "read from PEMS"),
            Err(Error::LoadRunning(_)) => tracing::info!(organization = organization.code, "another run is going on"),
            Err(error) => tracing::error!(organization = organization.code, error = in_one_line(&error), "the sync failed"),
        }
        if service.is_stopping() {
            return;
        }
    }
}
