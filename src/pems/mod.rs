//! PEMS, the system of record, over HTTP: one client that authenticates, keeps to its rate, checks
//! every answer and tells passing troubles from final ones. No SQL, nothing of our states.

mod client;
mod error;
mod field_map;
mod grid;
mod limits;
mod screen;
pub mod wire;

pub use client::{Credentials, PemsClient, PemsOptions};
pub use error::PemsError;
pub use field_map::{FieldMap, FieldMapError, ReadTarget};
pub use grid::{GridFilter, Head, IDS_OF_A_FILTER, Page, PemsRecord};
