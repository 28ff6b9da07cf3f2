//! Transactions in, batches out.
//!
//! Two buffers: the batch of whole transactions, and the transaction being received. A transaction
//! joins the batch when its commit arrives and the limits allow both together; otherwise the batch
//! closes without it. A transaction that exceeds the limits by itself leaves in parts, with nothing
//! else beside it.
//!
//! **Invariant:** a batch that ends with [`End::Commit`] holds whole transactions, in commit order;
//! nothing follows an [`End::Continues`] but parts of the same transaction.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::batch::contents::{Batch, End, TableCounts};
use crate::batch::steps::{FoldPolicy, Steps};
use crate::model::change::{Begin, Change, Commit, Op};
use crate::model::table::TableId;
use crate::pg::lsn::Lsn;

/// When a batch is closed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub changes_max: usize,
    pub memory_bytes_max: usize,
    /// How long the first transaction of a batch may wait for company.
    pub delay_max: Duration,
}

/// Bookkeeping of one change besides its row: the enum, its `Arc`, its place in a vector.
const CHANGE_OVERHEAD_BYTES: usize = 96;

#[derive(Debug, Default)]
struct Collected {
    changes: Vec<(Change, FoldPolicy)>,
    memory_bytes: usize,
}

#[derive(Debug, Default)]
struct Open {
    steps: Steps,
    counts: Vec<TableCounts>,
    change_count: usize,
    memory_bytes: usize,
    xids: Vec<u32>,
    last: Option<Commit>,
    since: Option<Instant>,
}

#[derive(Debug)]
pub struct Batcher {
    limits: Limits,
    open: Open,
    transaction: Collected,
    /// Parts of the transaction being received have left already.
    is_in_parts: bool,
    is_in_transaction: bool,
    /// What the transaction being received announced.
    commit_lsn: Lsn,
    xid: u32,
    closed: VecDeque<Batch>,
}

impl Batcher {
    pub fn new(limits: Limits) -> Batcher {
        Batcher {
            limits,
            open: Open::default(),
            transaction: Collected::default(),
            is_in_parts: false,
            is_in_transaction: false,
            commit_lsn: Lsn::ZERO,
            xid: 0,
            closed: VecDeque::new(),
        }
    }

    pub fn begin(&mut self, begin: Begin) {
        self.is_in_transaction = true;
        self.commit_lsn = begin.commit_lsn;
        self.xid = begin.xid;
    }

    pub fn push(&mut self, change: Change, policy: FoldPolicy) {
        self.push_holding(change, policy, 0);
    }

    /// `held_bytes`: what the change keeps in memory where that is more than its own values, because
    /// they are slices of something larger.
    pub fn push_holding(&mut self, change: Change, policy: FoldPolicy, held_bytes: usize) {
        let own_bytes = match &change {
            Change::Row { change, .. } => change.memory_bytes(),
            Change::Truncate(_) | Change::Left { .. } => 0,
        };
        let memory_bytes = CHANGE_OVERHEAD_BYTES + own_bytes.max(held_bytes);
        let is_full = !self.transaction.changes.is_empty()
            && self.exceeds(
                self.transaction.changes.len() + 1,
                self.transaction.memory_bytes + memory_bytes,
            );
        if is_full {
            self.split_transaction();
        }
        self.transaction.memory_bytes += memory_bytes;
        self.transaction.changes.push((change, policy));
        // One change that is larger than a batch: nothing shall be read beside it.
        if self.transaction.memory_bytes > self.limits.memory_bytes_max {
            self.split_transaction();
        }
    }

    /// The transaction is larger than a batch: what is complete leaves first, then this part.
    fn split_transaction(&mut self) {
        self.close();
        self.take_transaction();
        self.is_in_parts = true;
        self.close_with(End::Continues);
    }

    pub fn commit(&mut self, commit: Commit, now: Instant) {
        self.is_in_transaction = false;
        if !self.is_in_parts
            && self.open.change_count > 0
            && self.exceeds(
                self.open.change_count + self.transaction.changes.len(),
                self.open.memory_bytes + self.transaction.memory_bytes,
            )
        {
            self.close();
        }
        self.take_transaction();
        self.open.xids.push(commit.xid);
        self.open.last = Some(commit);
        self.open.since.get_or_insert(now);
        if self.is_in_parts || self.exceeds(self.open.change_count + 1, self.open.memory_bytes) {
            self.is_in_parts = false;
            self.close();
        }
    }

    fn exceeds(&self, change_count: usize, memory_bytes: usize) -> bool {
        change_count > self.limits.changes_max || memory_bytes > self.limits.memory_bytes_max
    }

    /// Moves the received changes into the open batch, folding them.
    fn take_transaction(&mut self) {
        let transaction = std::mem::take(&mut self.transaction);
        self.open.change_count += transaction.changes.len();
        self.open.memory_bytes += transaction.memory_bytes;
        for (change, policy) in transaction.changes {
            count(&mut self.open.counts, &change);
            self.open.steps.push(change, policy);
        }
    }

    /// Closes the open batch if it holds a whole transaction.
    pub fn close(&mut self) {
        if let Some(last) = self.open.last {
            let transaction_count = self.open.xids.len() as u64;
            self.close_with(End::Commit { last, transaction_count });
        }
    }

    fn close_with(&mut self, end: End) {
        let mut open = std::mem::take(&mut self.open);
        if matches!(end, End::Continues) {
            open.xids.push(self.xid);
        }
        self.closed.push_back(Batch {
            steps: open.steps.finish(),
            end,
            commit_lsn: match end {
                End::Commit { last, .. } => last.commit_lsn,
                End::Continues => self.commit_lsn,
            },
            xids: open.xids,
            counts: open.counts,
            change_count: open.change_count,
            memory_bytes: open.memory_bytes,
        });
    }

    /// When the open batch must leave; none while there is nothing to send.
    pub fn due(&self) -> Option<Instant> {
        self.open.since.map(|since| since + self.limits.delay_max)
    }

    /// Whether a closed batch waits: the reader must hand it on before it reads further.
    pub fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Whether anything could be handed on now.
    pub fn has_ready(&self) -> bool {
        self.has_closed() || self.open.last.is_some()
    }

    /// Nothing received is waiting here, not even a part of a transaction.
    pub fn is_empty(&self) -> bool {
        !self.has_ready() && !self.is_in_transaction
    }

    pub fn next_closed(&mut self) -> Option<Batch> {
        self.closed.pop_front()
    }

    pub fn memory_bytes(&self) -> usize {
        self.open.memory_bytes
            + self.transaction.memory_bytes
            + self.closed.iter().map(|batch| batch.memory_bytes).sum::<usize>()
    }
}

fn count(counts: &mut Vec<TableCounts>, change: &Change) {
    let mut add = |table: TableId, op: Op| {
        // The table of the last change is almost always the table of this one.
        let place = match counts.iter().rposition(|counted| counted.table == table) {
            Some(place) => place,
            None => {
                counts.push(TableCounts { table, ops: [0; Op::ALL.len()] });
                counts.len() - 1
            }
        };
        counts[place].ops[op as usize] += 1;
    };
    match change {
        Change::Row { table, change } => add(table.id, change.op()),
        Change::Left { table, op } => add(table.id, *op),
        Change::Truncate(truncate) => {
            for table in &truncate.tables {
                add(table.id, Op::Truncate);
            }
        }
    }
}
