//! Which PostgreSQL programs to use: the ones on this machine first, else a download.
//!
//! Usable is a directory with `initdb`, `postgres` and `pg_ctl` together, version 15 or newer, whose server
//! runs as our account and which has the extensions `pg_trgm` and `btree_gin`. `PATH` alone is not enough:
//! Debian's `/usr/bin/psql` is a wrapper, and version managers put scripts there.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::account::Account;
use super::error::EmbeddedError;
use super::home::Home;
use super::places::{ask, candidates};

/// The oldest version that the schema works with.
const OLDEST_MAJOR: u32 = 15;
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];
const EXTENSIONS: [&str; 2] = ["pg_trgm", "btree_gin"];

/// A usable directory of PostgreSQL programs.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

/// Finds programs for a cluster of version `wanted`, or any version when there is no cluster yet.
pub(super) async fn find(home: &Home, wanted: Option<u32>, progress: &impl Fn(&str)) -> Result<Binaries, EmbeddedError> {
    let mut seen = Vec::new();
    let mut others = Vec::new();
    for dir in candidates(&home.dir) {
        match check(&dir, home.account) {
            Ok(found) if wanted.is_none_or(|major| major == found.major) => return Ok(found),
            Ok(found) => others.push(format!("{} in {}", found.major, found.dir.display())),
            Err(problem) => seen.push(problem),
        }
    }
    if let Some(cluster_major) = wanted
        && !others.is_empty()
    {
        return Err(EmbeddedError::VersionMismatch { cluster: home.cluster(), cluster_major, found: others.join(" and ") });
    }
    match super::download::download(&home.dir, wanted, progress).await {
        Ok(dir) => match check(&dir, home.account) {
            Ok(found) => return Ok(found),
            Err(problem) => seen.push(problem),
        },
        Err(problem) => seen.push(problem),
    }
    Err(EmbeddedError::NoBinaries { reason: seen.join("; ") })
}

/// Tells whether a directory is usable, or why not.
fn check(dir: &Path, account: Account) -> Result<Binaries, String> {
    let place = dir.display();
    for name in PROGRAMS {
        let mut start = [0_u8; 2];
        let read = fs::File::open(dir.join(name)).and_then(|mut file| file.read_exact(&mut start));
        if read.is_err() {
            return Err(format!("{place} has no {name}"));
        }
        if &start == b"#!" {
            return Err(format!("{place}/{name} is a wrapper script"));
        }
    }
    let output = account.command(dir.join("postgres"), Path::new("/")).arg("--version").stdin(Stdio::null()).output();
    let text = output.map_err(|error| format!("{place}/postgres cannot be run: {error}"))?.stdout;
    let text = String::from_utf8_lossy(&text);
    let major = parse_major(&text).ok_or_else(|| format!("{place}/postgres does not tell its version"))?;
    if major < OLDEST_MAJOR {
        return Err(format!("{place} is version {major}, older than {OLDEST_MAJOR}"));
    }
    let shared = share_dirs(dir, major);
    for extension in EXTENSIONS {
        if !shared.iter().any(|share| share.join(format!("extension/{extension}.control")).is_file()) {
            return Err(format!("{place} lacks the extension {extension}, which a package such as postgresql-contrib has"));
        }
    }
    Ok(Binaries { dir: dir.to_owned(), major })
}

/// Where the extension files of a directory of programs may be.
fn share_dirs(bin: &Path, major: u32) -> Vec<PathBuf> {
    if let Some(dir) = ask(&bin.join("pg_config"), "--sharedir") {
        return vec![PathBuf::from(dir)];
    }
    let up = bin.join("..");
    vec![
        up.join("share"),
        up.join("share/postgresql"),
        up.join(format!("share/postgresql@{major}")),
        PathBuf::from(format!("/usr/share/postgresql/{major}")),
    ]
}

/// The major version in "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" or "… 19devel".
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits = version.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(version.len());
    version.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_major;

    #[test]
    fn reads_the_major_version_of_releases_and_betas() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(parse_major("usage: pyenv"), None);
    }
}
