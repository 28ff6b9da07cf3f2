//! Changes to steps: folds where that is safe, keeps the source's order where it is not.
//!
//! A table's latest step takes its next change if it can; else a new step is opened behind it, so
//! that the steps of one table always stand in the source's order. Between tables the order is kept
//! only where somebody checks it (foreign keys without the replica role): [`FoldPolicy::InOrder`].

use std::collections::HashMap;
use std::sync::Arc;

use crate::batch::coalesce::Fold;
use crate::batch::contents::{OrderedChanges, Step};
use crate::model::change::{Change, RowChange, Truncate};
use crate::model::table::{Table, TableId};

/// How a table's changes may be rearranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FoldPolicy {
    /// By key, freely.
    #[default]
    Fold,
    /// By key, but a key change stays an update: the destination's row has values that no change
    /// carries (further columns).
    FoldKeepRows,
    /// Changes of this table keep their order: a second unique index or an exclusion constraint
    /// could reject a rearranged batch.
    TableOrder,
    /// As `TableOrder`, and also against changes of other tables.
    InOrder,
}

#[derive(Debug)]
enum OpenStep {
    Fold(Fold),
    InOrder(OrderedChanges),
    Truncate(Truncate),
}

/// The steps of a batch while it is collected.
#[derive(Debug, Default)]
pub struct Steps {
    steps: Vec<OpenStep>,
    latest: HashMap<TableId, usize>,
}

impl Steps {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn push(&mut self, change: Change, policy: FoldPolicy) {
        match change {
            Change::Row { table, change } => self.push_row(table, change, policy),
            Change::Left { .. } => {}
            Change::Truncate(truncate) => {
                // CASCADE may reach tables that the message does not list: a barrier for all.
                self.latest.clear();
                self.steps.push(OpenStep::Truncate(truncate));
            }
        }
    }

    fn push_row(&mut self, table: Arc<Table>, change: RowChange, policy: FoldPolicy) {
        let foldable = match policy {
            FoldPolicy::Fold => true,
            FoldPolicy::FoldKeepRows => !moves_key(&table, &change),
            FoldPolicy::TableOrder => matches!(change, RowChange::Insert { .. }),
            FoldPolicy::InOrder => {
                self.forget_others(table.id);
                matches!(change, RowChange::Insert { .. })
            }
        };
        let change = if foldable {
            match self.fold(&table, change) {
                Ok(()) => return,
                Err(change) => change,
            }
        } else {
            change
        };
        self.keep_order(table, change);
    }

    /// Whatever another table's next change is, it goes behind this one.
    fn forget_others(&mut self, table: TableId) {
        self.latest.retain(|&other, _| other == table);
    }

    fn fold(&mut self, table: &Arc<Table>, change: RowChange) -> Result<(), RowChange> {
        if let Some(&index) = self.latest.get(&table.id)
            && let OpenStep::Fold(fold) = &mut self.steps[index]
            && (Arc::ptr_eq(fold.table(), table) || fold.table() == table)
        {
            return fold.push(change);
        }
        let mut fold = Fold::new(Arc::clone(table));
        fold.push(change)?;
        self.open(table.id, OpenStep::Fold(fold));
        Ok(())
    }

    fn keep_order(&mut self, table: Arc<Table>, change: RowChange) {
        if let Some(&index) = self.latest.get(&table.id)
            && let OpenStep::InOrder(ordered) = &mut self.steps[index]
            && (Arc::ptr_eq(&ordered.table, &table) || ordered.table == table)
        {
            ordered.changes.push(change);
            return;
        }
        let id = table.id;
        self.open(id, OpenStep::InOrder(OrderedChanges { table, changes: vec![change] }));
    }

    fn open(&mut self, table: TableId, step: OpenStep) {
        self.latest.insert(table, self.steps.len());
        self.steps.push(step);
    }

    pub fn finish(self) -> Vec<Step> {
        self.steps
            .into_iter()
            .map(|step| match step {
                OpenStep::Fold(fold) => Step::Net(fold.finish()),
                OpenStep::InOrder(ordered) => Step::InOrder(ordered),
                OpenStep::Truncate(truncate) => Step::Truncate(truncate),
            })
            .collect()
    }
}

/// Whether an update changes the key (or might: a value of it is not known).
fn moves_key(table: &Table, change: &RowChange) -> bool {
    let RowChange::Update { old: Some(old), new } = change else {
        return false;
    };
    table.key.iter().any(|&index| {
        let after = &new.values()[index];
        !after.is_unchanged() && after != &old.row().values()[index]
    })
}
