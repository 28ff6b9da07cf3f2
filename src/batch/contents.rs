//! A batch: ordered steps, and the position they lead to.

use std::sync::Arc;

use crate::model::change::{Commit, Op, RowChange, Truncate};
use crate::model::row::Row;
use crate::model::table::{Table, TableId};
use crate::pg::lsn::Lsn;

/// What one destination transaction writes, or a part of it.
#[derive(Clone, Debug)]
pub struct Batch {
    pub steps: Vec<Step>,
    pub end: End,
    /// The commit of its last transaction, or of the one that it is a part of.
    pub commit_lsn: Lsn,
    /// Its transactions, as the source numbers them, in the order of their commits.
    pub xids: Vec<u32>,
    /// Source changes by table and kind, before folding.
    pub counts: Vec<TableCounts>,
    pub change_count: usize,
    /// Memory the batch holds, in bytes.
    pub memory_bytes: usize,
}

/// How a batch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With whole transactions; the destination commits and its checkpoint moves to
    /// `last.end_lsn`.
    Commit { last: Commit, transaction_count: u64 },
    /// Inside a source transaction larger than the limits: the destination transaction stays open
    /// for the next part.
    Continues,
}

/// Source changes of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCounts {
    pub table: TableId,
    pub ops: [u64; Op::ALL.len()],
}

impl TableCounts {
    pub fn of(&self, op: Op) -> u64 {
        self.ops[op as usize]
    }
}

/// One piece of a batch. Steps that touch the same table keep their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Net(NetEffects),
    InOrder(OrderedChanges),
    Truncate(Truncate),
}

/// A table's changes folded by key: each key at most once in each list. They are written in the
/// order deletes, removals, marks, updates, inserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetEffects {
    pub table: Arc<Table>,
    /// Keys inserted and deleted again inside the batch: normally absent at the destination.
    pub removals: Vec<Row>,
    /// Rows (only their key counts) that existed before the batch and are gone after it, also those
    /// that `inserts` brings back anew.
    pub deletes: Vec<Row>,
    /// Rows (their key and their mark) that existed and that the source has deleted: they stay.
    pub marks: Vec<Row>,
    /// Rows that existed; [`Value::Unchanged`](crate::model::row::Value::Unchanged) leaves a column
    /// as it is.
    pub updates: Vec<Row>,
    /// Rows that did not exist (or were deleted inside the batch).
    pub inserts: Vec<Row>,
}

/// A table's changes in the source's order, for what cannot be folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedChanges {
    pub table: Arc<Table>,
    pub changes: Vec<RowChange>,
}
