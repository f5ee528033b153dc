//! The private directory of the Unix socket.
//!
//! The kernel bounds the path of a socket to 107 bytes (103 on macOS), so a deep data directory
//! cannot hold it. Then it is a random directory with mode 700 in the temporary directory; the watchdog
//! removes that one when the server ends, and the next start does if both were killed.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::{EmbeddedError, Tried};
use super::home::{Home, random_hex, remove_tree};

/// The port is only a part of the name of the socket file.
pub(super) const PORT: u16 = 5432;
/// 103 bytes of the stricter kernel without "/.s.PGSQL.5432".
const LONGEST_DIR: usize = 103 - 14;
const PREFIX: &str = "pfa-vanguard-";

/// A directory for the socket.
#[derive(Debug)]
pub(super) struct SocketDir {
    pub(super) path: PathBuf,
    /// Whether it has to go when the server has ended.
    pub(super) temporary: bool,
}

impl SocketDir {
    /// Makes the directory, empty. No server of ours may be running in this home.
    pub(super) fn create(home: &Home) -> Result<Self, EmbeddedError> {
        let beside = home.dir.join("socket");
        // Deleting it first also removes a socket that a killed server left.
        remove_tree(&beside)?;
        let (path, temporary) = if is_plain_and_short(&beside) { (beside, false) } else { (temporary_path(home)?, true) };
        // Not recursive: an existing one, perhaps planted by somebody in a shared directory, is an error.
        DirBuilder::new().mode(0o700).create(&path).tried("create", &path)?;
        home.account.own(&path)?;
        Ok(Self { path, temporary })
    }
}

/// Removes a temporary socket directory that an earlier server left, and nothing else.
pub(super) fn remove_left_over(path: &Path) {
    let ours = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
    if ours && is_plain_and_short(path) {
        for name in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
            let _ = fs::remove_file(path.join(name));
        }
        let _ = fs::remove_dir(path);
    }
}

/// PostgreSQL splits its list of socket directories at commas and spaces: plain names need no quoting.
fn is_plain_and_short(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|text| text.len() <= LONGEST_DIR && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte)))
}

/// A new name in the first temporary directory that will do.
fn temporary_path(home: &Home) -> Result<PathBuf, EmbeddedError> {
    let name = format!("{PREFIX}{}", random_hex::<8>()?);
    let fits = |dir: &PathBuf| is_plain_and_short(&dir.join(&name)) && home.account.can_enter(dir);
    let dir = Some(std::env::temp_dir()).filter(fits).unwrap_or_else(|| PathBuf::from("/tmp"));
    Ok(dir.join(name))
}

#[cfg(test)]
mod tests {
    use super::is_plain_and_short;
    use std::path::Path;

    #[test]
    fn a_long_or_odd_path_is_no_place_for_a_socket() {
        assert!(is_plain_and_short(Path::new("/var/lib/pfa-vanguard/0123456789abcdef/socket")));
        assert!(!is_plain_and_short(Path::new("/data, my/socket")));
        assert!(!is_plain_and_short(Path::new(&format!("/{}", "d".repeat(89)))));
    }
}
