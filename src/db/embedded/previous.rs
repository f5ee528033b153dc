//! A server that an earlier owner left in the cluster: stop it if it runs, clear up after it if it does not.
//!
//! Only the holder of the lock may call this: the earlier owner is gone, whatever still runs is an orphan.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::error::{EmbeddedError, Tried};
use super::socket;

const POLL: Duration = Duration::from_millis(20);
const FAST: Duration = Duration::from_secs(20);
const IMMEDIATE: Duration = Duration::from_secs(15);

/// Stops the server of `postmaster.pid`, if that process is alive and really serves this cluster.
pub(super) async fn stop_previous(cluster: &Path) -> Result<(), EmbeddedError> {
    let path = cluster.join("postmaster.pid");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).tried("read", &path),
    };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        if serves(pid, cluster) {
            tracing::warn!(pid = pid.as_raw_nonzero().get(), "stopping the PostgreSQL server of an earlier run");
            end(pid, cluster).await?;
        }
        if path.exists() && rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH) {
            // The number belongs to another process by now, or to a zombie that an idle init does not
            // collect, and PostgreSQL would refuse to start for it. When the number is free, the file stays.
            fs::remove_file(&path).tried("delete", &path)?;
        }
    }
    if let Some(dir) = text.lines().nth(4).filter(|line| !line.is_empty()) {
        socket::remove_left_over(&PathBuf::from(dir));
    }
    Ok(())
}

/// Fast shutdown, then an immediate one.
async fn end(pid: Pid, cluster: &Path) -> Result<(), EmbeddedError> {
    for (signal, patience) in [(Signal::INT, FAST), (Signal::QUIT, IMMEDIATE)] {
        // It may have ended in the meantime, which the loop sees.
        let _ = kill_process(pid, signal);
        let start = Instant::now();
        while start.elapsed() < patience {
            if !serves(pid, cluster) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Err(EmbeddedError::PreviousServer { pid: pid.as_raw_nonzero().get(), cluster: cluster.to_owned() })
}

/// Tells whether a process is alive and is a server of this cluster.
///
/// A process id alone says nothing after a restart of the machine, and we may be root. So the command line
/// has to be that of a server with this directory, or the working directory has to be it. Not the latter
/// alone: root in a container may not read it for another account. A zombie has neither.
fn serves(pid: Pid, cluster: &Path) -> bool {
    let id = pid.as_raw_nonzero();
    if Path::new("/proc/self/cmdline").exists() {
        if fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|dir| dir == cluster) {
            return true;
        }
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        return words.next().is_some_and(|program| program.ends_with(b"/postgres"))
            && words.any(|word| word == cluster.as_os_str().as_bytes());
    }
    std::process::Command::new("ps").args(["-o", "command=", "-p", &id.to_string()]).output().is_ok_and(|output| {
        let line = String::from_utf8_lossy(&output.stdout);
        line.contains("/postgres ") && line.contains(&*cluster.to_string_lossy())
    })
}
