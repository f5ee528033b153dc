//! A cluster below `target/`, and settings of the environment.

use pfa_vanguard::db::embedded::{Durability, EmbeddedOptions, EmbeddedServer};
use std::path::Path;

/// A number of the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// Starts the cluster's server.
pub fn start(dir: &Path) -> impl Future<Output = EmbeddedServer> {
    let options = EmbeddedOptions {
        data_dir: dir.to_owned(),
        database: "pfa_vanguard".into(),
        durability: Durability::Durable,
        settings: Vec::new(),
    };
    async { EmbeddedServer::start(options, |step| println!("{step}")).await.unwrap() }
}
