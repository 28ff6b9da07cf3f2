//! Where the stream begins: the slot that is there, or a new one at first contact.

use std::time::Duration;

use super::{Attempt, Held};
use crate::checkpoint::row;
use crate::config::settings::Failover;
use crate::failpoint;
use crate::model::finding::Side;
use crate::pg::lsn::Lsn;
use crate::pipeline::context::{Context, STREAM_PURPOSE};
use crate::pipeline::error::PipelineError;
use crate::pipeline::lineage::origin;
use crate::pipeline::look::{Look, judge_slot};
use crate::pipeline::membership;
use crate::pipeline::slot_creation;
use crate::snapshot::ConsistentPoint;
use crate::source::preflight::has_failover_slots;
use crate::source::slot::{SlotError, Verdict};
use crate::wire::Session;

/// How long a backend may take to end before it is told again.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// How often a backend is told to end in one attempt.
const SIGNALS_MAX: u32 = 5;

/// Where an attempt begins.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) applied_lsn: Lsn,
    /// The slot's position.
    pub(super) confirmed_lsn: Lsn,
    /// The new slot's snapshot.
    pub(super) first_point: Option<ConsistentPoint>,
}

impl Attempt<'_> {
    /// Whether history goes on. Where it is broken and everything is to be copied again anyway, the
    /// checkpoint forgets it, and a first contact follows.
    pub(super) async fn judge(
        &mut self,
        held: &mut Held,
        replication: &mut Session,
        look: &Look,
    ) -> Result<Verdict, PipelineError> {
        let context = self.context;
        let judged = self.judge_freed(held, replication, look).await;
        let (choice, records) = (&look.selection.choice, look.records.iter());
        let lost = membership::lost_publication(context, choice, look.owned(), records);
        let error = match (judged, lost) {
            (Err(PipelineError::Slot(error)), _) if error.is_broken_history() => error.into(),
            // What the slot has yet to send names a publication that was not there.
            (Ok(_), Some(lost)) if look.asked.is_all => lost,
            (judged, _) => {
                if look.asked.is_all && judged.is_ok() {
                    let (sql, epoch) = (&context.checkpoint, held.checkpoint.epoch);
                    row::forget_last_commit(&held.destination, sql, epoch).await?;
                    held.checkpoint.last_commit = None;
                }
                return judged;
            }
        };
        if !look.asked.is_all {
            return Err(error);
        }
        tracing::warn!("{error}; everything is copied again, from a new slot");
        let (sql, epoch) = (&context.checkpoint, held.checkpoint.epoch);
        let slot = &context.settings.source.slot;
        let origin = origin(&look.identity);
        row::record_source(&held.destination, sql, epoch, origin).await?;
        row::record_slot(&held.destination, sql, epoch, slot, None).await?;
        if let Some(checkpoint) = row::read(&held.destination, sql).await? {
            held.checkpoint = checkpoint;
        }
        judge_slot(context, &held.source, replication, look, Some(&held.checkpoint)).await
    }

    /// Whether history goes on. The stream of an agent that we superseded is ended first: it cannot
    /// move, and the server would keep its slot for a `wal_sender_timeout`.
    async fn judge_freed(
        &mut self,
        held: &Held,
        replication: &mut Session,
        look: &Look,
    ) -> Result<Verdict, PipelineError> {
        let (context, row) = (self.context, Some(&held.checkpoint));
        let judged = judge_slot(context, &held.source, replication, look, row).await;
        let Err(PipelineError::Slot(SlotError::Active { pid, .. })) = judged else {
            self.memory.has_superseded &= judged.is_err();
            return judged;
        };
        if !self.memory.has_superseded {
            return judged;
        }
        let failed = || PipelineError::query(Side::Source, "ending the stream of a stalled agent");
        // Not just anybody's: the slot's user must go by the name of our streams.
        let name = context.source.application_name(STREAM_PURPOSE);
        let sql = "SELECT pg_catalog.pg_terminate_backend(pid, $3) \
                   FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND application_name = $2";
        let limit = i64::try_from(END_PATIENCE.as_millis()).unwrap_or(i64::MAX);
        // The first signal may be spent on a farewell that a peer which does not read holds up.
        for _ in 0..SIGNALS_MAX {
            let ended = held.source.query(sql, &[&pid, &name, &limit]).await.map_err(failed())?;
            let Some(row) = ended.first() else { break };
            if row.get(0) {
                tracing::info!(pid, "ended the stream of the agent that was stalled");
                break;
            }
        }
        judge_slot(context, &held.source, replication, look, row).await
    }

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
            Verdict::Resume { applied_lsn, confirmed_flush_lsn, promoted_from } => {
                if let Some(timeline) = promoted_from {
                    tracing::info!(
                        from = timeline,
                        to = look.identity.timeline,
                        "the source was promoted; our position is in its history"
                    );
                    // From here on the position may lie beyond the switch.
                    let origin = origin(&look.identity);
                    row::record_source(&held.destination, &context.checkpoint, epoch, origin)
                        .await?;
                }
                slot_creation::align_failover(context, &held.source, replication, look).await?;
                let confirmed_lsn = confirmed_flush_lsn;
                Ok(Some(Start { applied_lsn, confirmed_lsn, first_point: None }))
            }
            Verdict::FirstContact { replace } => {
                let sql = &context.checkpoint;
                row::record_slot(&held.destination, sql, epoch, slot, None).await?;
                failpoint::hit(failpoint::SLOT_ANNOUNCED).await;
                if replace {
                    crate::source::slot::drop_slot(&held.source, slot)
                        .await
                        .map_err(PipelineError::query(Side::Source, "dropping our unused slot"))?;
                }
                let session = std::mem::replace(replication, context.replication_session().await?);
                let failover = wants_failover(context, look);
                let plan = slot_creation::SlotPlan { name: slot, is_temporary: false, failover };
                let Some(point) =
                    slot_creation::create(context, &held.source, session, plan, self.shutdown)
                        .await?
                else {
                    return Ok(None);
                };
                failpoint::hit(failpoint::SLOT_CREATED).await;
                row::record_slot(&held.destination, sql, epoch, slot, Some(point.lsn)).await?;
                failpoint::hit(failpoint::SLOT_RECORDED).await;
                let lsn = point.lsn;
                Ok(Some(Start { applied_lsn: lsn, confirmed_lsn: lsn, first_point: Some(point) }))
            }
        }
    }
}

/// Failover slots are asked for where the server has them.
pub(super) fn wants_failover(context: &Context, look: &Look) -> bool {
    context.settings.source.failover != Failover::Off && has_failover_slots(&look.source_facts)
}
