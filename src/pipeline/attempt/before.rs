//! What comes before the stream: requests, the slot, the publications, and the tables that are not copied
//! yet.
//!
//! ```text
//!  publications ──► slot ─┬─ some of them are younger than our position ──► stream the others first
//!                         ├─ others stream already, and tables are pending ──► stream, copying beside
//!                         └─ else: copy what is pending ──► what belongs to all tables ──► stream
//! ```

use std::sync::Arc;

use super::streaming::Start;
use super::{Attempt, AttemptEnd, Held, beside, copying, leg, publishing, slot};
use crate::checkpoint::chunks;
use crate::checkpoint::requests as checkpoint_requests;
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::failpoint;
use crate::pg::catalog::TableInfo;
use crate::pg::lsn::Lsn;
use crate::pipeline::copy::{Authority, CopyEnd};
use crate::pipeline::error::PipelineError;
use crate::pipeline::foreign_keys::Building;
use crate::pipeline::look::Look;
use crate::pipeline::pending;
use crate::pipeline::planner::Planner;
use crate::pipeline::requests;
use crate::pipeline::status::State;
use crate::pipeline::watch::Watch;
use crate::snapshot::ConsistentPoint;
use crate::wire::Session;

/// How what comes before the stream ended.
pub(super) enum Begun {
    Stream(Box<(Start, Planner, Watch)>),
    End(AttemptEnd),
}

/// Stopped meanwhile.
pub(super) const SHUT_DOWN: Begun = Begun::End(AttemptEnd::Shutdown);

impl Attempt<'_> {
    /// The slot, the publications, the copy.
    pub(super) async fn before_stream(
        &mut self,
        held: &mut Held,
        replication: &mut Session,
        look: &Look,
    ) -> Result<Begun, PipelineError> {
        let context = self.context;
        let epoch = held.checkpoint.epoch;
        requests::take(context, &held.destination, epoch, &look.asked).await?;
        let verdict = self.judge(held, replication, look).await?;
        let records = pending::settle(
            context,
            &held.destination,
            epoch,
            &look.selection,
            self.options.keep_old_rows,
        )
        .await?;
        let Some(published) = self.publish(held, look, records).await? else {
            return Ok(Begun::End(AttemptEnd::Again));
        };
        let second = beside::Second {
            context,
            source: &held.source,
            destination: &held.destination,
            epoch,
            look,
            publications: &published.publications,
        };
        let records = second.settle(published.records.clone()).await?;
        let Some(start) = self.start_at_slot(verdict, held, look, replication).await? else {
            return Ok(SHUT_DOWN);
        };
        let slot::Start { applied_lsn, confirmed_lsn, .. } = start;
        let last_commit = held.checkpoint.last_commit.map(|commit| commit.time);
        context.board.resumed(applied_lsn, last_commit);
        tracing::info!(applied_lsn = %applied_lsn, slot_confirmed_flush = ?look.slot_confirmed_flush, "going on from the destination's checkpoint");
        let stage = match start.first_point {
            None => self.stage(held, &published.publications).await?,
            Some(_) => None,
        };
        if let Some((publications, stage)) = stage {
            self.forget_passed(held, &records).await?;
            let (stage, beside) = (Some(stage), None);
            let start = Start { applied_lsn, confirmed_lsn, publications, stage, beside };
            return self.at_once(held, look, &published, records, start).await;
        }
        let pending = pending::pending(&look.selection.tables, &records);
        if start.first_point.is_none() && self.is_for_beside(held, &records, &pending).await? {
            self.forget_passed(held, &records).await?;
            let basis = beside::Basis {
                look,
                authority: Authority { epoch, has_replica_role: look.has_replica_role },
                pending,
                publications: &published.publications,
                membership: &published.membership,
                choice: &published.choice,
                alone_until: self.memory.alone_until,
                has_failover: slot::wants_failover(context, look),
            };
            let beside = Some(Box::new(beside::Beside::new(context, basis).await?));
            let publications = published.publications.clone();
            let start = Start { applied_lsn, confirmed_lsn, publications, stage: None, beside };
            return self.at_once(held, look, &published, records, start).await;
        }
        self.after_copy(held, look, published, (records, pending), start).await
    }

    /// The stream goes on without waiting for tables that are not copied.
    async fn at_once(
        &self,
        held: &Held,
        look: &Look,
        published: &publishing::Published,
        records: Vec<TableRecord>,
        start: Start,
    ) -> Result<Begun, PipelineError> {
        let watch = published.watch(self.context, held, records.clone());
        let planner = held.planner(self.context, look, records).await?;
        self.building(held, &planner).ensure_partitions(&held.destination).await?;
        Ok(Begun::Stream(Box::new((start, planner, watch))))
    }

    /// The stream comes after the copy of what is pending.
    async fn after_copy(
        &self,
        held: &mut Held,
        look: &Look,
        published: publishing::Published,
        (records, pending): (Vec<TableRecord>, Vec<TableInfo>),
        start: slot::Start,
    ) -> Result<Begun, PipelineError> {
        let context = self.context;
        let slot::Start { applied_lsn, confirmed_lsn, first_point } = start;
        let has_copied = !pending.is_empty();
        if has_copied {
            let planner = held.planner(context, look, records).await?;
            let copied =
                self.copy(held, look, (applied_lsn, first_point), &published, &planner, &pending);
            if Box::pin(copied).await? == CopyEnd::Shutdown {
                return Ok(SHUT_DOWN);
            }
            failpoint::hit(failpoint::ALL_COPIED).await;
            context.board.went_on(State::CatchingUp, "the copy is complete");
        } else if let Some(point) = first_point {
            point.release().await;
        }
        checkpoint_requests::finish_taken(&held.destination, &context.checkpoint).await?;
        let copied = held.planner(context, look, held.records(context).await?).await?;
        let building = self.building(held, &copied);
        building.ensure_partitions(&held.destination).await?;
        building.settle_foreign_keys().await?;
        if self.shutdown.is_cancelled() {
            return Ok(SHUT_DOWN);
        }
        failpoint::hit(failpoint::BEFORE_STREAM).await;
        // The records say now what is finished; whoever writes one writes it whole.
        let records = held.records(context).await?;
        let watch = published.watch(context, held, records.clone());
        let planner = held.planner(context, look, records).await?;
        let publications = published.publications;
        // A copy that was cut off has moved the position on its way. What it read of the slot on that
        // way is confirmed, and is not sent again.
        let resumed_lsn = held.position(context).await?.unwrap_or(applied_lsn);
        let confirmed_lsn = if has_copied { resumed_lsn } else { confirmed_lsn };
        let start = Start {
            applied_lsn: resumed_lsn,
            confirmed_lsn,
            publications,
            stage: None,
            beside: None,
        };
        Ok(Begun::Stream(Box::new((start, planner, watch))))
    }

    /// The stream is about to begin without the tables that it is still to copy.
    async fn forget_passed(
        &self,
        held: &Held,
        records: &[TableRecord],
    ) -> Result<(), PipelineError> {
        let is_passed = |record: &&TableRecord| {
            !record.beside && !matches!(record.state, CopyState::Copied | CopyState::CatchingUp)
        };
        let passed = records.iter().filter(is_passed).map(|record| &record.source);
        let epoch = held.checkpoint.epoch;
        copying::forget_passed(self.context, &held.destination, epoch, passed).await
    }

    /// Whether tables are to be copied while others stream on: not where nothing streams yet, and not
    /// the rest of a copy that was to come before the stream.
    async fn is_for_beside(
        &self,
        held: &Held,
        records: &[TableRecord],
        pending: &[TableInfo],
    ) -> Result<bool, PipelineError> {
        if records.iter().any(|record| record.beside) {
            return Ok(true);
        }
        let copies_data = self.context.settings.snapshot.copy_data;
        if pending.is_empty() || !copying::is_at_work(records) || !copies_data {
            return Ok(false);
        }
        let sql = &self.context.checkpoint;
        let loaded = chunks::read_all(&held.destination, &sql.schema, &sql.pipeline).await?;
        Ok(loaded.is_empty())
    }

    /// Copies before the stream: at the new slot's point, or at a later one that the stream is brought
    /// up to.
    async fn copy(
        &self,
        held: &Held,
        look: &Look,
        (applied_lsn, first_point): (Lsn, Option<ConsistentPoint>),
        published: &publishing::Published,
        planner: &Planner,
        pending: &[TableInfo],
    ) -> Result<CopyEnd, PipelineError> {
        let epoch = held.checkpoint.epoch;
        let copying = copying::Copying {
            context: self.context,
            source: &held.source,
            destination: &held.destination,
            planner,
            pending,
            membership: &published.membership,
            choice: &published.choice,
            authority: Authority { epoch, has_replica_role: look.has_replica_role },
            is_beside: false,
            shutdown: self.shutdown,
        };
        if let Some(point) = first_point {
            return copying.at_first(point).await;
        }
        let record = self.record(held, look, applied_lsn);
        let leg = leg::Leg {
            context: self.context,
            source: &held.source,
            destination: &held.destination,
            epoch,
            has_replica_role: look.has_replica_role,
            tables: &look.selection.tables,
            publications: &published.publications,
            slot: &self.context.settings.source.slot,
            course: leg::Course::Main(Arc::clone(self.store), record),
            alone_until: self.memory.alone_until,
            stop: self.shutdown,
        };
        copying.later(&leg).await
    }

    fn building<'b>(&'b self, held: &'b Held, planner: &'b Planner) -> Building<'b> {
        Building {
            context: self.context,
            source: &held.source,
            planner,
            epoch: held.checkpoint.epoch,
            shutdown: self.shutdown,
        }
    }
}
