//! `max_retained_wal`: how much WAL the slot may hold back, and what happens when it holds more.
//!
//! The poll of the source looks every second, whatever else the agent does: while it copies, streams,
//! or waits for a destination that is down. "alert" says so, in the log and on the board.
//! "drop-slot" prefers the source's disk to the pipeline: the attempt is dropped, and with it what it
//! copies; the slot goes; the pipeline ends with E_SLOT, because what the slot held is lost to it.
//!
//! **Invariant:** only a slot that preflight has found to be ours is dropped, and not by a standby.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::settings::RetainedWalAction;
use crate::pipeline::code::Code;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::reset::forget_slot_in_use;
use crate::pipeline::status::State;
use crate::pipeline::supervise::RunEnd;
use crate::snapshot::point::sync_slot_name;
use crate::source::slot::SlotError;

/// How often an alert that lasts is logged again.
const REMINDER: Duration = Duration::from_secs(600);

/// How long the source may take to let go of the slot: its walsender notices within moments that we
/// have hung up.
const DROP_LIMIT: Duration = Duration::from_secs(60);

/// Between two tries to drop it.
const DROP_PAUSE: Duration = Duration::from_secs(1);

/// What the polls have found.
#[derive(Debug, Default)]
pub struct Retention {
    alerted_at: Option<Instant>,
}

impl Retention {
    pub fn look(&mut self, context: &Context, retained_bytes: u64) {
        let Some(limit_bytes) = context.settings.source.max_retained_wal_bytes else { return };
        let slot = &context.settings.source.slot;
        if retained_bytes <= limit_bytes {
            if self.alerted_at.take().is_some() {
                context.board.set_retention(None);
                tracing::info!(
                    slot,
                    retained_bytes,
                    limit_bytes,
                    "the slot holds no more WAL than it may"
                );
            }
            return;
        }
        if self.alerted_at.is_none_or(|at| at.elapsed() >= REMINDER) {
            self.alerted_at = Some(Instant::now());
            tracing::warn!(
                slot,
                retained_bytes,
                limit_bytes,
                "the slot holds more WAL than max_retained_wal allows"
            );
        }
        context.board.set_retention(Some(format!(
            "replication slot \"{slot}\" holds more WAL at the source than max_retained_wal allows \
             ({limit_bytes} bytes)"
        )));
        let is_ours = context.is_established() && context.board.state() != State::Standby;
        if is_ours && context.settings.source.max_retained_wal_action == RetainedWalAction::DropSlot
        {
            context.too_much_wal.cancel();
        }
    }
}

/// Drops the slot. Nothing of ours is connected to it any more.
pub async fn give_up(context: &Context, shutdown: &CancellationToken) -> RunEnd {
    let slot = &context.settings.source.slot;
    let limit_bytes = context.settings.source.max_retained_wal_bytes.unwrap_or_default();
    let dropping = tokio::select! {
        biased;
        () = shutdown.cancelled() => return RunEnd::Shutdown,
        dropped = tokio::time::timeout(DROP_LIMIT, drop_slots(context)) => dropped,
    };
    let error = match dropping {
        Ok(()) => SlotError::GivenUp { slot: slot.clone(), limit_bytes },
        Err(_) => SlotError::NotGivenUp { slot: slot.clone(), limit_bytes },
    };
    let error = PipelineError::Slot(error);
    let hint = error.hint();
    tracing::error!(code = Code::E_SLOT.as_str(), slot, limit_bytes, hint, "{error}");
    context.board.set_retention(None);
    RunEnd::Failed { code: Code::E_SLOT, error }
}

/// The pipeline's slot, and the one beside it that a copy may have made.
async fn drop_slots(context: &Context) {
    let slot = &context.settings.source.slot;
    for name in [slot.clone(), sync_slot_name(slot)] {
        while let Err(reason) = forget_slot_in_use(context, &name).await {
            tracing::warn!(slot = name, "the slot could not be dropped yet: {reason}");
            tokio::time::sleep(DROP_PAUSE).await;
        }
    }
}
