//! Creates or empties the destination's tables and records them as being copied.
//!
//! **Invariants:** every transaction here begins with the epoch's guard, so that whoever has lost the lease
//! changes nothing; and a table's record is committed no later than what is done to the table.

use super::filling::Filling;
use super::prepare::Preparation;
use super::step::{Step, texts};
use crate::checkpoint::{chunks, tables};
use crate::model::finding::Side;
use crate::pipeline::error::PipelineError;
use crate::structure::Structure;

/// Tables created in one transaction. Each keeps up to six locks (table, sequence, TOAST, indexes,
/// type) until its end; a server's lock table holds 6,400 by default.
const TABLES_PER_TRANSACTION: usize = 100;

/// Other statements in one transaction, for the same reason.
const STATEMENTS_PER_TRANSACTION: usize = 300;

impl Preparation<'_> {
    /// Creates or empties the tables and records them, in guarded transactions.
    pub(super) async fn begin(
        &self,
        steps: &[Step],
        structure: &Structure,
    ) -> Result<(), PipelineError> {
        for statements in texts(&structure.before).chunks(STATEMENTS_PER_TRANSACTION) {
            let done = self.transaction(statements.iter().cloned(), &[]).await;
            done.map_err(creating())?;
        }
        let (emptied, mut others): (Vec<&Step>, Vec<&Step>) =
            steps.iter().partition(|step| step.filling == Filling::EmptyBefore);
        others.sort_by_key(|step| step.place);
        let is_one_transaction = match emptied.is_empty() {
            true => others.len() <= TABLES_PER_TRANSACTION,
            false => others.is_empty(),
        };
        if !is_one_transaction {
            self.record_all(steps).await?;
        }
        self.empty(&emptied).await?;
        for batch in others.chunks(TABLES_PER_TRANSACTION) {
            if self.transaction(std::iter::empty(), batch).await.is_ok() {
                continue;
            }
            // One of them failed: each for itself tells which.
            for step in batch {
                self.transaction(std::iter::empty(), std::slice::from_ref(step))
                    .await
                    .map_err(|error| of_table(step, error))?;
            }
        }
        for step in steps {
            self.add_partitions(step).await.map_err(|error| of_table(step, error))?;
        }
        Ok(())
    }

    /// Records all tables at once, before any of them is touched: at a next start, a table without
    /// a record beside others that have one would count as new.
    async fn record_all(&self, steps: &[Step]) -> Result<(), PipelineError> {
        let sql = &self.context.checkpoint;
        let records =
            steps.iter().map(|step| tables::write_text(&sql.schema, &sql.pipeline, &step.record));
        let forgotten = self.forget_chunks(steps.iter());
        let recorded = self.transaction(forgotten.into_iter().chain(records), &[]).await;
        recorded.map_err(PipelineError::query(Side::Destination, "recording tables to copy"))
    }

    /// Partitions come in transactions of their own: there may be thousands. Whatever is built
    /// before the rows needs them.
    async fn add_partitions(&self, step: &Step) -> Result<(), tokio_postgres::Error> {
        for partitions in step.partitions.chunks(TABLES_PER_TRANSACTION) {
            let statements = partitions.iter().flat_map(|partition| {
                partition.create.iter().chain(std::iter::once(&partition.attach))
            });
            let statements: Vec<String> = statements.map(|made| made.sql.clone()).collect();
            self.transaction(statements.into_iter(), &[]).await?;
        }
        for statements in step.at_once.chunks(STATEMENTS_PER_TRANSACTION) {
            self.transaction(statements.iter().cloned(), &[]).await?;
        }
        Ok(())
    }

    /// What starts over has no chunk loaded.
    fn forget_chunks<'s>(&self, steps: impl Iterator<Item = &'s Step>) -> Option<String> {
        let sql = &self.context.checkpoint;
        let mut anew = steps
            .filter(|step| step.filling != Filling::Resume)
            .map(|step| &step.record.source)
            .peekable();
        anew.peek()?;
        Some(chunks::forget_text(&sql.schema, &sql.pipeline, anew))
    }

    pub(super) async fn transaction(
        &self,
        first: impl Iterator<Item = String>,
        steps: &[&Step],
    ) -> Result<(), tokio_postgres::Error> {
        let sql = &self.context.checkpoint;
        let mut all = vec![sql.guarded_begin_text(self.epoch)];
        all.extend(first);
        all.extend(self.forget_chunks(steps.iter().copied()));
        for step in steps {
            all.extend(step.create_sql.iter().cloned());
            all.push(tables::write_text(&sql.schema, &sql.pipeline, &step.record));
        }
        all.push("COMMIT".to_owned());
        let done = self.destination.batch_execute(&all.join("; ")).await;
        if done.is_err() {
            // The transaction is still open on this connection; its error is what counts.
            let _ = self.destination.batch_execute("ROLLBACK").await;
        }
        done
    }
}

fn creating() -> impl FnOnce(tokio_postgres::Error) -> PipelineError {
    PipelineError::query(Side::Destination, "creating schemas, types and sequences")
}

pub(super) fn of_table(step: &Step, source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Copy {
        table: step.record.source.clone(),
        source: Box::new(PipelineError::Query {
            side: Side::Destination,
            doing: "preparing a table for its copy",
            source,
        }),
    }
}
