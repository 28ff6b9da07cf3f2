//! Copying what is not copied yet: at a slot's own point, or at a later one that the slot's stream is
//! brought up to.
//!
//! **Invariant:** while chunks of a table are recorded, no stream goes past a change of it without
//! applying it: what is loaded stands for the position, as a whole table does. A stream that is to go on
//! without the table has its chunks forgotten first ([`forget_passed`]).

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::leg::{Goal, Leg, LegEnd, missing_row};
use crate::checkpoint::chunks;
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::failpoint;
use crate::pg::catalog::TableInfo;
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::choice::Choice;
use crate::pipeline::context::Context;
use crate::pipeline::copy::{self, CopyEnd, Preparation, Resumed};
use crate::pipeline::error::PipelineError;
use crate::pipeline::membership::Membership;
use crate::pipeline::pending;
use crate::pipeline::planner::Planner;
use crate::pipeline::requests;
use crate::pipeline::slot_creation::{self, SlotPlan};
use crate::pipeline::status::{State, TableState};
use crate::snapshot::ConsistentPoint;
use crate::snapshot::point::point_slot_name;

/// The tables to copy and by what right.
#[derive(Debug)]
pub(super) struct Copying<'a> {
    pub(super) context: &'a Context,
    pub(super) source: &'a Arc<Client>,
    pub(super) destination: &'a Arc<Client>,
    pub(super) planner: &'a Planner,
    pub(super) pending: &'a [TableInfo],
    /// What is published of them.
    pub(super) membership: &'a Membership,
    pub(super) choice: &'a Choice,
    pub(super) authority: copy::Authority,
    /// By the second slot, while the pipeline streams.
    pub(super) is_beside: bool,
    pub(super) shutdown: &'a CancellationToken,
}

impl Copying<'_> {
    /// At the point of a slot that was made just now: nothing has happened since.
    pub(super) async fn at_first(&self, point: ConsistentPoint) -> Result<CopyEnd, PipelineError> {
        self.show_pending();
        self.copy_at(point, &Resumed::default()).await
    }

    /// At a later point. Where a copy was cut off, what it has loaded stays, the leg applies everything
    /// up to the point, and only what is missing is copied.
    pub(super) async fn later(&self, leg: &Leg<'_>) -> Result<CopyEnd, PipelineError> {
        self.show_pending();
        loop {
            let loaded = self.loaded().await?;
            let resumed = self.preparation().resume(self.pending, &loaded).await?;
            let Some(point) = self.later_point().await? else { return Ok(CopyEnd::Shutdown) };
            let resumed = self.preparation().still_whole(&resumed, &loaded).await?;
            let is_followed = |info: &&TableInfo| resumed.has(info.oid);
            let passed = self.pending.iter().filter(|info| !is_followed(info)).map(|i| &i.name);
            self.forget(passed).await?;
            if resumed.is_empty() {
                return self.copy_at(point, &resumed).await;
            }
            let tables = self.pending.iter().filter(is_followed).count();
            tracing::info!(tables, lsn = %point.lsn, "a copy that was cut off goes on");
            match leg.run(Goal::Before(point.lsn), &resumed).await {
                Ok(LegEnd::Reached) => {
                    failpoint::hit(failpoint::POINT_REACHED).await;
                    return self.copy_at(point, &resumed).await;
                }
                Ok(LegEnd::Stopped) => {
                    point.release().await;
                    return Ok(CopyEnd::Shutdown);
                }
                Err(error) => self.start_over(error, &resumed).await?,
            }
            point.release().await;
        }
    }

    async fn loaded(&self) -> Result<Vec<chunks::LoadedChunk>, PipelineError> {
        let sql = &self.context.checkpoint;
        Ok(chunks::read_all(self.destination, &sql.schema, &sql.pipeline).await?)
    }

    /// A change that nothing can be made of without the whole table, of one that is loaded in part: it
    /// is copied anew. Any other error stays one.
    async fn start_over(
        &self,
        error: PipelineError,
        resumed: &Resumed,
    ) -> Result<(), PipelineError> {
        let settings = &self.context.settings;
        let lacked = missing_row(&error).and_then(|missing| {
            let mut partial = self.pending.iter().filter(|info| resumed.has(info.oid));
            partial.find(|info| settings.destination_name(&info.name) == *missing)
        });
        let Some(info) = lacked else { return Err(error) };
        tracing::warn!(table = %info.name, "a change needs a row that is not copied yet: the table starts over");
        self.forget(std::iter::once(&info.name)).await
    }

    async fn forget(
        &self,
        tables: impl Iterator<Item = &QualifiedName>,
    ) -> Result<(), PipelineError> {
        forget_passed(self.context, self.destination, self.authority.epoch, tables).await
    }

    fn show_pending(&self) {
        let board = &self.context.board;
        board.set_state(State::Copying, format!("copying {} tables", self.pending.len()));
        for info in self.pending {
            board.table_state(&info.name, TableState::Pending);
        }
    }

    /// The snapshot of the slot's own point is gone; a temporary slot gives another one.
    async fn later_point(&self) -> Result<Option<ConsistentPoint>, PipelineError> {
        let session = self.context.replication_session().await?;
        let name = point_slot_name(&self.context.settings.source.slot);
        let plan = SlotPlan { name: &name, is_temporary: true, failover: false };
        let made =
            slot_creation::create(self.context, self.source, session, plan, self.shutdown).await?;
        failpoint::hit(failpoint::COPY_POINT_TAKEN).await;
        Ok(made)
    }

    fn preparation(&self) -> Preparation<'_> {
        Preparation {
            context: self.context,
            source: self.source,
            destination: self.destination,
            planner: self.planner,
            membership: self.membership,
            epoch: self.authority.epoch,
            is_beside: self.is_beside,
        }
    }

    async fn copy_at(
        &self,
        point: ConsistentPoint,
        resumed: &Resumed,
    ) -> Result<CopyEnd, PipelineError> {
        let context = self.context;
        let mut pending = pending::described_again(self.source, self.pending).await?;
        self.choice.narrow(&mut pending);
        if !context.settings.snapshot.copy_data {
            let (destination, membership) = (self.destination, self.membership);
            pending::adopt(context, destination, &pending, membership, point.lsn).await?;
            point.release().await;
            return Ok(CopyEnd::Completed);
        }
        let start = copy::Start { point_lsn: point.lsn, resumed };
        let jobs = self.preparation().prepare(&pending, start).await;
        let is_at_work = self.planner.records().any(|record| record.state == CopyState::Copied);
        let jobs =
            jobs.map_err(|error| if is_at_work { self.held(error, &pending) } else { error })?;
        failpoint::hit(failpoint::TABLES_PREPARED).await;
        let copy = copy::Copy {
            context,
            point,
            authority: self.authority,
            timings: copy::Timings::default(),
            shutdown: self.shutdown,
        };
        copy.run(jobs).await
    }

    /// What stands in the way of one more table is no reason to end a pipeline that works: it holds
    /// until that is mended.
    fn held(&self, error: PipelineError, pending: &[TableInfo]) -> PipelineError {
        let PipelineError::Preflight(findings) = &error else { return error };
        let destination_name =
            |name: &QualifiedName| self.context.settings.destination_name(name).sql();
        let is_named = |info: &&TableInfo| {
            let name = destination_name(&info.name);
            findings.iter().any(|finding| finding.object.contains(&name))
        };
        let Some(table) = pending.iter().find(is_named).or(pending.first()) else { return error };
        let message = format!("it cannot be copied: {error}");
        PipelineError::Schema { table: table.name.clone(), message, lsn: None }
    }
}

/// What a copy of a pipeline that streams stands on.
pub(super) fn is_at_work(records: &[TableRecord]) -> bool {
    records.iter().any(|record| record.state == CopyState::Copied)
}

/// Forgets what is loaded of tables that are not copied yet and that a stream is about to go past: they
/// start over.
pub(super) async fn forget_passed(
    context: &Context,
    destination: &Client,
    epoch: i64,
    tables: impl Iterator<Item = &QualifiedName>,
) -> Result<(), PipelineError> {
    let sql = &context.checkpoint;
    let mut tables = tables.peekable();
    if tables.peek().is_none() {
        return Ok(());
    }
    let forget = chunks::forget_text(&sql.schema, &sql.pipeline, tables);
    requests::change(context, destination, epoch, &forget).await
}
