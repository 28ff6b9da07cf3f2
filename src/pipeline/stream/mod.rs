//! The tail at work: three tasks that never wait for each other's servers.
//!
//! ```text
//!  source ──► reader ── batches ──► applier ── applied ──► mirror ── flushed ──┐
//!               ▲   decode, transform,   one destination     sled, fsynced     │
//!               │   fold                 transaction each                      │
//!               └────────────── feedback: flushed positions only ◄─────────────┘
//! ```
//!
//! The order law is this picture: a position reaches the reader's feedback only from the mirror,
//! the mirror only from the applier, the applier only from a committed destination transaction.
//!
//! The reader folds the next batch while one is applied. A batch that is not full is handed over
//! only when the applier is idle, so batches grow by themselves when the destination is slow.
//! A full one waits for its turn while the reader reads nothing but still sends status updates.

mod applier;
mod held;
mod intake;
mod link;
mod mirror;
pub mod past;
mod progress;
mod reader;

pub use applier::Work;
pub use past::Past;
pub use progress::{Progress, ProgressReader};
pub use reader::ReaderEnd;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::apply::transaction::Applier;
use crate::batch::Limits;
use crate::checkpoint::{Record, Store};
use crate::config::settings::Settings;
use crate::pg::lsn::Lsn;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::Board;
use crate::pipeline::stream_tables::StreamTables;
use crate::source::Tail;

/// What streaming needs.
#[derive(Debug)]
pub struct Stream {
    pub tail: Tail,
    pub tables: StreamTables,
    pub applier: Applier,
    /// The local mirror and its record as of now, whose position is moved on; none for a stream whose
    /// position the destination alone keeps.
    pub mirror: Option<(Arc<Store>, Record)>,
    pub board: Board,
    pub limits: Limits,
    /// The source's WAL end when the stream began: from there on it is not catching up.
    pub caught_up_at: Lsn,
    /// It has all tables: where it streams, the pipeline does.
    pub is_whole: bool,
    /// The stream ends before the first transaction whose commit stands here or later.
    pub before: Option<Lsn>,
    /// Commits up to here are applied one by one.
    pub alone_until: Lsn,
    pub past: Past,
}

/// Batches in memory at once: one being collected, one transaction being received, one closed and
/// waiting, one being applied.
const BATCHES_IN_MEMORY: u64 = 4;

/// Batch limits that keep all buffers together within `limits.memory`.
pub fn batch_limits(settings: &Settings) -> Limits {
    let share = settings.limits.memory_bytes / BATCHES_IN_MEMORY;
    let memory_bytes_max = settings.apply.max_batch_bytes.min(share);
    Limits {
        changes_max: settings.apply.max_batch_rows,
        memory_bytes_max: usize::try_from(memory_bytes_max).unwrap_or(usize::MAX),
        delay_max: settings.apply.max_batch_delay,
    }
}

impl Stream {
    /// Streams until `shutdown`, until `until` is applied, or until something fails. Whole
    /// transactions received before a failure of ours are applied first.
    pub async fn run(
        self,
        until: Option<Lsn>,
        shutdown: CancellationToken,
        grace: Duration,
    ) -> Result<ReaderEnd, PipelineError> {
        let applied_lsn = self.applier.applied_lsn();
        let (progress, reader_progress) = progress::channel(applied_lsn);
        let (work, ready, applier) =
            applier::start(self.applier, self.tables.names(), self.board.clone(), progress.clone());
        let mirror = match self.mirror {
            Some((store, record)) => mirror::start(store, record, self.board.clone(), progress),
            None => mirror::relay(progress),
        };
        let reader = reader::Reader::new(
            self.tail,
            self.tables,
            reader::Goal {
                until: until.or(self.before),
                before: self.before,
                caught_up_at: self.caught_up_at,
                is_whole: self.is_whole,
                alone_until: self.alone_until,
                past: self.past,
            },
            self.limits,
            self.board,
            link::ApplierLink::new(work, ready, reader_progress),
        );
        let result = reader.run(shutdown, grace, applier).await;
        drop(mirror);
        result
    }
}
