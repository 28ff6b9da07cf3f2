//! How far the tail's stages are; each position has one writer and moves only forward.

use tokio::sync::watch;

use crate::pg::lsn::Lsn;

/// Where the destination is, and what may be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Committed at the destination with its checkpoint row.
    pub applied_lsn: Lsn,
    /// Also durable in the local mirror: may be reported to the source.
    pub flushed_lsn: Lsn,
    /// Pieces of work that the applier has finished.
    pub finished_count: u64,
}

/// Written by the applier (`applied`) and the mirror (`flushed`).
#[derive(Clone, Debug)]
pub struct Progress(watch::Sender<Positions>);

/// Read by the reader and by whoever waits.
pub type ProgressReader = watch::Receiver<Positions>;

pub(super) fn channel(applied_lsn: Lsn) -> (Progress, ProgressReader) {
    let start = Positions { applied_lsn, flushed_lsn: applied_lsn, finished_count: 0 };
    let (sender, receiver) = watch::channel(start);
    (Progress(sender), receiver)
}

impl Progress {
    pub fn subscribe(&self) -> ProgressReader {
        self.0.subscribe()
    }

    /// A piece of work is done; `applied_lsn` where it committed.
    pub fn finished(&self, applied_lsn: Option<Lsn>) {
        self.0.send_modify(|positions| {
            positions.finished_count += 1;
            if let Some(lsn) = applied_lsn {
                assert!(lsn >= positions.applied_lsn, "the applied position went back");
                positions.applied_lsn = lsn;
            }
        });
    }

    pub fn flushed(&self, lsn: Lsn) {
        self.0.send_modify(|positions| {
            // Confirming more than the destination has would lose rows: crash first.
            assert!(lsn <= positions.applied_lsn, "the mirror is ahead of the destination");
            positions.flushed_lsn = positions.flushed_lsn.max(lsn);
        });
    }
}
