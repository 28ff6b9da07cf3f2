//! What a run has seen: faults, breaches, samples, numbers. Shared by all of its tasks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Faults shown of a failed run; what mattered is seldom further back.
const FAULTS_SHOWN: usize = 25;

/// Breaches kept: the first ones tell, and a watcher may find the same one ten times a second.
const BREACHES_MAX: usize = 20;

#[derive(Debug)]
pub(super) struct Record {
    pub(super) seed: u64,
    start: Instant,
    journal: Mutex<Journal>,
    /// A promise was broken: the run ends.
    pub(super) broken: CancellationToken,
    /// The first copy is over: what holds in every snapshot holds from here on.
    pub(super) is_ready: AtomicBool,
    /// The agent at work: its process, or 0, and its port.
    pub(super) agent_pid: AtomicI32,
    pub(super) agent_port: AtomicU16,
    written: AtomicU64,
}

#[derive(Debug, Default)]
struct Journal {
    faults: Vec<(Duration, String)>,
    kinds: BTreeMap<&'static str, u64>,
    breaches: Vec<(Duration, &'static str, String)>,
    samples: BTreeMap<&'static str, u64>,
    /// The largest value seen, by name.
    maxima: BTreeMap<&'static str, f64>,
    counters: BTreeMap<&'static str, Counter>,
    starts: u64,
    /// When each number of the sequence was committed, at the latest: the first is 1.
    numbered: Vec<Instant>,
    /// Until when something may have been in the agent's way.
    disturbed_until: Option<Instant>,
    /// Disturbances that go on.
    open_count: usize,
}

/// A counter of a process that is started again and again.
#[derive(Debug, Default)]
struct Counter {
    earlier: f64,
    last: f64,
}

impl Record {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            start: Instant::now(),
            journal: Mutex::default(),
            broken: CancellationToken::new(),
            is_ready: AtomicBool::new(false),
            agent_pid: AtomicI32::new(0),
            agent_port: AtomicU16::new(0),
            written: AtomicU64::new(0),
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().expect("nobody panics with it in hand")
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    pub(super) fn fault(&self, kind: &'static str, text: String) {
        let at = self.start.elapsed();
        let mut journal = self.journal();
        *journal.kinds.entry(kind).or_default() += 1;
        journal.faults.push((at, text));
    }

    /// A remark between the faults.
    pub(super) fn note(&self, text: impl Into<String>) {
        let at = self.start.elapsed();
        self.journal().faults.push((at, text.into()));
    }

    pub(super) fn breach(&self, invariant: &'static str, text: String) {
        let at = self.start.elapsed();
        let mut journal = self.journal();
        if journal.breaches.len() < BREACHES_MAX {
            journal.breaches.push((at, invariant, text));
        }
        drop(journal);
        self.broken.cancel();
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    pub(super) fn sample(&self, invariant: &'static str) {
        *self.journal().samples.entry(invariant).or_default() += 1;
    }

    pub(super) fn maximum(&self, name: &'static str, value: f64) {
        let mut journal = self.journal();
        let most = journal.maxima.entry(name).or_default();
        *most = most.max(value);
    }

    /// What a counter says now; less than before means another process.
    pub(super) fn counter(&self, name: &'static str, value: f64) {
        let mut journal = self.journal();
        let counter = journal.counters.entry(name).or_default();
        if value < counter.last {
            counter.earlier += counter.last;
        }
        counter.last = value;
    }

    pub(super) fn agent_started(&self, pid: i32, port: u16) {
        self.agent_port.store(port, Ordering::Relaxed);
        self.agent_pid.store(pid, Ordering::Relaxed);
        self.journal().starts += 1;
    }

    pub(super) fn agent_gone(&self) {
        self.agent_pid.store(0, Ordering::Relaxed);
    }

    pub(super) fn committed(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn numbered(&self, n: u64) {
        self.committed();
        let n = usize::try_from(n).expect("a count");
        let mut journal = self.journal();
        if journal.numbered.len() < n {
            journal.numbered.resize(n, Instant::now());
        }
    }

    /// By when the number was committed for certain; `None` while nobody knows of it.
    pub(super) fn number_committed_at(&self, n: u64) -> Option<Instant> {
        let index = usize::try_from(n.checked_sub(1)?).ok()?;
        self.journal().numbered.get(index).copied()
    }

    pub(super) fn disturbance_begins(&self) {
        self.journal().open_count += 1;
    }

    pub(super) fn disturbance_ends(&self) {
        let mut journal = self.journal();
        journal.open_count -= 1;
        journal.disturbed_until = Some(Instant::now());
    }

    /// How long nothing has been in the agent's way.
    pub(super) fn undisturbed_for(&self) -> Duration {
        let journal = self.journal();
        if journal.open_count > 0 {
            return Duration::ZERO;
        }
        journal.disturbed_until.unwrap_or(self.start).elapsed()
    }
}

// === impl Record: what people read ===

impl Record {
    /// One page.
    pub(super) fn summary(&self) -> String {
        let journal = self.journal();
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            writeln!(text, "  {name:<34} {value}").expect("a String takes text");
        };
        line("seed", self.seed.to_string());
        line("took", format!("{:.0} s", self.start.elapsed().as_secs_f64()));
        line("transactions written", self.written.load(Ordering::Relaxed).to_string());
        for (name, counter) in &journal.counters {
            line(
                name,
                format!("{:.0} (as last seen of each process)", counter.earlier + counter.last),
            );
        }
        line("starts of an agent", journal.starts.to_string());
        for (name, most) in &journal.maxima {
            line(name, format!("{most:.1}"));
        }
        line("faults", journal.kinds.values().sum::<u64>().to_string());
        for (kind, count) in &journal.kinds {
            line(&format!("  {kind}"), count.to_string());
        }
        line("samples", String::new());
        for (invariant, count) in &journal.samples {
            line(&format!("  {invariant}"), count.to_string());
        }
        text
    }

    /// Every fault so far.
    pub(super) fn faults(&self) -> String {
        lines(&self.journal().faults)
    }

    /// What was broken, when, and what had been done before.
    pub(super) fn breaches(&self) -> String {
        let journal = self.journal();
        let mut text = String::new();
        for (at, invariant, what) in &journal.breaches {
            writeln!(text, "  {:8.3} s  {invariant}: {what}", at.as_secs_f64()).expect("a String");
        }
        let last = journal.faults.len().saturating_sub(FAULTS_SHOWN);
        text.push_str("the last faults:\n");
        text.push_str(&lines(&journal.faults[last..]));
        text
    }
}

fn lines(faults: &[(Duration, String)]) -> String {
    let mut text = String::new();
    for (at, fault) in faults {
        writeln!(text, "  {:8.3} s  {fault}", at.as_secs_f64()).expect("a String takes text");
    }
    text
}
