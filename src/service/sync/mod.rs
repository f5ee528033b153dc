//! Sync with PEMS, and the log of every run that moves records.

mod read;
pub mod runs;
mod verify;

pub use read::{SyncRequest, SyncScope};
