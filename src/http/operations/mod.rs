//! `/ops`, for operators: refresh, analyze, database, maintenance.

pub mod analyze;
pub mod database;
pub mod maintenance;
pub mod refresh;
