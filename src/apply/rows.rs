//! A batch's steps to statements: one a row where rows are few, set-based through COPY where they
//! are many.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;

use crate::apply::conflicts::{ConflictKind, Conflicts};
use crate::apply::error::ApplyError;
use crate::apply::parameter::WireValue;
use crate::apply::row_plan::{
    Planned, PlannedEffect, Shape, plan_change, sent_mask, values_at, values_of,
};
use crate::apply::statement::{self, Find, Mask};
use crate::apply::target::Target;
use crate::apply::targets::Targets;
use crate::apply::writer::{LARGE_ROW_BYTES, Pipeline, Writer, answer};
use crate::batch::{NetEffects, OrderedChanges, Step};
use crate::model::change::{RowChange, Truncate};
use crate::model::row::Row;
use crate::model::table::TableId;
use crate::pg::client::Client;

/// From this many rows on, a list goes through a staging table (or COPY): the fixed cost of COPY and
/// of a set-based statement is that of about thirty row statements on a local socket.
const SET_ROWS_MIN: usize = 32;

/// Whether rows go through COPY: where they are many, and where one is so large that it has to go
/// in pieces, which a parameter cannot.
fn goes_by_set<'a>(rows: impl IntoIterator<Item = &'a Row, IntoIter: ExactSizeIterator>) -> bool {
    let mut rows = rows.into_iter();
    rows.len() >= SET_ROWS_MIN || rows.any(is_large)
}

fn is_large(row: &Row) -> bool {
    row.memory_bytes() >= LARGE_ROW_BYTES
}

/// Statements on their way at once; their answers are then awaited. Bounds what both sides buffer.
const PIPELINE_MAX: usize = 512;

/// What an answer's count means.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Part of the transaction, not of a table.
    Control,
    /// Rows written that were new; `expected` were sent.
    Inserted {
        table: TableId,
    },
    /// Rows that had to be inserted because the update found none.
    UpdatedOrInserted {
        table: TableId,
    },
    /// Rows updated; one was due.
    Updated {
        target: Arc<Target>,
    },
    Deleted {
        table: TableId,
    },
    /// Rows deleted that normally are not there.
    Removed,
}

/// Awaits every answer and counts conflicts; the first error ends it.
pub async fn settle(
    pipeline: &mut Pipeline<'_, Effect>,
    conflicts: &mut Conflicts,
) -> Result<(), ApplyError> {
    while let Some((effect, result)) = pipeline.next().await {
        let count = result?;
        let missed = 1_u64.saturating_sub(count);
        match effect {
            Effect::Control | Effect::Removed => {}
            Effect::Inserted { table } => {
                conflicts.add(table, ConflictKind::InsertExists, missed);
            }
            Effect::UpdatedOrInserted { table } => {
                conflicts.add(table, ConflictKind::UpdateMissing, count);
            }
            Effect::Deleted { table } => {
                conflicts.add(table, ConflictKind::DeleteMissing, missed);
            }
            Effect::Updated { target } => {
                if count == 0 {
                    return Err(ApplyError::RowMissing { table: target.name.clone() });
                }
            }
        }
    }
    Ok(())
}

/// The connection's parts that writing rows needs.
pub struct Rows<'w, 'a> {
    pub client: &'a Client,
    pub writer: &'w mut Writer,
    pub targets: &'w Targets,
    pub pipeline: &'w mut Pipeline<'a, Effect>,
    pub conflicts: &'w mut Conflicts,
}

impl<'a> Rows<'_, 'a> {
    pub async fn write(&mut self, step: &'a Step) -> Result<(), ApplyError> {
        match step {
            Step::Net(net) => self.net(net).await,
            Step::InOrder(ordered) => self.in_order(ordered).await,
            Step::Truncate(truncate) => self.truncate(truncate).await,
        }
    }

    async fn net(&mut self, net: &'a NetEffects) -> Result<(), ApplyError> {
        let target = self.targets.of(&net.table)?;
        self.deletes(net.table.id, &target, &net.removals, false).await?;
        self.deletes(net.table.id, &target, &net.deletes, true).await?;
        self.updates(net.table.id, &target, &net.updates).await?;
        self.inserts(net.table.id, &target, &net.inserts).await
    }

    async fn truncate(&mut self, truncate: &'a Truncate) -> Result<(), ApplyError> {
        let mut targets = Vec::with_capacity(truncate.tables.len());
        for table in &truncate.tables {
            targets.push(self.targets.of(table)?);
        }
        let Some(first) = targets.first().cloned() else {
            return Ok(());
        };
        // Never CASCADE: the source has listed every published table that its own CASCADE reached,
        // and what else hangs on them here is not ours to empty.
        let names: Vec<String> = targets.iter().map(|target| target.name.sql()).collect();
        let restart = if truncate.restart_identity { " RESTART IDENTITY" } else { "" };
        let sql = format!("TRUNCATE {}{restart}", names.join(", "));
        let client = self.client;
        let truncating = async move { client.batch_execute(&sql).await.map(|()| 0) };
        self.pipeline.push(Effect::Control, answer(first, truncating)).await;
        Ok(())
    }

    /// Prepares a statement, whatever is on its way.
    async fn prepared(&mut self, target: &Target, sql: String) -> Result<Statement, ApplyError> {
        self.pipeline.beside(self.writer.prepared_for(&target.name, sql)).await
    }

    /// Sends one row statement.
    async fn send(
        &mut self,
        effect: Effect,
        target: &Arc<Target>,
        statement: &Statement,
        values: Vec<WireValue<'a>>,
    ) -> Result<(), ApplyError> {
        if self.pipeline.pending_count() >= PIPELINE_MAX {
            settle(self.pipeline, self.conflicts).await?;
        }
        let client = self.client;
        let statement = statement.clone();
        let executing = async move { client.execute_raw(&statement, values).await };
        self.pipeline.push(effect, answer(Arc::clone(target), executing)).await;
        Ok(())
    }

    async fn deletes(
        &mut self,
        table: TableId,
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
                self.conflicts.add(table, ConflictKind::DeleteMissing, missing);
            }
            return Ok(());
        }
        if rows.is_empty() {
            return Ok(());
        }
        let sql = statement::delete_row(target, Find::Key);
        let statement = self.prepared(target, sql).await?;
        for row in rows {
            let effect = if is_expected { Effect::Deleted { table } } else { Effect::Removed };
            let values = values_at(target, row, &target.key);
            self.send(effect, target, &statement, values).await?;
        }
        Ok(())
    }

    async fn updates(
        &mut self,
        table: TableId,
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
            let is_complete = mask == all && rows.iter().all(|row| row.is_complete());
            if mask.is_empty() {
                continue;
            }
            if goes_by_set {
                self.update_set(table, target, mask, &rows, is_complete).await?;
            } else {
                self.update_rows(table, target, &mask, &rows, is_complete).await?;
            }
        }
        Ok(())
    }

    async fn update_set(
        &mut self,
        table: TableId,
        target: &Arc<Target>,
        mask: Mask,
        rows: &[&'a Row],
        is_complete: bool,
    ) -> Result<(), ApplyError> {
        // A partitioned table cannot tell a new row from an old one, so nothing could be counted.
        if is_complete && target.has_arbiter && !target.is_partitioned {
            let fresh = self.upsert_set(target, rows).await?.fresh;
            self.conflicts.add(table, ConflictKind::UpdateMissing, fresh);
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
            return Err(ApplyError::RowMissing { table: target.name.clone() });
        }
        Ok(())
    }

    async fn update_rows(
        &mut self,
        table: TableId,
        target: &Arc<Target>,
        mask: &[usize],
        rows: &[&'a Row],
        is_complete: bool,
    ) -> Result<(), ApplyError> {
        let (sql, effect) = if is_complete {
            let sql = statement::update_or_insert_row(target, mask, Find::Key);
            (sql, Effect::UpdatedOrInserted { table })
        } else {
            let sql = statement::update_row(target, mask, Find::Key);
            (sql, Effect::Updated { target: Arc::clone(target) })
        };
        let statement = self.prepared(target, sql).await?;
        for row in rows {
            let mut values =
                if is_complete { values_of(target, row) } else { values_at(target, row, mask) };
            values.extend(values_at(target, row, &target.key));
            self.send(effect.clone(), target, &statement, values).await?;
        }
        Ok(())
    }

    async fn inserts(
        &mut self,
        table: TableId,
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
            self.insert_one(table, target, &statement, row).await?;
        }
        Ok(())
    }

    async fn insert_one(
        &mut self,
        table: TableId,
        target: &Arc<Target>,
        statement: &Statement,
        row: &'a Row,
    ) -> Result<(), ApplyError> {
        if self.pipeline.pending_count() >= PIPELINE_MAX {
            settle(self.pipeline, self.conflicts).await?;
        }
        let client = self.client;
        let statement = statement.clone();
        let values = values_of(target, row);
        let inserting = async move {
            let rows: Vec<_> = client.query_raw(&statement, values).await?.try_collect().await?;
            Ok(rows.iter().filter(|row| row.get(0)).count() as u64)
        };
        let effect = Effect::Inserted { table };
        self.pipeline.push(effect, answer(Arc::clone(target), inserting)).await;
        Ok(())
    }

    /// Copies the rows straight into the table; where a key exists after all, goes back and lets
    /// the newer rows win.
    async fn insert_set(
        &mut self,
        table: TableId,
        target: &Arc<Target>,
        rows: &'a [Row],
    ) -> Result<(), ApplyError> {
        let doing = |source| ApplyError::Transaction { doing: "setting a savepoint", source };
        settle(self.pipeline, self.conflicts).await?;
        let all: Vec<usize> = (0..target.columns.len()).collect();
        let rows: Vec<&Row> = rows.iter().collect();
        if !target.has_arbiter {
            self.writer.copy(&target.name.sql(), target, &all, &rows).await?;
            return Ok(());
        }
        self.client.batch_execute("SAVEPOINT copied").await.map_err(doing)?;
        match self.writer.copy(&target.name.sql(), target, &all, &rows).await {
            Ok(_) => self.client.batch_execute("RELEASE copied").await.map_err(doing),
            Err(ApplyError::Table { source, .. })
                if source.code() == Some(&SqlState::UNIQUE_VIOLATION) =>
            {
                let back = "ROLLBACK TO copied; RELEASE copied";
                self.client.batch_execute(back).await.map_err(doing)?;
                let upserted = self.upsert_set(target, &rows).await?;
                let existing = upserted.rows.saturating_sub(upserted.fresh);
                self.conflicts.add(table, ConflictKind::InsertExists, existing);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn upsert_set(
        &mut self,
        target: &Arc<Target>,
        rows: &[&Row],
    ) -> Result<Upserted, ApplyError> {
        settle(self.pipeline, self.conflicts).await?;
        let rejected = |source| ApplyError::Table { table: target.name.clone(), source };
        let all: Vec<usize> = (0..target.columns.len()).collect();
        let staging = self.writer.stage(target, &all, rows).await?;
        let sql = statement::upsert_staged(target, &staging);
        let statement = self.prepared(target, sql).await?;
        let row = self.client.query_one(&statement, &[]).await.map_err(rejected)?;
        let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
        Ok(Upserted { rows: count(0), fresh: count(1) })
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
        settle(self.pipeline, self.conflicts).await?;
        let rejected = |source| ApplyError::Table { table: target.name.clone(), source };
        let staging = self.writer.stage(target, &columns, rows).await?;
        let statement = self.prepared(target, sql(&staging)).await?;
        self.client.execute(&statement, &[]).await.map_err(rejected)
    }

    /// A large row whose place is known by its key goes through COPY here, too; false for all others.
    async fn large_in_order(
        &mut self,
        table: TableId,
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

    /// Row by row, in the source's order.
    async fn in_order(&mut self, ordered: &'a OrderedChanges) -> Result<(), ApplyError> {
        let target = self.targets.of(&ordered.table)?;
        let mut statements: HashMap<Shape, Statement> = HashMap::new();
        for change in &ordered.changes {
            if self.large_in_order(ordered.table.id, &target, change).await? {
                continue;
            }
            let planned = plan_change(&target, change);
            let Planned { shape, values, effect } = match planned {
                Some(planned) => planned,
                None => continue,
            };
            let statement = match statements.get(&shape) {
                Some(statement) => statement.clone(),
                None => {
                    let sql = shape.sql(&target);
                    let statement = self.prepared(&target, sql).await?;
                    statements.insert(shape.clone(), statement.clone());
                    statement
                }
            };
            let table = ordered.table.id;
            match effect {
                PlannedEffect::Insert(row) => {
                    self.insert_one(table, &target, &statement, row).await?;
                }
                // Of a table that is loaded in part, any row may not be there yet.
                PlannedEffect::UpdateOrInsert | PlannedEffect::Delete if target.is_partial() => {
                    self.send(Effect::Removed, &target, &statement, values).await?;
                }
                PlannedEffect::Remember => {
                    self.send(Effect::Removed, &target, &statement, values).await?;
                }
                PlannedEffect::UpdateOrInsert => {
                    let effect = Effect::UpdatedOrInserted { table };
                    self.send(effect, &target, &statement, values).await?;
                }
                PlannedEffect::Update => {
                    let effect = Effect::Updated { target: Arc::clone(&target) };
                    self.send(effect, &target, &statement, values).await?;
                }
                PlannedEffect::Delete => {
                    self.send(Effect::Deleted { table }, &target, &statement, values).await?;
                }
            }
        }
        Ok(())
    }
}

struct Upserted {
    rows: u64,
    fresh: u64,
}
