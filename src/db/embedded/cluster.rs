//! Makes the cluster (PostgreSQL's data directory) once, by `initdb`.
//!
//! `initdb` works in a sibling directory that gets its final name when it is complete, so a cluster that
//! exists is whole, and what a killed start left is deleted by the next one.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::binaries::Binaries;
use super::error::{EmbeddedError, Tried};
use super::home::{Home, random_hex, remove_tree};
use super::log::Log;
use super::watchdog::{Plan, Watched};
use super::{Durability, SUPERUSER};

const UNFINISHED: &str = "cluster.init-";

/// The major version that made the cluster; `None` when there is no cluster.
pub(super) fn read_major(home: &Home) -> Result<Option<u32>, EmbeddedError> {
    let file = home.cluster().join("PG_VERSION");
    match fs::read_to_string(&file) {
        Ok(text) => {
            let invalid = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it holds no version");
            text.trim().parse().map(Some).map_err(invalid).tried("understand", &file)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).tried("read", &file),
    }
}

/// The password of the superuser of an existing cluster.
pub(super) fn read_password(home: &Home) -> Result<SecretString, EmbeddedError> {
    let file = home.password_file();
    match fs::read_to_string(&file) {
        Ok(text) => Ok(SecretString::from(text.trim())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(EmbeddedError::PasswordMissing { file, cluster: home.cluster() }),
        Err(error) => Err(error).tried("read", &file),
    }
}

/// Deletes what an `initdb` that was cut off left behind.
pub(super) fn remove_unfinished(home: &Home) -> Result<(), EmbeddedError> {
    for entry in fs::read_dir(&home.dir).tried("list", &home.dir)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            tracing::warn!(dir = %entry.path().display(), "deleting an unfinished PostgreSQL data directory");
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Runs `initdb` with a new random password.
pub(super) async fn create(home: &Home, binaries: &Binaries, durability: Durability, log: &Log) -> Result<(), EmbeddedError> {
    let password = write_password(home)?;
    let unfinished = home.dir.join(format!("{UNFINISHED}{}", random_hex::<4>()?));
    DirBuilder::new().mode(0o700).create(&unfinished).tried("create", &unfinished)?;
    home.account.own(&unfinished)?;

    let mut args: Vec<OsString> =
        ["--username", SUPERUSER, "--encoding=UTF8", "--locale=C", "--data-checksums", "--auth=scram-sha-256"].map(OsString::from).to_vec();
    if let Some(locale) = utf8_locale() {
        // Order stays that of the bytes, which is fast and the same everywhere. With plain C, upper and lower
        // case and the letters that pg_trgm sees would be those of ASCII only.
        args.push(format!("--lc-ctype={locale}").into());
    }
    if durability == Durability::Throwaway {
        args.push("--no-sync".into());
    }
    args.extend(["--pgdata".into(), unfinished.clone().into(), "--pwfile".into(), password.into()]);
    let before = log.len();
    let watched = Watched::spawn(Plan {
        account: home.account,
        dir: &home.dir,
        log: log.file(),
        patience: Duration::from_secs(2),
        remove: None,
        program: &binaries.dir.join("initdb"),
        args,
    })?;
    let status = watched.wait().await;
    if !status.success() {
        remove_tree(&unfinished)?;
        return Err(EmbeddedError::Initdb { status, log_tail: log.tail(before) });
    }
    fs::rename(&unfinished, home.cluster()).tried("rename", &unfinished)?;
    File::open(&home.dir).and_then(|dir| dir.sync_all()).tried("sync", &home.dir)
}

/// Writes a new password, complete or not at all, readable by the account only, and returns its file.
fn write_password(home: &Home) -> Result<PathBuf, EmbeddedError> {
    let file = home.password_file();
    let partial = file.with_extension("new");
    let password = SecretString::from(random_hex::<24>()?);
    let _ = fs::remove_file(&partial);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut open| writeln!(open, "{}", password.expose_secret()).and_then(|()| open.sync_all()))
        .tried("write", &partial)?;
    // `initdb` reads it as the account.
    home.account.own(&partial)?;
    fs::rename(&partial, &file).tried("rename", &partial)?;
    Ok(file)
}

/// The name of the locale C.UTF-8 where the system has it.
fn utf8_locale() -> Option<String> {
    let output = Command::new("locale").arg("-a").output().ok()?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    names.lines().find(|name| matches!(*name, "C.UTF-8" | "C.utf8")).map(str::to_owned)
}
