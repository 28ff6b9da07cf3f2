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
mod parts;
mod prepare;
mod transformer;
mod worker;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use create::DestinationShape;
pub use prepare::Preparation;

use crate::checkpoint::tables::TableRecord;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
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
    pub heap_bytes: u64,
    pub transform: Arc<TransformPlan>,
    /// Relations to read: the table, or the leaves of a partitioned one, each with its chunks.
    pub parts: Vec<(CopyOutPlan, u32, Vec<Chunk>)>,
    /// The COPY that loads a chunk, and what stands before it in the same transaction.
    pub copy_in_sql: String,
    pub is_binary: bool,
    /// What is built once all rows are there.
    pub completion: Completion,
}

/// Statements that complete a table of our making after its load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// First and in order: what identifies rows.
    pub keys: Vec<String>,
    /// Each for itself, in any order: secondary indexes.
    pub indexes: Vec<String>,
    /// Last and in order: what stands on the others.
    pub rest: Vec<String>,
}

impl Completion {
    pub fn statements(&self) -> impl Iterator<Item = &String> {
        self.keys.iter().chain(&self.indexes).chain(&self.rest)
    }
}

/// How the copy ended, other than by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyEnd {
    Completed,
    Shutdown,
}

impl CopyJob {
    fn chunk_count(&self) -> usize {
        self.parts.iter().map(|(_, _, chunks)| chunks.len()).sum()
    }
}

/// One piece of work for a worker.
#[derive(Debug)]
enum Work {
    Chunk(ChunkJob),
    /// A table without chunks: a partitioned one without partitions.
    Finish(Arc<TableJob>),
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
    started_at: OnceLock<Instant>,
}

impl TableJob {
    /// Whether one transaction loads the whole table.
    fn is_single(&self) -> bool {
        self.job.chunk_count() == 1
    }

    /// Adds a committed chunk; true for the last one.
    fn chunk_done(&self, row_count: u64, byte_count: u64) -> bool {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.0 += row_count;
        rows.1 += byte_count;
        drop(rows);
        self.chunks_left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    fn start(&self) {
        self.started_at.get_or_init(Instant::now);
    }

    fn elapsed(&self) -> Duration {
        self.started_at.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    fn totals(&self) -> (u64, u64) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Queue = Arc<Mutex<VecDeque<Work>>>;

/// What the workers share.
#[derive(Clone, Debug)]
struct Shared {
    context: Context,
    queue: Queue,
    import_sql: String,
    copied_lsn: Lsn,
    copied_at: SystemTime,
    authority: Authority,
    timings: Timings,
    shutdown: CancellationToken,
}

/// By what right we write.
#[derive(Clone, Copy, Debug)]
pub struct Authority {
    pub epoch: i64,
    pub has_replica_role: bool,
}

/// One copy: under which snapshot, by what right, until when.
#[derive(Debug)]
pub struct Copy<'a> {
    pub context: &'a Context,
    pub point: &'a ConsistentPoint,
    pub authority: Authority,
    /// Takes down how long each table took.
    pub timings: Timings,
    pub shutdown: &'a CancellationToken,
}

/// How long the tables took that are finished. Every clone is the same list.
#[derive(Clone, Debug, Default)]
pub struct Timings(Arc<Mutex<HashMap<QualifiedName, Duration>>>);

impl Timings {
    pub fn get(&self, table: &QualifiedName) -> Option<Duration> {
        self.lock().get(table).copied()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&self, table: &QualifiedName, duration: Duration) {
        self.lock().insert(table.clone(), duration);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QualifiedName, Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Copy<'_> {
    /// Copies the jobs' tables.
    pub async fn run(self, jobs: Vec<CopyJob>) -> Result<CopyEnd, PipelineError> {
        let (table_count, started_at) = (jobs.len(), Instant::now());
        tracing::info!(tables = table_count, lsn = %self.point.lsn, "the copy begins");
        let queue = enqueue(jobs);
        let worker_count = self.context.settings.snapshot.workers.min(queue.len()).max(1);
        let shared = Shared {
            context: self.context.clone(),
            queue: Arc::new(Mutex::new(queue)),
            import_sql: self.point.import_sql(),
            copied_lsn: self.point.lsn,
            copied_at: self.point.taken_at.into(),
            authority: self.authority,
            timings: self.timings,
            shutdown: self.shutdown.clone(),
        };
        let mut workers = JoinSet::new();
        for _ in 0..worker_count {
            workers.spawn(worker::run(shared.clone()).in_current_span());
        }
        let mut end = CopyEnd::Completed;
        // Dropping the set on the first error aborts the others; their transactions roll back.
        while let Some(finished) = workers.join_next().await {
            let finished = finished
                .map_err(|source| PipelineError::TaskFailed { task: "copy worker", source })?;
            if finished? == CopyEnd::Shutdown {
                end = CopyEnd::Shutdown;
            }
        }
        if end == CopyEnd::Completed {
            let seconds = started_at.elapsed().as_secs_f64();
            tracing::info!(tables = table_count, seconds, "the copy is complete");
        }
        Ok(end)
    }
}

/// Largest tables first, so that none starts when all others are done.
fn enqueue(mut jobs: Vec<CopyJob>) -> VecDeque<Work> {
    jobs.sort_by_key(|job| std::cmp::Reverse((job.chunk_count(), job.heap_bytes)));
    let mut queue = VecDeque::new();
    for job in jobs {
        let table = Arc::new(TableJob {
            chunks_left: AtomicUsize::new(job.chunk_count()),
            rows: Mutex::new((0, 0)),
            started_at: OnceLock::new(),
            job,
        });
        if table.job.chunk_count() == 0 {
            queue.push_back(Work::Finish(Arc::clone(&table)));
        }
        for (part, (_, _, chunks)) in table.job.parts.iter().enumerate() {
            for &chunk in chunks {
                queue.push_back(Work::Chunk(ChunkJob { job: Arc::clone(&table), part, chunk }));
            }
        }
    }
    queue
}

impl Shared {
    fn next(&self) -> Option<Work> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn show_state(&self, job: &CopyJob, state: TableState) {
        self.context.board.table_state(&job.record.source, state);
    }
}
