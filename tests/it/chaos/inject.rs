//! Each fault of the plan, done to the scene.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::plan::{Fault, Link, LocalState, Side};
use super::scene::{Scene, copy_folder, files_in};
use crate::support::cluster::Stop;
use crate::support::proxy::Behavior;
use crate::support::wait;

/// The grace of the configuration, and what a loaded machine adds.
const SIGTERM_MAX: Duration = Duration::from_secs(15);

/// The contract's 20 s, and what a loaded machine adds.
const TAKE_OVER_MAX: Duration = Duration::from_secs(30);

impl Scene {
    pub(super) async fn inject(&mut self, fault: Fault) {
        self.record.fault(fault.kind(), format!("{fault:?}"));
        let record = Arc::clone(&self.record);
        record.disturbance_begins();
        match fault {
            Fault::Kill { state, down_ms } => self.kill(state, down_ms).await,
            Fault::Terminate { down_ms } => self.terminate(down_ms).await,
            Fault::Pause { ms } => {
                self.agent().signal(Signal::SIGSTOP);
                wait::pace(Duration::from_millis(ms)).await;
                self.agent().signal(Signal::SIGCONT);
            }
            Fault::TakeOver => self.take_over().await,
            Fault::Cut { legs } => {
                for leg in legs {
                    self.link(*leg).cut_once().await;
                }
            }
            Fault::CutAfter { leg, direction, bytes, reset } => {
                let behavior = match reset {
                    true => Behavior::ResetAfter { direction, bytes },
                    false => Behavior::CutAfter { direction, bytes },
                };
                self.cut_after(leg, behavior).await;
            }
            Fault::Link { legs, link, ms } => self.spoil(legs, link, ms),
            Fault::EndSessions { side, all } => self.end_sessions(side, all).await,
            Fault::Restart { side, immediate, down_ms } => {
                self.restart(side, immediate, down_ms).await;
            }
            Fault::Checkpoint { count } => self.at_source("CHECKPOINT", count).await,
            Fault::SwitchWal { count } => self.at_source("SELECT pg_switch_wal()", count).await,
            Fault::Lock { table, ms } => self.lock(table, ms).await,
        }
        record.disturbance_ends();
    }

    async fn kill(&mut self, state: LocalState, down_ms: u64) {
        self.record.agent_gone();
        self.agent().kill9();
        let folder = self.agent().state_dir();
        let earlier = self.stale.path().join("state");
        match state {
            LocalState::Kept => {}
            LocalState::Deleted => self.agent().delete_state(),
            LocalState::Stale if earlier.exists() => {
                self.agent().delete_state();
                copy_folder(&earlier, &folder);
            }
            LocalState::Stale => copy_folder(&folder, &earlier),
            LocalState::Truncated => {
                for path in files_in(&folder) {
                    let file = std::fs::File::options().write(true).open(&path);
                    let file = file.expect("our own file");
                    let length = file.metadata().expect("our own file").len();
                    file.set_len(length / 2).expect("our own file");
                }
            }
        }
        // Now and then a newer one, so that it is stale by more and by less.
        if state == LocalState::Kept && self.random.one_in(3) {
            drop(std::fs::remove_dir_all(&earlier));
            copy_folder(&folder, &earlier);
        }
        wait::pace(Duration::from_millis(down_ms)).await;
        self.start_agent();
    }

    async fn terminate(&mut self, down_ms: u64) {
        self.record.agent_gone();
        let asked = Instant::now();
        let code = self.agent().terminate().await;
        let took = asked.elapsed();
        if code != Some(0) || took > SIGTERM_MAX {
            self.record.breach("clean stop", format!("exit {code:?} after {took:?}"));
        }
        wait::pace(Duration::from_millis(down_ms)).await;
        self.start_agent();
    }

    /// Stopped until it is superseded; awake again it must notice, write nothing and exit with 5.
    async fn take_over(&mut self) {
        self.heal();
        // One in backoff would be overtaken in another way.
        self.agent().wait_for_state("streaming").await;
        let destination = self.destination.clone();
        let epoch = "SELECT epoch FROM sync_agent.checkpoint";
        let (second, first) = self.both_agents();
        second.start();
        second.wait_for_state("standby").await;
        let before = destination.scalar(epoch).await;
        first.signal(Signal::SIGSTOP);
        let stopped = Instant::now();
        second.wait_for("another epoch", async |_| destination.scalar(epoch).await != before).await;
        let took = stopped.elapsed();
        second.wait_for_state("streaming").await;
        first.signal(Signal::SIGCONT);
        let code = first.wait_for_exit().await;
        self.record.note(format!("taken over after {took:?}; the old one ended with {code:?}"));
        if code != Some(5) {
            self.record.breach("one writer", format!("the superseded agent ended with {code:?}"));
        }
        if took > TAKE_OVER_MAX {
            self.record.breach("liveness", format!("the take-over took {took:?}"));
        }
        self.hand_over();
    }

    /// Waits a while for the cut; a quiet link may not get so far.
    async fn cut_after(&self, leg: Side, behavior: Behavior) {
        let link = self.link(leg);
        link.set(behavior);
        let start = Instant::now();
        wait::until("it is cut", wait::PROCESS, async || {
            link.cut_count() > 0 || start.elapsed() > Duration::from_secs(2)
        })
        .await;
        link.set(Behavior::Forward);
    }

    /// The link heals by itself, whatever else happens meanwhile.
    fn spoil(&self, legs: &[Side], link: Link, ms: u64) {
        for leg in legs {
            let proxy = Arc::clone(self.link(*leg));
            proxy.set(match link {
                Link::Stall => Behavior::Stall,
                Link::HalfOpen => Behavior::HalfOpen,
                Link::Delay { piece_ms } => Behavior::Delay { milliseconds: piece_ms },
                Link::Slice => Behavior::Slice,
                Link::Swallow => Behavior::Swallow,
            });
            let record = Arc::clone(&self.record);
            record.disturbance_begins();
            tokio::spawn(async move {
                wait::pace(Duration::from_millis(ms)).await;
                proxy.set(Behavior::Forward);
                record.disturbance_ends();
            });
        }
    }

    async fn end_sessions(&mut self, side: Side, all: bool) {
        let some = if all { "" } else { " ORDER BY random() LIMIT 1" };
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity \
             WHERE application_name LIKE 'sync-agent%'{some}) AS ours"
        );
        self.server(side).exec(&sql).await;
    }

    async fn restart(&mut self, side: Side, immediate: bool, down_ms: u64) {
        // A fast stop waits for a peer that cannot answer; that is not the agent's doing.
        self.link(side).set(Behavior::Forward);
        let server = self.server_mut(side);
        server.stop(if immediate { Stop::Immediate } else { Stop::Fast }).await;
        wait::pace(Duration::from_millis(down_ms)).await;
        server.launch_again().await;
    }

    async fn at_source(&self, sql: &str, count: u64) {
        for _ in 0..count {
            self.source.exec(sql).await;
        }
    }

    async fn lock(&self, table: &str, ms: u64) {
        // The agent itself may hold the table; a link is spoiled, perhaps. Then there is no lock.
        let Ok(session) = self.destination.session().await else { return };
        let sql = format!("SET lock_timeout = '2s'; BEGIN; LOCK TABLE {table}");
        if session.batch_execute(&sql).await.is_err() {
            self.record.note("the lock was not given");
            return;
        }
        let record = Arc::clone(&self.record);
        record.disturbance_begins();
        tokio::spawn(async move {
            wait::pace(Duration::from_millis(ms)).await;
            drop(session);
            record.disturbance_ends();
        });
    }
}
