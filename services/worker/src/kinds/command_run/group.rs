//! A program as the leader of a process group of its own, which dies as one.
//!
//! The leader is not reaped before the group has had its last signal: until then its id, and so the group's, cannot be
//! given to anybody else.

use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};

/// A running group. Killed when dropped.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    /// The group's id too.
    leader: Pid,
    child_ended: tokio::signal::unix::Signal,
    ended: bool,
    reaped: bool,
}

// === impl Group ===

impl Group {
    /// Starts the program.
    pub(super) fn spawn(mut command: Command) -> std::io::Result<Self> {
        // Before the start, so that no end is missed.
        let child_ended = signal(SignalKind::child())?;
        let child = command.process_group(0).spawn()?;
        let leader = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| std::io::Error::other("the process has no id"))?;
        Ok(Self { child, leader, child_ended, ended: false, reaped: false })
    }

    /// What the leader writes, once.
    pub(super) fn outputs(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Waits for the leader's end. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> std::io::Result<()> {
        while !self.ended {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            match waitid(WaitId::Pid(self.leader), options) {
                Ok(Some(_)) => self.ended = true,
                // The signal comes for any child of this process.
                Ok(None) => drop(self.child_ended.recv().await),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Asks the whole group to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends what is left of the group, and gives the leader's status.
    pub(super) async fn kill(mut self) -> std::io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        let status = self.child.wait().await?;
        self.reaped = true;
        Ok(status)
    }

    fn signal(&self, signal: Signal) {
        // That nobody is left is well.
        if let Err(error) = kill_process_group(self.leader, signal)
            && error != Errno::SRCH
        {
            tracing::warn!(%error, ?signal, "a process group was not signalled");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
        }
    }
}
