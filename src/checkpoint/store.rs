//! The local store's handle: checkpoints go in, and come out again after a restart.
//!
//! ```text
//!   mirror(record) ──► pending (one place, the latest wins) ──► thread ──► disk
//!        ▲                                                        │
//!        └────────── generation and outcome (watch) ◄─────────────┘
//! ```
//!
//! sled blocks and can panic, so one thread of ours owns it. The caller never waits for the thread
//! except where it awaits the future that [`Store::mirror`] returns.
//!
//! **Invariants:** a mirror future resolves with success only when its record, or one handed in
//! later, is durable. The callers hand records in the order in which they became durable at the
//! destination, so a later one covers an earlier one. After a failed write sled is let go of and
//! opened again at the next record: sled answers nothing but its first error for ever after.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::checkpoint::disk::Disk;
pub use crate::checkpoint::disk::Origin;
use crate::checkpoint::record::Record;
use crate::checkpoint::store_error::StoreError;

/// How long opening may take before it counts as stuck. Opening a store of a few megabytes takes
/// milliseconds, waiting for two locks 4 s.
const OPEN_WAIT: Duration = Duration::from_secs(30);

/// The open local store. Dropping it closes the store in the background; [`Store::close`] waits.
pub struct Store {
    shared: Arc<Shared>,
    outcome: watch::Receiver<Outcome>,
    identity: String,
    origin: Origin,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or creates the store in `dir`. Blocks for at most 30 s, usually milliseconds: call it
    /// before the work starts, or from a blocking task.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        let shared = Arc::new(Shared::default());
        let (outcome_sender, outcome) = watch::channel(Outcome::default());
        let (opened_sender, opened) = mpsc::sync_channel(1);
        let thread = Worker { dir: dir.to_owned(), shared: Arc::clone(&shared), outcome_sender };
        std::thread::Builder::new()
            .name("checkpoint-store".to_owned())
            .spawn(move || thread.run(&opened_sender))
            .map_err(|source| StoreError::Io {
                doing: "start a thread for",
                path: dir.to_owned(),
                source: Arc::new(source),
            })?;
        let stuck = |_| StoreError::Stuck { dir: dir.to_owned(), seconds: OPEN_WAIT.as_secs() };
        let Opened { identity, origin } = opened.recv_timeout(OPEN_WAIT).map_err(stuck)??;
        Ok(Store { shared, outcome, identity, origin })
    }

    /// Hands `record` in at once (not at the first poll) and resolves when it, or a later one, is
    /// durable, with the time that the write took. A record that waits is replaced by the next
    /// one, so callers may hand in as fast as they like. The future may be dropped; the record is
    /// written all the same.
    ///
    /// An error means only that the last write failed: nothing may be confirmed on its strength,
    /// and the next call tries again.
    pub fn mirror(
        &self,
        record: Record,
    ) -> impl Future<Output = Result<Duration, StoreError>> + Send + use<> {
        let generation = self.shared.submit(record);
        let mut outcome = self.outcome.clone();
        async move {
            let reached = outcome.wait_for(|outcome| outcome.generation >= generation).await;
            reached.map_err(|_| StoreError::Closed)?.result.clone()
        }
    }

    /// The newest durable record: the one found when the store was opened, or mirrored since.
    pub fn load(&self) -> Option<Record> {
        self.shared.with(|state| state.durable.clone())
    }

    /// The store's own name, made when it was created.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the directory was there and the store was not: emptied, damaged, replaced. The
    /// destination's checkpoint then fills it again.
    pub fn was_lost(&self) -> bool {
        match self.origin {
            Origin::Empty | Origin::Replaced { .. } => true,
            Origin::Existing | Origin::Created => false,
        }
    }

    /// Writes what is still pending, closes the store and waits until its files are free.
    pub async fn close(self) {
        self.shared.close();
        let mut outcome = self.outcome.clone();
        // The thread drops its end when it is done.
        while outcome.changed().await.is_ok() {}
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// The last write that was attempted.
#[derive(Clone, Debug)]
struct Outcome {
    generation: u64,
    result: Result<Duration, StoreError>,
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome { generation: 0, result: Ok(Duration::ZERO) }
    }
}

struct Opened {
    identity: String,
    origin: Origin,
}

// === impl Shared ===

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts the records handed in.
    generation: u64,
    pending: Option<Record>,
    durable: Option<Record>,
    closing: bool,
}

impl Shared {
    /// No code that can panic runs under the lock, so a poisoned one is still whole.
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn submit(&self, record: Record) -> u64 {
        let generation = self.with(|state| {
            state.generation += 1;
            state.pending = Some(record);
            state.generation
        });
        self.changed.notify_one();
        generation
    }

    fn close(&self) {
        self.with(|state| state.closing = true);
        self.changed.notify_one();
    }

    /// Waits for a record; `None` once the store is closing and nothing is pending.
    fn next(&self) -> Option<(u64, Record)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut State| state.pending.is_none() && !state.closing;
        let mut state =
            self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let generation = state.generation;
        state.pending.take().map(|record| (generation, record))
    }
}

// === impl Worker ===

/// The thread that owns the disk.
struct Worker {
    dir: PathBuf,
    shared: Arc<Shared>,
    outcome_sender: watch::Sender<Outcome>,
}

impl Worker {
    fn run(self, opened: &mpsc::SyncSender<Result<Opened, StoreError>>) {
        let (disk, origin) = match Disk::open(&self.dir) {
            Ok(found) => found,
            Err(error) => {
                // A caller that no longer waits has reported the store as stuck.
                let _ = opened.send(Err(error));
                return;
            }
        };
        self.shared.with(|state| state.durable = disk.newest().cloned());
        let identity = disk.identity().to_owned();
        let mut disk = match opened.send(Ok(Opened { identity, origin })) {
            Ok(()) => Some(disk),
            Err(_) => return disk.close(),
        };

        while let Some((generation, record)) = self.shared.next() {
            let result = self.write(&mut disk, record);
            self.outcome_sender.send_replace(Outcome { generation, result });
        }
        if let Some(disk) = disk {
            disk.close();
        }
        // `outcome_sender` goes last: that is what `Store::close` waits for.
    }

    fn write(&self, disk: &mut Option<Disk>, record: Record) -> Result<Duration, StoreError> {
        let started = Instant::now();
        let mut open = match disk.take() {
            Some(open) => open,
            None => Disk::open(&self.dir)?.0,
        };
        if let Err(error) = open.write(record) {
            open.close();
            return Err(error);
        }
        self.shared.with(|state| state.durable = open.newest().cloned());
        *disk = Some(open);
        Ok(started.elapsed())
    }
}

#[cfg(test)]
mod tests;
