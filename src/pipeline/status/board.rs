//! The board: stages write on it, positions and throughput in `positions`; what is read from it is in
//! `show`.

mod positions;
mod show;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::clock::{Clock, Now, SystemClock};
use super::lag::{Lag, Moment};
use super::report::{ErrorStatus, SlotStatus, Status};
use super::states::{State, TableState};
use super::tables::{self, Tables};
use crate::metrics::{Exposition, Metrics, SlotWal};
use crate::model::finding::Side;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;

/// Cheap to clone: every clone is the same board.
#[derive(Clone, Debug)]
pub struct Board {
    shared: Arc<Shared>,
    /// Held by a stream beside the pipeline's: what it says of tables counts, what it says of the
    /// pipeline (its state, its positions, its lag) does not.
    is_beside: bool,
}

#[derive(Debug)]
struct Shared {
    clock: Box<dyn Clock>,
    /// Beside the lock: thousands of series are rendered without holding anybody up.
    exposition: Exposition,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Everything of the answer but the parts below, which are put in when somebody asks.
    status: Status,
    state_since: PgTimestamp,
    /// Held by the data: a retry that has not come further is not another state.
    is_held: bool,
    /// State and reason as set, whatever the conditions make of it.
    steady: (State, String),
    conditions: BTreeSet<String>,
    /// Why the local store cannot be written, while it cannot.
    store_failure: Option<String>,
    /// One more, from whoever watches the WAL that the slot holds.
    retention: Option<String>,
    lag: Lag,
    tables: Tables,
    metrics: Metrics,
}

#[derive(Clone, Debug)]
pub struct BoardOptions {
    pub pipeline: String,
    /// How many tables get a label of their own (`[http] max_tables`).
    pub max_tables: usize,
}

/// An error that stands in the way, for people to see. Its text must hold no row values and no
/// secrets.
#[derive(Clone, Debug)]
pub struct ErrorReport {
    /// One of [`crate::metrics::labels::STAGES`].
    pub stage: &'static str,
    /// One of [`crate::metrics::labels::CODES`].
    pub code: &'static str,
    pub message: String,
    pub table: Option<QualifiedName>,
}

/// What the source answered to one poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePoll {
    pub wal_end: Lsn,
    /// The source's clock, read in the same statement and not after the WAL end.
    pub server_time: PgTimestamp,
    /// `None`: there is no such slot.
    pub slot: Option<SlotPoll>,
}

/// Our row of `pg_replication_slots`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotPoll {
    pub confirmed_flush: Option<Lsn>,
    pub restart_lsn: Option<Lsn>,
    /// From the slot's `restart_lsn` to the WAL end.
    pub retained_bytes: u64,
    /// `safe_wal_size`; `None` where nothing limits the slot.
    pub safe_bytes: Option<i64>,
    pub wal_status: String,
    pub active: bool,
}

impl Board {
    pub fn new(options: BoardOptions) -> Board {
        Board::with_clock(options, Box::new(SystemClock::new()))
    }

    fn with_clock(options: BoardOptions, clock: Box<dyn Clock>) -> Board {
        let metrics = Metrics::new(&options.pipeline, options.max_tables);
        let mut status = Status::new(&options.pipeline);
        status.reason = "starting".to_owned();
        metrics.agent.state(status.state.label());
        let exposition = metrics.exposition();
        let inner = Inner {
            status,
            state_since: clock.now().wall,
            is_held: false,
            steady: (State::Starting, "starting".to_owned()),
            conditions: BTreeSet::new(),
            store_failure: None,
            retention: None,
            lag: Lag::default(),
            tables: Tables::default(),
            metrics,
        };
        let shared = Shared { clock, exposition, inner: Mutex::new(inner) };
        Board { shared: Arc::new(shared), is_beside: false }
    }

    /// The same board for a stream beside the pipeline's.
    pub fn beside(&self) -> Board {
        Board { is_beside: true, ..self.clone() }
    }

    // --- what the pipeline is doing ---

    /// `reason` is for people: a short phrase, lowercase, no secrets.
    ///
    /// While it is held ([`Board::hold`]), starting over does not show: whoever watches would take
    /// every retry for a recovery.
    pub fn set_state(&self, state: State, reason: impl Into<String>) {
        if self.is_beside {
            return;
        }
        let now = self.now().wall;
        let mut inner = self.lock();
        if inner.is_held && matches!(state, State::Copying | State::CatchingUp) {
            return;
        }
        inner.is_held = false;
        inner.state(state, reason.into(), now);
    }

    /// Degraded until [`Board::went_on`], or until another state says more.
    pub fn hold(&self, reason: impl Into<String>) {
        if self.is_beside {
            return;
        }
        let now = self.now().wall;
        let mut inner = self.lock();
        inner.is_held = true;
        inner.state(State::Degraded, reason.into(), now);
    }

    /// What held it is over: it has come further than where it stood.
    pub fn went_on(&self, state: State, reason: &str) {
        if self.is_beside {
            return;
        }
        let now = self.now().wall;
        let mut inner = self.lock();
        if std::mem::take(&mut inner.is_held) {
            inner.state(state, reason.to_owned(), now);
        }
    }

    /// What is wrong while the pipeline goes on: as long as there is anything, a pipeline that
    /// streams is shown as degraded. Each is a sentence without row values. Gives those that are
    /// new.
    pub fn set_conditions(&self, conditions: BTreeSet<String>) -> BTreeSet<String> {
        let now = self.now().wall;
        let mut inner = self.lock();
        let new = conditions.difference(&inner.conditions).cloned().collect();
        inner.conditions = conditions;
        inner.show_state(now);
        new
    }

    /// The local store cannot be written, or can again: meanwhile nothing is confirmed to the source,
    /// and a pipeline that streams is shown as degraded.
    pub fn set_store_failure(&self, reason: Option<String>) {
        let now = self.now().wall;
        let mut inner = self.lock();
        inner.store_failure = reason;
        inner.show_state(now);
    }

    /// The slot holds more WAL than it may: a condition like those, until it is `None` again.
    pub fn set_retention(&self, condition: Option<String>) {
        let now = self.now().wall;
        let mut inner = self.lock();
        inner.retention = condition;
        inner.show_state(now);
    }

    pub fn state(&self) -> State {
        self.lock().status.state
    }

    /// One failed attempt: it is counted, and shown until [`Board::clear_error`].
    pub fn set_error(&self, error: ErrorReport) {
        let at = timestamp(self.now().wall);
        let mut inner = self.lock();
        inner.metrics.agent.error(error.stage, error.code);
        inner.status.attempts += 1;
        inner.status.last_error = Some(ErrorStatus {
            active: true,
            stage: error.stage.to_owned(),
            code: error.code.to_owned(),
            message: error.message,
            table: error.table.as_ref().map(tables::label),
            at,
        });
    }

    /// All is well again: the last error stays visible as a past one.
    pub fn clear_error(&self) {
        if self.is_beside {
            return;
        }
        let mut inner = self.lock();
        inner.status.attempts = 0;
        if let Some(error) = &mut inner.status.last_error {
            error.active = false;
        }
    }

    pub fn source_reached(&self) {
        self.lock().status.source.reached = true;
    }

    pub fn destination_reached(&self) {
        self.lock().status.destination.reached = true;
    }

    /// The servers' versions as they print them (`18.4`); a later connection may find others.
    pub fn server_versions(&self, source: Option<String>, destination: Option<String>) {
        let mut inner = self.lock();
        let Inner { status, metrics, .. } = &mut *inner;
        for (server, version) in
            [(&mut status.source, source), (&mut status.destination, destination)]
        {
            if version.is_some() {
                server.server_version = version;
            }
        }
        let shown = |version: &Option<String>| version.clone().unwrap_or_default();
        let source = shown(&status.source.server_version);
        let destination = shown(&status.destination.server_version);
        metrics.agent.build_info(&source, &destination);
    }

    /// A connection was made again after it was lost.
    pub fn reconnect(&self, side: Side) {
        self.lock().metrics.agent.reconnect(side.label());
    }

    // --- tables ---

    /// The pipeline has this table; its counters exist from now on. Again: its description changed.
    pub fn table(&self, name: &QualifiedName, destination: &QualifiedName, insert_only: bool) {
        self.lock().table(name).describe(destination, insert_only);
    }

    /// The table left the pipeline.
    pub fn table_removed(&self, name: &QualifiedName) {
        let mut inner = self.lock();
        let Inner { tables, metrics, .. } = &mut *inner;
        tables.remove(name, &mut metrics.tables);
    }

    pub fn table_state(&self, name: &QualifiedName, state: TableState) {
        self.lock().table(name).state(state);
    }

    /// The table's copy begins (again): its progress is 0 of what is expected.
    pub fn snapshot_expected(&self, table: &QualifiedName, rows: Option<u64>, bytes: u64) {
        self.lock().table(table).expect_copy(rows, bytes);
    }

    pub fn snapshot_progress(&self, table: &QualifiedName, row_count: u64, byte_count: u64) {
        let mut inner = self.lock();
        inner.status.totals.copied_rows += row_count;
        inner.status.totals.copied_bytes += byte_count;
        inner.table(table).copied(row_count, byte_count);
    }

    fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// A stage that panicked while it held the lock left plain numbers behind: they stay readable.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn show_state(&mut self, now: PgTimestamp) {
        let (state, reason) = self.steady.clone();
        let goes_on = matches!(state, State::CatchingUp | State::Streaming);
        let conditions = self.store_failure.iter().chain(&self.conditions).chain(&self.retention);
        let conditions: Vec<&str> = conditions.map(String::as_str).collect();
        let (state, reason) = match goes_on && !conditions.is_empty() {
            true => (State::Degraded, conditions.join("; ")),
            false => (state, reason),
        };
        if self.status.state != state {
            self.state_since = now;
            self.metrics.agent.state(state.label());
        }
        self.status.state = state;
        self.status.reason = reason;
    }

    fn table(&mut self, name: &QualifiedName) -> &mut tables::Entry {
        self.tables.entry(name, &mut self.metrics.tables)
    }

    fn state(&mut self, state: State, reason: String, now: PgTimestamp) {
        self.steady = (state, reason);
        self.show_state(now);
    }

    fn applied_commit(&mut self, time: Option<PgTimestamp>, now: Now) {
        if let Some(time) = time {
            self.lag.commit(time, now.steady_micros);
            self.metrics.replication.source_commit_timestamp_seconds.set(time.unix_seconds());
        }
    }

    fn slot(&mut self, poll: Option<SlotPoll>) {
        let Some(poll) = poll else {
            // Only a slot that was there can be gone: before its creation nothing is known.
            if self.status.slot.take().is_some() {
                self.metrics.replication.slot_gone();
            }
            return;
        };
        self.metrics.replication.slot(&SlotWal {
            retained_bytes: poll.retained_bytes,
            safe_bytes: poll.safe_bytes,
            status: poll.wal_status.clone(),
        });
        self.status.slot = Some(SlotStatus {
            confirmed_flush: poll.confirmed_flush,
            restart_lsn: poll.restart_lsn,
            retained_bytes: poll.retained_bytes,
            safe_bytes: poll.safe_bytes,
            wal_status: poll.wal_status,
            active: poll.active,
        });
    }
}

/// A moment of this machine's clock; one outside of jiff's range (±9999 years) is the epoch.
fn timestamp(time: PgTimestamp) -> Timestamp {
    Timestamp::from_microsecond(time.unix_micros()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
