//! Generated records in a cluster, made once.

use std::path::PathBuf;
use std::process::Command;

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
