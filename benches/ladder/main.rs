//! The speed ladder: every promise three ways in one run.
//!
//! - **ours**, end to end over HTTP on loopback, one client;
//! - **floor**, the cheapest statement for the same answer on one plain prepared connection;
//! - **original design**, its SQL as it was written (`literal.sql`), on the same connection.
//!
//! `cargo bench --bench ladder` builds (once) a cluster of 1,000,000 records below `target/`, measures, and writes
//! the report there as JSON. `LADDER_RECORDS`, `LADDER_ROUNDS` and `LADDER_PARTS` (of readings, refresh,
//! sandboxes, storage, loads, which end at a million) change what is measured; without the part `original` there is no original design, which
//! takes a third of the room. With `LADDER_RECORDED=file` it fails when a ratio is twice as bad
//! as in that report.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

mod bed;
mod comparison;
mod loads;
mod readings;
mod refresh;
mod report;
mod rows;
mod sandboxes;
mod storage;
#[path = "../support/mod.rs"]
mod support;

use bed::Bed;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use support::setting;

/// Loads take five minutes for each million.
const MOST_LOADED: u64 = 1_000_000;

#[tokio::main]
async fn main() -> ExitCode {
    let records = setting("LADDER_RECORDS", 1_000_000);
    let rounds = usize::try_from(setting("LADDER_ROUNDS", 100)).unwrap();
    let parts = std::env::var("LADDER_PARTS").unwrap_or_else(|_| "original,readings,refresh,sandboxes,storage,loads".to_owned());
    let is_asked = |part: &str| parts.split(',').any(|asked| asked.trim() == part);
    let mut report = Report::new(records);
    let mut bed = Bed::prepare(records, is_asked("original")).await;
    if is_asked("readings") {
        readings::measure(&mut bed, rounds, &mut report).await;
    }
    if is_asked("refresh") {
        refresh::measure(&mut bed, &mut report).await;
    }
    if is_asked("sandboxes") {
        sandboxes::measure(&mut bed, &mut report).await;
    }
    if is_asked("storage") {
        storage::print(&bed, records).await;
    }
    bed.server.stop().await.unwrap();
    if is_asked("loads") && records <= MOST_LOADED {
        loads::measure(records, &mut report).await;
    }
    report.print();
    report.save();
    match std::env::var_os("LADDER_RECORDED").map(PathBuf::from) {
        Some(path) => guard(&report, &Report::read(&path).unwrap()),
        None => ExitCode::SUCCESS,
    }
}

fn guard(report: &Report, recorded: &Report) -> ExitCode {
    let regressions = report.regressions(recorded);
    if regressions.is_empty() {
        println!("\nno ratio is worse than on record");
        return ExitCode::SUCCESS;
    }
    println!("\nworse than on record:\n{}", regressions.join("\n"));
    ExitCode::FAILURE
}
