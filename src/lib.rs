//! PFA Vanguard: a fast mirror of PEMS equipment plans, private sandboxes over it, merged in PostgreSQL.
//!
//! ```text
//! main → app ─┬→ http ─┐           ┌→ db     domain: data and pure rules, no I/O
//!             ├→ jobs ─┼→ service ─┤        error:  one enum, HTTP-free
//!             └→ cli ──┘           └→ pems   fake_pems: a stand-in for PEMS, for demo and tests
//! ```

pub mod app;
pub mod cli;
pub mod config;
pub mod db;
pub mod domain;
pub mod error;
pub mod fake_pems;
pub mod http;
pub mod jobs;
pub mod pems;
pub mod service;
pub mod shutdown;
pub mod telemetry;
