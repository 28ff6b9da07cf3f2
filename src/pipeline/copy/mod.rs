//! The copy: tables as of a consistent point, chunk by chunk, by several workers.
//!
//! ```text
//!            ┌─ prepare: create or empty the table, record it as being copied
//!  tables ───┤
//!            └─ chunks ──► worker: COPY out ─► (transform) ─► COPY in ─► commit
//!                  … last chunk of a table ─► builds, several at once ─► ANALYZE, record it as copied
//! ```
//!
//! **Invariant:** a table is recorded as being copied before its first row is written, and as copied
//! only after its last; what a table recorded as being copied holds is ours to remove.

mod begin;
mod builds;
pub mod create;
mod filling;
mod finish;
mod job;
mod order;
mod parts;
mod prepare;
pub mod query;
mod resume;
mod schedule;
mod step;
mod transformer;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use prepare::{Preparation, Start};
pub use resume::Resumed;

use crate::checkpoint::tables::TableRecord;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::{ConflictKind, State, TableState};
use crate::snapshot::copy_out::CopyOutPlan;
use crate::snapshot::{Chunk, ConsistentPoint};
use crate::transform::TransformPlan;
use builds::Builds;
use schedule::Schedule;

/// How long what runs at the destination may take to end once it is cancelled.
pub const CANCEL_PATIENCE: Duration = Duration::from_secs(2);

/// One table to copy, ready: the destination's table exists and is empty.
#[derive(Debug)]
pub struct CopyJob {
    pub record: TableRecord,
    pub bytes: u64,
    /// Loaded once all tables of lower levels are.
    pub level: usize,
    pub transform: Arc<TransformPlan>,
    /// Which of the transform's columns are selected, in order: what the destination generates is not.
    pub outputs: Vec<usize>,
    /// Relations to read: the table, or the leaves of a partitioned one, each with its chunks.
    pub parts: Vec<(CopyOutPlan, u32, Vec<Chunk>)>,
    /// So many of them are heaps, chunk by chunk; those behind are rows of all over a heap, by key.
    pub heap_count: usize,
    /// The COPY that loads a chunk, and what stands before it in the same transaction.
    pub copy_in_sql: String,
    /// What stands behind it: the chunk is staged, and these bring it into the table.
    pub merge: Vec<String>,
    pub is_binary: bool,
    /// A part of it was loaded by an earlier copy; its chunks are what is missing.
    pub is_resumed: bool,
    /// An earlier copy's rows are overwritten.
    pub is_renewed: bool,
    /// What is read instead of heaps, if it is no table.
    query: Option<query::Reading>,
    /// What is built once all rows are there.
    builds: Builds,
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

    /// How often the source is read under the snapshot.
    fn read_count(&self) -> usize {
        self.chunk_count() + usize::from(self.query.is_some())
    }
}

/// One chunk on its way to a worker.
#[derive(Debug)]
struct ChunkJob {
    job: Arc<TableJob>,
    part: usize,
    chunk: Chunk,
}

/// A table while it is copied.
#[derive(Debug)]
struct TableJob {
    job: CopyJob,
    chunks_left: AtomicUsize,
    builds_left: AtomicUsize,
    rows: Mutex<(u64, u64)>,
    started_at: OnceLock<Instant>,
}

impl TableJob {
    fn new(job: CopyJob) -> TableJob {
        TableJob {
            chunks_left: AtomicUsize::new(job.chunk_count()),
            builds_left: AtomicUsize::new(job.builds.apart.len()),
            // What an earlier copy has loaded counts.
            rows: Mutex::new((unsigned(job.record.rows), unsigned(job.record.bytes))),
            started_at: OnceLock::new(),
            job,
        }
    }

    /// Whether one transaction loads and completes the whole table.
    fn is_single(&self) -> bool {
        self.job.chunk_count() == 1 && self.job.builds.apart.is_empty() && !self.job.is_resumed
    }

    /// Adds what was loaded.
    fn add(&self, row_count: u64, byte_count: u64) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.0 += row_count;
        rows.1 += byte_count;
    }

    /// Adds a committed chunk; true for the last one.
    fn chunk_done(&self, row_count: u64, byte_count: u64) -> bool {
        self.add(row_count, byte_count);
        self.chunks_left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// A build is committed; true for the last one.
    fn build_done(&self) -> bool {
        self.builds_left.fetch_sub(1, Ordering::AcqRel) == 1
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

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// What the workers share.
#[derive(Clone, Debug)]
struct Shared {
    context: Context,
    schedule: Arc<Schedule>,
    import_sql: String,
    copied_lsn: Lsn,
    copied_at: SystemTime,
    authority: Authority,
    timings: Timings,
    /// The agent stops, or another worker has failed.
    stop: CancellationToken,
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
    /// Let go once every row is read.
    pub point: ConsistentPoint,
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
        let schedule = Arc::new(Schedule::new(jobs, self.context.settings.snapshot.workers));
        let shared = Shared {
            context: self.context.clone(),
            schedule: Arc::clone(&schedule),
            import_sql: self.point.import_sql(),
            copied_lsn: self.point.lsn,
            copied_at: self.point.taken_at.into(),
            authority: self.authority,
            timings: self.timings,
            stop: self.shutdown.child_token(),
        };
        let end = work(&shared, self.point).await?;
        if end == CopyEnd::Completed {
            let seconds = started_at.elapsed().as_secs_f64();
            tracing::info!(tables = table_count, seconds, "the copy is complete");
        }
        Ok(end)
    }
}

/// Runs the workers to their end. The first one's error stops the others: what they run at the
/// destination is cancelled and rolls back.
async fn work(shared: &Shared, point: ConsistentPoint) -> Result<CopyEnd, PipelineError> {
    let schedule = &shared.schedule;
    let mut workers = JoinSet::new();
    for _ in 0..schedule.worker_count() {
        workers.spawn(worker::run(shared.clone()).in_current_span());
    }
    let mut point = Some(point);
    let mut end = Ok(CopyEnd::Completed);
    loop {
        let finished = tokio::select! {
            biased;
            finished = workers.join_next() => finished,
            // The source's transaction is not held while the destination builds indexes.
            () = schedule.is_read.cancelled(), if point.is_some() => {
                if let Some(point) = point.take() {
                    point.release().await;
                }
                continue;
            }
        };
        let Some(finished) = finished else { break };
        let finished = finished
            .map_err(|source| PipelineError::TaskFailed { task: "copy worker", source })
            .and_then(|finished| finished);
        match finished {
            Ok(CopyEnd::Completed) => {}
            Ok(CopyEnd::Shutdown) => end = end.map(|_| CopyEnd::Shutdown),
            Err(error) => {
                shared.stop.cancel();
                end = end.and(Err(error));
            }
        }
    }
    if let Some(point) = point {
        point.release().await;
    }
    end
}

impl Shared {
    fn show_state(&self, job: &CopyJob, state: TableState) {
        self.context.board.table_state(&job.record.source, state);
    }

    fn count_conflicts(&self, job: &CopyJob, (overwritten, suppressed): (u64, u64)) {
        let board = &self.context.board;
        // A row that a change or an earlier copy has brought is nobody else's.
        if overwritten > 0 && !job.is_resumed && !job.is_renewed {
            board.conflict(&job.record.source, ConflictKind::InsertExists, overwritten);
        }
        if suppressed > 0 {
            board.conflict(&job.record.source, ConflictKind::Suppressed, suppressed);
        }
    }

    /// Says how many indexes are being built, while any is.
    fn show_builds(&self) {
        let outlook = self.schedule.outlook();
        let tables = format!("copying {} tables", outlook.table_count);
        let reason = match outlook.building_count {
            0 => tables,
            count => format!("{tables}; {count} of their indexes are being built"),
        };
        self.context.board.set_state(State::Copying, reason);
    }
}
