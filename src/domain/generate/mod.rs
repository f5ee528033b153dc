//! Generates realistic, deterministic sample data: which organizations there are ([`Plan`]) and
//! their raw records, as an import file would hold them (camelCase keys of the record dictionary).
//!
//! A record depends on (code, seed, index) and on nothing else: not on how many are drawn, not on
//! `records`, not on the machine. So a larger run of the same organization begins with the smaller
//! one. All decisions are integer arithmetic on a `ChaCha8` stream, without floating point or
//! pointer-sized maths, and `tests.rs` pins a checksum of the output: a change of the generated
//! data is always a decision.
//!
//! No I/O, no clock: "today" is [`REFERENCE_DATE`]. Makes and models are real product lines;
//! organizations are invented, except the two codes of the known sample (`HOLNG`, `RIO`).
//! Tuning lives beside what it tunes: sizes in `organizations`, machines in `catalogue`, money in
//! `price`, dates in `schedule`, the small share of bad values in `dirt`, the rest in `record`.

mod catalogue;
mod dirt;
mod draw;
mod fields;
mod organizations;
mod price;
mod projects;
mod record;
mod schedule;
#[cfg(test)]
mod tests;

pub use organizations::{OrganizationPlan, Plan};
pub use schedule::REFERENCE_DATE;
