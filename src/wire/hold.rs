//! How much one frame may hold, and how many large ones are held at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a large frame waits for its turn. The one before it may take minutes over a slow link;
/// beyond that it may itself wait, at the destination, for a row of ours: going on then costs
/// memory, waiting on would never end.
const TURN_PATIENCE: Duration = Duration::from_secs(300);

/// What a session that reads rows may hold.
#[derive(Clone, Debug)]
pub struct Hold {
    /// No value may be longer.
    pub value_bytes_max: usize,
    /// Frames longer than this are read one at a time, over all sessions that share `turn`.
    pub large_bytes: usize,
    pub turn: Arc<Semaphore>,
}

impl Default for Hold {
    fn default() -> Hold {
        let turn = Arc::new(Semaphore::new(1));
        Hold { value_bytes_max: usize::MAX, large_bytes: usize::MAX, turn }
    }
}

impl Hold {
    /// Waits for the turn of a large frame. Safe to cancel.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.turn).acquire_owned();
        tokio::time::timeout(TURN_PATIENCE, turn).await.ok()?.ok()
    }
}
