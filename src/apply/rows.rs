//! A batch's steps to statements: one a row where rows are few, set-based through COPY where they
//! are many.
//!
//! **Invariant:** after a step no answer is awaited any more that could say that a row was missing: such
//! rows are healed inside the step, and so before the transaction's end is sent.

mod heal;
mod net;
mod ordered;

use std::sync::Arc;

use futures::TryStreamExt;
use tokio_postgres::Statement;

use crate::apply::conflicts::{ConflictKind, Conflicts};
use crate::apply::error::ApplyError;
use crate::apply::parameter::WireValue;
use crate::apply::reread::Reread;
use crate::apply::row_plan::values_of;
use crate::apply::statement::{self, SUPPRESSED, leaves_existing};
use crate::apply::target::Target;
use crate::apply::targets::Targets;
use crate::apply::writer::{LARGE_ROW_BYTES, Pipeline, Writer, answer};
use crate::batch::Step;
use crate::model::change::Truncate;
use crate::model::row::Row;
use crate::model::table::TableId;
use crate::pg::client::Client;

/// From this many rows on, a list goes through a staging table (or COPY): the fixed cost of COPY and
/// of a set-based statement is that of about thirty row statements on a local socket.
const SET_ROWS_MIN: usize = 32;

/// Statements on their way at once; their answers are then awaited. Bounds what both sides buffer.
const PIPELINE_MAX: usize = 512;

/// Whether rows go through COPY: where they are many, and where one is so large that it has to go
/// in pieces, which a parameter cannot.
fn goes_by_set<'a>(rows: impl IntoIterator<Item = &'a Row, IntoIter: ExactSizeIterator>) -> bool {
    let mut rows = rows.into_iter();
    rows.len() >= SET_ROWS_MIN || rows.any(is_large)
}

fn is_large(row: &Row) -> bool {
    row.memory_bytes() >= LARGE_ROW_BYTES
}

/// What an answer's count means.
#[derive(Clone, Debug)]
pub enum Effect<'a> {
    /// Part of the transaction, not of a table.
    Control,
    /// The conflicts counted so far are those before a savepoint.
    Savepoint,
    /// Rows written that were new; one was sent.
    Inserted { table: TableId },
    /// A row written, whether it was new or not.
    Written { table: TableId },
    /// Rows that had to be inserted because the update found none.
    UpdatedOrInserted { table: TableId },
    /// Rows updated; one was due. `row` is what was sent of it, and not all that it has.
    Updated { row: &'a Row },
    /// Rows deleted; one was due.
    Deleted { table: TableId },
    /// Nothing was expected.
    Removed,
}

/// What writing rows needs of a connection, and what came of it.
pub struct Rows<'w, 'a> {
    client: &'a Client,
    writer: &'w mut Writer,
    targets: &'w Targets,
    reread: &'w dyn Reread,
    pipeline: &'w mut Pipeline<'a, Effect<'a>>,
    conflicts: &'w mut Conflicts,
    /// The source transactions that the rows come from.
    xids: &'w [u32],
    /// The conflicts as they were at the last savepoint.
    before_savepoint: Conflicts,
    /// Statements are on their way that may miss their row.
    may_miss: bool,
    /// The step is taken back if one did: nothing is healed before.
    is_tentative: bool,
    missed: Vec<&'a Row>,
}

/// What [`Rows`] are made of.
pub struct Parts<'w, 'a> {
    pub client: &'a Client,
    pub writer: &'w mut Writer,
    pub targets: &'w Targets,
    pub reread: &'w dyn Reread,
    pub pipeline: &'w mut Pipeline<'a, Effect<'a>>,
    pub conflicts: &'w mut Conflicts,
    pub xids: &'w [u32],
}

impl<'w, 'a> Rows<'w, 'a> {
    pub fn new(parts: Parts<'w, 'a>) -> Rows<'w, 'a> {
        let Parts { client, writer, targets, reread, pipeline, conflicts, xids } = parts;
        Rows {
            client,
            writer,
            targets,
            reread,
            pipeline,
            conflicts,
            xids,
            before_savepoint: Conflicts::default(),
            may_miss: false,
            is_tentative: false,
            missed: Vec::new(),
        }
    }

    pub async fn write(&mut self, step: &'a Step) -> Result<(), ApplyError> {
        match step {
            Step::Net(net) => self.net(net).await,
            Step::InOrder(ordered) => self.in_order(ordered).await,
            Step::Truncate(truncate) => self.truncate(truncate).await,
        }
    }

    /// Awaits every answer and counts conflicts; the first error ends it.
    pub async fn settle(&mut self) -> Result<(), ApplyError> {
        while let Some((effect, result)) = self.pipeline.next().await {
            let count = result?;
            let missed = 1_u64.saturating_sub(count);
            match effect {
                Effect::Control | Effect::Removed => {}
                Effect::Savepoint => self.before_savepoint = self.conflicts.clone(),
                Effect::Inserted { table }
                | Effect::Written { table }
                | Effect::UpdatedOrInserted { table }
                    if count == SUPPRESSED =>
                {
                    self.conflicts.add(table, ConflictKind::Suppressed, 1);
                }
                Effect::Written { .. } => {}
                Effect::Inserted { table } => {
                    self.conflicts.add(table, ConflictKind::InsertExists, missed);
                }
                Effect::UpdatedOrInserted { table } => {
                    self.conflicts.add(table, ConflictKind::UpdateMissing, count);
                }
                Effect::Deleted { table } => {
                    self.conflicts.add(table, ConflictKind::DeleteMissing, missed);
                }
                Effect::Updated { row } if count == 0 => self.missed.push(row),
                Effect::Updated { .. } => {}
            }
        }
        Ok(())
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
        let (shared, whole): (Vec<&Arc<Target>>, Vec<_>) =
            targets.iter().partition(|target| target.own_rows.is_some());
        let mut statements = Vec::new();
        if !whole.is_empty() {
            let names: Vec<String> = whole.iter().map(|target| target.rows_sql()).collect();
            let restart = if truncate.restart_identity { " RESTART IDENTITY" } else { "" };
            statements.push(format!("TRUNCATE {}{restart}", names.join(", ")));
        }
        // The other rows are other tables'.
        statements.extend(shared.iter().map(|target| statement::delete_all(target)));
        let sql = statements.join("; ");
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
        effect: Effect<'a>,
        target: &Arc<Target>,
        statement: &Statement,
        values: Vec<WireValue<'a>>,
    ) -> Result<(), ApplyError> {
        if self.pipeline.pending_count() >= PIPELINE_MAX {
            self.settle().await?;
        }
        self.may_miss |= matches!(effect, Effect::Updated { .. });
        let client = self.client;
        let statement = statement.clone();
        let executing = async move { client.execute_raw(&statement, values).await };
        self.pipeline.push(effect, answer(Arc::clone(target), executing)).await;
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
            self.settle().await?;
        }
        let client = self.client;
        let statement = statement.clone();
        let values = values_of(target, row);
        let leaves_existing = leaves_existing(target);
        let inserting = async move {
            let rows: Vec<_> = client.query_raw(&statement, values).await?.try_collect().await?;
            Ok(match rows.as_slice() {
                [] if !leaves_existing => SUPPRESSED,
                rows => rows.iter().filter(|row| row.get(0)).count() as u64,
            })
        };
        let effect = match target.keeps_deleted {
            true => Effect::Written { table },
            false => Effect::Inserted { table },
        };
        self.pipeline.push(effect, answer(Arc::clone(target), inserting)).await;
        Ok(())
    }
}
