//! Where the stream begins: the slot that is there, or a new one at first contact.

use super::{Attempt, Held};
use crate::checkpoint::row;
use crate::model::finding::Side;
use crate::pg::lsn::Lsn;
use crate::pipeline::error::PipelineError;
use crate::pipeline::look::Look;
use crate::pipeline::slot_creation;
use crate::snapshot::ConsistentPoint;
use crate::source::slot::Verdict;
use crate::wire::Session;

/// Where an attempt begins.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) applied_lsn: Lsn,
    /// The new slot's snapshot.
    pub(super) first_point: Option<ConsistentPoint>,
}

impl Attempt<'_> {
    /// Makes the slot where there is none. `None`: stopped meanwhile.
    pub(super) async fn start_at_slot(
        &self,
        verdict: Verdict,
        held: &Held,
        look: &Look,
        replication: &mut Session,
    ) -> Result<Option<Start>, PipelineError> {
        let context = self.context;
        let epoch = held.checkpoint.epoch;
        let slot = &context.settings.source.slot;
        match verdict {
            Verdict::Resume { applied_lsn, promoted_from } => {
                if let Some(timeline) = promoted_from {
                    tracing::info!(
                        from = timeline,
                        to = look.identity.timeline,
                        "the source was promoted; our position is in its history"
                    );
                }
                Ok(Some(Start { applied_lsn, first_point: None }))
            }
            Verdict::FirstContact { replace } => {
                let sql = &context.checkpoint;
                row::record_slot(&held.destination, sql, epoch, slot, None).await?;
                if replace {
                    crate::source::slot::drop_slot(&held.source, slot)
                        .await
                        .map_err(PipelineError::query(Side::Source, "dropping our unused slot"))?;
                }
                let session = std::mem::replace(replication, context.replication_session().await?);
                let failover =
                    look.source_facts.major_version() >= 17 && !look.source_facts.in_recovery;
                let plan = slot_creation::SlotPlan { name: slot, is_temporary: false, failover };
                let Some(point) =
                    slot_creation::create(context, &held.source, session, plan, self.shutdown)
                        .await?
                else {
                    return Ok(None);
                };
                row::record_slot(&held.destination, sql, epoch, slot, Some(point.lsn)).await?;
                Ok(Some(Start { applied_lsn: point.lsn, first_point: Some(point) }))
            }
        }
    }
}
