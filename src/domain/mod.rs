//! Data and pure rules of the field: no I/O, no clock, no knowledge of HTTP or SQL drivers.

pub mod cost;
pub mod cursor;
pub mod field;
pub mod filter;
pub mod generate;
pub mod json;
pub mod kpi;
pub mod record;
pub mod sort;
pub mod status;
pub mod value;
