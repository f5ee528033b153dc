//! The log file of `initdb` and of the server: bounded at each start, its end goes into error messages.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{EmbeddedError, Tried};

/// A log larger than this becomes `postgres.log.1` at the next start; the one before that is deleted.
const LARGEST: u64 = 4 * 1024 * 1024;
/// How much of the end is shown.
const TAIL_BYTES: u64 = 8 * 1024;
const TAIL_LINES: usize = 15;
/// For the processes of an earlier run to end.
const PATIENCE: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(20);

/// The open log. We open it and the children inherit it, so they need no right to its directory.
///
/// It is locked too, and a lock belongs to the open file, which we share with every process that writes
/// to it: the kernel releases it when the last of them has ended. So a new owner that can lock the log knows
/// that no watchdog, `initdb`, server or backend of the owner before is still at work.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    /// Waits until nobody writes to the log any more, puts it aside when it is overlong, and opens it.
    pub(super) async fn open(path: PathBuf) -> Result<Self, EmbeddedError> {
        let mut file = open_and_lock(&path).await?;
        if file.metadata().is_ok_and(|log| log.len() > LARGEST) {
            fs::rename(&path, path.with_extension("log.1")).tried("rename", &path)?;
            file = open_and_lock(&path).await?;
        }
        Ok(Self { file, path })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The present length in bytes, a mark for [`Self::tail`].
    pub(super) fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |log| log.len())
    }

    /// The last lines that were written after a mark.
    pub(super) fn tail(&self, mark: u64) -> String {
        let mut bytes = Vec::new();
        let from = mark.max(self.len().saturating_sub(TAIL_BYTES));
        // A log that cannot be read must not hide the error that it was to explain.
        let _ = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            file.read_to_end(&mut bytes)
        });
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
    }
}

/// Opens the log for appending and locks it. After a bound it goes on without the lock: PostgreSQL guards its
/// cluster itself, only its message would be less clear.
async fn open_and_lock(path: &Path) -> Result<File, EmbeddedError> {
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(0o600).open(path).tried("open", path)?;
    let begin = Instant::now();
    while let Err(TryLockError::WouldBlock) = file.try_lock() {
        if begin.elapsed() > PATIENCE {
            tracing::warn!(log = %path.display(), "a process of an earlier run still holds the PostgreSQL log");
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{LARGEST, Log};
    use std::fs;
    use std::io::Write;

    #[tokio::test]
    async fn an_overlong_log_is_put_aside_and_the_tail_begins_at_the_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("postgres.log");
        let size = usize::try_from(LARGEST).unwrap() + 1;
        fs::write(&path, "x".repeat(size)).unwrap();
        let log = Log::open(path).await.unwrap();
        assert_eq!(fs::metadata(dir.path().join("postgres.log.1")).unwrap().len(), LARGEST + 1);
        writeln!(log.file(), "before").unwrap();
        let mark = log.len();
        writeln!(log.file(), "after").unwrap();
        assert_eq!(log.tail(mark), "after");
    }
}
