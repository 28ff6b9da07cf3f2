//! Applied positions to the local store; durable ones to the feedback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::checkpoint::{Record, Store, StoreError};
use crate::failpoint;
use crate::pipeline::code::Code;
use crate::pipeline::status::{Board, ErrorReport};
use crate::pipeline::stream::progress::Progress;

/// Starts the task. It follows the newest applied position (those in between need no record of
/// their own) and ends with the applier. A store that fails holds feedback back, not the apply:
/// the destination has the truth, the source keeps its WAL a little longer.
pub(super) fn start(
    store: Arc<Store>,
    mut record: Record,
    board: Board,
    progress: Progress,
) -> AbortOnDropHandle<()> {
    let mut positions = progress.subscribe();
    let mut failing = Failing { board: board.clone(), logged_at: None };
    let following = async move {
        loop {
            let applied_lsn = positions.borrow_and_update().applied_lsn;
            if applied_lsn > record.applied_lsn || positions.borrow().flushed_lsn < applied_lsn {
                record.applied_lsn = applied_lsn;
                record.sequence += 1;
                match store.mirror(record.clone()).await {
                    Ok(duration) => {
                        failpoint::hit(failpoint::MIRRORED).await;
                        board.checkpoint_flush(duration);
                        progress.flushed(applied_lsn);
                        failing.over();
                    }
                    Err(error) => {
                        failing.again(&error);
                        tokio::time::sleep(RETRY_DELAY).await;
                        continue;
                    }
                }
            }
            if positions.changed().await.is_err() {
                return;
            }
        }
    };
    AbortOnDropHandle::new(tokio::spawn(following.in_current_span()))
}

/// The same without a local store: what is committed at the destination may be confirmed.
pub(super) fn relay(progress: Progress) -> AbortOnDropHandle<()> {
    let mut positions = progress.subscribe();
    let following = async move {
        loop {
            let applied_lsn = positions.borrow_and_update().applied_lsn;
            if positions.borrow().flushed_lsn < applied_lsn {
                progress.flushed(applied_lsn);
            }
            if positions.changed().await.is_err() {
                return;
            }
        }
    };
    AbortOnDropHandle::new(tokio::spawn(following.in_current_span()))
}

/// A store that cannot be written: shown for as long as it lasts, logged once and then now and then.
struct Failing {
    board: Board,
    logged_at: Option<Instant>,
}

impl Failing {
    fn again(&mut self, error: &StoreError) {
        let what = "the local checkpoint store cannot be written; nothing is confirmed to the source until it can";
        let (code, hint) = (Code::E_IO.as_str(), error.hint());
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(error) {
            text = format!("{text}: {cause}");
        }
        match self.logged_at {
            None => tracing::error!(code, hint, error = text, "{what}"),
            Some(at) if at.elapsed() >= REMINDER => {
                tracing::warn!(code, hint, error = text, "{what}")
            }
            Some(_) => {}
        }
        if self.logged_at.is_none_or(|at| at.elapsed() >= REMINDER) {
            self.logged_at = Some(Instant::now());
        }
        self.board.set_store_failure(Some(format!("{code}: {what}: {text}")));
        let (stage, table) = ("checkpoint", None);
        self.board.set_error(ErrorReport { stage, code, message: text, table });
    }

    fn over(&mut self) {
        if self.logged_at.take().is_some() {
            tracing::info!("the local checkpoint store is written again");
            self.board.set_store_failure(None);
            self.board.clear_error();
        }
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // The next attempt finds out for itself.
        if self.logged_at.is_some() {
            self.board.set_store_failure(None);
        }
    }
}

/// How often a failure that lasts is logged again.
const REMINDER: Duration = Duration::from_secs(600);

/// Between two tries of a store that failed: a full disk is not emptied faster.
const RETRY_DELAY: Duration = Duration::from_secs(1);
