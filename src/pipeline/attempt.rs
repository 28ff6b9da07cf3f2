//! One attempt: connect, make sure that history goes on, copy what is not copied, stream.
//!
//! ```text
//! look (facts, tables, row) ─► preflight ─► lease ─► judge the slot
//!     ├─ first contact: row without position ─► publications ─► slot ─► position recorded
//!     └─ resume: publications brought up to date
//!                  ─► copy what is pending, at the slot's point or a later one of its own
//!                      ─► stream from the checkpoint, new tables being copied beside it
//! ```
//!
//! Why is the row committed before the slot exists? A crash between the two would leave a slot that
//! nobody knows, holding WAL for ever; this way a slot without a position is known to be ours, and
//! is made anew.
//!
//! **Invariant:** nothing is created on either side before preflight has found nothing wrong.

mod before;
mod beside;
mod copying;
mod entry;
mod held;
mod leg;
mod memory;
mod publishing;
mod slot;
mod streaming;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use before::{Begun, SHUT_DOWN};
use entry::Ready;
use held::Held;
pub use memory::Memory;

use crate::checkpoint::Store;
use crate::pg::client::CancelHandle;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::lease::Lease;
use crate::pipeline::look::Look;
use crate::pipeline::run::RunOptions;
use crate::wire::Session;

/// How long what comes before the stream may take to end in order once it shall stop: long enough
/// to cancel a slot's creation; whatever else is dropped is rolled back by the servers.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// How an attempt ended, other than by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    Shutdown,
    CaughtUp,
    /// What it stood on has changed (tables, publications): the next one looks anew.
    Again,
    /// The same, and it has come further by that: the next one follows at once.
    Further,
}

/// One attempt's surroundings.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub context: &'a Context,
    pub store: &'a Arc<Store>,
    pub memory: &'a mut Memory,
    pub options: RunOptions,
    pub shutdown: &'a CancellationToken,
}

impl Attempt<'_> {
    pub async fn run(mut self) -> Result<AttemptEnd, PipelineError> {
        let shutdown = self.shutdown;
        self.memory.has_failed_beside = false;
        let ready = tokio::select! {
            biased;
            // Nothing is in hand yet: what is dropped here is rolled back by the servers.
            () = shutdown.cancelled() => return Ok(AttemptEnd::Shutdown),
            ready = Box::pin(self.enter()) => ready?,
        };
        let Ready { source, destination, lease, replication, look, checkpoint } = ready;
        let sql = self.context.checkpoint.clone();
        let mut lease = Lease::keep(Arc::new(lease), sql, checkpoint.epoch);
        let held = Held { source, destination, checkpoint };
        let result = tokio::select! {
            biased;
            // Whoever took over has fenced us: every further write would fail anyway.
            error = lease.lost() => return Err(error.into()),
            result = Box::pin(self.work(held, replication, look)) => result,
        };
        match result {
            Err(error) => Err(lease.superseded().await.map_or(error, Into::into)),
            Ok(end @ (AttemptEnd::Shutdown | AttemptEnd::CaughtUp)) => {
                lease.release().await;
                Ok(end)
            }
            Ok(end) => Ok(end),
        }
    }

    async fn work(
        &mut self,
        mut held: Held,
        mut replication: Session,
        look: Look,
    ) -> Result<AttemptEnd, PipelineError> {
        let patience = STOP_PATIENCE.min(self.context.settings.shutdown_grace / 2);
        let shutdown = self.shutdown;
        let at_control = held.destination.cancel_handle();
        let started = tokio::select! {
            biased;
            start = Box::pin(self.before_stream(&mut held, &mut replication, &look)) => start?,
            // Waiting for somebody's lock, for example.
            () = stopped_for(shutdown, patience) => {
                cut_off(&at_control).await;
                SHUT_DOWN
            }
        };
        match started {
            Begun::Stream(begun) => {
                let (start, planner, watch) = *begun;
                Box::pin(self.stream(held, replication, look, planner, (start, watch))).await
            }
            Begun::End(end) => Ok(end),
        }
    }
}

/// How long it may take to cancel a query that is given up.
const CANCEL_PATIENCE: Duration = Duration::from_secs(1);

/// Cancels what a connection runs that is about to be dropped: a server does not notice that we are
/// gone while its backend waits for a lock.
pub(super) async fn cut_off(query: &CancelHandle) {
    let cancelled = tokio::time::timeout(CANCEL_PATIENCE, query.cancel()).await;
    if !matches!(cancelled, Ok(Ok(()))) {
        tracing::debug!("a query could not be cancelled; it ends by itself");
    }
}

/// Ends a while after the stop was asked for.
pub async fn stopped_for(shutdown: &CancellationToken, patience: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(patience).await;
}

pub(super) fn holder_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "unknown host" } else { host.trim() };
    format!("{host}, process {}", std::process::id())
}
