//! The reader's end of the applier: what is given to it, and what comes back.
//!
//! **Invariant:** the applier has one piece of work at most. It is given the next one only after it has said
//! that it is idle, so that sending never waits.

use tokio::sync::mpsc;

use crate::pipeline::stream::applier::Work;
use crate::pipeline::stream::progress::{Positions, ProgressReader};

#[derive(Debug)]
pub(super) struct ApplierLink {
    work: mpsc::Sender<Work>,
    ready: mpsc::Receiver<()>,
    progress: ProgressReader,
    /// The applier is idle and has not been given anything since it said so.
    is_ready: bool,
    sent_count: u64,
    /// What was last given to the applier holds so much memory until it is finished.
    sent_bytes: u64,
}

/// What the applier and the mirror behind it let know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Something is applied or durable.
    Moved,
    /// The applier is idle.
    Ready,
    /// Nothing more will come.
    Gone,
}

impl ApplierLink {
    pub(super) fn new(
        work: mpsc::Sender<Work>,
        ready: mpsc::Receiver<()>,
        progress: ProgressReader,
    ) -> ApplierLink {
        ApplierLink { work, ready, progress, is_ready: false, sent_count: 0, sent_bytes: 0 }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    pub(super) fn positions(&self) -> Positions {
        *self.progress.borrow()
    }

    /// Something that was given is not finished.
    pub(super) fn is_busy(&self) -> bool {
        self.positions().finished_count < self.sent_count
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Waits for news; what is dropped meanwhile loses none.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            // What became durable must reach the source even under load.
            changed = self.progress.changed() => match changed {
                Ok(()) => Told::Moved,
                Err(_) => Told::Gone,
            },
            // Cheap, and decides whether a batch may leave.
            Some(()) = self.ready.recv(), if !self.is_ready => {
                self.is_ready = true;
                Told::Ready
            }
        }
    }

    pub(super) fn send(&mut self, work: Work) {
        let sent_bytes = match &work {
            Work::Batch(batch) => batch.memory_bytes as u64,
            Work::Idle(_) => 0,
        };
        if self.work.try_send(work).is_ok() {
            self.is_ready = false;
            self.sent_count += 1;
            self.sent_bytes = sent_bytes;
        }
    }
}
