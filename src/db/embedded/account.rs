//! As whom PostgreSQL runs.
//!
//! An ordinary user runs it as itself. PostgreSQL refuses to run as root, so root hands it to an
//! unprivileged account: the owner of the cluster if there is one already (so that files keep their owner
//! and a move between accounts needs no recursive chown), else `postgres`, else `nobody`.
//! A free numeric id is no choice: `initdb` looks up the *name* of its user and fails without one.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::{EmbeddedError, Tried};

/// The user and group that own the cluster and run its processes; `None` is ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account(Option<(u32, u32)>);

impl Account {
    /// Chooses the account for a cluster, which need not exist yet.
    pub(super) fn choose(cluster: &Path) -> Result<Self, EmbeddedError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        if let Ok(owner) = fs::metadata(cluster)
            && owner.uid() != 0
        {
            return Ok(Self(Some((owner.uid(), owner.gid()))));
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "_postgres", "nobody"]
            .iter()
            .find_map(|name| find_user(&users, name))
            .map(|ids| Self(Some(ids)))
            .ok_or(EmbeddedError::NoAccount)
    }

    /// A command that runs as this account, in its own small environment.
    ///
    /// Nothing of our environment goes along but the search paths: it holds the secrets of the service,
    /// which another account could read in `/proc`, and `PG…` variables that would change what the tools do.
    pub(super) fn command(self, program: impl AsRef<OsStr>, dir: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C").current_dir(dir);
        for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some((uid, gid)) = self.0 {
            // std also drops the supplementary groups of root here.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Gives a file or directory to the account. Never follows a symbolic link.
    pub(super) fn own(self, path: &Path) -> Result<(), EmbeddedError> {
        match self.0 {
            Some((uid, gid)) => lchown(path, Some(uid), Some(gid)).tried("change the owner of", path),
            None => Ok(()),
        }
    }

    /// Tells whether the account can enter a directory. Asks the kernel by trying, which counts every
    /// parent, access list and mount option.
    pub(super) fn can_enter(self, dir: &Path) -> bool {
        self.0.is_none()
            || self
                .command("/bin/sh", Path::new("/"))
                .args(["-c", "cd \"$1\"", "sh"])
                .arg(dir)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
    }

    /// The user id of the account when it is another one than ourselves.
    pub(super) fn uid(self) -> Option<u32> {
        self.0.map(|(uid, _)| uid)
    }
}

/// User and group id of a name in the text of `/etc/passwd`.
fn find_user(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::find_user;

    #[test]
    fn finds_the_ids_of_an_account_by_its_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:\npostgres:x:101:104:a,b:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find_user(users, "postgres"), Some((101, 104)));
        assert_eq!(find_user(users, "nobody"), None);
        assert_eq!(find_user(users, "root"), None, "root is never the account");
    }
}
