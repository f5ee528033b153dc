//! The write-back of what is due.

use crate::error::in_one_line;
use crate::pems::PemsClient;
use crate::service::PfaMirrorService;
use crate::service::write_back::WriteBackOptions;

/// Writes back what is due in every organization; a failure is logged and waits for the next time.
pub async fn run_write_back(service: &PfaMirrorService, pems: &PemsClient, options: &WriteBackOptions) {
    if let Err(error) = service.write_back_all(pems, options).await {
        tracing::error!(error = in_one_line(&error), "the write-back could not look for what is due");
    }
}
