//! `demo` as a newcomer runs it: one command on a machine with PostgreSQL's programs, every read
//! route answers, a second start finds everything, and nothing is left running.

use crate::support::demo::{Demo, demo_directory};
use rustix::process::Signal;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether a PostgreSQL server runs for a directory.
fn has_server(dir: &Path) -> bool {
    let needle = dir.join(".pfa").display().to_string();
    std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        command.contains("postgres") && command.contains(&needle)
    })
}

fn assert_nothing_runs(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while has_server(dir) {
        assert!(Instant::now() < deadline, "a server outlives its service");
        std::thread::yield_now();
    }
}

#[test]
fn one_command_shows_everything_and_leaves_nothing_running() {
    let dir = demo_directory();
    let session = pfa_vanguard::service::demo::LATER_LIFTING;

    let demo = Demo::start(dir.path());
    let counts: Vec<_> = demo.json("/api/v1/orgs")["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| (o["code"].clone(), o["recordCount"].as_i64().unwrap()))
        .collect();
    assert!(counts.len() == 2 && counts[0].0 == "HOLNG" && counts[0].1 > 14_000 && counts[1].1 > 4_900, "{counts:?}");
    let page = demo.json(&format!(
        "/api/v1/orgs/HOLNG/records?category=Lifting&source=Rental&status=forecast&sort=pfaId&limit=2&count=exact&session={session}"
    ));
    assert_eq!(page["data"][0]["_meta"]["syncState"], "draft");
    let id = page["data"][0]["pfaId"].as_str().unwrap();
    assert_eq!(demo.json(&format!("/api/v1/orgs/HOLNG/records/{id}?session={session}")), page["data"][0]);
    let published = demo.json("/api/v1/orgs/HOLNG/kpis");
    let what_if = demo.json(&format!("/api/v1/orgs/HOLNG/kpis?session={session}"));
    assert_ne!(published["total"]["forecastCost"], what_if["total"]["forecastCost"]);
    assert_eq!(published["total"]["planCost"], what_if["total"]["planCost"]);
    for path in ["/healthz", "/readyz", "/openapi.json", "/api/v1/orgs/RIO/timeline", "/api/v1/ops/refresh"] {
        demo.json(path);
    }
    for path in ["/docs/", "/metrics"] {
        assert_eq!(demo.get(path).0, 200);
    }
    assert_eq!(demo.end(Signal::TERM), Some(0));
    assert!(!has_server(dir.path()), "an orderly end waits for the database");

    let started = Instant::now();
    let demo = Demo::start(dir.path());
    assert!(started.elapsed() < Duration::from_secs(30), "the second start generates nothing");
    assert_eq!(demo.json("/api/v1/orgs")["data"][0]["recordCount"], counts[0].1);
    demo.end(Signal::KILL);
    assert_nothing_runs(dir.path());

    let demo = Demo::start(dir.path());
    // A request that waits for a lock, as long as the lock is held.
    let holder = hold_a_lock(dir.path());
    let mut waiting = TcpStream::connect(&demo.address).unwrap();
    write!(waiting, "GET /api/v1/orgs/HOLNG/records HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let started = Instant::now();
    assert_eq!(demo.end(Signal::INT), Some(0));
    assert!(started.elapsed() < Duration::from_mins(1), "work that does not end is not waited for without end");
    drop(holder);
    assert_nothing_runs(dir.path());
}

/// A psql session that holds the mirror until it is dropped.
fn hold_a_lock(dir: &Path) -> Child {
    let home = dir.join(".pfa");
    let mut psql = Command::new("psql")
        .args(["-X", "-q", "-U", "postgres", "-d", "pfa_vanguard", "-h"])
        .arg(home.join("socket"))
        .env("PGPASSWORD", std::fs::read_to_string(home.join("password")).unwrap().trim())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    psql.stdin.as_mut().unwrap().write_all(b"begin; lock table pfa_mirror in access exclusive mode; \\echo held\n").unwrap();
    let mut line = String::new();
    BufReader::new(psql.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    psql
}
