//! Copying what is not copied yet, at the slot's own point or at a later one.

use super::{Attempt, Held};
use crate::checkpoint::tables::CopyState;
use crate::pg::catalog::TableInfo;
use crate::pipeline::choice::Choice;
use crate::pipeline::copy::{self, CopyEnd, Preparation};
use crate::pipeline::error::PipelineError;
use crate::pipeline::look::Look;
use crate::pipeline::membership::Membership;
use crate::pipeline::pending;
use crate::pipeline::planner::Planner;
use crate::pipeline::slot_creation;
use crate::pipeline::status::{State, TableState};
use crate::snapshot::ConsistentPoint;

/// The tables to copy, and what is published of them.
#[derive(Debug)]
pub(super) struct What<'a> {
    pub(super) pending: Vec<TableInfo>,
    pub(super) membership: &'a Membership,
    pub(super) choice: &'a Choice,
}

impl Attempt<'_> {
    pub(super) async fn copy(
        &self,
        held: &Held,
        look: &Look,
        first_point: Option<ConsistentPoint>,
        what: What<'_>,
        planner: &Planner,
    ) -> Result<CopyEnd, PipelineError> {
        let context = self.context;
        let What { pending, membership, choice } = what;
        let count = pending.len();
        context.board.set_state(State::Copying, format!("copying {count} tables"));
        for info in &pending {
            context.board.table_state(&info.name, TableState::Pending);
        }
        let point = match first_point {
            Some(point) => point,
            // The main slot's snapshot is gone; a temporary slot gives a point of its own, and the
            // tables' earlier changes in the main stream are let go by.
            None => {
                let session = context.replication_session().await?;
                let name = crate::snapshot::point::sync_slot_name(&context.settings.source.slot);
                let plan =
                    slot_creation::SlotPlan { name: &name, is_temporary: true, failover: false };
                let made =
                    slot_creation::create(context, &held.source, session, plan, self.shutdown);
                let Some(point) = made.await? else { return Ok(CopyEnd::Shutdown) };
                point
            }
        };
        let mut pending = pending::described_again(&held.source, &pending).await?;
        choice.narrow(&mut pending);
        let preparation = Preparation {
            context,
            source: &held.source,
            destination: &held.destination,
            planner,
            membership,
            epoch: held.checkpoint.epoch,
        };
        if !context.settings.snapshot.copy_data {
            pending::adopt(context, &held.destination, &pending, membership, point.lsn).await?;
            point.release().await;
            return Ok(CopyEnd::Completed);
        }
        let jobs = preparation.prepare(&pending).await;
        let is_at_work = planner.records().any(|record| record.state == CopyState::Copied);
        let jobs =
            jobs.map_err(|error| if is_at_work { self.held(error, &pending) } else { error })?;
        let copy = copy::Copy {
            context,
            point,
            authority: copy::Authority {
                epoch: held.checkpoint.epoch,
                has_replica_role: look.has_replica_role,
            },
            timings: copy::Timings::default(),
            shutdown: self.shutdown,
        };
        copy.run(jobs).await
    }

    /// What stands in the way of one more table is no reason to end a pipeline that works: it holds
    /// until that is mended.
    fn held(&self, error: PipelineError, pending: &[TableInfo]) -> PipelineError {
        let PipelineError::Preflight(findings) = &error else { return error };
        let is_named = |info: &&TableInfo| {
            let name = self.context.settings.destination_name(&info.name).sql();
            findings.iter().any(|finding| finding.object.contains(&name))
        };
        let Some(table) = pending.iter().find(is_named).or(pending.first()) else { return error };
        let message = format!("it cannot be copied: {error}");
        PipelineError::Schema { table: table.name.clone(), message, lsn: None }
    }
}
