//! One attempt: connect, make sure that history goes on, copy what is not copied, stream.
//!
//! ```text
//! look (facts, tables, row) ─► preflight ─► lease ─► judge the slot
//!     ├─ first contact: row without position ─► publications ─► slot ─► position recorded
//!     └─ resume: publications brought up to date
//!                  ─► copy what is pending, at the slot's point or a later one of its own
//!                      ─► stream from the checkpoint
//! ```
//!
//! Why is the row committed before the slot exists? A crash between the two would leave a slot that
//! nobody knows, holding WAL for ever; this way a slot without a position is known to be ours, and
//! is made anew.
//!
//! **Invariant:** nothing is created on either side before preflight has found nothing wrong.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::apply::targets::Targets;
use crate::apply::transaction::Applier;
use crate::checkpoint::row::{self, Acquired, Checkpoint, Claim};
use crate::checkpoint::tables::{self, TableRecord};
use crate::checkpoint::{Record, Store, schema};
use crate::model::finding::Side;
use crate::model::table::TableId;
use crate::pg::catalog::{self, ReplicaIdentity, TableInfo};
use crate::pg::client::Client;
use crate::pg::lsn::Lsn;
use crate::pipeline::check::explain_refusal;
use crate::pipeline::context::Context;
use crate::pipeline::copy::{self, CopyEnd, DestinationShape, Preparation};
use crate::pipeline::error::PipelineError;
use crate::pipeline::lease::Lease;
use crate::pipeline::look::{Look, judge_slot, look};
use crate::pipeline::pending;
use crate::pipeline::planner::Planner;
use crate::pipeline::selection::Selection;
use crate::pipeline::slot_creation;
use crate::pipeline::status::{State, TableState};
use crate::pipeline::stream::{ReaderEnd, Stream, batch_limits};
use crate::pipeline::stream_tables::StreamTables;
use crate::pipeline::wait::committed_position;
use crate::snapshot::ConsistentPoint;
use crate::source::slot::Verdict;
use crate::source::{KeyLookup, Tail, TailError};
use crate::wire::{Session, StreamOptions};

/// Between two looks at a lease that somebody else holds. They release it on a clean stop, and its
/// backend is gone on a crash: either shows at the next look.
const STANDBY_LOOK: Duration = Duration::from_secs(1);

/// How long the source may wait for us when it shuts down.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(4);

/// What outlives an attempt.
#[derive(Debug, Default)]
pub struct Memory {
    /// The epoch held before: our own old lease does not stand in our way.
    pub epoch: Option<i64>,
    /// Both servers were reached once.
    pub was_connected: bool,
    /// Preflight passed in this process.
    pub is_preflighted: bool,
    /// Where the last attempt came to: progress resets the backoff.
    pub applied_lsn: Option<Lsn>,
}

/// How an attempt ended, other than by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    Shutdown,
    CaughtUp,
}

/// One attempt's surroundings.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub context: &'a Context,
    pub store: &'a Arc<Store>,
    pub memory: &'a mut Memory,
    pub until_caught_up: bool,
    pub shutdown: &'a CancellationToken,
}

impl Attempt<'_> {
    pub async fn run(mut self) -> Result<AttemptEnd, PipelineError> {
        let context = self.context;
        let source = Arc::new(context.source_client("control").await?);
        let destination = context.destination_client("lease").await?;
        let mut replication = match context.replication_session().await {
            Ok(replication) => replication,
            Err(error) if !self.memory.was_connected => {
                return Err(explain_refusal(context, error).await);
            }
            Err(error) => return Err(error),
        };
        let destination = Arc::new(destination);
        self.memory.was_connected = true;
        let mut seen = look(context, &source, &destination, &mut replication).await?;
        if !self.memory.is_preflighted {
            seen.preflight(context, &source, &destination).await?;
            self.memory.is_preflighted = true;
        }
        let until = match self.until_caught_up {
            true => Some(committed_position(&source).await?),
            false => None,
        };
        schema::ensure(&destination, &context.checkpoint.schema).await?;
        let Some((checkpoint, has_waited)) = self.acquire(&destination, &seen).await? else {
            return Ok(AttemptEnd::Shutdown);
        };
        if has_waited {
            // The other holder went on meanwhile: positions, tables and records are its now.
            seen = look(context, &source, &destination, &mut replication).await?;
        }
        self.memory.epoch = Some(checkpoint.epoch);
        let sql = context.checkpoint.clone();
        let mut lease = Lease::keep(Arc::clone(&destination), sql, checkpoint.epoch);
        let held = Held { source, destination, checkpoint };
        let result = tokio::select! {
            biased;
            // Whoever took over has fenced us: every further write would fail anyway.
            error = lease.lost() => return Err(error.into()),
            result = Box::pin(self.work(held, replication, seen, until)) => result,
        };
        if result.is_ok() {
            lease.release().await;
        }
        result
    }

    /// Takes the lease, standing by while somebody else holds it; says whether it had to. `None`:
    /// stopped meanwhile.
    async fn acquire(
        &self,
        destination: &Client,
        look: &Look,
    ) -> Result<Option<(Checkpoint, bool)>, PipelineError> {
        let mut has_waited = false;
        let claim = Claim {
            holder: holder_name(),
            source_system_identifier: look.identity.system_identifier.clone(),
            timeline: i32::try_from(look.identity.timeline).unwrap_or(i32::MAX),
        };
        loop {
            let sql = &self.context.checkpoint;
            match row::acquire(destination, sql, &claim, self.memory.epoch).await? {
                Acquired::Ours(checkpoint) => return Ok(Some((checkpoint, has_waited))),
                Acquired::Standby { holder } => {
                    if self.context.board.state() != State::Standby {
                        tracing::info!(holder, "another agent holds the lease; standing by");
                    }
                    let reason = format!("the lease is held by {holder}");
                    self.context.board.set_state(State::Standby, reason);
                    has_waited = true;
                }
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(None),
                () = tokio::time::sleep(STANDBY_LOOK) => {}
            }
        }
    }

    async fn work(
        &mut self,
        held: Held,
        mut replication: Session,
        look: Look,
        until: Option<Lsn>,
    ) -> Result<AttemptEnd, PipelineError> {
        let context = self.context;
        let epoch = held.checkpoint.epoch;
        let slot = &context.settings.source.slot;
        let verdict =
            judge_slot(context, &held.source, &mut replication, &look, Some(&held.checkpoint))
                .await?;
        let records = held.records(context).await?;
        pending::refuse_changed_tables(context, &records)?;
        let publications = look
            .ensure_publications(
                context,
                &held.source,
                &held.destination,
                &held.checkpoint,
                &records,
            )
            .await?;
        let (applied_lsn, first_point) = match verdict {
            Verdict::Resume { applied_lsn, promoted_from } => {
                if let Some(timeline) = promoted_from {
                    tracing::info!(
                        from = timeline,
                        to = look.identity.timeline,
                        "the source was promoted; our position is in its history"
                    );
                }
                (applied_lsn, None)
            }
            Verdict::FirstContact { replace } => {
                let sql = &context.checkpoint;
                row::record_slot(&held.destination, sql, epoch, slot, None).await?;
                if replace {
                    crate::source::slot::drop_slot(&held.source, slot)
                        .await
                        .map_err(PipelineError::query(Side::Source, "dropping our unused slot"))?;
                }
                let session =
                    std::mem::replace(&mut replication, context.replication_session().await?);
                let failover =
                    look.source_facts.major_version() >= 17 && !look.source_facts.in_recovery;
                let plan = slot_creation::SlotPlan { name: slot, is_temporary: false, failover };
                let Some(point) =
                    slot_creation::create(context, &held.source, session, plan, self.shutdown)
                        .await?
                else {
                    return Ok(AttemptEnd::Shutdown);
                };
                row::record_slot(&held.destination, sql, epoch, slot, Some(point.lsn)).await?;
                (point.lsn, Some(point))
            }
        };
        self.memory.applied_lsn.get_or_insert(applied_lsn);
        let last_commit = held.checkpoint.last_commit.map(|commit| commit.time);
        context.board.resumed(applied_lsn, last_commit);
        tracing::info!(applied_lsn = %applied_lsn, slot_confirmed_flush = ?look.slot_confirmed_flush, "going on from the destination's checkpoint");
        let planner =
            |records| held.planner(context, &look.selection, look.has_replica_role, records);
        let pending = pending::pending(&look.selection.tables, &records);
        if !pending.is_empty() {
            let planner = planner(records);
            let copied = self.copy(&held, &look, first_point, pending, &planner).await?;
            if copied == CopyEnd::Shutdown {
                return Ok(AttemptEnd::Shutdown);
            }
        } else if let Some(point) = first_point {
            point.release().await;
        }
        let planner = planner(held.records(context).await?);
        let stream = StreamStart { applied_lsn, publications, until };
        self.stream(held, replication, look, planner, stream).await
    }

    async fn copy(
        &self,
        held: &Held,
        look: &Look,
        first_point: Option<ConsistentPoint>,
        pending: Vec<TableInfo>,
        planner: &Planner,
    ) -> Result<CopyEnd, PipelineError> {
        let context = self.context;
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
        let schemas = &context.settings.destination.schemas;
        let shape = DestinationShape::read(&held.destination, schemas).await?;
        let preparation = Preparation {
            context,
            source: &held.source,
            destination: &held.destination,
            planner,
            shape: &shape,
            epoch: held.checkpoint.epoch,
        };
        if !context.settings.snapshot.copy_data {
            pending::adopt(context, &held.destination, &pending, point.lsn).await?;
            point.release().await;
            return Ok(CopyEnd::Completed);
        }
        let jobs = preparation.prepare(&pending).await?;
        let copy = copy::Copy {
            context,
            point: &point,
            authority: copy::Authority {
                epoch: held.checkpoint.epoch,
                has_replica_role: look.has_replica_role,
            },
            timings: copy::Timings::default(),
            shutdown: self.shutdown,
        };
        let end = copy.run(jobs).await?;
        point.release().await;
        Ok(end)
    }

    async fn stream(
        &mut self,
        held: Held,
        replication: Session,
        look: Look,
        planner: Planner,
        start: StreamStart,
    ) -> Result<AttemptEnd, PipelineError> {
        let context = self.context;
        let mut is_binary = true;
        let tables = &look.selection.tables;
        for (info, plan) in tables.iter().zip(planner.plan_catalog(tables).await?) {
            is_binary &= plan.is_stream_binary;
            context.board.table_state(&info.name, TableState::CatchingUp);
        }
        let reached = source_position(&held.source).await?;
        context.board.set_state(State::CatchingUp, format!("catching up to {reached}"));
        let options = StreamOptions {
            proto_version: 1,
            publications: start.publications,
            binary: is_binary,
            messages: false,
        };
        let keys = full_identity_keys(&look.selection.tables);
        let slot = &context.settings.source.slot;
        let tail = Tail::start(replication, slot, start.applied_lsn, &options, keys).await?;
        let targets = Targets::default();
        let writer = context.writing_client("apply", look.has_replica_role).await?;
        let applier = Applier::new(
            writer,
            is_binary,
            targets.clone(),
            context.checkpoint.clone(),
            held.checkpoint.epoch,
            start.applied_lsn,
        );
        let stream = Stream {
            tail,
            tables: StreamTables::new(planner, targets),
            applier,
            store: Arc::clone(self.store),
            record: self.record(&held, &look, start.applied_lsn),
            board: context.board.clone(),
            limits: batch_limits(&context.settings),
            caught_up_at: reached,
            last_commit: held.checkpoint.last_commit,
        };
        let (shutdown, grace) = (self.shutdown.clone(), context.settings.shutdown_grace);
        tracing::info!(lsn = %start.applied_lsn, binary = is_binary, "streaming");
        let source = Arc::clone(&held.source);
        let end = tokio::select! {
            biased;
            end = Box::pin(stream.run(start.until, shutdown, grace)) => end?,
            () = source_left(&source) => return Err(TailError::Ended.into()),
        };
        Ok(match end {
            ReaderEnd::Shutdown => AttemptEnd::Shutdown,
            ReaderEnd::CaughtUp => AttemptEnd::CaughtUp,
        })
    }

    fn record(&self, held: &Held, look: &Look, applied_lsn: Lsn) -> Record {
        let sequence = self.store.load().map_or(0, |record| record.sequence);
        Record {
            pipeline: self.context.settings.pipeline.clone(),
            source_system_identifier: look.identity.system_identifier.parse().unwrap_or(0),
            timeline: look.identity.timeline,
            slot: self.context.settings.source.slot.clone(),
            applied_lsn,
            epoch: held.checkpoint.epoch,
            sequence,
        }
    }
}

/// A server that shuts down ends ordinary connections at once, and then waits until the stream has
/// confirmed everything. With a backlog that is too long: it gets a moment, then the stream lets go.
async fn source_left(source: &Client) {
    source.closed().await;
    tokio::time::sleep(SHUTDOWN_PATIENCE).await;
}

struct StreamStart {
    applied_lsn: Lsn,
    publications: Vec<String>,
    until: Option<Lsn>,
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

    fn planner(
        &self,
        context: &Context,
        selection: &Selection,
        has_replica_role: bool,
        records: Vec<TableRecord>,
    ) -> Planner {
        let mut planner = Planner::new(
            Arc::clone(&context.settings),
            Arc::clone(&self.source),
            Arc::clone(&self.destination),
            !has_replica_role,
        );
        planner.set_source_tables(&selection.tables);
        planner.set_records(records);
        planner
    }
}

/// Under FULL identity the stream marks every column as identifying; the key is the primary key.
fn full_identity_keys(tables: &[TableInfo]) -> KeyLookup {
    tables
        .iter()
        .filter(|table| table.identity == ReplicaIdentity::Full)
        .map(|table| (TableId(table.oid), table.key_columns()))
        .collect()
}

async fn source_position(source: &Client) -> Result<Lsn, PipelineError> {
    let (wal_end, _) =
        catalog::wal_end(source).await.map_err(PipelineError::catalog(Side::Source))?;
    Ok(wal_end)
}

pub(super) fn holder_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "unknown host" } else { host.trim() };
    format!("{host}, process {}", std::process::id())
}
