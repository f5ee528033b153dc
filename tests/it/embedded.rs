//! The private PostgreSQL server: its life, its recovery from every kind of death, and whose processes remain.
//!
//! "Another process" is this test binary again: it runs the one test [`owner`], told by an environment
//! variable which data directory to own. These tests need a local PostgreSQL and Linux's `/proc`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pfa_vanguard::db::embedded::{Durability, EmbeddedError, EmbeddedOptions, EmbeddedServer};
use rustix::process::{Pid, Signal, geteuid, getpgid, kill_process};
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

const OWNED_DIR: &str = "PFA_TEST_OWNED_DIR";
const NOBODY: u32 = 65534;

#[tokio::test]
async fn data_survives_a_restart() {
    let dir = open_dir();
    let server = start(dir.path()).await.unwrap();
    execute(&server, "create table kept (n int); insert into kept values (42)").await;
    server.stop().await.unwrap();
    assert_nothing_runs_in(dir.path());

    let server = start(dir.path()).await.unwrap();
    assert_eq!(number(&server, "select n from kept").await, 42);
    server.stop_and_delete().await.unwrap();
    assert_nothing_runs_in(dir.path());
    assert!(!dir.path().exists(), "everything in it was ours");
}

#[tokio::test]
async fn the_server_is_private_and_has_what_the_schema_needs() {
    let dir = open_dir();
    let mut options = throwaway(dir.path());
    options.database = "odd \"name\" / ä".to_owned();
    options.settings.push(("work_mem".to_owned(), "7MB".to_owned()));
    let server = EmbeddedServer::start(options, |_| {}).await.unwrap();
    execute(&server, "create extension pg_trgm; create extension btree_gin").await;
    assert_eq!(number(&server, "select (current_setting('work_mem') = '7MB')::int").await, 1);
    assert_eq!(number(&server, "select (current_setting('listen_addresses') = '')::int").await, 1);
    assert_eq!(number(&server, "select (lower('Ä') = 'ä')::int").await, 1);
    let password = home_of(dir.path()).join("password");
    assert_eq!(fs::metadata(&password).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&password).unwrap();
    assert!(!format!("{server:?}").contains(secret.trim()));
    assert!(!fs::read_to_string(dir.path().join("postgres.log")).unwrap().contains(secret.trim()));

    let url = server.url();
    let psql =
        Command::new(server.bin_dir().join("psql")).args([url.expose_secret(), "-XAtc", "select current_database()"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&psql.stdout).trim(), "odd \"name\" / ä", "{psql:?}");
    server.stop_and_delete().await.unwrap();
}

#[tokio::test]
async fn a_second_start_is_refused_with_the_process_id_of_the_owner() {
    let dir = open_dir();
    let mut owner = spawn_owner(dir.path(), None).unwrap();
    wait_until_ready(&mut owner);
    let refused = start(dir.path()).await.unwrap_err();
    assert!(matches!(&refused, EmbeddedError::InUse { owner: pid, .. } if *pid == owner.id().to_string()), "{refused}");
    assert!(refused.to_string().contains(&format!("in use by process {}", owner.id())));
    end_owner(owner, Signal::TERM);
    eventually("the server ends", || running_in(dir.path()).is_empty());
}

#[tokio::test]
async fn the_server_ends_when_its_owner_is_killed_and_the_next_start_keeps_the_data() {
    let dir = open_dir();
    let mut owner = spawn_owner(dir.path(), None).unwrap();
    wait_until_ready(&mut owner);
    assert!(!running_in(dir.path()).is_empty());
    end_owner(owner, Signal::KILL);
    eventually("the server ends", || running_in(dir.path()).is_empty());

    let server = start(dir.path()).await.unwrap();
    assert_eq!(number(&server, "select count(*)::int from of_owner").await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_right_after_the_kill_of_the_owner_takes_over() {
    let dir = open_dir();
    let mut owner = spawn_owner(dir.path(), None).unwrap();
    wait_until_ready(&mut owner);
    end_owner(owner, Signal::KILL);
    let server = start(dir.path()).await.unwrap();
    assert_eq!(number(&server, "select count(*)::int from of_owner").await, 1);
    server.stop().await.unwrap();
    eventually("nothing is left", || running_in(dir.path()).is_empty());
}

#[tokio::test]
async fn an_orphan_whose_watchdog_was_killed_too_is_stopped_by_the_next_start() {
    let dir = open_dir();
    let mut owner = spawn_owner(dir.path(), None).unwrap();
    wait_until_ready(&mut owner);
    let orphan = postmaster_pid(dir.path());
    for pid in running_in(dir.path()).into_iter().filter(|pid| *pid != orphan) {
        // The watchdog and its helper; the backends change their command line and are not in the list.
        kill_process(pid, Signal::KILL).unwrap();
    }
    end_owner(owner, Signal::KILL);
    assert!(is_alive(orphan));
    let server = start(dir.path()).await.unwrap();
    assert!(!is_alive(orphan));
    assert_eq!(number(&server, "select count(*)::int from of_owner").await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_is_reported_with_its_log_and_recovers() {
    let dir = open_dir();
    // Durable: a throw-away server may lose the last moments.
    let options = EmbeddedOptions::new(dir.path());
    let server = EmbeddedServer::start(options, |_| {}).await.unwrap();
    execute(&server, "create table kept (n int); insert into kept values (1)").await;
    kill_process(postmaster_pid(dir.path()), Signal::KILL).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), server.wait_for_exit()).await.unwrap();
    assert!(matches!(&ended, EmbeddedError::Ended { log_tail, .. } if log_tail.contains("ready to accept")), "{ended}");
    drop(server);
    let server = start(dir.path()).await.unwrap();
    assert_eq!(number(&server, "select n from kept").await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn stopping_waits_for_the_server_even_when_the_watchdog_was_killed() {
    let dir = open_dir();
    let server = start(dir.path()).await.unwrap();
    let postmaster = postmaster_pid(dir.path());
    for pid in running_in(dir.path()).into_iter().filter(|pid| *pid != postmaster) {
        kill_process(pid, Signal::KILL).unwrap();
    }
    server.wait_for_exit().await;
    server.stop().await.unwrap();
    assert!(!is_alive(postmaster));
}

#[tokio::test]
async fn ctrl_c_in_a_terminal_does_not_reach_the_server() {
    let dir = open_dir();
    let server = tokio::spawn(EmbeddedServer::start(throwaway(dir.path()), |_| {})).await.unwrap().unwrap();
    let group = getpgid(Some(postmaster_pid(dir.path()))).unwrap();
    assert_ne!(group, getpgid(None).unwrap());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn stopping_is_quick_although_a_client_is_connected() {
    let dir = open_dir();
    let server = start(dir.path()).await.unwrap();
    let _idle = PgConnection::connect_with(&server.connection().connect_options()).await.unwrap();
    let begin = Instant::now();
    server.stop().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_cluster_whose_creation_was_cut_off_is_made_again() {
    let dir = open_dir();
    fs::create_dir(dir.path().join("cluster.init-cafe")).unwrap();
    fs::write(dir.path().join("cluster.init-cafe/PG_VERSION"), "15\n").unwrap();
    let owner = spawn_owner(dir.path(), None).unwrap();
    eventually("initdb runs", || {
        let mut names = fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().starts_with("cluster.init-") && name != "cluster.init-cafe")
    });
    end_owner(owner, Signal::KILL);
    let server = start(dir.path()).await.unwrap();
    assert_eq!(number(&server, "select 1").await, 1);
    server.stop().await.unwrap();
    eventually("initdb has ended", || running_in(dir.path()).is_empty());
    let mut names = fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name());
    assert!(!names.any(|name| name.to_string_lossy().starts_with("cluster.init-")));
}

#[tokio::test]
async fn a_stale_process_id_that_belongs_to_somebody_else_is_no_obstacle() {
    let dir = open_dir();
    start(dir.path()).await.unwrap().stop().await.unwrap();
    let stale = format!("{}\n/x\n1\n5432\n/tmp\n\n 1 1\nready\n", std::process::id());
    fs::write(home_of(dir.path()).join("cluster/postmaster.pid"), stale).unwrap();
    start(dir.path()).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused_with_both_versions() {
    let dir = open_dir();
    fs::create_dir(dir.path().join("cluster")).unwrap();
    fs::write(dir.path().join("cluster/PG_VERSION"), "9\n").unwrap();
    let refused = start(dir.path()).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::VersionMismatch { cluster_major: 9, .. }), "{refused}");
}

#[tokio::test]
async fn a_lost_password_is_an_error_and_not_a_new_database() {
    let dir = open_dir();
    start(dir.path()).await.unwrap().stop().await.unwrap();
    fs::remove_file(home_of(dir.path()).join("password")).unwrap();
    let refused = start(dir.path()).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::PasswordMissing { .. }), "{refused}");
}

#[tokio::test]
async fn a_wrong_setting_ends_the_start_with_the_words_of_postgresql() {
    let dir = open_dir();
    let mut options = throwaway(dir.path());
    options.settings.push(("shared_buffers".to_owned(), "plenty".to_owned()));
    let refused = EmbeddedServer::start(options, |_| {}).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::StartFailed { .. }), "{refused}");
    assert!(refused.to_string().contains("shared_buffers"), "{refused}");
    assert_nothing_runs_in(dir.path());
}

#[tokio::test]
async fn a_deep_data_directory_gets_a_socket_elsewhere_that_goes_with_the_server() {
    let dir = open_dir();
    let deep = dir.path().join("d".repeat(120));
    let server = start(&deep).await.unwrap();
    let socket = server.connection().socket_dir.clone();
    assert!(!socket.starts_with(&deep));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700);
    server.stop().await.unwrap();
    assert!(!socket.exists());

    // The same when the postmaster and the watchdog are killed: the next start clears up.
    let server = start(&deep).await.unwrap();
    let socket = server.connection().socket_dir.clone();
    for pid in running_in(&deep) {
        let _ = kill_process(pid, Signal::KILL);
    }
    drop(server);
    assert!(socket.exists());
    start(&deep).await.unwrap().stop().await.unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn root_keeps_the_files_elsewhere_when_the_account_cannot_enter_the_data_directory() {
    if !geteuid().is_root() {
        return;
    }
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let dir = closed.path().join("data");
    let server = start(&dir).await.unwrap();
    execute(&server, "create table kept (n int); insert into kept values (7)").await;
    server.stop().await.unwrap();
    let home = home_of(&dir);
    assert!(home.starts_with("/var/lib/pfa-vanguard"));

    let server = start(&dir).await.unwrap();
    assert_eq!(number(&server, "select n from kept").await, 7);
    server.stop_and_delete().await.unwrap();
    assert!(!home.exists());
    assert!(!dir.exists());
}

#[tokio::test]
async fn an_ordinary_user_runs_the_server_as_itself() {
    if !geteuid().is_root() {
        return; // then every other test here is this one
    }
    let dir = open_dir();
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let Ok(mut owner) = spawn_owner(dir.path(), Some(NOBODY)) else {
        eprintln!("skipped: `nobody` cannot reach the test binary");
        return;
    };
    wait_until_ready(&mut owner);
    let status = fs::read_to_string(format!("/proc/{}/status", postmaster_pid(dir.path()).as_raw_nonzero())).unwrap();
    assert!(status.contains(&format!("Uid:\t{NOBODY}\t")), "{status}");
    end_owner(owner, Signal::KILL);
    eventually("the server ends", || running_in(dir.path()).is_empty());
    // Started by root, it stays with its owner, who can start it again.
    start(dir.path()).await.unwrap().stop().await.unwrap();
}

/// Not a test of its own: what [`spawn_owner`] runs in another process. Returns only when it cannot start.
#[tokio::test]
async fn owner() {
    let Some(dir) = std::env::var_os(OWNED_DIR) else {
        return;
    };
    let server = start(Path::new(&dir)).await.unwrap();
    execute(&server, "create table if not exists of_owner (n int); insert into of_owner values (1)").await;
    println!("\nREADY");
    panic!("the server ended: {}", server.wait_for_exit().await);
}

/// Starts [`owner`] in another process, perhaps as another user.
fn spawn_owner(dir: &Path, uid: Option<u32>) -> std::io::Result<Child> {
    let module = module_path!().split_once("::").expect("a module of the test binary").1;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", &format!("{module}::owner"), "--nocapture"]).env(OWNED_DIR, dir).stdout(Stdio::piped());
    if let Some(uid) = uid {
        command.uid(uid).gid(uid).current_dir("/");
    }
    command.spawn()
}

fn wait_until_ready(owner: &mut Child) {
    let output = owner.stdout.take().unwrap();
    let ready = BufReader::new(output).lines().map_while(Result::ok).any(|line| line == "READY");
    assert!(ready, "the owner could not start");
}

fn end_owner(mut owner: Child, signal: Signal) {
    kill_process(pid_of(owner.id()), signal).unwrap();
    owner.wait().unwrap();
}

fn throwaway(dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions { durability: Durability::Throwaway, ..EmbeddedOptions::new(dir) }
}

async fn start(dir: &Path) -> Result<EmbeddedServer, EmbeddedError> {
    EmbeddedServer::start(throwaway(dir), |_| {}).await
}

async fn execute(server: &EmbeddedServer, sql: &'static str) {
    let mut connection = PgConnection::connect(server.url().expose_secret()).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn number(server: &EmbeddedServer, sql: &'static str) -> i32 {
    let mut connection = PgConnection::connect(server.url().expose_secret()).await.unwrap();
    let value = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    value
}

/// A temporary directory that any account may enter.
fn open_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

fn home_of(dir: &Path) -> PathBuf {
    fs::read_to_string(dir.join("moved-to")).map_or(dir.to_owned(), |text| PathBuf::from(text.lines().next().unwrap()))
}

fn postmaster_pid(dir: &Path) -> Pid {
    let text = fs::read_to_string(home_of(dir).join("cluster/postmaster.pid")).unwrap();
    pid_of(text.lines().next().unwrap().parse().unwrap())
}

fn pid_of(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

fn is_alive(pid: Pid) -> bool {
    // A zombie that nobody has reaped yet has no command line.
    fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).is_ok_and(|line| !line.is_empty())
}

/// The processes whose command line names a file in the directory: watchdog, server and initdb.
fn running_in(dir: &Path) -> Vec<Pid> {
    let needle = format!("{}/cluster", dir.canonicalize().map_or(dir.to_owned(), |dir| dir).display());
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&needle)))
        .map(pid_of)
        .collect()
}

fn assert_nothing_runs_in(dir: &Path) {
    assert_eq!(running_in(dir), Vec::<Pid>::new());
}

/// Polls for something that another process does, for at most 20 seconds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(20), "not within 20 seconds: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
