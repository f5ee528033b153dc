//! What tests stand on: a server, a database each, the router in process, and a plain model.

pub mod app;
pub mod checks;
pub mod circuit;
pub mod container;
pub mod crowd;
pub mod demo;
pub mod former;
pub mod import;
pub mod model;
pub mod pems;
pub mod planner;
pub mod process;
pub mod server;
pub mod world;

pub use app::{TestApp, test_app};
