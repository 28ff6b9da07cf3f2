//! A copy worker: one source and one destination session, chunk after chunk.
//!
//! What a chunk costs beside its rows is three round trips to the destination (begin, end of data,
//! end of transaction), two to the source, and one commit. A table of one chunk is finished in that
//! same transaction.

use super::transformer::Transformer;
use super::{ChunkJob, CopyEnd, CopyJob, Shared, Work, finish};
use crate::model::finding::Side;
use crate::pg::ident::{identifier, literal};
use crate::pg::oid::Oid;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::TableState;
use crate::wire::{CopyIn, CopyOut, Session, WireError};
use tokio_postgres::error::SqlState;

/// Works until the queue is empty, the agent stops, or a chunk fails.
pub(super) async fn run(shared: Shared) -> Result<CopyEnd, PipelineError> {
    let source = shared.context.reading_session("copy");
    let has_replica_role = shared.authority.has_replica_role;
    let destination = shared.context.writing_session("copy", has_replica_role);
    let (source, destination) = tokio::try_join!(source, destination)?;
    let mut worker = Worker { shared, source, destination };
    let shutdown = worker.shared.shutdown.clone();
    while let Some(work) = worker.shared.next() {
        tokio::select! {
            biased;
            // Dropping the sessions in the middle of a COPY rolls the chunk back.
            () = shutdown.cancelled() => return Ok(CopyEnd::Shutdown),
            done = worker.work(&work) => done?,
        }
    }
    worker.source.close().await;
    worker.destination.close().await;
    Ok(CopyEnd::Completed)
}

struct Worker {
    shared: Shared,
    source: Session,
    destination: Session,
}

/// What a chunk came to.
#[derive(Clone, Copy)]
struct Copied {
    row_count: u64,
    byte_count: u64,
}

impl Worker {
    async fn work(&mut self, work: &Work) -> Result<(), PipelineError> {
        let table = match work {
            Work::Chunk(chunk) => &chunk.job,
            Work::Finish(table) => table,
        };
        let done = match work {
            Work::Chunk(chunk) => self.chunk(chunk).await,
            Work::Finish(_) => {
                table.start();
                finish::in_own_transaction(&self.shared, table, &mut self.destination).await
            }
        };
        done.map_err(|source| match source {
            PipelineError::SnapshotGone => source,
            source => PipelineError::Copy {
                table: table.job.record.source.clone(),
                source: Box::new(source),
            },
        })
    }

    async fn chunk(&mut self, chunk: &ChunkJob) -> Result<(), PipelineError> {
        let table = &chunk.job;
        table.start();
        self.shared.show_state(&table.job, TableState::Copying);
        let copied = self.load(chunk).await?;
        let (shared, destination) = (&self.shared, &mut self.destination);
        if table.is_single() {
            table.chunk_done(copied.row_count, copied.byte_count);
            return finish::in_this_transaction(shared, table, destination).await;
        }
        let progress = progress_sql(shared, &table.job, copied);
        destination.execute(&progress).await.map_err(loading())?;
        if table.chunk_done(copied.row_count, copied.byte_count) {
            finish::in_own_transaction(shared, table, destination).await?;
        }
        Ok(())
    }

    /// Loads a chunk; its destination transaction stays open.
    async fn load(&mut self, chunk: &ChunkJob) -> Result<Copied, PipelineError> {
        let job = &chunk.job.job;
        let (plan, oid, _) = &job.parts[chunk.part];
        let shared = &self.shared;
        let guard = shared.context.checkpoint.guarded_begin_text(shared.authority.epoch);
        let out_sql = format!("{}; {}", shared.import_sql, plan.sql(chunk.chunk));
        let in_sql = format!("{guard}; {}", job.copy_in_sql);
        let (copy_out, copy_in) =
            tokio::join!(self.source.copy_out(&out_sql), self.destination.copy_in(&in_sql));
        let mut copy_in = copy_in.map_err(loading())?;
        let mut copy_out = copy_out.map_err(snapshot_gone)?;
        let pumped = pump(shared, job, &mut copy_out, &mut copy_in).await?;
        end_reading(job, *oid, &mut self.source).await?;
        let row_count = copy_in.finish().await.map_err(loading())?;
        if row_count != pumped.row_count {
            // A trigger or rule at the destination swallowed rows.
            tracing::warn!(table = %job.record.source, read = pumped.row_count, kept = row_count, "the destination kept fewer rows than were copied");
        }
        Ok(Copied { row_count, ..pumped })
    }
}

fn reading() -> impl FnOnce(WireError) -> PipelineError {
    PipelineError::wire(Side::Source, "copying a table")
}

fn loading() -> impl FnOnce(WireError) -> PipelineError {
    PipelineError::wire(Side::Destination, "loading a table")
}

/// A copy that cannot begin, because the session that keeps the snapshot has ended: 22023 up to
/// version 16, 42704 since. Nothing else at the start of a COPY is answered by either.
fn snapshot_gone(error: WireError) -> PipelineError {
    const CODES: [SqlState; 2] = [SqlState::INVALID_PARAMETER_VALUE, SqlState::UNDEFINED_OBJECT];
    if error.server_error().is_some_and(|server| CODES.contains(&server.code)) {
        return PipelineError::SnapshotGone;
    }
    reading()(error)
}

/// Passes a chunk's rows from one server to the other.
async fn pump(
    shared: &Shared,
    job: &CopyJob,
    copy_out: &mut CopyOut<'_>,
    copy_in: &mut CopyIn<'_>,
) -> Result<Copied, PipelineError> {
    let board = &shared.context.board;
    let name = &job.record.source;
    let mut byte_count = 0;
    // A frame is a row, but for the one with the trailer of a binary copy: it is held back, so that
    // no more rows are shown than there are.
    let mut held_back = u64::from(job.is_binary);
    let mut shown_count = 0;
    let mut transformer = job.transform.copy_needs_decode().then(|| Transformer::new(job));
    while let Some(frames) = copy_out.next_frames().await.map_err(reading())? {
        let (frame_count, bytes) = (copy_out.frame_count() as u64, frames.len() as u64);
        byte_count += bytes;
        match &mut transformer {
            None => copy_in.send_frames(frames).await.map_err(loading())?,
            Some(transformer) => transformer.pass(frames, copy_in).await?,
        }
        let rows = frame_count.saturating_sub(held_back);
        held_back -= frame_count - rows;
        shown_count += rows;
        board.snapshot_progress(name, rows, bytes);
    }
    if let Some(transformer) = transformer {
        transformer.finish(copy_in).await?;
    }
    let row_count = copy_out.row_count().unwrap_or(shown_count);
    board.snapshot_progress(name, row_count.saturating_sub(shown_count), 0);
    Ok(Copied { row_count, byte_count })
}

/// Ends the source's transaction. A table that was rewritten after the consistent point
/// (ALTER … TYPE, TRUNCATE) copies as empty, without an error: the file that the snapshot knows
/// must still be the table's file. The COPY's lock is held until the COMMIT, so the answer is true
/// of the rows that were read.
async fn end_reading(job: &CopyJob, oid: Oid, source: &mut Session) -> Result<(), PipelineError> {
    let sql = format!(
        "SELECT c.relfilenode = pg_catalog.pg_relation_filenode(c.oid) \
         FROM pg_catalog.pg_class c WHERE c.oid = {oid}; COMMIT"
    );
    let rows = source.simple_query(&sql).await;
    let rows = rows.map_err(PipelineError::wire(Side::Source, "checking a table's file"))?;
    let same = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    if same == Some("t") {
        return Ok(());
    }
    Err(PipelineError::Rewritten { table: job.record.source.clone() })
}

/// Records the chunk's rows with it, and commits.
fn progress_sql(shared: &Shared, job: &CopyJob, copied: Copied) -> String {
    let checkpoint = &shared.context.checkpoint;
    format!(
        "UPDATE {}.tables SET rows = rows + {}, bytes = bytes + {} \
         WHERE pipeline = {} AND source_schema = {} AND source_table = {}; COMMIT",
        identifier(&checkpoint.schema),
        copied.row_count,
        copied.byte_count,
        literal(&checkpoint.pipeline),
        literal(&job.record.source.schema),
        literal(&job.record.source.name),
    )
}
