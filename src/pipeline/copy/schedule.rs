//! What is left to do, and who takes it: chunks to copy, indexes to build.
//!
//! A build stands before every chunk, and a long one before a short one: it is the end of the longest
//! chain (rows, indexes, statistics), and meanwhile the other workers go on copying. A worker that
//! finds nothing waits, because a table whose last chunk another one is loading may leave builds to
//! share; it ends when every table is done.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{ChunkJob, CopyJob, TableJob};

/// One piece of work for a worker.
#[derive(Debug)]
pub(super) enum Work {
    Chunk(ChunkJob),
    /// A query's whole result.
    Query(Arc<TableJob>),
    /// A table without chunks: a partitioned one without partitions.
    Finish(Arc<TableJob>),
    Build(BuildJob),
}

/// One statement of a table's completion that may run beside the others.
#[derive(Debug)]
pub(super) struct BuildJob {
    pub(super) table: Arc<TableJob>,
    pub(super) statement: String,
}

impl Work {
    /// Whether it reads the source.
    pub(super) fn is_read(&self) -> bool {
        matches!(self, Work::Chunk(_) | Work::Query(_))
    }

    pub(super) fn table(&self) -> &Arc<TableJob> {
        match self {
            Work::Chunk(chunk) => &chunk.job,
            Work::Query(table) | Work::Finish(table) => table,
            Work::Build(build) => &build.table,
        }
    }
}

#[derive(Debug)]
pub(super) struct Schedule {
    left: Mutex<Left>,
    changed: Notify,
    /// Every chunk is read: the snapshot is not needed any more.
    pub(super) is_read: CancellationToken,
    worker_count: usize,
}

#[derive(Debug, Default)]
struct Left {
    /// One is done before the next begins.
    levels: VecDeque<Level>,
    builds: BinaryHeap<Waiting>,
    /// Builds that have ever waited: each one's place in the order.
    build_count: usize,
    /// Chunks and queries that are not read to their end.
    read_count: usize,
    /// Tables that are not recorded as copied.
    table_count: usize,
    busy_count: usize,
    building_count: usize,
}

/// Tables that may be loaded side by side.
#[derive(Debug, Default)]
struct Level {
    copies: VecDeque<Work>,
    /// Copies that are not done.
    unfinished_count: usize,
}

/// By the table's size, then in the order they came.
#[derive(Debug)]
struct Waiting {
    bytes: u64,
    order: std::cmp::Reverse<usize>,
    build: BuildJob,
}

/// How many builds run, and how many tables are not done, for whoever looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outlook {
    pub(super) building_count: usize,
    pub(super) table_count: usize,
}

impl Schedule {
    pub(super) fn new(jobs: Vec<CopyJob>, workers_max: usize) -> Schedule {
        let mut left = Left { table_count: jobs.len(), ..Left::default() };
        let mut work_count = 0;
        for table in largest_first(jobs) {
            work_count += table.job.read_count().max(1) + table.job.builds.apart.len();
            left.read_count += table.job.read_count();
            while left.levels.len() <= table.job.level {
                left.levels.push_back(Level::default());
            }
            left.levels[table.job.level].add(&table);
        }
        let is_read = CancellationToken::new();
        if left.read_count == 0 {
            is_read.cancel();
        }
        Schedule {
            left: Mutex::new(left),
            changed: Notify::new(),
            is_read,
            worker_count: workers_max.min(work_count).max(1),
        }
    }

    pub(super) fn worker_count(&self) -> usize {
        self.worker_count
    }

    /// The next piece of work; `None` once every table is done. Safe to cancel.
    pub(super) async fn next(&self) -> Option<Work> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            {
                let mut left = self.left();
                if let Some(work) = left.take() {
                    return Some(work);
                }
                if left.table_count == 0 {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// The worker that took a piece of work is free again.
    pub(super) fn done(&self, work: &Work) {
        let mut left = self.left();
        left.busy_count -= 1;
        if matches!(work, Work::Build(_)) {
            left.building_count -= 1;
            return;
        }
        if work.is_read() {
            left.read_count -= 1;
            if left.read_count == 0 {
                self.is_read.cancel();
            }
        }
        // Nothing of a later level is handed out before.
        if let Some(level) = left.levels.front_mut() {
            level.unfinished_count -= 1;
            let is_over = level.unfinished_count == 0;
            drop(left);
            if is_over {
                self.changed.notify_waiters();
            }
        }
    }

    /// A table's rows are there: its builds may begin.
    pub(super) fn build(&self, table: &Arc<TableJob>) {
        let mut left = self.left();
        for statement in &table.job.builds.apart {
            let order = std::cmp::Reverse(left.build_count);
            left.build_count += 1;
            let build = BuildJob { table: Arc::clone(table), statement: statement.clone() };
            left.builds.push(Waiting { bytes: table.job.bytes, order, build });
        }
        drop(left);
        self.changed.notify_waiters();
    }

    /// A table is recorded as copied.
    pub(super) fn table_done(&self) {
        let mut left = self.left();
        left.table_count -= 1;
        let is_over = left.table_count == 0;
        drop(left);
        if is_over {
            self.changed.notify_waiters();
        }
    }

    /// Whether somebody will read the source again.
    pub(super) fn has_reads(&self) -> bool {
        self.left().levels.iter().any(|level| level.copies.iter().any(Work::is_read))
    }

    /// Workers that have nothing to do.
    pub(super) fn idle_count(&self) -> usize {
        self.worker_count.saturating_sub(self.left().busy_count)
    }

    pub(super) fn outlook(&self) -> Outlook {
        let left = self.left();
        Outlook { building_count: left.building_count, table_count: left.table_count }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Left {
    fn take(&mut self) -> Option<Work> {
        let work = match self.builds.pop() {
            Some(waiting) => {
                self.building_count += 1;
                Work::Build(waiting.build)
            }
            None => self.take_copy()?,
        };
        self.busy_count += 1;
        Some(work)
    }

    fn take_copy(&mut self) -> Option<Work> {
        while self.levels.len() > 1 && self.levels[0].unfinished_count == 0 {
            self.levels.pop_front();
        }
        self.levels.front_mut()?.copies.pop_front()
    }
}

impl Level {
    fn add(&mut self, table: &Arc<TableJob>) {
        if table.job.query.is_some() {
            self.copies.push_back(Work::Query(Arc::clone(table)));
        } else if table.job.chunk_count() == 0 {
            self.copies.push_back(Work::Finish(Arc::clone(table)));
        }
        for (part, (_, _, chunks)) in table.job.parts.iter().enumerate() {
            for &chunk in chunks {
                let job = Arc::clone(table);
                self.copies.push_back(Work::Chunk(ChunkJob { job, part, chunk }));
            }
        }
        self.unfinished_count = self.copies.len();
    }
}

/// Largest tables first, so that none starts when all others are done; and before them queries, whose
/// size nobody knows.
fn largest_first(mut jobs: Vec<CopyJob>) -> impl Iterator<Item = Arc<TableJob>> {
    jobs.sort_by_key(|job| std::cmp::Reverse((job.query.is_some(), job.chunk_count(), job.bytes)));
    jobs.into_iter().map(|job| Arc::new(TableJob::new(job)))
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.bytes, self.order).cmp(&(other.bytes, other.order))
    }
}
