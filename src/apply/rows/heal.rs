//! Rows that the destination has lost, and whose update does not bring all their values.
//!
//! The row is read again at the source and inserted: of what the source has *now* only the values that
//! were not sent are taken, for those that were stand in the stream's order. A value that has changed at
//! the source since then comes again with the change that did it. A row that the source has lost, too, is
//! left out: the change that took it away comes as well. Either way it is counted.
//!
//! **Invariant:** no row is written with a value that neither the stream nor the source gave.

use std::sync::Arc;

use futures::TryStreamExt;

use super::{Rows, is_large};
use crate::apply::conflicts::ConflictKind;
use crate::apply::error::ApplyError;
use crate::apply::row_plan::{values_at, values_of};
use crate::apply::statement;
use crate::apply::target::Target;
use crate::model::row::Row;
use crate::model::table::Table;

impl Rows<'_, '_> {
    /// Takes all answers, and heals what was missed: unless the step is tentative.
    pub(super) async fn heal_missed(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
    ) -> Result<(), ApplyError> {
        if !self.may_miss {
            return Ok(());
        }
        self.settle().await?;
        self.may_miss = false;
        if self.is_tentative {
            return Ok(());
        }
        for row in std::mem::take(&mut self.missed) {
            if target.key.is_empty() || target.is_partial() {
                return Err(ApplyError::RowMissing { table: target.name.clone() });
            }
            self.heal(table, target, row).await?;
        }
        Ok(())
    }

    async fn heal(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
        row: &Row,
    ) -> Result<(), ApplyError> {
        if target.may_suppress && self.is_there(target, row).await? {
            self.conflicts.add(table.id, ConflictKind::Suppressed, 1);
            return Ok(());
        }
        let unread = |source| ApplyError::Reread { table: target.name.clone(), source };
        let rejected = |source| ApplyError::Table { table: target.name.clone(), source };
        let found = self.reread.reread(table, row, self.xids).await.map_err(unread)?;
        self.conflicts.add(table.id, ConflictKind::UpdateMissing, 1);
        let Some(whole) = found else { return Ok(()) };
        if is_large(&whole) {
            let all: Vec<usize> = (0..target.columns.len()).collect();
            self.writer.copy(&target.name.sql(), target, &all, &[&whole]).await?;
            return Ok(());
        }
        let statement = self.prepared(target, statement::insert_row(target)).await?;
        let inserting = self.client.query_raw(&statement, values_of(target, &whole));
        let inserting = inserting.await.map_err(rejected)?;
        inserting.try_collect::<Vec<_>>().await.map_err(rejected)?;
        Ok(())
    }

    /// Whether the row is not missing at all: a trigger kept it from being updated.
    async fn is_there(&mut self, target: &Arc<Target>, row: &Row) -> Result<bool, ApplyError> {
        let rejected = |source| ApplyError::Table { table: target.name.clone(), source };
        let statement = self.prepared(target, statement::find_row(target)).await?;
        let key = values_at(target, row, &target.key);
        let found = self.client.query_raw(&statement, key).await.map_err(rejected)?;
        Ok(!found.try_collect::<Vec<_>>().await.map_err(rejected)?.is_empty())
    }
}
