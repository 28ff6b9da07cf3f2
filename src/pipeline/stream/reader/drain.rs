//! The end of a stream: what is closed is applied and confirmed, in the time that there is.

use std::time::Duration;

use super::Reader;
use crate::pipeline::error::PipelineError;
use crate::pipeline::stream::applier::{ApplierTask, Work};
use crate::pipeline::stream::link::Told;

impl Reader {
    /// Hands over what is closed and waits until the applier and the mirror are done with it. False
    /// where that took too long.
    pub(super) async fn drain(
        &mut self,
        grace: Duration,
        applier: &mut ApplierTask,
    ) -> Result<bool, PipelineError> {
        let draining = async {
            let mut has_source = true;
            loop {
                self.hand_over_closed();
                let positions = self.link.positions();
                self.confirm(positions.flushed_lsn);
                let is_done = !self.link.is_busy()
                    && !self.intake.batcher().has_closed()
                    && positions.flushed_lsn >= positions.applied_lsn;
                if is_done {
                    return Ok(true);
                }
                tokio::select! {
                    biased;
                    told = self.link.next() => if told == Told::Gone { return Ok(true); },
                    ended = &mut *applier => return Err(applier_error(ended)),
                    // A source that is gone does not stop the destination's last commit.
                    _ = self.tail.keep_alive(), if has_source => {
                        tracing::debug!("the replication connection ended during the drain");
                        has_source = false;
                    }
                }
            }
        };
        match tokio::time::timeout(grace, draining).await {
            Ok(result) => result,
            Err(_) => {
                tracing::warn!(
                    grace_seconds = grace.as_secs_f64(),
                    "the batch in hand did not finish in time and is rolled back"
                );
                applier.abort();
                Ok(false)
            }
        }
    }

    fn hand_over_closed(&mut self) {
        if self.link.is_ready()
            && let Some(batch) = self.intake.batcher_mut().next_closed()
        {
            self.link.send(Work::Batch(batch));
        }
    }
}

pub(super) fn applier_error(
    ended: Result<Result<(), PipelineError>, tokio::task::JoinError>,
) -> PipelineError {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => PipelineError::TaskEnded { task: "applier" },
        Err(error) => PipelineError::TaskFailed { task: "applier", source: error },
    }
}
