//! Child processes that do not outlive us.
//!
//! `PR_SET_PDEATHSIG` needs `unsafe`; a pipe does not: a small `sh`, in a process group of its own
//! so that a runner's SIGKILL to ours does not reach it, reads a pipe that closes when we end,
//! however we end, and then kills what it guards.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait;

/// A child with its guard. Dropped: killed.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
    guard: Child,
}

impl Guarded {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let guard = Command::new("sh")
            .args(["-c", r#"read -r line; kill -9 "$1" 2>/dev/null"#, "guard"])
            .arg(child.id().to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        Self { child, guard }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits in i32"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("our child is there");
    }

    /// The exit code, once it has ended; `None` within is "by a signal".
    pub(crate) fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().expect("our child can be waited for").map(|status| status.code())
    }

    /// Waits for the end; panics with `what` when the deadline passes.
    pub(crate) async fn wait(&mut self, what: &str, deadline: std::time::Duration) -> Option<i32> {
        let mut code = None;
        wait::until(what, deadline, async || {
            code = self.ended();
            code.is_some()
        })
        .await;
        code.flatten()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The guard first: after our wait the pid may belong to somebody else.
        drop(self.guard.kill());
        drop(self.guard.wait());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
