//! The law: applying the folded batch leaves the same tables as applying the changes one by one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::batch::contents::{Batch, Step};
use crate::batch::steps::{FoldPolicy, Steps};
use crate::batch::tests::destination::{Destination, Stored, StoredRow, stored};
use crate::batch::tests::history::{Op, Source, TABLE_COUNT, UNIQUE_COLUMN, ops};
use crate::batch::{Batcher, Limits};
use crate::model::change::{Begin, Change, Commit, RowChange};
use crate::model::row::{Row, Value};
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;

type Policies = [FoldPolicy; TABLE_COUNT];

fn policy() -> impl Strategy<Value = FoldPolicy> {
    use FoldPolicy::{Fold, FoldKeepRows, InOrder, TableOrder};
    prop::sample::select(vec![Fold, FoldKeepRows, TableOrder, InOrder])
}

fn limits() -> impl Strategy<Value = Limits> {
    let changes_max = prop_oneof![1..6_usize, Just(1_000)];
    let memory_bytes_max = prop_oneof![400..4_000_usize, Just(1 << 20)];
    (changes_max, memory_bytes_max).prop_map(|(changes_max, memory_bytes_max)| Limits {
        changes_max,
        memory_bytes_max,
        delay_max: Duration::ZERO,
    })
}

/// A source with `before` behind it, and a destination that holds a copy of it.
fn copied(before: &[Op], policies: Policies) -> (Source, Destination) {
    use FoldPolicy::{InOrder, TableOrder};
    let mut source = Source::new(policies.map(|policy| matches!(policy, TableOrder | InOrder)));
    source.run(before);
    source.changes.clear();
    source.commits.clear();
    let mut destination = Destination::default();
    for (at, policy) in source.tables.iter().zip(policies) {
        // Under `Fold` the destination has no column of its own.
        let further = |index| if policy == FoldPolicy::Fold { 0 } else { index };
        let rows = at
            .rows
            .iter()
            .zip(1..)
            .map(|(values, index)| StoredRow { values: stored(values), further: further(index) });
        let unique = at.is_unique.then_some(UNIQUE_COLUMN);
        destination.0.insert(at.table.id, Stored { rows: rows.collect(), unique, keeps: false });
    }
    (source, destination)
}

fn batches(source: &Source, policies: Policies, limits: Limits) -> Vec<Batch> {
    let now = Instant::now();
    let mut batcher = Batcher::new(limits);
    let mut start = 0;
    for (&end, lsn) in source.commits.iter().zip((100..).step_by(100)) {
        let (commit_lsn, commit_time, xid) = (Lsn::new(lsn), PgTimestamp(0), 1);
        batcher.begin(Begin { commit_lsn, commit_time, xid });
        for change in &source.changes[start..end] {
            batcher.push(change.clone(), policy_of(policies, change));
        }
        let end_lsn = Lsn::new(lsn + 50);
        batcher.commit(Commit { commit_lsn, end_lsn, commit_time, xid }, now);
        start = end;
    }
    batcher.close();
    std::iter::from_fn(|| batcher.next_closed()).collect()
}

fn policy_of(policies: Policies, change: &Change) -> FoldPolicy {
    match change {
        Change::Row { table, .. } => policies[table.id.0 as usize - 1],
        Change::Truncate(_) | Change::Left { .. } => FoldPolicy::InOrder,
    }
}

/// Rows go missing, appear and change at the destination behind our back.
fn disturb(destination: &mut Destination, drift: &[Op]) {
    let mut elsewhere = Source::new([false; TABLE_COUNT]);
    elsewhere.run(drift);
    for at in elsewhere.tables {
        let stored_table = destination.0.get_mut(&at.table.id).unwrap();
        let key_of = |values: &[Option<Vec<u8>>]| -> Vec<_> {
            at.table.key.iter().map(|&index| values[index].clone()).collect()
        };
        for (values, index) in at.rows.iter().zip(0..) {
            let mut values = stored(values);
            let width = stored_table.rows.first().map_or(4, |row| row.values.len());
            values.resize(width, None);
            stored_table
                .rows
                .retain(|row| at.table.key.is_empty() || key_of(&row.values) != key_of(&values));
            // Every second one only takes a row away.
            if index % 2 == 0 {
                stored_table.rows.push(StoredRow { values, further: 0 });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_folded_batch_leaves_the_tables_that_its_changes_leave_one_by_one(
        before in ops(30),
        history in ops(40),
        policies in prop::array::uniform5(policy()),
        limits in limits(),
    ) {
        let (mut source, start) = copied(&before, policies);
        source.run(&history);

        let mut one_by_one = start.clone();
        for change in &source.changes {
            prop_assert_eq!(one_by_one.change(change), Ok(()));
        }
        let mut folded = start;
        for batch in batches(&source, policies, limits) {
            prop_assert_eq!(folded.apply(&batch), Ok(()));
        }

        let widen = |mut destination: Destination| {
            for at in &source.tables {
                for row in &mut destination.0.get_mut(&at.table.id).unwrap().rows {
                    row.values.resize(at.table.columns.len(), None);
                }
            }
            destination
        };
        let (one_by_one, folded) = (widen(one_by_one), widen(folded));
        prop_assert_eq!(folded.sorted(), one_by_one.sorted());
        for at in &source.tables {
            let mut rows: Vec<_> = at.rows.iter().map(|values| stored(values)).collect();
            rows.sort();
            prop_assert_eq!(&folded.sorted_values()[&at.table.id], &rows, "as the source");
        }
    }

    #[test]
    fn a_destination_with_other_rows_ends_the_same_wherever_one_by_one_gets_through(
        before in ops(20),
        history in ops(20),
        drift in ops(12),
        policies in prop::array::uniform5(policy()),
        limits in limits(),
    ) {
        let (mut source, mut start) = copied(&before, policies);
        disturb(&mut start, &drift);
        source.run(&history);

        let mut one_by_one = start.clone();
        if source.changes.iter().any(|change| one_by_one.change(change).is_err()) {
            return Ok(());
        }
        let mut folded = start;
        for batch in batches(&source, policies, limits) {
            prop_assert_eq!(folded.apply(&batch), Ok(()));
        }
        prop_assert_eq!(folded.sorted_values(), one_by_one.sorted_values());
    }

    #[test]
    fn rows_that_stay_fold_as_they_stay_one_by_one(
        before in ops(30),
        history in ops(40),
        policies in prop::array::uniform5(policy()),
        limits in limits(),
        is_marked in any::<bool>(),
    ) {
        let (mut source, mut start) = copied(&before, policies);
        for stored in start.0.values_mut() {
            (stored.unique, stored.keeps) = (None, true);
        }
        source.run(&history);
        source.changes = source.changes.iter().map(|change| kept(change, is_marked)).collect();

        let mut one_by_one = start.clone();
        for change in &source.changes {
            prop_assert_eq!(one_by_one.change(change), Ok(()));
        }
        let mut folded = start;
        for batch in batches(&source, policies, limits) {
            prop_assert_eq!(folded.apply(&batch), Ok(()));
        }
        prop_assert_eq!(folded.sorted(), one_by_one.sorted());
    }

    #[test]
    fn in_order_keeps_the_order_of_all_changes(before in ops(20), history in ops(30)) {
        let policies = [FoldPolicy::InOrder; TABLE_COUNT];
        let (mut source, _) = copied(&before, policies);
        source.run(&history);
        let mut steps = Steps::default();
        for change in &source.changes {
            steps.push(change.clone(), FoldPolicy::InOrder);
        }
        let kept: Vec<Change> = steps.finish().into_iter().flat_map(changes_of).collect();
        prop_assert_eq!(kept, source.changes);
    }
}

/// A delete by key, where rows stay; the third column is the mark.
fn kept(change: &Change, is_marked: bool) -> Change {
    let Change::Row { table, change: RowChange::Delete { old } } = change else {
        return change.clone();
    };
    let table = Arc::clone(table);
    if !is_marked || !table.has_key() {
        return Change::Left { table, op: crate::model::change::Op::Delete };
    }
    let mut values = vec![Value::Unchanged; table.columns.len()];
    for &key in &table.key {
        values[key].clone_from(&old.row().values()[key]);
    }
    values[2] = Value::Text("deleted".into());
    Change::Row { table, change: RowChange::Mark { row: Row::new(values) } }
}

/// The changes of a step that only ever folded inserts.
fn changes_of(step: Step) -> Vec<Change> {
    let of = |table, changes: Vec<RowChange>| {
        changes
            .into_iter()
            .map(|change| Change::Row { table: Arc::clone(&table), change })
            .collect()
    };
    match step {
        Step::Net(net) => {
            assert!(net.removals.is_empty() && net.deletes.is_empty() && net.updates.is_empty());
            assert!(net.marks.is_empty());
            of(net.table, net.inserts.into_iter().map(|new| RowChange::Insert { new }).collect())
        }
        Step::InOrder(ordered) => of(ordered.table, ordered.changes),
        Step::Truncate(truncate) => vec![Change::Truncate(truncate)],
    }
}
