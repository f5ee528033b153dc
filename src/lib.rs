//! PFA Vanguard: a fast mirror of PEMS equipment plans, private sandboxes over it, merged in PostgreSQL.
//!
//! ```text
//! main → app ─┬→ http ─┐
//!             ├→ jobs ─┼→ service → db     domain: data and pure rules, no I/O
//!             └→ cli ──┘                   error:  one enum, HTTP-free
//! ```

pub mod app;
pub mod cli;
pub mod config;
pub mod db;
pub mod domain;
pub mod error;
pub mod http;
pub mod jobs;
pub mod service;
pub mod shutdown;
pub mod telemetry;
