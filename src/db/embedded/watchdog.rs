//! A child process that cannot outlive us, without unsafe code and on every Unix.
//!
//! The child runs below a small shell script (`watchdog.sh`) whose standard input is a pipe held by us.
//! However we end, the kernel closes the pipe, and the script shuts the child down. The script and the child
//! have a process group of their own, so that Ctrl-C in a terminal reaches only us and we can drain first.
//!
//! The pipe is close-on-exec (std does that), so no other child of ours keeps it open. The script closes its
//! end for the server. When the script itself is killed, its helper still guards the pipe; when both
//! are killed, the next start stops the server (`previous.rs`).
//!
//! An init system that signals every process of a service at once should be told not to: with systemd,
//! `KillMode=mixed` lets the service drain before its database stops.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::watch;

use super::account::Account;
use super::error::{EmbeddedError, Tried};

/// What runs below the watchdog.
pub(super) struct Plan<'a> {
    pub(super) account: Account,
    /// The working directory; the account must be able to enter it.
    pub(super) dir: &'a Path,
    /// Takes the output of the program.
    pub(super) log: &'a File,
    /// For a fast shutdown before an immediate one.
    pub(super) patience: Duration,
    /// An empty directory to remove when the program has ended.
    pub(super) remove: Option<&'a Path>,
    pub(super) program: &'a Path,
    pub(super) args: Vec<OsString>,
}

/// A running program with its watchdog. Dropping it lets the watchdog end the program in the background.
#[derive(Debug)]
pub(super) struct Watched {
    pipe: Option<OwnedFd>,
    group: Option<Pid>,
    patience: Duration,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Watched {
    /// Starts the program. Must be called inside a tokio runtime, which reaps the child.
    pub(super) fn spawn(plan: Plan<'_>) -> Result<Self, EmbeddedError> {
        let shell = Path::new("/bin/sh");
        let mut command = plan.account.command(shell, plan.dir);
        command
            .args(["-c", include_str!("watchdog.sh"), "pfa-vanguard-watchdog"])
            .arg(plan.patience.as_secs().max(1).to_string())
            .arg(plan.remove.unwrap_or(Path::new("")))
            .arg(plan.program)
            .args(plan.args)
            .stdin(Stdio::piped())
            .stdout(plan.log.try_clone().tried("duplicate the log for", plan.program)?)
            .stderr(plan.log.try_clone().tried("duplicate the log for", plan.program)?)
            .process_group(0);
        let mut child = tokio::process::Command::from(command).spawn().tried("start", shell)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        // Taken out here: `Child::wait` would close it.
        let pipe = child.stdin.take().map(tokio::process::ChildStdin::into_owned_fd).transpose().tried("hold", shell)?;
        let (ended, exit) = watch::channel(None);
        tokio::spawn(async move {
            let status = child.wait().await.unwrap_or_else(|_| ExitStatus::from_raw(-1));
            ended.send_replace(Some(status));
        });
        Ok(Self { pipe, group, patience: plan.patience, exit })
    }

    /// The exit status if the program has ended.
    pub(super) fn try_exit(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits until the program has ended. Any number of tasks may wait.
    pub(super) async fn wait(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            // The runtime is being torn down and dropped the task that waits for the child.
            Err(_) => ExitStatus::from_raw(-1),
        }
    }

    /// Shuts the program down: fast, then immediate, then by SIGKILL, all bounded.
    pub(super) async fn stop(mut self) -> Result<ExitStatus, EmbeddedError> {
        drop(self.pipe.take());
        // The watchdog needs up to three times its patience; a little more, and it must be stuck itself.
        let bound = self.patience.max(Duration::from_secs(1)) * 3 + Duration::from_secs(5);
        if let Ok(status) = tokio::time::timeout(bound, self.wait()).await {
            return Ok(status);
        }
        if let Some(group) = self.group
            && self.try_exit().is_none()
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
        Err(EmbeddedError::StopTimedOut { seconds: bound.as_secs() })
    }
}
