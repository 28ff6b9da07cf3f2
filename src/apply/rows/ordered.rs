//! Changes that keep the source's order, row by row.
//!
//! They are sent without waiting. One of them may find that its row is missing, when others behind it are
//! done already: then all of the step is taken back, and done again in steps of one (nothing of it was
//! meant to be seen before its end).

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Statement;

use super::{Effect, Rows, is_large};
use crate::apply::error::ApplyError;
use crate::apply::row_plan::{Planned, PlannedEffect, Shape, plan_change, plan_clearing};
use crate::apply::target::Target;
use crate::apply::writer::control;
use crate::batch::OrderedChanges;
use crate::model::change::RowChange;
use crate::model::row::Row;
use crate::model::table::Table;

impl<'a> Rows<'_, 'a> {
    pub(super) async fn in_order(&mut self, ordered: &'a OrderedChanges) -> Result<(), ApplyError> {
        let target = self.targets.of(&ordered.table)?;
        if target.is_partial() || !ordered.changes.iter().any(may_miss) {
            return self.changes(ordered, &target).await;
        }
        let staging_count = self.writer.staging_count();
        self.mark(Effect::Savepoint, "SAVEPOINT in_order").await;
        self.is_tentative = true;
        let result = self.changes(ordered, &target).await;
        self.is_tentative = false;
        result?;
        self.settle().await?;
        if self.missed.is_empty() {
            self.may_miss = false;
            self.mark(Effect::Control, "RELEASE in_order").await;
            return Ok(());
        }
        self.missed.clear();
        *self.conflicts = std::mem::take(&mut self.before_savepoint);
        self.writer.forget_staging(staging_count);
        self.mark(Effect::Control, "ROLLBACK TO in_order; RELEASE in_order").await;
        self.changes(ordered, &target).await
    }

    async fn mark(&mut self, effect: Effect<'a>, sql: &'static str) {
        let client = self.client;
        let marking = async move { client.batch_execute(sql).await };
        self.pipeline.push(effect, control("setting a savepoint", marking)).await;
    }

    /// Unless it is tentative, a change that may miss its row is waited for, and healed, before the next.
    async fn changes(
        &mut self,
        ordered: &'a OrderedChanges,
        target: &Arc<Target>,
    ) -> Result<(), ApplyError> {
        let table = &ordered.table;
        let mut statements: HashMap<Shape, Statement> = HashMap::new();
        for change in &ordered.changes {
            if self.large_in_order(table, target, change).await? {
                continue;
            }
            let planned =
                plan_clearing(target, change).into_iter().chain(plan_change(target, change));
            for planned in planned {
                self.one(table, target, planned, &mut statements).await?;
            }
            if !self.is_tentative {
                self.heal_missed(table, target).await?;
            }
        }
        Ok(())
    }

    /// Sends one planned statement.
    async fn one(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
        Planned { shape, values, effect }: Planned<'a>,
        statements: &mut HashMap<Shape, Statement>,
    ) -> Result<(), ApplyError> {
        let statement = match statements.get(&shape) {
            Some(statement) => statement.clone(),
            None => {
                let sql = shape.sql(target);
                let statement = self.prepared(target, sql).await?;
                statements.insert(shape.clone(), statement.clone());
                statement
            }
        };
        let effect = match effect {
            PlannedEffect::Insert(row) => {
                self.insert_one(table.id, target, &statement, row).await?;
                return Ok(());
            }
            // Of a table that is loaded in part, any row may not be there yet.
            PlannedEffect::UpdateOrInsert | PlannedEffect::Delete if target.is_partial() => {
                Effect::Removed
            }
            PlannedEffect::Remember => Effect::Removed,
            PlannedEffect::UpdateOrInsert => Effect::UpdatedOrInserted { table: table.id },
            PlannedEffect::Update(row) => Effect::Updated { row },
            PlannedEffect::Delete => Effect::Deleted { table: table.id },
        };
        self.send(effect, target, &statement, values).await
    }

    /// A large row whose place is known by its key goes through COPY here, too; false for all others.
    async fn large_in_order(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
        change: &'a RowChange,
    ) -> Result<bool, ApplyError> {
        let is_plain = !target.key.is_empty() && !target.has_unsettable();
        match change {
            // What is missing of a row that is not loaded yet is for its own statements to remember.
            _ if target.is_partial() => return Ok(false),
            RowChange::Insert { new } if is_large(new) && new.is_complete() => {
                self.insert_set(table, target, std::slice::from_ref(new)).await?;
            }
            RowChange::Update { old: None, new } if is_large(new) && is_plain => {
                self.updates(table, target, std::slice::from_ref(new)).await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Whether all of the change's row can only be had from the source, should the destination lack it.
fn may_miss(change: &RowChange) -> bool {
    let is_partial = |new: &Row| !new.is_complete();
    match change {
        RowChange::Insert { new } | RowChange::Update { new, .. } => is_partial(new),
        RowChange::Delete { .. } | RowChange::Mark { .. } => false,
    }
}
