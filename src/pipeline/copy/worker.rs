//! A copy worker: one source and one destination session, chunk after chunk.
//!
//! What a chunk costs beside its rows is three round trips to the destination (begin, end of data,
//! end of transaction), two to the source, and one commit. A table of one chunk is finished in that
//! same transaction.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::schedule::{BuildJob, Work};
use super::transformer::Transformer;
use super::{CANCEL_PATIENCE, ChunkJob, CopyEnd, CopyJob, Shared, TableJob, finish, query};
use crate::checkpoint::chunks::{self, LoadedChunk};
use crate::failpoint;
use crate::model::finding::Side;
use crate::pg::cancel::CancelHandle;
use crate::pg::ident::{identifier, literal};
use crate::pg::oid::Oid;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::TableState;
use crate::source::Oversized;
use crate::wire::{CopyIn, CopyOut, Session, WireError};

/// Works until every table is done, the agent stops, or a piece of work fails.
pub(super) async fn run(shared: Shared) -> Result<CopyEnd, PipelineError> {
    let stop = shared.stop.clone();
    let schedule = Arc::clone(&shared.schedule);
    let mut worker = Worker { shared, source: None, destination: None };
    loop {
        let work = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(CopyEnd::Shutdown),
            work = schedule.next() => work,
        };
        let Some(work) = work else { break };
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(CopyEnd::Shutdown),
            connected = worker.connect(&work) => connected?,
        }
        let cancels = worker.cancel_handles(&work);
        tokio::select! {
            biased;
            // Dropping the sessions in the middle of a COPY rolls the chunk back. Other statements
            // would go on at the destination, where nobody waits for them.
            () = stop.cancelled() => {
                futures::future::join_all(cancels.iter().map(end_statement)).await;
                return Ok(CopyEnd::Shutdown);
            }
            done = worker.work(&work) => done?,
        }
        schedule.done(&work);
    }
    for session in [worker.source, worker.destination].into_iter().flatten() {
        session.close().await;
    }
    Ok(CopyEnd::Completed)
}

async fn end_statement(cancel: &CancelHandle) {
    match tokio::time::timeout(CANCEL_PATIENCE, cancel.cancel()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a statement could not be cancelled"),
        Err(_) => tracing::debug!("a statement could not be cancelled in time"),
    }
}

/// Connected as far as its work needs.
struct Worker {
    shared: Shared,
    source: Option<Session>,
    destination: Option<Session>,
}

/// What a chunk came to.
#[derive(Clone, Copy)]
pub(super) struct Copied {
    pub(super) row_count: u64,
    pub(super) byte_count: u64,
    /// The heap's file that was read.
    file: Oid,
    /// Rows of the destination that a merge has overwritten with others.
    overwritten_count: u64,
    /// Rows that a trigger or rule of the destination's kept from being written.
    suppressed_count: u64,
}

impl Worker {
    async fn connect(&mut self, work: &Work) -> Result<(), PipelineError> {
        let context = &self.shared.context;
        let needs_source = work.is_read();
        let source = async {
            match self.source.take() {
                None if needs_source => Ok(Some(context.reading_session("copy").await?)),
                // Builds may take long, and the source has a right to its connections.
                Some(session) if !needs_source && !self.shared.schedule.has_reads() => {
                    session.close().await;
                    Ok(None)
                }
                other => Ok(other),
            }
        };
        let has_replica_role = self.shared.authority.has_replica_role;
        let destination = async {
            match self.destination.take() {
                None => context.copying_session("copy", has_replica_role).await.map(Some),
                some => Ok(some),
            }
        };
        (self.source, self.destination) = tokio::try_join!(source, destination)?;
        Ok(())
    }

    /// Ends what would go on when nobody waits for it any more: a table is read no further, and a query may
    /// compute for hours before it sends its first row.
    fn cancel_handles(&self, work: &Work) -> Vec<CancelHandle> {
        let source = self.source.as_ref().filter(|_| matches!(work, Work::Query(_)));
        source.into_iter().chain(&self.destination).map(Session::cancel_handle).collect()
    }

    fn at_destination(&mut self) -> (&Shared, &mut Session) {
        (&self.shared, self.destination.as_mut().expect("connected before it works"))
    }

    async fn work(&mut self, work: &Work) -> Result<(), PipelineError> {
        let table = work.table();
        let done = match work {
            Work::Chunk(chunk) => self.chunk(chunk).await,
            Work::Query(table) => return self.query(table).await,
            Work::Build(build) => self.build(build).await,
            Work::Finish(_) => {
                table.start();
                self.complete(table).await
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
        let conflicts = (copied.overwritten_count, copied.suppressed_count);
        failpoint::hit(failpoint::CHUNK_LOADED).await;
        let (shared, destination) = self.at_destination();
        if table.is_single() {
            table.chunk_done(copied.row_count, copied.byte_count);
            finish::in_this_transaction(shared, table, destination).await?;
            shared.count_conflicts(&table.job, conflicts);
            return Ok(());
        }
        let progress = progress_sql(shared, chunk, copied);
        destination.execute(&progress).await.map_err(loading())?;
        shared.count_conflicts(&table.job, conflicts);
        if !table.chunk_done(copied.row_count, copied.byte_count) {
            failpoint::hit(failpoint::CHUNK_COMMITTED).await;
            return Ok(());
        }
        failpoint::hit(failpoint::LAST_CHUNK_COMMITTED).await;
        self.complete(table).await
    }

    async fn query(&mut self, table: &TableJob) -> Result<(), PipelineError> {
        let source = self.source.as_mut().expect("connected before it works");
        let destination = self.destination.as_mut().expect("connected before it works");
        query::copy(&self.shared, table, source, destination).await
    }

    /// All of the table's rows are there.
    async fn complete(&mut self, table: &Arc<TableJob>) -> Result<(), PipelineError> {
        let (shared, destination) = self.at_destination();
        if table.job.builds.apart.is_empty() {
            return finish::in_own_transaction(shared, table, destination).await;
        }
        shared.schedule.build(table);
        Ok(())
    }

    async fn build(&mut self, build: &BuildJob) -> Result<(), PipelineError> {
        let (shared, destination) = self.at_destination();
        shared.show_builds();
        finish::build(shared, build, destination).await?;
        failpoint::hit(failpoint::INDEX_BUILT).await;
        if build.table.build_done() {
            finish::in_own_transaction(shared, &build.table, destination).await?;
        }
        Ok(())
    }

    /// Loads a chunk; its destination transaction stays open.
    async fn load(&mut self, chunk: &ChunkJob) -> Result<Copied, PipelineError> {
        let job = &chunk.job.job;
        let (plan, oid, _) = &job.parts[chunk.part];
        let (source, shared) = (self.source.as_mut(), &self.shared);
        let source = source.expect("connected before it works");
        let destination = self.destination.as_mut().expect("connected before it works");
        let guard = shared.context.checkpoint.guarded_begin_text(shared.authority.epoch);
        let names = match job.transform.copy_has_expressions() {
            true => format!("{}; ", shared.context.calculator.local_path().await?),
            false => String::new(),
        };
        let out_sql = format!("{}; {names}{}", shared.import_sql, plan.sql(chunk.chunk));
        let in_sql = format!("{guard}; {}", job.copy_in_sql);
        let (copy_out, copy_in) =
            tokio::join!(source.copy_out(&out_sql), destination.copy_in(&in_sql));
        let mut copy_in = copy_in.map_err(loading())?;
        let mut copy_out = copy_out.map_err(snapshot_gone)?;
        let pumped = pump(shared, job, &mut copy_out, &mut copy_in).await;
        let pumped = pumped.map_err(|error| oversized(job, error))?;
        let file = end_reading(job, *oid, source).await?;
        let row_count = copy_in.finish().await.map_err(loading())?;
        let suppressed_count = pumped.row_count.saturating_sub(row_count);
        if suppressed_count > 0 {
            tracing::warn!(table = %job.record.source, read = pumped.row_count, kept = row_count, "the destination kept fewer rows than were copied");
        }
        let overwritten_count = merge(job, destination).await?;
        Ok(Copied { row_count, overwritten_count, suppressed_count, file, ..pumped })
    }
}

/// Brings a staged chunk into its table. Where nothing is staged there is nothing to do.
pub(super) async fn merge(job: &CopyJob, destination: &mut Session) -> Result<u64, PipelineError> {
    if job.merge.is_empty() {
        return Ok(0);
    }
    let merging = PipelineError::wire(Side::Destination, "merging rows into a table");
    let rows = destination.simple_query(&job.merge.join("; ")).await.map_err(merging)?;
    let count = rows.last().and_then(|row| row.first()?.as_deref()?.parse().ok());
    Ok(count.unwrap_or(0))
}

fn reading() -> impl FnOnce(WireError) -> PipelineError {
    PipelineError::wire(Side::Source, "copying a table")
}

/// The source ended a table's COPY. Where expressions are part of it, one may have failed for a row: what
/// is said then is not repeated.
fn refused(job: &CopyJob, error: WireError) -> PipelineError {
    if !job.transform.copy_has_expressions() {
        return reading()(error);
    }
    let server = error.server_error().filter(|server| server.may_be_about_a_row());
    let Some(server) = server else { return reading()(error.reworded()) };
    PipelineError::Data {
        table: job.record.source.clone(),
        key: job.transform.source_key(),
        message: format!("an expression failed for a row: {}", server.without_words()),
        lsn: None,
    }
}

pub(super) fn loading() -> impl FnOnce(WireError) -> PipelineError {
    PipelineError::wire(Side::Destination, "loading a table")
}

/// A row that is too large, by its names.
fn oversized(job: &CopyJob, error: PipelineError) -> PipelineError {
    let PipelineError::Wire { source, .. } = &error else { return error };
    let (column, bytes, limit) = match source {
        WireError::ValueTooLarge { column, bytes, limit } => {
            (job.transform.origin_column(*column), *bytes, *limit)
        }
        WireError::TooLarge { bytes, limit, .. } => (None, *bytes, *limit / 2),
        _ => return error,
    };
    let key = job.transform.source_table().key_columns().map(|column| column.name.clone());
    PipelineError::Oversized(Box::new(Oversized {
        table: job.record.source.clone(),
        key: key.collect(),
        column: column.map(|column| column.name.clone()),
        bytes,
        limit,
        lsn: None,
    }))
}

/// A copy that cannot begin, because the session that keeps the snapshot has ended: 22023 up to
/// version 16, 42704 since. Nothing else at the start of a COPY is answered by either.
pub(super) fn snapshot_gone(error: WireError) -> PipelineError {
    const CODES: [SqlState; 2] = [SqlState::INVALID_PARAMETER_VALUE, SqlState::UNDEFINED_OBJECT];
    if error.server_error().is_some_and(|server| CODES.contains(&server.code)) {
        return PipelineError::SnapshotGone;
    }
    reading()(error)
}

/// Passes a chunk's rows from one server to the other.
pub(super) async fn pump(
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
    let calculator = &shared.context.calculator;
    let mut transformer =
        job.transform.copy_needs_decode().then(|| Transformer::new(job, calculator));
    while let Some(frames) = copy_out.next_frames().await.map_err(|error| refused(job, error))? {
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
    let filtered_count = match transformer {
        Some(transformer) => transformer.finish(copy_in).await?,
        None => 0,
    };
    let read_count = copy_out.row_count().unwrap_or(shown_count);
    board.snapshot_progress(name, read_count.saturating_sub(shown_count), 0);
    let row_count = read_count.saturating_sub(filtered_count);
    Ok(Copied { row_count, byte_count, file: 0, overwritten_count: 0, suppressed_count: 0 })
}

/// Ends the source's transaction. A table that was rewritten after the consistent point
/// (ALTER … TYPE, TRUNCATE) copies as empty, without an error: the file that the snapshot knows
/// must still be the table's file. The COPY's lock is held until the COMMIT, so the answer is true
/// of the rows that were read. Gives the file.
async fn end_reading(job: &CopyJob, oid: Oid, source: &mut Session) -> Result<Oid, PipelineError> {
    let record = &job.record;
    // A column or a file that the table had by then, and that we do not know of: what was read is
    // not what the record says.
    let known = record.source_oid.zip(record.source_shape.as_ref()).map(|(table, shape)| {
        let count = shape.attribute_count;
        let is_file = shape.files.get(&table).map(|file| format!(" AND t.relfilenode = {file}"));
        format!(
            " AND EXISTS (SELECT FROM pg_catalog.pg_class t WHERE t.oid = {table} \
             AND t.relnatts <= {count}{})",
            is_file.unwrap_or_default()
        )
    });
    let sql = format!(
        "SELECT CASE WHEN c.relfilenode = pg_catalog.pg_relation_filenode(c.oid){} \
         THEN c.relfilenode END FROM pg_catalog.pg_class c WHERE c.oid = {oid}; COMMIT",
        known.unwrap_or_default()
    );
    let rows = source.simple_query(&sql).await;
    let rows = rows.map_err(PipelineError::wire(Side::Source, "checking a table's file"))?;
    let file = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    file.and_then(|file| file.parse().ok())
        .ok_or_else(|| PipelineError::Rewritten { table: job.record.source.clone() })
}

/// Records the chunk with its rows, and commits.
fn progress_sql(shared: &Shared, chunk: &ChunkJob, copied: Copied) -> String {
    let checkpoint = &shared.context.checkpoint;
    let job = &chunk.job.job;
    let source = &job.record.source;
    let loaded = LoadedChunk {
        source: source.clone(),
        part: job.parts[chunk.part].1,
        file: copied.file,
        first_block: chunk.chunk.first_block,
        end_block: chunk.chunk.end_block,
    };
    let record = match chunk.part < job.heap_count {
        true => chunks::record_text(&checkpoint.schema, &checkpoint.pipeline, &loaded),
        // Read again, should the copy be cut off once more.
        false => "SELECT 1".to_owned(),
    };
    format!(
        "UPDATE {}.tables SET rows = rows + {}, bytes = bytes + {} \
         WHERE pipeline = {} AND source_schema = {} AND source_table = {}; {record}; COMMIT",
        identifier(&checkpoint.schema),
        copied.row_count,
        copied.byte_count,
        literal(&checkpoint.pipeline),
        literal(&source.schema),
        literal(&source.name),
    )
}
