//! Net effects: each key at most once, so their rows may be written in any order within a list.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::{Effect, Rows, SET_ROWS_MIN, goes_by_set};
use crate::apply::conflicts::ConflictKind;
use crate::apply::error::ApplyError;
use crate::apply::row_plan::{mark_mask, sent_mask, values_at, values_of};
use crate::apply::statement::{self, Find, Mask};
use crate::apply::target::Target;
use crate::batch::NetEffects;
use crate::model::row::Row;
use crate::model::table::Table;

struct Upserted {
    existing: u64,
    fresh: u64,
    suppressed: u64,
}

impl<'a> Rows<'_, 'a> {
    pub(super) async fn net(&mut self, net: &'a NetEffects) -> Result<(), ApplyError> {
        let target = self.targets.of(&net.table)?;
        // Rows that were there go first: a removal's key may be equal to theirs without being the
        // same bytes, and would find them.
        self.deletes(&net.table, &target, &net.deletes, true).await?;
        self.deletes(&net.table, &target, &net.removals, false).await?;
        self.marks(&net.table, &target, &net.marks).await?;
        self.updates(&net.table, &target, &net.updates).await?;
        self.inserts(&net.table, &target, &net.inserts).await
    }

    async fn deletes(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
        rows: &'a [Row],
        is_expected: bool,
    ) -> Result<(), ApplyError> {
        if rows.len() >= SET_ROWS_MIN {
            let deleted = self.set_based(target, target.key.clone(), rows, |staging| {
                statement::delete_staged(target, staging)
            });
            let deleted = deleted.await?;
            if is_expected {
                let missing = (rows.len() as u64).saturating_sub(deleted);
                self.conflicts.add(table.id, ConflictKind::DeleteMissing, missing);
            }
            return Ok(());
        }
        if rows.is_empty() {
            return Ok(());
        }
        let sql = statement::delete_row(target, Find::Key);
        let statement = self.prepared(target, sql).await?;
        for row in rows {
            let effect =
                if is_expected { Effect::Deleted { table: table.id } } else { Effect::Removed };
            let values = values_at(target, row, &target.key);
            self.send(effect, target, &statement, values).await?;
        }
        Ok(())
    }

    /// Marks rows that the source has deleted. One that is missing is counted, and never made.
    async fn marks(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
        rows: &'a [Row],
    ) -> Result<(), ApplyError> {
        let mask = mark_mask(target);
        if rows.is_empty() || mask.is_empty() {
            return Ok(());
        }
        if rows.len() >= SET_ROWS_MIN {
            let mut columns: Mask = target.key.iter().chain(&mask).copied().collect();
            columns.sort_unstable();
            let marked = self.set_based(target, columns, rows, |staging| {
                statement::mark_staged(target, staging)
            });
            let missing = (rows.len() as u64).saturating_sub(marked.await?);
            self.conflicts.add(table.id, ConflictKind::DeleteMissing, missing);
            return Ok(());
        }
        let sql = statement::mark_row(target, Find::Key);
        let statement = self.prepared(target, sql).await?;
        for row in rows {
            let mut values = values_at(target, row, &mask);
            values.extend(values_at(target, row, &target.key));
            self.send(Effect::Deleted { table: table.id }, target, &statement, values).await?;
        }
        Ok(())
    }

    /// Updates rows by their keys. Once it returns, those that were missing are there, or were found to be
    /// gone from the source, too.
    pub(super) async fn updates(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
        rows: &'a [Row],
    ) -> Result<(), ApplyError> {
        // Ordered by first appearance, so that the same batch always gives the same statements.
        let mut by_mask: Vec<(Mask, Vec<&'a Row>)> = Vec::new();
        for row in rows {
            let mask = sent_mask(target, row);
            match by_mask.iter_mut().find(|(known, _)| *known == mask) {
                Some((_, rows)) => rows.push(row),
                None => by_mask.push((mask, vec![row])),
            }
        }
        let all = statement::full_mask(target);
        for (mask, rows) in by_mask {
            let goes_by_set = goes_by_set(rows.iter().copied());
            let has_all = all.iter().all(|index| mask.contains(index));
            let is_complete = has_all && rows.iter().all(|row| row.is_complete());
            if mask.is_empty() {
                continue;
            }
            if goes_by_set {
                self.update_set(table, target, mask, &rows, is_complete).await?;
            } else {
                self.update_rows(table, target, &mask, &rows, is_complete).await?;
            }
        }
        self.heal_missed(table, target).await
    }

    async fn update_set(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
        mask: Mask,
        rows: &[&'a Row],
        is_complete: bool,
    ) -> Result<(), ApplyError> {
        if is_complete && target.has_arbiter {
            let upserted = self.upsert_set(target, rows, &mask).await?;
            self.conflicts.add(table.id, ConflictKind::UpdateMissing, upserted.fresh);
            self.conflicts.add(table.id, ConflictKind::Suppressed, upserted.suppressed);
            return Ok(());
        }
        let mut columns = target.key.clone();
        columns.extend(mask.iter().filter(|index| !target.key.contains(index)));
        columns.sort_unstable();
        let rows: Vec<&Row> = rows.to_vec();
        let updated = self
            .set_based_of(target, columns, &rows, |staging| {
                statement::update_staged(target, staging, &mask)
            })
            .await?;
        if updated < rows.len() as u64 {
            // Which of them are missing is found one by one; to set the same values again changes nothing.
            self.update_rows(table, target, &mask, &rows, false).await?;
        }
        Ok(())
    }

    async fn update_rows(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
        mask: &[usize],
        rows: &[&'a Row],
        is_complete: bool,
    ) -> Result<(), ApplyError> {
        let sql = if is_complete {
            statement::update_or_insert_row(target, mask, Find::Key)
        } else {
            statement::update_row(target, mask, Find::Key)
        };
        let statement = self.prepared(target, sql).await?;
        for &row in rows {
            let (mut values, effect) = if is_complete {
                (values_of(target, row), Effect::UpdatedOrInserted { table: table.id })
            } else {
                (values_at(target, row, mask), Effect::Updated { row })
            };
            values.extend(values_at(target, row, &target.key));
            self.send(effect, target, &statement, values).await?;
        }
        Ok(())
    }

    async fn inserts(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
        rows: &'a [Row],
    ) -> Result<(), ApplyError> {
        if goes_by_set(rows) {
            return self.insert_set(table, target, rows).await;
        }
        if rows.is_empty() {
            return Ok(());
        }
        let statement = self.prepared(target, statement::insert_row(target)).await?;
        for row in rows {
            self.insert_one(table.id, target, &statement, row).await?;
        }
        Ok(())
    }

    /// Copies the rows straight into the table; where a key exists after all, goes back and lets
    /// the newer rows win.
    pub(super) async fn insert_set(
        &mut self,
        table: &Arc<Table>,
        target: &Arc<Target>,
        rows: &'a [Row],
    ) -> Result<(), ApplyError> {
        let doing = |source| ApplyError::Transaction { doing: "setting a savepoint", source };
        self.settle().await?;
        let all: Vec<usize> = (0..target.columns.len()).collect();
        let rows: Vec<&Row> = rows.iter().collect();
        if !target.has_arbiter {
            let copied = self.writer.copy(&target.name.sql(), target, &all, &rows).await?;
            self.suppressed(table, &rows, copied);
            return Ok(());
        }
        self.client.batch_execute("SAVEPOINT copied").await.map_err(doing)?;
        match self.writer.copy(&target.name.sql(), target, &all, &rows).await {
            Ok(copied) => {
                self.suppressed(table, &rows, copied);
                self.client.batch_execute("RELEASE copied").await.map_err(doing)
            }
            Err(ApplyError::Table { source, .. })
                if source.code() == Some(&SqlState::UNIQUE_VIOLATION) =>
            {
                let back = "ROLLBACK TO copied; RELEASE copied";
                self.client.batch_execute(back).await.map_err(doing)?;
                let mask = statement::insert_mask(target);
                let upserted = self.upsert_set(target, &rows, &mask).await?;
                if !target.keeps_deleted {
                    self.conflicts.add(table.id, ConflictKind::InsertExists, upserted.existing);
                }
                self.conflicts.add(table.id, ConflictKind::Suppressed, upserted.suppressed);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Counts rows that a COPY was given and did not write.
    fn suppressed(&mut self, table: &Table, rows: &[&Row], copied: u64) {
        let count = (rows.len() as u64).saturating_sub(copied);
        self.conflicts.add(table.id, ConflictKind::Suppressed, count);
    }

    async fn upsert_set(
        &mut self,
        target: &Arc<Target>,
        rows: &[&Row],
        mask: &[usize],
    ) -> Result<Upserted, ApplyError> {
        self.settle().await?;
        let rejected = |source| ApplyError::Table { table: target.name.clone(), source };
        let all: Vec<usize> = (0..target.columns.len()).collect();
        let staging = self.writer.stage(target, &all, rows).await?;
        let sql = statement::upsert_staged(target, &staging, mask);
        let statement = self.prepared(target, sql).await?;
        let row = self.client.query_one(&statement, &[]).await.map_err(rejected)?;
        let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
        let (written, fresh) = (count(0), count(1));
        let unwritten = (rows.len() as u64).saturating_sub(written);
        Ok(match statement::leaves_existing(target) {
            true => Upserted { existing: unwritten, fresh, suppressed: 0 },
            false => Upserted { existing: written - fresh, fresh, suppressed: unwritten },
        })
    }

    async fn set_based(
        &mut self,
        target: &Arc<Target>,
        columns: Vec<usize>,
        rows: &[Row],
        sql: impl Fn(&str) -> String,
    ) -> Result<u64, ApplyError> {
        let rows: Vec<&Row> = rows.iter().collect();
        self.set_based_of(target, columns, &rows, sql).await
    }

    /// Stages the rows' columns and runs the statement over them.
    async fn set_based_of(
        &mut self,
        target: &Arc<Target>,
        columns: Vec<usize>,
        rows: &[&Row],
        sql: impl Fn(&str) -> String,
    ) -> Result<u64, ApplyError> {
        self.settle().await?;
        let rejected = |source| ApplyError::Table { table: target.name.clone(), source };
        let staging = self.writer.stage(target, &columns, rows).await?;
        let statement = self.prepared(target, sql(&staging)).await?;
        self.client.execute(&statement, &[]).await.map_err(rejected)
    }
}
