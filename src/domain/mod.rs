//! Data and pure rules of the field: no I/O, no clock, no knowledge of HTTP or SQL drivers.

pub mod condition;
pub mod conflict;
pub mod cost;
pub mod cursor;
pub mod delta;
pub mod export;
pub mod fault;
pub mod field;
pub mod filter;
pub mod generate;
pub mod json;
pub mod kpi;
pub mod measure;
pub mod operation;
pub mod patch;
pub mod record;
pub mod row;
pub mod rules;
pub mod sort;
pub mod status;
pub mod tag;
pub mod value;
