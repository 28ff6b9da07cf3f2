//! A batch as one destination transaction.
//!
//! ```text
//! BEGIN · lock (shared) · our epoch? · rows … · move the checkpoint · COMMIT
//! ```
//!
//! All of it is sent without waiting where the rows are few; an error anywhere turns the COMMIT
//! behind it into a ROLLBACK. A source transaction larger than a batch comes in parts: the
//! transaction stays open between them and commits with the last.
//!
//! **Invariant:** `applied_lsn` moves only by [`Applier::apply`] and [`Applier::advance_idle`], by
//! compare-and-set, together with the rows that it stands for.

use std::sync::Arc;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::PgLsn;

use crate::apply::conflicts::Conflicts;
use crate::apply::error::ApplyError;
use crate::apply::reread::Reread;
use crate::apply::rows::{Effect, Parts, Rows};
use crate::apply::targets::Targets;
use crate::apply::writer::{Pipeline, Writer, control};
use crate::batch::{Batch, End};
use crate::checkpoint::row::{self, Advance, CheckpointSql};
use crate::failpoint;
use crate::model::change::Commit;
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;

/// What may be deferred is checked at the end: one statement of the source is several here, and
/// between them two rows may hold one value, or a row refer to one that is still to come.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET CONSTRAINTS ALL DEFERRED";

/// What a committed destination transaction reached.
#[derive(Debug)]
pub struct Applied {
    pub through: Lsn,
    /// The last source commit in it; none for an idle position.
    pub last: Option<Commit>,
    pub transaction_count: u64,
    pub conflicts: Conflicts,
}

/// The one writer of a pipeline's destination transactions.
#[derive(Debug)]
pub struct Applier {
    writer: Writer,
    targets: Targets,
    reread: Arc<dyn Reread>,
    checkpoint: CheckpointSql,
    epoch: i64,
    applied_lsn: Lsn,
    /// A part of a large source transaction is written, its commit is not.
    is_open: bool,
    conflicts: Conflicts,
}

impl Applier {
    pub fn new(
        client: Client,
        is_binary: bool,
        targets: Targets,
        reread: Arc<dyn Reread>,
        (checkpoint, epoch): (CheckpointSql, i64),
        applied_lsn: Lsn,
    ) -> Applier {
        Applier {
            writer: Writer::new(client, is_binary),
            targets,
            reread,
            checkpoint,
            epoch,
            applied_lsn,
            is_open: false,
            conflicts: Conflicts::default(),
        }
    }

    pub fn applied_lsn(&self) -> Lsn {
        self.applied_lsn
    }

    /// The names of the columns that identify rows of a table of the destination.
    pub fn key_columns(&self, table: &QualifiedName) -> Vec<String> {
        self.targets.key_columns(table)
    }

    /// Writes the batch. `None` while a large source transaction is not complete.
    pub async fn apply(&mut self, batch: &Batch) -> Result<Option<Applied>, ApplyError> {
        let client = Arc::clone(self.writer.client());
        let mut pipeline = Pipeline::default();
        match self.write(&client, &mut pipeline, batch).await {
            Err(error) => Err(first_cause(error, &mut pipeline).await),
            written => written,
        }
    }

    async fn write<'a>(
        &mut self,
        client: &'a Client,
        pipeline: &mut Pipeline<'a, Effect<'a>>,
        batch: &'a Batch,
    ) -> Result<Option<Applied>, ApplyError> {
        if !self.is_open {
            self.begin(client, pipeline).await?;
            self.is_open = true;
            failpoint::hit(failpoint::BATCH_BEGUN).await;
        }
        let mut rows = self.rows(client, pipeline, &batch.xids);
        for step in &batch.steps {
            rows.write(step).await?;
        }
        match batch.end {
            End::Continues => {
                rows.settle().await?;
                Ok(None)
            }
            End::Commit { last, transaction_count } => {
                failpoint::hit(failpoint::ROWS_WRITTEN).await;
                let advance = Advance {
                    epoch: self.epoch,
                    from: self.applied_lsn,
                    to: last.end_lsn,
                    commit: Some(last),
                };
                self.finish(client, pipeline, advance, transaction_count).await.map(Some)
            }
        }
    }

    fn rows<'w, 'a>(
        &'w mut self,
        client: &'a Client,
        pipeline: &'w mut Pipeline<'a, Effect<'a>>,
        xids: &'w [u32],
    ) -> Rows<'w, 'a> {
        Rows::new(Parts {
            client,
            writer: &mut self.writer,
            targets: &self.targets,
            reread: &*self.reread,
            pipeline,
            conflicts: &mut self.conflicts,
            xids,
        })
    }

    /// Records a position up to which there was nothing to write.
    pub async fn advance_idle(&mut self, to: Lsn) -> Result<Applied, ApplyError> {
        let client = Arc::clone(self.writer.client());
        let mut pipeline = Pipeline::default();
        self.begin(&client, &mut pipeline).await?;
        let advance = Advance { epoch: self.epoch, from: self.applied_lsn, to, commit: None };
        self.finish(&client, &mut pipeline, advance, 0).await
    }

    async fn begin<'a>(
        &mut self,
        client: &'a Client,
        pipeline: &mut Pipeline<'a, Effect<'a>>,
    ) -> Result<(), ApplyError> {
        let preparing = |source| ApplyError::Transaction { doing: "preparing", source };
        let lock = pipeline.beside(self.writer.prepared(self.checkpoint.lock_shared.clone())).await;
        let lock = lock.map_err(preparing)?;
        let check =
            pipeline.beside(self.writer.prepared(self.checkpoint.check_epoch.clone())).await;
        let check = check.map_err(preparing)?;
        let name = self.checkpoint.pipeline.clone();
        let epoch = self.epoch;
        pipeline.push(Effect::Control, control("beginning", client.batch_execute(BEGIN))).await;
        let locking = {
            let name = name.clone();
            async move { client.query_one(&lock, &[&name]).await.map(drop) }
        };
        pipeline.push(Effect::Control, control("taking the pipeline's lock", locking)).await;
        let checking = async move { client.query_one(&check, &[&name, &epoch]).await.map(drop) };
        pipeline.push(Effect::Control, control("checking the epoch", checking)).await;
        Ok(())
    }

    async fn finish<'a>(
        &mut self,
        client: &'a Client,
        pipeline: &mut Pipeline<'a, Effect<'a>>,
        advance: Advance,
        transaction_count: u64,
    ) -> Result<Applied, ApplyError> {
        let advancing = self.writer.prepared(self.checkpoint.advance.clone());
        let statement = pipeline.beside(advancing).await;
        let statement =
            statement.map_err(|source| ApplyError::Transaction { doing: "preparing", source })?;
        let name = self.checkpoint.pipeline.clone();
        let moving = async move {
            let (from, to) = (PgLsn::from(advance.from), PgLsn::from(advance.to));
            client
                .query_one(
                    &statement,
                    &[
                        &name,
                        &advance.epoch,
                        &from,
                        &to,
                        &advance.commit_lsn(),
                        &advance.commit_xid(),
                        &advance.commit_time(),
                    ],
                )
                .await
                .map(drop)
        };
        pipeline.push(Effect::Control, control("moving the checkpoint", moving)).await;
        failpoint::hit(failpoint::CHECKPOINT_MOVED).await;
        let commit = client.batch_execute("COMMIT");
        pipeline.push(Effect::Control, control("committing", commit)).await;
        failpoint::hit(failpoint::COMMIT_SENT).await;
        if let Err(error) = self.rows(client, pipeline, &[]).settle().await {
            return Err(pipeline.beside(self.explain(error, advance.from)).await);
        }
        self.is_open = false;
        self.applied_lsn = advance.to;
        Ok(Applied {
            through: advance.to,
            last: advance.commit,
            transaction_count,
            conflicts: std::mem::take(&mut self.conflicts),
        })
    }

    /// A division by zero from our own statements means that the row is not as we left it: asks
    /// what it is.
    async fn explain(&self, error: ApplyError, expected: Lsn) -> ApplyError {
        let is_guard = matches!(
            &error,
            ApplyError::Transaction { source, .. } if source.code() == Some(&SqlState::DIVISION_BY_ZERO)
        );
        if !is_guard {
            return error;
        }
        let client = self.writer.client();
        // The failed transaction may still be open when the error came before COMMIT was sent.
        if let Err(source) = client.batch_execute("ROLLBACK").await {
            return ApplyError::Transaction { doing: "rolling back", source };
        }
        match row::explain(client, &self.checkpoint, self.epoch, Some(expected)).await {
            Ok(explained) => explained.into(),
            Err(failed) => failed.into(),
        }
    }
}

/// The error that aborted the transaction, where `error` only says that it is aborted: a statement
/// that is prepared while others are on their way hears of their failure before we do.
async fn first_cause(error: ApplyError, pipeline: &mut Pipeline<'_, Effect<'_>>) -> ApplyError {
    let is_consequence = |error: &ApplyError| {
        let server = error.server_error();
        server.is_some_and(|server| server.code == SqlState::IN_FAILED_SQL_TRANSACTION)
    };
    if !is_consequence(&error) {
        return error;
    }
    while let Some((_, result)) = pipeline.next().await {
        match result {
            Err(cause) if !is_consequence(&cause) => return cause,
            Err(_) | Ok(_) => {}
        }
    }
    error
}
