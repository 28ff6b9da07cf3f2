//! Applied positions to the local store; durable ones to the feedback.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::checkpoint::{Record, Store};
use crate::failpoint;
use crate::pipeline::status::Board;
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
                    }
                    Err(error) => {
                        tracing::error!(code = "E_IO", %error, "the local checkpoint mirror failed; nothing is confirmed to the source until it works again");
                        board.set_error(crate::pipeline::status::ErrorReport {
                            stage: "checkpoint",
                            code: "E_IO",
                            message: error.to_string(),
                            table: None,
                        });
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

/// Between two tries of a store that failed: a full disk is not emptied faster.
const RETRY_DELAY: std::time::Duration = std::time::Duration::from_secs(1);
