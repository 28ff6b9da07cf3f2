//! When a batch closes, and what leaves beside a large transaction: nothing.

use std::time::{Duration, Instant};

use crate::batch::contents::{Batch, End, Step};
use crate::batch::steps::FoldPolicy;
use crate::batch::tests::{row, table};
use crate::batch::{Batcher, Limits};
use crate::model::change::{Begin, Change, Commit, Op, RowChange, Truncate};
use crate::model::table::ReplicaIdentity;
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;

const DELAY: Duration = Duration::from_millis(5);

fn batcher(changes_max: usize, memory_bytes_max: usize) -> Batcher {
    Batcher::new(Limits { changes_max, memory_bytes_max, delay_max: DELAY })
}

fn insert(batcher: &mut Batcher, key: usize) {
    let table = table(1, ReplicaIdentity::Default, &["k"], &[0]);
    let new = row(&key.to_string());
    batcher.push(Change::Row { table, change: RowChange::Insert { new } }, FoldPolicy::Fold);
}

fn begin(batcher: &mut Batcher, lsn: u64) {
    batcher.begin(Begin { commit_lsn: Lsn::new(lsn), commit_time: PgTimestamp(0), xid: 1 });
}

fn commit(lsn: u64) -> Commit {
    let commit_lsn = Lsn::new(lsn);
    Commit { commit_lsn, end_lsn: Lsn::new(lsn + 8), commit_time: PgTimestamp(0), xid: 1 }
}

/// A whole transaction of `count` inserts.
fn transaction(batcher: &mut Batcher, lsn: u64, count: usize, now: Instant) {
    begin(batcher, lsn);
    for key in 0..count {
        insert(batcher, usize::try_from(lsn).unwrap() * 1_000 + key);
    }
    batcher.commit(commit(lsn), now);
}

/// How many changes each closed batch holds, and the LSN of its last commit (none: a part).
fn closed(batcher: &mut Batcher) -> Vec<(usize, Option<u64>)> {
    let last = |batch: &Batch| match batch.end {
        End::Commit { last, .. } => Some(last.commit_lsn.as_u64()),
        End::Continues => None,
    };
    let batches: Vec<Batch> = std::iter::from_fn(|| batcher.next_closed()).collect();
    for batch in &batches {
        let inserted: usize = batch.steps.iter().map(inserts).sum();
        assert_eq!(inserted, batch.change_count, "no change is lost or doubled");
        let counted: u64 = batch.counts.iter().map(|counts| counts.of(Op::Insert)).sum();
        assert_eq!(counted, batch.change_count as u64);
    }
    batches.iter().map(|batch| (batch.change_count, last(batch))).collect()
}

fn inserts(step: &Step) -> usize {
    match step {
        Step::Net(net) => net.inserts.len(),
        Step::InOrder(_) | Step::Truncate(_) => 0,
    }
}

#[test]
fn whole_transactions_gather_until_the_next_would_not_fit() {
    let now = Instant::now();
    let mut batcher = batcher(10, usize::MAX);
    transaction(&mut batcher, 1, 4, now);
    transaction(&mut batcher, 2, 4, now);
    assert_eq!(closed(&mut batcher), []);
    transaction(&mut batcher, 3, 4, now);
    assert_eq!(closed(&mut batcher), [(8, Some(2))]);
    batcher.close();
    assert_eq!(closed(&mut batcher), [(4, Some(3))]);
}

#[test]
fn a_full_batch_closes_at_once() {
    let now = Instant::now();
    let mut batcher = batcher(10, usize::MAX);
    transaction(&mut batcher, 1, 6, now);
    transaction(&mut batcher, 2, 4, now);
    assert_eq!(closed(&mut batcher), [(10, Some(2))]);
    assert!(batcher.is_empty());
    assert_eq!(batcher.due(), None);
}

#[test]
fn a_batch_of_one_change_is_possible() {
    let now = Instant::now();
    let mut batcher = batcher(1, usize::MAX);
    transaction(&mut batcher, 1, 1, now);
    transaction(&mut batcher, 2, 1, now);
    assert_eq!(closed(&mut batcher), [(1, Some(1)), (1, Some(2))]);
    transaction(&mut batcher, 3, 3, now);
    assert_eq!(closed(&mut batcher), [(1, None), (1, None), (1, Some(3))]);
}

#[test]
fn a_large_transaction_leaves_in_parts_with_nothing_beside_it() {
    let now = Instant::now();
    let mut batcher = batcher(10, usize::MAX);
    transaction(&mut batcher, 1, 3, now);
    transaction(&mut batcher, 2, 25, now);
    let expected = [(3, Some(1)), (10, None), (10, None), (5, Some(2))];
    assert_eq!(closed(&mut batcher), expected);
    transaction(&mut batcher, 3, 3, now);
    assert_eq!(closed(&mut batcher), [], "the next one starts a batch of its own");
    batcher.close();
    assert_eq!(closed(&mut batcher), [(3, Some(3))]);
}

#[test]
fn parts_leave_before_the_commit_has_come() {
    let mut batcher = batcher(2, usize::MAX);
    begin(&mut batcher, 1);
    for key in 0..3 {
        insert(&mut batcher, key);
    }
    assert!(batcher.has_closed());
    assert_eq!(closed(&mut batcher), [(2, None)]);
    assert!(!batcher.is_empty(), "the transaction is still open");
    assert!(!batcher.has_ready(), "and its rest may not leave yet");
    batcher.close();
    assert_eq!(closed(&mut batcher), [], "nor be forced to");
    batcher.commit(commit(1), Instant::now());
    assert_eq!(closed(&mut batcher), [(1, Some(1))]);
}

#[test]
fn bytes_limit_a_batch_as_rows_do() {
    let now = Instant::now();
    let one_change = {
        let mut probe = batcher(10, usize::MAX);
        transaction(&mut probe, 1, 1, now);
        probe.memory_bytes()
    };
    // Keys of the transactions below are one to three bytes longer.
    let mut batcher = batcher(usize::MAX - 1, 4 * one_change);
    transaction(&mut batcher, 2, 3, now);
    transaction(&mut batcher, 3, 2, now);
    assert_eq!(closed(&mut batcher), [(3, Some(2))]);
    transaction(&mut batcher, 4, 9, now);
    let expected = [(2, Some(3)), (4, None), (4, None), (1, Some(4))];
    assert_eq!(closed(&mut batcher), expected);
}

#[test]
fn a_batch_is_due_one_delay_after_its_first_commit() {
    let start = Instant::now();
    let mut batcher = batcher(10, usize::MAX);
    assert_eq!(batcher.due(), None);
    transaction(&mut batcher, 1, 1, start);
    transaction(&mut batcher, 2, 1, start + DELAY / 2);
    assert_eq!(batcher.due(), Some(start + DELAY));
    batcher.close();
    assert_eq!(batcher.due(), None);
    assert_eq!(closed(&mut batcher), [(2, Some(2))]);
}

#[test]
fn a_batch_that_closed_for_the_next_does_not_lend_it_its_age() {
    let start = Instant::now();
    let mut batcher = batcher(2, usize::MAX);
    transaction(&mut batcher, 1, 1, start);
    transaction(&mut batcher, 2, 2, start + DELAY / 2);
    transaction(&mut batcher, 3, 1, start + DELAY);
    assert_eq!(closed(&mut batcher), [(1, Some(1)), (2, Some(2))]);
    assert_eq!(batcher.due(), Some(start + 2 * DELAY));
}

#[test]
fn a_transaction_without_changes_still_moves_the_checkpoint() {
    let mut batcher = batcher(10, usize::MAX);
    transaction(&mut batcher, 1, 0, Instant::now());
    assert!(batcher.has_ready());
    batcher.close();
    assert_eq!(closed(&mut batcher), [(0, Some(1))]);
    batcher.close();
    assert_eq!(closed(&mut batcher), [], "an empty batch is none");
}

#[test]
fn an_unfinished_transaction_does_not_leave_with_the_batch_before_it() {
    let now = Instant::now();
    let mut batcher = batcher(10, usize::MAX);
    transaction(&mut batcher, 1, 2, now);
    begin(&mut batcher, 2);
    insert(&mut batcher, 0);
    batcher.close();
    assert_eq!(closed(&mut batcher), [(2, Some(1))]);
    assert!(!batcher.is_empty());
}

#[test]
fn memory_is_counted_until_a_batch_is_handed_on() {
    let now = Instant::now();
    let mut batcher = batcher(4, usize::MAX);
    transaction(&mut batcher, 1, 3, now);
    let open = batcher.memory_bytes();
    begin(&mut batcher, 2);
    insert(&mut batcher, 0);
    assert!(batcher.memory_bytes() > open);
    batcher.commit(commit(2), now);
    let all = batcher.memory_bytes();
    let batch = batcher.next_closed().expect("four changes are a batch");
    assert_eq!((batch.memory_bytes, batcher.memory_bytes()), (all, 0));
}

#[test]
fn a_truncate_counts_for_each_of_its_tables() {
    let mut batcher = batcher(10, usize::MAX);
    begin(&mut batcher, 1);
    let tables = [1, 2].map(|id| table(id, ReplicaIdentity::Default, &["k"], &[0])).to_vec();
    let truncate = Truncate { tables, cascade: false, restart_identity: false };
    batcher.push(Change::Truncate(truncate), FoldPolicy::Fold);
    batcher.commit(commit(1), Instant::now());
    batcher.close();
    let batch = batcher.next_closed().expect("closed");
    let counted: Vec<_> = batch.counts.iter().map(|counts| counts.of(Op::Truncate)).collect();
    assert_eq!(counted, [1, 1]);
}
