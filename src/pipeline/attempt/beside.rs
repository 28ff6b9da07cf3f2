//! Tables that are copied while the others stream on: new ones, and those that are copied again.
//!
//! ```text
//!   second slot ─► copy at its point ─► its stream, these tables alone ─► close to the first
//!                                                                            │ the first stops, at M
//!   slot dropped ◄─ the first takes them over, from X on ◄─ catches up to X ≥ M ◄─┘
//! ```
//!
//! Why a second slot? The first one's stream has gone past the changes that come between a table's copy
//! and its end, and nobody can go back in it. The second slot keeps them, and its position is the
//! destination's, as the first one's is: both survive a crash, and what was copied is not copied again.
//! Each table has its own point from which its changes count, in whichever stream.
//!
//! **Invariant:** a table is of one stream at any time: of the second while its record says so, and of
//! the first from the transaction on that says it is copied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use super::copying::Copying;
use super::leg::{Course, Goal, Leg, LegEnd};
use crate::checkpoint::catch_up::{self, CatchUp};
use crate::checkpoint::row;
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::failpoint;
use crate::model::finding::Side;
use crate::pg::catalog::{self, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::choice::Choice;
use crate::pipeline::context::Context;
use crate::pipeline::copy::{Authority, CopyEnd};
use crate::pipeline::error::PipelineError;
use crate::pipeline::look::Look;
use crate::pipeline::membership::Membership;
use crate::pipeline::planner::Planner;
use crate::pipeline::requests;
use crate::pipeline::slot_creation::{self, SlotPlan};
use crate::snapshot::ConsistentPoint;
use crate::snapshot::point::sync_slot_name;
use crate::source::slot::{self, PresentSource, RememberedSource};

/// A stretch that took no longer than this is close enough to the first stream: the rest is caught up
/// with while that one stands still. Half of it costs rounds, twice as much costs lag.
const CLOSE: Duration = Duration::from_secs(1);

/// How long a walsender may take to let go of its slot once its stream has ended, and how often to look.
const FREE_PATIENCE: Duration = Duration::from_secs(5);
const FREE_LOOK: Duration = Duration::from_millis(50);

/// How it ended, other than by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BesideEnd {
    /// The first stream may take the tables over.
    Close,
    Stopped,
}

/// The tables beside the stream, and the connections to copy them by.
#[derive(Debug)]
pub(super) struct Beside {
    context: Context,
    source: Arc<Client>,
    destination: Arc<Client>,
    authority: Authority,
    /// The selected tables.
    tables: Vec<TableInfo>,
    pending: Vec<TableInfo>,
    publications: Vec<String>,
    membership: Membership,
    choice: Choice,
    alone_until: Lsn,
    has_failover: bool,
}

/// What an attempt knows of them.
#[derive(Debug)]
pub(super) struct Basis<'a> {
    pub(super) look: &'a Look,
    pub(super) authority: Authority,
    pub(super) pending: Vec<TableInfo>,
    pub(super) publications: &'a [String],
    pub(super) membership: &'a Membership,
    pub(super) choice: &'a Choice,
    pub(super) alone_until: Lsn,
    pub(super) has_failover: bool,
}

impl Beside {
    pub(super) async fn new(context: &Context, basis: Basis<'_>) -> Result<Beside, PipelineError> {
        let Basis { look, authority, pending, alone_until, has_failover, .. } = basis;
        let source = context.source_client("copy control").await?;
        let destination = context.destination_client("copy control").await?;
        Ok(Beside {
            context: context.beside(),
            source: Arc::new(source),
            destination: Arc::new(destination),
            authority,
            tables: look.selection.tables.clone(),
            pending,
            publications: basis.publications.to_vec(),
            membership: basis.membership.clone(),
            choice: basis.choice.clone(),
            alone_until,
            has_failover,
        })
    }

    /// Copies what is to be copied and follows it until it is close to the first stream.
    pub(super) async fn run(&self, stop: &CancellationToken) -> Result<BesideEnd, PipelineError> {
        let records = self.records().await?;
        let mut planner = Planner::new(
            &self.context,
            &self.source,
            &self.destination,
            !self.authority.has_replica_role,
        );
        planner.set_source_tables(&self.tables).await?;
        planner.set_records(records);
        let copying = Copying {
            context: &self.context,
            source: &self.source,
            destination: &self.destination,
            planner: &planner,
            pending: &self.pending,
            membership: &self.membership,
            choice: &self.choice,
            authority: self.authority,
            is_beside: true,
            shutdown: stop,
        };
        let slot = self.slot_name();
        let row = catch_up::read(&self.destination, &self.context.checkpoint).await?;
        let end = match row.and_then(|row| row.applied_lsn) {
            None => match self.make_slot(&slot, stop).await? {
                None => CopyEnd::Shutdown,
                Some(point) => copying.at_first(point).await?,
            },
            Some(_) if self.pending.is_empty() => CopyEnd::Completed,
            Some(_) => copying.later(&self.leg(&slot, stop)).await?,
        };
        if end == CopyEnd::Shutdown {
            return Ok(BesideEnd::Stopped);
        }
        self.come_close(&slot, stop).await
    }

    /// The rest, while the first stream stands still: then it takes the tables over.
    pub(super) async fn hand_over(
        &self,
        stop: &CancellationToken,
    ) -> Result<BesideEnd, PipelineError> {
        let slot = self.slot_name();
        let goal = Goal::Until(self.position_of_first().await?);
        if self.leg(&slot, stop).run(goal, &Default::default()).await? == LegEnd::Stopped {
            return Ok(BesideEnd::Stopped);
        }
        let sql = &self.context.checkpoint;
        let reached = catch_up::read(&self.destination, sql).await?.and_then(|row| row.applied_lsn);
        let Some(reached) = reached else { return Ok(BesideEnd::Stopped) };
        failpoint::hit(failpoint::SECOND_REACHED).await;
        let handed = tables::hand_over_text(&sql.schema, &sql.pipeline, reached);
        // A row without a position: the slot is to be dropped.
        self.guarded(&format!("{handed}; {}", catch_up::claim_text(sql, &slot))).await?;
        failpoint::hit(failpoint::HANDED_OVER).await;
        tracing::info!(lsn = %reached, "tables that were copied beside the stream are part of it");
        remove(&self.context, &self.source, &self.destination, self.authority.epoch, &slot).await?;
        Ok(BesideEnd::Close)
    }

    async fn come_close(
        &self,
        slot: &str,
        stop: &CancellationToken,
    ) -> Result<BesideEnd, PipelineError> {
        loop {
            let goal = Goal::Until(self.position_of_first().await?);
            let began = Instant::now();
            match self.leg(slot, stop).run(goal, &Default::default()).await? {
                LegEnd::Stopped => return Ok(BesideEnd::Stopped),
                LegEnd::Reached if began.elapsed() <= CLOSE => return Ok(BesideEnd::Close),
                LegEnd::Reached => {}
            }
        }
    }

    /// The row comes before the slot, as at first contact.
    async fn make_slot(
        &self,
        slot: &str,
        stop: &CancellationToken,
    ) -> Result<Option<ConsistentPoint>, PipelineError> {
        let sql = &self.context.checkpoint;
        self.guarded(&catch_up::claim_text(sql, slot)).await?;
        drop_freed(&self.source, slot).await?;
        let session = self.context.replication_session().await?;
        let plan = SlotPlan { name: slot, is_temporary: false, failover: self.has_failover };
        let made = slot_creation::create(&self.context, &self.source, session, plan, stop).await?;
        let Some(point) = made else { return Ok(None) };
        failpoint::hit(failpoint::SECOND_SLOT_CREATED).await;
        self.guarded(&catch_up::point_text(sql, point.lsn)).await?;
        Ok(Some(point))
    }

    fn leg<'a>(&'a self, slot: &'a str, stop: &'a CancellationToken) -> Leg<'a> {
        Leg {
            context: &self.context,
            source: &self.source,
            destination: &self.destination,
            epoch: self.authority.epoch,
            has_replica_role: self.authority.has_replica_role,
            tables: &self.tables,
            publications: &self.publications,
            slot,
            course: Course::Beside,
            alone_until: self.alone_until,
            stop,
        }
    }

    async fn position_of_first(&self) -> Result<Lsn, PipelineError> {
        let row = row::read(&self.destination, &self.context.checkpoint).await?;
        Ok(row.and_then(|row| row.applied_lsn).unwrap_or(Lsn::ZERO))
    }

    async fn records(&self) -> Result<Vec<TableRecord>, PipelineError> {
        let sql = &self.context.checkpoint;
        Ok(tables::read_all(&self.destination, &sql.schema, &sql.pipeline).await?)
    }

    fn slot_name(&self) -> String {
        sync_slot_name(&self.context.settings.source.slot)
    }

    async fn guarded(&self, statements: &str) -> Result<(), PipelineError> {
        let (context, destination) = (&self.context, &self.destination);
        requests::change(context, destination, self.authority.epoch, statements).await
    }
}

/// What is recorded of a second slot, and what it is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Second<'a> {
    pub(super) context: &'a Context,
    pub(super) source: &'a Client,
    pub(super) destination: &'a Client,
    pub(super) epoch: i64,
    pub(super) look: &'a Look,
    /// What its stream asks for.
    pub(super) publications: &'a [String],
}

impl Second<'_> {
    /// Whether what is recorded of the second slot still holds. Where it does not, its tables start
    /// over. Gives the records as they are then.
    pub(super) async fn settle(
        &self,
        records: Vec<TableRecord>,
    ) -> Result<Vec<TableRecord>, PipelineError> {
        let Second { context, source, destination, epoch, .. } = *self;
        let sql = &context.checkpoint;
        let row = catch_up::read(destination, sql).await?;
        let members: Vec<&TableRecord> = records.iter().filter(|record| record.beside).collect();
        let slot = sync_slot_name(&context.settings.source.slot);
        if row.is_none() && members.is_empty() {
            return Ok(records);
        }
        if !members.is_empty() && self.goes_on(&slot, row.as_ref()).await? {
            return Ok(records);
        }
        let mut statements = vec![catch_up::claim_text(sql, &slot)];
        for (state, of) in [
            (CopyState::Copying, &[CopyState::Copying][..]),
            (CopyState::Merging, &[CopyState::Merging]),
            (CopyState::Replacing, &[CopyState::Replacing, CopyState::CatchingUp]),
        ] {
            let names: Vec<QualifiedName> = members
                .iter()
                .filter(|record| of.contains(&record.state))
                .map(|record| record.source.clone())
                .collect();
            for table in &names {
                tracing::warn!(%table, slot, "the second slot cannot go on: the table is copied anew");
            }
            if !names.is_empty() {
                statements.push(tables::reopen_text(&sql.schema, &sql.pipeline, &names, state));
            }
        }
        requests::change(context, destination, epoch, &statements.join("; ")).await?;
        remove(context, source, destination, epoch, &slot).await?;
        Ok(tables::read_all(destination, &sql.schema, &sql.pipeline).await?)
    }

    /// Whether the slot continues the position that is recorded of it, and can send what is published
    /// now: a publication is younger than the changes that are still to come, or it is not.
    async fn goes_on(&self, slot: &str, row: Option<&CatchUp>) -> Result<bool, PipelineError> {
        let Some(applied_lsn) = row.and_then(|row| row.applied_lsn) else { return Ok(false) };
        let asking = || PipelineError::catalog(Side::Source);
        let found = catalog::slot(self.source, slot).await.map_err(asking())?;
        let identity = &self.look.identity;
        // The lineage was judged with the first slot.
        let remembered = RememberedSource {
            system_identifier: &identity.system_identifier,
            timeline: identity.timeline,
            applied_lsn: Some(applied_lsn),
        };
        let present = PresentSource {
            system_identifier: &identity.system_identifier,
            timeline: identity.timeline,
            history: &[],
            wal_end: identity.wal_end.max(applied_lsn),
            database: &self.look.source_facts.database,
        };
        match slot::judge(slot, Some(&remembered), found.as_ref(), &present) {
            Ok(_) => {}
            Err(error) if error.is_broken_history() => {
                tracing::warn!("{error}");
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        let young = catalog::young_publications(self.source, slot, self.publications).await;
        let young = young.map_err(asking())?;
        if let Some((_, publication)) = young.first() {
            tracing::warn!(publication, slot, "a publication is younger than the second slot");
        }
        Ok(young.is_empty())
    }
}

/// Drops the second slot, then what is recorded of it.
async fn remove(
    context: &Context,
    source: &Client,
    destination: &Client,
    epoch: i64,
    slot: &str,
) -> Result<(), PipelineError> {
    drop_freed(source, slot).await?;
    let forget = catch_up::forget_text(&context.checkpoint);
    requests::change(context, destination, epoch, &forget).await
}

/// Drops the slot, whose stream may have been ended a moment ago.
async fn drop_freed(source: &Client, slot: &str) -> Result<(), PipelineError> {
    let until = Instant::now() + FREE_PATIENCE;
    loop {
        match slot::drop_slot(source, slot).await {
            Err(error)
                if error.code() == Some(&SqlState::OBJECT_IN_USE) && Instant::now() < until =>
            {
                tokio::time::sleep(FREE_LOOK).await;
            }
            dropped => return dropped.map_err(dropping()),
        }
    }
}

fn dropping() -> impl FnOnce(tokio_postgres::Error) -> PipelineError {
    PipelineError::query(Side::Source, "dropping the second slot")
}
