//! The structure of `/status` and of the `status` verb: facts at one moment, plain data.
//!
//! Fields may be added under the same [`SCHEMA_VERSION`]; a field that changes its meaning or goes
//! away raises it. What is not known is `null`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::states::{State, TableState};
use crate::model::change::Op;
use crate::pg::lsn::Lsn;

pub const SCHEMA_VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub schema_version: u32,
    pub pipeline: String,
    /// The agent's version.
    pub version: String,
    pub state: State,
    pub reason: String,
    /// When the pipeline entered this state.
    pub since: Timestamp,
    /// When these facts were put together.
    pub at: Timestamp,
    /// Attempts that failed since the last time all was well.
    pub attempts: u64,
    pub source: ServerStatus,
    pub destination: ServerStatus,
    pub positions: Positions,
    pub lag: LagStatus,
    pub slot: Option<SlotStatus>,
    pub totals: Totals,
    pub queue: QueueStatus,
    pub last_error: Option<ErrorStatus>,
    pub tables: Vec<TableStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Whether the server was ever reached by this process.
    pub reached: bool,
    pub server_version: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// Highest position read from the stream.
    pub received: Option<Lsn>,
    /// The destination's checkpoint.
    pub applied: Option<Lsn>,
    /// Highest position confirmed to the source.
    pub confirmed: Option<Lsn>,
    /// The source's WAL end at the last poll.
    pub wal_end: Option<Lsn>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LagStatus {
    pub received_bytes: Option<u64>,
    pub applied_bytes: Option<u64>,
    pub confirmed_bytes: Option<u64>,
    /// Age of the oldest source change that is not at the destination.
    pub seconds: Option<f64>,
}

/// The replication slot at the last poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    pub confirmed_flush: Option<Lsn>,
    pub restart_lsn: Option<Lsn>,
    pub retained_bytes: u64,
    /// Absent where nothing limits what a slot retains.
    pub safe_bytes: Option<i64>,
    pub wal_status: String,
    pub active: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpCounts {
    pub insert: u64,
    pub update: u64,
    pub delete: u64,
    pub truncate: u64,
}

impl OpCounts {
    pub(super) fn add(&mut self, op: Op, count: u64) {
        *match op {
            Op::Insert => &mut self.insert,
            Op::Update => &mut self.update,
            Op::Delete => &mut self.delete,
            Op::Truncate => &mut self.truncate,
        } += count;
    }

    pub fn total(&self) -> u64 {
        self.insert + self.update + self.delete + self.truncate
    }
}

/// Since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub transactions: u64,
    pub received_bytes: u64,
    pub rows: OpCounts,
    pub copied_rows: u64,
    pub copied_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    pub bytes: u64,
    pub capacity_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorStatus {
    /// Whether it still stands in the way; else it is only the last one there was.
    pub active: bool,
    pub stage: String,
    pub code: String,
    pub message: String,
    pub table: Option<String>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    /// Schema-qualified, the same as the label in the metrics.
    pub name: String,
    pub destination: Option<String>,
    pub state: TableState,
    /// The source has no identity for its rows: updates and deletes do not come.
    pub insert_only: bool,
    pub rows: OpCounts,
    pub copy: CopyStatus,
    pub conflicts: u64,
}

/// One table's copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStatus {
    pub rows: u64,
    pub bytes: u64,
    /// The source's own estimates; the copy may end beyond them.
    pub expected_rows: Option<u64>,
    pub expected_bytes: Option<u64>,
}

impl Status {
    /// A status about which nothing is known but the pipeline's name.
    pub fn new(pipeline: &str) -> Status {
        let now = Timestamp::now();
        Status {
            schema_version: SCHEMA_VERSION,
            pipeline: pipeline.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: State::Starting,
            reason: String::new(),
            since: now,
            at: now,
            attempts: 0,
            source: ServerStatus::default(),
            destination: ServerStatus::default(),
            positions: Positions::default(),
            lag: LagStatus::default(),
            slot: None,
            totals: Totals::default(),
            queue: QueueStatus::default(),
            last_error: None,
            tables: Vec::new(),
        }
    }
}
