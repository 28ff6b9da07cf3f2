//! The phases of a run: a copy that meets faults, a tail that meets faults, and peace.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::invariants::{Watchers, sequence_query};
use super::plan::{Phase, Plan};
use super::scene::Scene;
use super::workload::{PEOPLE_EXPECTED, Writers};
use crate::support::compare::{Pair, assert_pair};
use crate::support::proxy::Behavior;
use crate::support::wait;

/// Of a run's time, the part that belongs to the copy; and the most.
const COPY_SHARE: u32 = 5;
const COPY_MAX: Duration = Duration::from_secs(45);

/// From here on there are faults that take half a minute each.
const LONG: Duration = Duration::from_secs(120);

/// Slow enough for some faults, quick enough to end between two.
const COPY_BYTES_PER_SECOND: u64 = 6_000_000;

/// What a server logs of a statement that names a row twice, or breaks a key: both are the agent's
/// own fault here.
const DESTINATION_ERRORS: [&str; 2] = [" 21000 ", " 23505 "];

impl Scene {
    /// Faults for so long, then everything must come right by itself.
    pub(super) async fn run(&mut self, faults: Duration, only_servers: bool) {
        let mut writers = Writers::start(&self.source, self.record.seed, &self.record);
        let pipeline = self.agent().pipeline.clone();
        let watchers = Watchers::start(&self.source, &self.destination, &pipeline, &self.record);
        let copy = (faults / COPY_SHARE).min(COPY_MAX);
        self.start_agent();
        self.copy(copy).await;
        if self.record.is_broken() {
            return;
        }
        let phase = match only_servers {
            true => Phase::Servers,
            false if faults >= LONG => Phase::LongTail,
            false => Phase::Tail,
        };
        self.record.note("the copy is over, faults meet the tail");
        self.faults(phase, faults - copy).await;
        if self.record.is_broken() {
            return;
        }
        self.heal();
        self.record.note("no more faults");
        writers.stop().await;
        self.converge().await;
        assert!(watchers.are_awake(), "a watcher ended");
    }

    /// Faults while tables are copied; then it must become ready, with writers at work.
    async fn copy(&mut self, time: Duration) {
        let throttle = Behavior::Throttle { bytes_per_second: COPY_BYTES_PER_SECOND };
        self.links[1].set(throttle);
        self.faults(Phase::Copy, time).await;
        self.heal();
        if self.record.is_broken() {
            return;
        }
        self.agent().wait_for_state("streaming").await;
        self.record.is_ready.store(true, Ordering::Relaxed);
    }

    async fn faults(&mut self, phase: Phase, time: Duration) {
        let end = Instant::now() + time;
        for step in Plan::new(self.record.seed, phase) {
            let quiet = Duration::from_millis(step.after_ms);
            let broken = self.record.broken.clone();
            tokio::select! {
                biased;
                () = broken.cancelled() => return,
                () = wait::pace(quiet.min(end.saturating_duration_since(Instant::now()))) => {}
            }
            self.agent_must_live();
            self.nothing_may_halt();
            if Instant::now() >= end || self.record.is_broken() {
                return;
            }
            self.inject(step.fault).await;
        }
    }

    /// No faults, no writers, no help.
    async fn converge(&mut self) {
        let start = Instant::now();
        self.agent().caught_up().await;
        let (source, destination) = (self.source.clone(), self.destination.clone());
        let tables = "SELECT relname FROM pg_class WHERE relkind = 'r' \
             AND relnamespace = 'public'::regnamespace ORDER BY 1";
        let names: Vec<String> =
            source.query(tables).await.into_iter().flatten().flatten().collect();
        let copied = format!(
            "SELECT count(*) = {} FROM sync_agent.tables WHERE state = 'copied'",
            names.len()
        );
        self.agent()
            .wait_for("every table is copied", async |_| {
                let rows = destination.try_query(&copied).await.unwrap_or_default();
                rows.first().and_then(|row| row[0].as_deref()) == Some("t")
            })
            .await;
        self.agent().wait_for_state("streaming").await;
        self.agent().caught_up().await;
        self.record.maximum("converged within, s", start.elapsed().as_secs_f64());
        for name in &names {
            let pair = Pair::table(name);
            let pair = match name.as_str() {
                "people" => pair.columns(PEOPLE_EXPECTED, "id, email, salary, region"),
                _ => pair,
            };
            assert_pair(&source, &destination, pair).await;
        }
        let exact = "SELECT count(*) = count(DISTINCT n) AND count(*) = max(n) FROM ev";
        assert_eq!(destination.scalar(exact).await, "t", "each event once");
        let exact = sequence_query("count(*) = count(DISTINCT n) AND count(*) = max(n)");
        assert_eq!(destination.scalar(&exact).await, "t", "each number once");
        self.leaves_nothing_behind().await;
    }

    async fn leaves_nothing_behind(&mut self) {
        let slots = "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots";
        assert_eq!(self.source.scalar(slots).await, "sync_agent_it");
        assert_eq!(self.agent().terminate().await, Some(0));
        self.record.agent_gone();
        let (here, there) = (self.source.log(), self.destination.log());
        assert!(!here.contains("has already been removed"), "WAL that was needed is gone");
        for error in DESTINATION_ERRORS {
            let line = there.lines().find(|line| line.contains(error));
            assert_eq!(line, None, "a statement that the destination refused");
        }
        self.nothing_may_halt();
    }
}
