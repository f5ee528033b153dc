//! Settings: a wrong one is one line that names it, exit code 2; the example file names them all.

use std::collections::BTreeSet;
use std::process::{Command, Output};

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pfa-vanguard"));
    for name in names() {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied()).current_dir(dir.path()).output().unwrap()
}

fn names() -> BTreeSet<String> {
    use clap::CommandFactory as _;
    let command = pfa_vanguard::cli::Cli::command();
    command.get_arguments().filter_map(|argument| argument.get_env()).map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_wrong_setting_is_one_line_that_names_it() {
    for (name, value, says) in [
        ("PFA_BIND", "localhost", "127.0.0.1:8080"),
        ("PFA_POOL_SIZE", "1", "from 2 to 1000"),
        ("PFA_POOL_SIZE", "many", "from 2 to 1000"),
        ("PFA_STATEMENT_TIMEOUT_MS", "5", "from 100 to 3600000"),
        ("PFA_LOG_FORMAT", "xml", "text, json"),
        ("PFA_LOG", "=!?", "invalid"),
        ("PFA_REFRESH_CRON", "every day", "cron"),
        ("PFA_AUTH", "on", "off"),
        ("PFA_AUTH", "jwt", "not available"),
        ("PFA_PEMS_URL", "ftp://host", "https://"),
        ("PFA_PEMS_URL", "https://user:secret@host/axis", "must not hold a user"),
        ("PFA_PEMS_URL", "https://host/axis", "PFA_PEMS_TENANT"),
        ("PFA_PEMS_PAGE_SIZE", "10001", "from 1 to 10000"),
        ("PFA_PEMS_RATE_PER_SECOND", "0", "from 1 to 10000"),
        ("PFA_SYNC_CRON", "often", "cron"),
        ("PFA_SYNC_FULL_CRON", "at night", "cron"),
        ("PFA_SYNC_MAX_VANISHED_PERCENT", "101", "from 0 to 100"),
        ("PFA_PUSH_INTERVAL_SECONDS", "0", "from 1 to 86400"),
        ("PFA_PUSH_LEASE_SECONDS", "0", "from 1 to 86400"),
        ("PFA_PUSH_MAX_ATTEMPTS", "0", "from 1 to 1000"),
        ("DATABASE_URL", "mysql://secret@host/db", "postgres://"),
    ] {
        let output = run(&["serve"], &[(name, value)]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {message}");
        assert!(message.lines().count() == 1 && message.contains(name) && message.contains(says), "{name}={value}: {message}");
        assert!(!message.contains("secret"));
    }
}

#[test]
fn without_authentication_only_loopback_is_served() {
    let output = run(&["serve"], &[("PFA_BIND", "0.0.0.0:0")]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.lines().count() == 1 && message.contains("PFA_AUTH") && message.contains("loopback"), "{message}");
}

#[test]
fn an_unreachable_database_is_one_line_and_exit_code_1() {
    let output = run(&["migrate"], &[("DATABASE_URL", "postgres://user:hush@127.0.0.1:9/nothing"), ("PFA_LOG", "error")]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.lines().count() == 1 && message.contains("not available") && !message.contains("hush"), "{message}");
}

#[test]
fn a_taken_port_is_told_before_anything_slow() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["demo"], &[("PFA_BIND", &address)]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains(&address) && message.lines().count() == 1, "{message}");
}

#[test]
fn the_example_file_names_every_setting() {
    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example")).unwrap();
    let found: BTreeSet<String> = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').trim().split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    let of_compose = ["PFA_POSTGRES_PASSWORD", "PFA_POSTGRES_PORT", "PFA_POSTGRES_USER", "PFA_POSTGRES_DB"].map(str::to_owned);
    assert_eq!(found, names().into_iter().chain(of_compose).collect());
}

#[test]
fn help_names_every_command() {
    let help = String::from_utf8(run(&["--help"], &[]).stdout).unwrap();
    for command in ["serve", "demo", "migrate", "generate", "import", "sync", "fake-pems", "refresh", "analyze", "openapi"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
}

#[test]
fn openapi_prints_the_document() {
    let output = run(&["openapi"], &[]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
}
