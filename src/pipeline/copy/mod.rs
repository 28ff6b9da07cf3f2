//! The copy: tables as of a consistent point, chunk by chunk, by several workers.
//!
//! ```text
//!            ┌─ prepare: create or empty the table, record it as being copied
//!  tables ───┤
//!            └─ chunks ──► worker: COPY out ─► (transform) ─► COPY in ─► commit
//!                           … last chunk of a table ─► keys, ANALYZE, record it as copied
//! ```
//!
//! **Invariant:** a table is recorded as being copied before its first row is written, and as copied
//! only after its last; what a table recorded as being copied holds is ours to remove.

pub mod create;
mod finish;
mod prepare;
mod worker;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use create::DestinationShape;
pub use prepare::Preparation;

use crate::checkpoint::tables::TableRecord;
use crate::pg::catalog::TableInfo;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::TableState;
use crate::snapshot::copy_out::CopyOutPlan;
use crate::snapshot::{Chunk, ConsistentPoint};
use crate::transform::TransformPlan;

/// One table to copy, ready: the destination's table exists and is empty.
#[derive(Debug)]
pub struct CopyJob {
    pub record: TableRecord,
    pub info: TableInfo,
    pub transform: Arc<TransformPlan>,
    /// Relations to read: the table, or the leaves of a partitioned one, each with its chunks.
    pub parts: Vec<(CopyOutPlan, u32, Vec<Chunk>)>,
    /// The COPY that loads a chunk.
    pub copy_in_sql: String,
    pub is_binary: bool,
    /// What is built once all rows are there.
    pub finish_sql: Vec<String>,
}

/// How the copy ended, other than by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyEnd {
    Completed,
    Shutdown,
}

/// One chunk on its way to a worker.
#[derive(Debug)]
struct ChunkJob {
    job: Arc<TableJob>,
    part: usize,
    chunk: Chunk,
}

/// A table while its chunks are copied.
#[derive(Debug)]
struct TableJob {
    job: CopyJob,
    chunks_left: AtomicUsize,
    rows: Mutex<(u64, u64)>,
}

impl TableJob {
    /// Adds a committed chunk; true for the last one.
    fn chunk_done(&self, row_count: u64, byte_count: u64) -> bool {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.0 += row_count;
        rows.1 += byte_count;
        drop(rows);
        self.chunks_left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    fn totals(&self) -> (u64, u64) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Queue = Arc<Mutex<VecDeque<ChunkJob>>>;

/// What the workers share.
#[derive(Clone, Debug)]
struct Shared {
    context: Context,
    queue: Queue,
    import_sql: String,
    copied_lsn: crate::pg::lsn::Lsn,
    epoch: i64,
    has_replica_role: bool,
    shutdown: CancellationToken,
}

/// By what right we write.
#[derive(Clone, Copy, Debug)]
pub struct Authority {
    pub epoch: i64,
    pub has_replica_role: bool,
}

/// Copies the jobs' tables under `point`.
pub async fn copy_tables(
    context: &Context,
    point: &ConsistentPoint,
    jobs: Vec<CopyJob>,
    authority: Authority,
    shutdown: &CancellationToken,
) -> Result<CopyEnd, PipelineError> {
    let queue = enqueue(jobs);
    let worker_count = context.settings.snapshot.workers.min(queue.len()).max(1);
    let shared = Shared {
        context: context.clone(),
        queue: Arc::new(Mutex::new(queue)),
        import_sql: point.import_sql(),
        copied_lsn: point.lsn,
        epoch: authority.epoch,
        has_replica_role: authority.has_replica_role,
        shutdown: shutdown.clone(),
    };
    let mut workers = JoinSet::new();
    for _ in 0..worker_count {
        workers.spawn(worker::run(shared.clone()));
    }
    let mut end = CopyEnd::Completed;
    // Dropping the set on the first error aborts the others; their transactions roll back.
    while let Some(finished) = workers.join_next().await {
        let finished =
            finished.map_err(|source| PipelineError::TaskFailed { task: "copy worker", source })?;
        if finished? == CopyEnd::Shutdown {
            end = CopyEnd::Shutdown;
        }
    }
    Ok(end)
}

/// Largest tables first, so that none starts when all others are done.
fn enqueue(mut jobs: Vec<CopyJob>) -> VecDeque<ChunkJob> {
    let size = |job: &CopyJob| job.parts.iter().map(|(_, _, chunks)| chunks.len()).sum::<usize>();
    jobs.sort_by_key(|job| std::cmp::Reverse((size(job), job.info.heap_bytes)));
    let mut queue = VecDeque::new();
    for job in jobs {
        let chunk_count = size(&job);
        let table = Arc::new(TableJob {
            job,
            chunks_left: AtomicUsize::new(chunk_count),
            rows: Mutex::new((0, 0)),
        });
        for (part, (_, _, chunks)) in table.job.parts.iter().enumerate() {
            for &chunk in chunks {
                queue.push_back(ChunkJob { job: Arc::clone(&table), part, chunk });
            }
        }
    }
    queue
}

impl Shared {
    fn next(&self) -> Option<ChunkJob> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn show_state(&self, job: &CopyJob, state: TableState) {
        self.context.board.table_state(&job.record.source, state);
    }
}
