//! One attempt: connect, make sure that history goes on, copy what is not copied, stream.
//!
//! ```text
//! look (facts, tables, row) ─► preflight ─► lease ─► judge the slot
//!     ├─ first contact: row without position ─► publications ─► slot ─► position recorded
//!     └─ resume: publications brought up to date
//!                  ─► copy what is pending, at the slot's point or a later one of its own
//!                      ─► stream from the checkpoint, new tables being copied beside it
//! ```
//!
//! Why is the row committed before the slot exists? A crash between the two would leave a slot that
//! nobody knows, holding WAL for ever; this way a slot without a position is known to be ours, and
//! is made anew.
//!
//! **Invariant:** nothing is created on either side before preflight has found nothing wrong.

mod beside;
mod copying;
mod entry;
mod leg;
mod publishing;
mod slot;
mod streaming;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::checkpoint::requests as checkpoint_requests;
use crate::checkpoint::row::{self, Checkpoint};
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::checkpoint::{Store, chunks};
use crate::failpoint;
use crate::model::finding::Side;
use crate::pg::catalog::TableInfo;
use crate::pg::client::{CancelHandle, Client};
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pg::oid::Oid;
use crate::pipeline::context::Context;
use crate::pipeline::copy::{Authority, CopyEnd};
use crate::pipeline::error::PipelineError;
use crate::pipeline::foreign_keys::Building;
use crate::pipeline::lease::Lease;
use crate::pipeline::look::Look;
use crate::pipeline::pending;
use crate::pipeline::planner::Planner;
use crate::pipeline::requests;
use crate::pipeline::run::RunOptions;
use crate::pipeline::selection::Selection;
use crate::pipeline::status::State;
use crate::pipeline::watch::Watch;
use crate::snapshot::ConsistentPoint;
use crate::wire::Session;

/// How long what comes before the stream may take to end in order once it shall stop: long enough
/// to cancel a slot's creation; whatever else is dropped is rolled back by the servers.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What outlives an attempt.
#[derive(Debug, Default)]
pub struct Memory {
    /// The epoch held before: our own old lease does not stand in our way.
    pub epoch: Option<i64>,
    pub reached: Reached,
    /// Preflight passed in this process, with the lease in hand.
    pub is_preflighted: bool,
    /// The source's position when the first attempt began: where a drain ends.
    pub until: Option<Lsn>,
    /// The commit at which the destination rejected something: up to there transactions are applied
    /// one by one, so that those before it are not held up and it can be named.
    pub alone_until: Lsn,
    /// The lease was taken from an agent that is alive but does not move: its stream may still hold
    /// the slot.
    pub has_superseded: bool,
    /// Up to the transaction at this position the stream runs in text.
    pub as_text_through: Option<Lsn>,
    /// The last attempt ended by what was copied beside its stream: that the stream itself came further
    /// says nothing then.
    pub has_failed_beside: bool,
    /// Tables left aside that were spoken of.
    pub told: BTreeSet<QualifiedName>,
    /// Publications, by OID, that our position in the stream has passed the creation of.
    pub settled: BTreeSet<Oid>,
}

/// Which servers have let us in once: what they refuse later is a rotation in progress, and not a
/// wrong configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// For replication, too.
    pub source: bool,
    pub destination: bool,
}

impl Reached {
    pub fn has(self, side: Side) -> bool {
        match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        }
    }
}

/// How an attempt ended, other than by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    Shutdown,
    CaughtUp,
    /// What it stood on has changed (tables, publications): the next one looks anew.
    Again,
    /// The same, and it has come further by that: the next one follows at once.
    Further,
}

/// One attempt's surroundings.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub context: &'a Context,
    pub store: &'a Arc<Store>,
    pub memory: &'a mut Memory,
    pub options: RunOptions,
    pub shutdown: &'a CancellationToken,
}

impl Attempt<'_> {
    pub async fn run(mut self) -> Result<AttemptEnd, PipelineError> {
        let shutdown = self.shutdown;
        self.memory.has_failed_beside = false;
        let ready = tokio::select! {
            biased;
            // Nothing is in hand yet: what is dropped here is rolled back by the servers.
            () = shutdown.cancelled() => return Ok(AttemptEnd::Shutdown),
            ready = Box::pin(self.enter()) => ready?,
        };
        let Ready { source, destination, lease, replication, look, checkpoint } = ready;
        let sql = self.context.checkpoint.clone();
        let mut lease = Lease::keep(Arc::new(lease), sql, checkpoint.epoch);
        let held = Held { source, destination, checkpoint };
        let result = tokio::select! {
            biased;
            // Whoever took over has fenced us: every further write would fail anyway.
            error = lease.lost() => return Err(error.into()),
            result = Box::pin(self.work(held, replication, look)) => result,
        };
        match result {
            Err(error) => Err(lease.superseded().await.map_or(error, Into::into)),
            Ok(end @ (AttemptEnd::Shutdown | AttemptEnd::CaughtUp)) => {
                lease.release().await;
                Ok(end)
            }
            Ok(end) => Ok(end),
        }
    }

    async fn work(
        &mut self,
        mut held: Held,
        mut replication: Session,
        look: Look,
    ) -> Result<AttemptEnd, PipelineError> {
        let patience = STOP_PATIENCE.min(self.context.settings.shutdown_grace / 2);
        let shutdown = self.shutdown;
        let at_control = held.destination.cancel_handle();
        let started = tokio::select! {
            biased;
            start = Box::pin(self.before_stream(&mut held, &mut replication, &look)) => start?,
            // Waiting for somebody's lock, for example.
            () = stopped_for(shutdown, patience) => {
                cut_off(&at_control).await;
                SHUT_DOWN
            }
        };
        match started {
            Begun::Stream(begun) => {
                let (start, planner, watch) = *begun;
                Box::pin(self.stream(held, replication, look, planner, (start, watch))).await
            }
            Begun::End(end) => Ok(end),
        }
    }

    /// The slot, the publications, the copy.
    async fn before_stream(
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
        let slot::Start { applied_lsn, confirmed_lsn, first_point } = start;
        let last_commit = held.checkpoint.last_commit.map(|commit| commit.time);
        context.board.resumed(applied_lsn, last_commit);
        tracing::info!(applied_lsn = %applied_lsn, slot_confirmed_flush = ?look.slot_confirmed_flush, "going on from the destination's checkpoint");
        let planner =
            |records| held.planner(context, &look.selection, look.has_replica_role, records);
        let stage = match first_point {
            None => self.stage(held, &published.publications).await?,
            Some(_) => None,
        };
        if let Some((publications, stage)) = stage {
            self.forget_passed(held, &records).await?;
            let watch = published.watch(context, held, records.clone());
            let planner = planner(records).await?;
            self.building(held, &planner).ensure_partitions(&held.destination).await?;
            let (stage, beside) = (Some(stage), None);
            let start =
                streaming::Start { applied_lsn, confirmed_lsn, publications, stage, beside };
            return Ok(Begun::Stream(Box::new((start, planner, watch))));
        }
        let pending = pending::pending(&look.selection.tables, &records);
        if first_point.is_none() && self.is_for_beside(held, &records, &pending).await? {
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
            let watch = published.watch(context, held, records.clone());
            let planner = planner(records).await?;
            self.building(held, &planner).ensure_partitions(&held.destination).await?;
            let publications = published.publications;
            let stage = None;
            let start =
                streaming::Start { applied_lsn, confirmed_lsn, publications, stage, beside };
            return Ok(Begun::Stream(Box::new((start, planner, watch))));
        }
        let has_copied = !pending.is_empty();
        if has_copied {
            let planner = planner(records).await?;
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
        let copied = planner(held.records(context).await?).await?;
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
        let planner = planner(records).await?;
        let publications = published.publications;
        // A copy that was cut off has moved the position on its way. What it read of the slot on that
        // way is confirmed, and is not sent again.
        let resumed_lsn = self.position(held).await?.unwrap_or(applied_lsn);
        let confirmed_lsn = if has_copied { resumed_lsn } else { confirmed_lsn };
        let start = streaming::Start {
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

    async fn position(&self, held: &mut Held) -> Result<Option<Lsn>, PipelineError> {
        if let Some(row) = row::read(&held.destination, &self.context.checkpoint).await? {
            held.checkpoint = row;
        }
        Ok(held.checkpoint.applied_lsn)
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

/// How what comes before the stream ended.
enum Begun {
    Stream(Box<(streaming::Start, Planner, Watch)>),
    End(AttemptEnd),
}

/// Stopped meanwhile.
const SHUT_DOWN: Begun = Begun::End(AttemptEnd::Shutdown);

/// How long it may take to cancel a query that is given up.
const CANCEL_PATIENCE: Duration = Duration::from_secs(1);

/// Cancels what a connection runs that is about to be dropped: a server does not notice that we are
/// gone while its backend waits for a lock.
pub(super) async fn cut_off(query: &CancelHandle) {
    let cancelled = tokio::time::timeout(CANCEL_PATIENCE, query.cancel()).await;
    if !matches!(cancelled, Ok(Ok(()))) {
        tracing::debug!("a query could not be cancelled; it ends by itself");
    }
}

/// Ends a while after the stop was asked for.
pub async fn stopped_for(shutdown: &CancellationToken, patience: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(patience).await;
}

/// All that must come before the work: connections, what they showed, the lease.
struct Ready {
    source: Arc<Client>,
    destination: Arc<Client>,
    lease: Client,
    replication: Session,
    look: Look,
    checkpoint: Checkpoint,
}

/// What an attempt holds once the lease is its own.
#[derive(Debug)]
struct Held {
    source: Arc<Client>,
    destination: Arc<Client>,
    checkpoint: Checkpoint,
}

impl Held {
    async fn records(&self, context: &Context) -> Result<Vec<TableRecord>, PipelineError> {
        let sql = &context.checkpoint;
        Ok(tables::read_all(&self.destination, &sql.schema, &sql.pipeline).await?)
    }

    async fn planner(
        &self,
        context: &Context,
        selection: &Selection,
        has_replica_role: bool,
        records: Vec<TableRecord>,
    ) -> Result<Planner, PipelineError> {
        let mut planner = Planner::new(context, &self.source, &self.destination, !has_replica_role);
        planner.set_source_tables(&selection.tables).await?;
        planner.set_records(records);
        Ok(planner)
    }
}

pub(super) fn holder_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "unknown host" } else { host.trim() };
    format!("{host}, process {}", std::process::id())
}
