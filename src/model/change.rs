//! One insert, update, delete or truncate, and the transaction marks around them.

use std::sync::Arc;

use crate::model::row::Row;
use crate::model::table::Table;
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;

/// What the source sent of the row as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OldRow {
    /// Only the identity's columns are meant; every other value is [`Value::Null`] on the wire and
    /// says nothing.
    ///
    /// [`Value::Null`]: crate::model::row::Value::Null
    Identity(Row),
    /// The whole row (REPLICA IDENTITY FULL).
    Full(Row),
}

impl OldRow {
    pub fn row(&self) -> &Row {
        match self {
            OldRow::Identity(row) | OldRow::Full(row) => row,
        }
    }
}

/// One change of one row. It carries its table: nobody downstream looks an OID up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    Insert {
        new: Row,
    },
    /// `old` is sent only when the identity's values changed, or always under FULL.
    Update {
        old: Option<OldRow>,
        new: Row,
    },
    Delete {
        old: OldRow,
    },
    /// A delete that only sets the row's mark ([`crate::model::mark`]): the key's values and the mark, and
    /// every other value unchanged.
    Mark {
        row: Row,
    },
}

/// What an operator counts (`rows_total{op}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    Insert,
    Update,
    Delete,
    Truncate,
}

impl Op {
    pub const ALL: [Op; 4] = [Op::Insert, Op::Update, Op::Delete, Op::Truncate];

    pub fn label(self) -> &'static str {
        match self {
            Op::Insert => "insert",
            Op::Update => "update",
            Op::Delete => "delete",
            Op::Truncate => "truncate",
        }
    }
}

impl RowChange {
    pub fn op(&self) -> Op {
        match self {
            RowChange::Insert { .. } => Op::Insert,
            RowChange::Update { .. } => Op::Update,
            RowChange::Delete { .. } | RowChange::Mark { .. } => Op::Delete,
        }
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            RowChange::Insert { new } => new.memory_bytes(),
            RowChange::Update { old, new } => {
                new.memory_bytes() + old.as_ref().map_or(0, |old| old.row().memory_bytes())
            }
            RowChange::Delete { old } => old.row().memory_bytes(),
            RowChange::Mark { row } => row.memory_bytes(),
        }
    }
}

/// `TRUNCATE` of one or more tables in one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncate {
    pub tables: Vec<Arc<Table>>,
    pub cascade: bool,
    pub restart_identity: bool,
}

/// One change inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Row {
        table: Arc<Table>,
        change: RowChange,
    },
    Truncate(Truncate),
    /// One that the destination does not follow (`on_delete = "keep"`): it is counted, and no more.
    Left {
        table: Arc<Table>,
        op: Op,
    },
}

/// A transaction's beginning as the source announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Start of the commit record: what the skip rule compares.
    pub commit_lsn: Lsn,
    pub commit_time: PgTimestamp,
    pub xid: u32,
}

/// A transaction's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    pub commit_lsn: Lsn,
    /// One past the commit record: what is acknowledged.
    pub end_lsn: Lsn,
    pub commit_time: PgTimestamp,
    pub xid: u32,
}

/// What the tail yields, in order: `Begin Change* Commit`, keepalives only between transactions'
/// messages as the server sends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailEvent {
    Begin(Begin),
    Change(Change),
    Commit(Commit),
    Keepalive {
        /// How far the server has read its WAL.
        wal_end: Lsn,
        /// The server waits for an answer.
        reply_requested: bool,
    },
}
