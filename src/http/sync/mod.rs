//! `/orgs/{org}/sync`: runs, what waits for PEMS, what PEMS would not take, and how the write-back stands.

pub mod dead_letters;
pub mod pending;
pub mod runs;
pub mod start;
pub mod write_back;
