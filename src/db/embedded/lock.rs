//! One process for each data directory, by a kernel lock on the file `lock` in it.
//!
//! The kernel releases the lock when its owner ends, also by kill -9, so a lock is never stale.
//! The process id inside is only for the message of whoever comes second.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::{EmbeddedError, Tried};

/// An owner that is killed while it starts a child leaves the lock with that child for an instant, until the
/// child has become another program. A refusal can wait that long.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);

/// A held lock; dropping it releases it. The file stays, because deleting it would let two owners in.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Locks `dir` or says which process has it.
    pub(super) async fn acquire(dir: &Path) -> Result<Self, EmbeddedError> {
        let path = dir.join("lock");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).tried("open", &path)?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => {
                    tokio::time::sleep(POLL).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let mut owner = String::new();
                    // Empty when the owner has locked the file this very moment.
                    let known = file.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
                    let owner = if known { owner.trim() } else { "unknown" }.to_owned();
                    let dir = dir.to_owned();
                    return Err(EmbeddedError::InUse { dir, owner });
                }
                Err(TryLockError::Error(source)) => return Err(source).tried("lock", &path),
            }
        }
        file.set_len(0).tried("write", &path)?;
        writeln!(file, "{}", std::process::id()).tried("write", &path)?;
        Ok(Self { _file: file })
    }
}
