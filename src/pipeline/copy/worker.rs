//! A copy worker: one source and one destination session, chunk after chunk.

use bytes::{Bytes, BytesMut};

use super::{ChunkJob, CopyEnd, CopyJob, Shared, finish};
use crate::model::finding::Side;
use crate::model::row::{Row, Value};
use crate::pg::copy_format::{self, BinaryReader, TextReader};
use crate::pg::ident::{identifier, literal};
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::TableState;
use crate::wire::{CopyIn, Session, frame};

/// Transformed rows leave in pieces of this size: few writes, little memory.
const PIECE_BYTES: usize = 128 * 1024;

/// Works until the queue is empty, the agent stops, or a chunk fails.
pub(super) async fn run(shared: Shared) -> Result<CopyEnd, PipelineError> {
    let mut source = shared.context.reading_session("copy").await?;
    let mut destination =
        shared.context.writing_session("copy", shared.authority.has_replica_role).await?;
    while let Some(chunk) = shared.next() {
        let job = &chunk.job.job;
        chunk.job.start();
        shared.show_state(job, TableState::Copying);
        let copying = copy_chunk(&shared, &chunk, &mut source, &mut destination);
        let copied = tokio::select! {
            biased;
            // Dropping the sessions in the middle of a COPY rolls the chunk back.
            () = shared.shutdown.cancelled() => return Ok(CopyEnd::Shutdown),
            copied = copying => copied,
        };
        let copied = copied.map_err(|source| PipelineError::Copy {
            table: job.record.source.clone(),
            source: Box::new(source),
        })?;
        if chunk.job.chunk_done(copied.row_count, copied.byte_count) {
            finish::finish_table(&shared, &chunk.job, &mut destination).await?;
        }
    }
    source.close().await;
    destination.close().await;
    Ok(CopyEnd::Completed)
}

struct Copied {
    row_count: u64,
    byte_count: u64,
}

async fn copy_chunk(
    shared: &Shared,
    chunk: &ChunkJob,
    source: &mut Session,
    destination: &mut Session,
) -> Result<Copied, PipelineError> {
    let job = &chunk.job.job;
    let (plan, oid, _) = &job.parts[chunk.part];
    let reading = || PipelineError::wire(Side::Source, "copying a table");
    let loading = || PipelineError::wire(Side::Destination, "loading a table");
    source.execute(&shared.import_sql).await.map_err(reading())?;
    let guard = shared.context.checkpoint.guarded_begin_text(shared.authority.epoch);
    destination.execute(&guard).await.map_err(loading())?;
    let mut copy_out = source.copy_out(&plan.sql(chunk.chunk)).await.map_err(reading())?;
    let mut copy_in = destination.copy_in(&job.copy_in_sql).await.map_err(loading())?;
    let mut byte_count = 0;
    let mut frame_count = 0;
    let mut shown_rows = 0;
    // A frame a row; the binary format ends with one that is none.
    let trailer_count = u64::from(job.is_binary);
    let mut transformer = job.transform.copy_needs_decode().then(|| Transformer::new(job));
    while let Some(frames) = copy_out.next_frames().await.map_err(reading())? {
        frame_count += copy_out.frame_count() as u64;
        let rows = frame_count.saturating_sub(trailer_count) - shown_rows;
        let bytes = frames.len() as u64;
        byte_count += bytes;
        shown_rows += rows;
        match &mut transformer {
            None => copy_in.send_frames(frames).await.map_err(loading())?,
            Some(transformer) => transformer.pass(frames, &mut copy_in).await?,
        }
        shared.context.board.snapshot_progress(&job.record.source, rows, bytes);
    }
    let read_count = copy_out.row_count().unwrap_or(shown_rows);
    if let Some(transformer) = transformer {
        transformer.finish(&mut copy_in).await?;
    }
    let row_count = copy_in.finish().await.map_err(loading())?;
    if row_count != read_count {
        // A trigger or rule at the destination swallowed rows.
        tracing::warn!(table = %job.record.source, read_count, row_count, "the destination kept fewer rows than were copied");
    }
    check_not_rewritten(job, *oid, source).await?;
    source.execute("COMMIT").await.map_err(reading())?;
    destination
        .execute(&progress_sql(shared, job, row_count, byte_count))
        .await
        .map_err(loading())?;
    Ok(Copied { row_count, byte_count })
}

/// A table that was rewritten after the consistent point (ALTER … TYPE, TRUNCATE) copies as empty,
/// without an error: the file that the snapshot knows must still be the table's file. The COPY's
/// lock is still held here, so the answer stays true.
async fn check_not_rewritten(
    job: &CopyJob,
    oid: u32,
    source: &mut Session,
) -> Result<(), PipelineError> {
    let sql = format!(
        "SELECT c.relfilenode = pg_catalog.pg_relation_filenode(c.oid) \
         FROM pg_catalog.pg_class c WHERE c.oid = {oid}"
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
fn progress_sql(shared: &Shared, job: &CopyJob, row_count: u64, byte_count: u64) -> String {
    let checkpoint = &shared.context.checkpoint;
    format!(
        "UPDATE {}.tables SET rows = rows + {row_count}, bytes = bytes + {byte_count} \
         WHERE pipeline = {} AND source_schema = {} AND source_table = {}; COMMIT",
        identifier(&checkpoint.schema),
        literal(&checkpoint.pipeline),
        literal(&job.record.source.schema),
        literal(&job.record.source.name),
    )
}

enum Reader {
    Binary(BinaryReader),
    Text(TextReader),
}

/// Takes COPY frames apart, transforms their rows and writes them again.
struct Transformer<'a> {
    job: &'a CopyJob,
    reader: Reader,
    out: BytesMut,
}

impl<'a> Transformer<'a> {
    fn new(job: &'a CopyJob) -> Transformer<'a> {
        let mut out = BytesMut::with_capacity(PIECE_BYTES * 2);
        let reader = if job.is_binary {
            out.extend_from_slice(copy_format::HEADER);
            Reader::Binary(BinaryReader::new())
        } else {
            Reader::Text(TextReader::new(job.transform.copy_columns().len()))
        };
        Transformer { job, reader, out }
    }

    async fn pass(&mut self, frames: Bytes, copy_in: &mut CopyIn<'_>) -> Result<(), PipelineError> {
        for payload in frame::payloads(frames) {
            match &mut self.reader {
                Reader::Binary(reader) => reader.push(payload),
                Reader::Text(reader) => reader.push(payload),
            }
        }
        while let Some(row) = self.next_row()? {
            self.write(row)?;
            if self.out.len() >= PIECE_BYTES {
                self.send(copy_in).await?;
            }
        }
        Ok(())
    }

    fn next_row(&mut self) -> Result<Option<Row>, PipelineError> {
        let row = match &mut self.reader {
            Reader::Binary(reader) => reader.next_row(),
            Reader::Text(reader) => reader.next_row(),
        };
        let is_binary = self.job.is_binary;
        let value = |bytes: Option<Bytes>| match bytes {
            None => Value::Null,
            Some(bytes) if is_binary => Value::Binary(bytes),
            Some(bytes) => Value::Text(bytes),
        };
        let row = row.map_err(|error| self.data_error(&error))?;
        Ok(row.map(|values| Row::new(values.into_iter().map(value).collect())))
    }

    fn write(&mut self, row: Row) -> Result<(), PipelineError> {
        let row = self.job.transform.copy_row(row).map_err(|error| self.data_error(&error))?;
        let written = if self.job.is_binary {
            copy_format::encode_row(&mut self.out, row.values())
        } else {
            copy_format::encode_text_row(&mut self.out, row.values())
        };
        written.map_err(|error| self.data_error(&error))
    }

    async fn send(&mut self, copy_in: &mut CopyIn<'_>) -> Result<(), PipelineError> {
        let sent = copy_in.send_data(&self.out).await;
        self.out.clear();
        sent.map_err(PipelineError::wire(Side::Destination, "loading a table"))
    }

    async fn finish(mut self, copy_in: &mut CopyIn<'_>) -> Result<(), PipelineError> {
        let finished = match &self.reader {
            Reader::Binary(reader) => reader.finish(),
            Reader::Text(reader) => reader.finish(),
        };
        finished.map_err(|error| self.data_error(&error))?;
        if self.job.is_binary {
            self.out.extend_from_slice(copy_format::TRAILER);
        }
        self.send(copy_in).await
    }

    fn data_error(&self, error: &dyn std::fmt::Display) -> PipelineError {
        PipelineError::Data {
            table: self.job.record.source.clone(),
            message: error.to_string(),
            lsn: None,
        }
    }
}
