//! A cluster with generated records below `target/`, made once.

use pfa_vanguard::db::embedded::{Durability, EmbeddedOptions, EmbeddedServer};
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Generates the records with the product's own command, unless an earlier run did.
pub fn fill(dir: &PathBuf, records: u64) {
    let mark = dir.join("filled");
    if mark.exists() {
        return;
    }
    let binary = env!("CARGO_BIN_EXE_pfa-vanguard");
    let records = records.to_string();
    let status = Command::new(binary)
        .args(["generate", "--records", &records, "--orgs", "12", "--seed", "42", "--data-dir"])
        .arg(dir)
        .env_remove("DATABASE_URL")
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::write(mark, records).unwrap();
}
