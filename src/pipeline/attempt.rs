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

mod copying;
mod slot;
mod streaming;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::checkpoint::requests as checkpoint_requests;
use crate::checkpoint::row::{self, Acquired, Checkpoint, Claim};
use crate::checkpoint::tables::{self, TableRecord};
use crate::checkpoint::{Store, schema};
use crate::pg::client::Client;
use crate::pg::lsn::Lsn;
use crate::pipeline::check::explain_refusal;
use crate::pipeline::context::Context;
use crate::pipeline::copy::CopyEnd;
use crate::pipeline::error::PipelineError;
use crate::pipeline::foreign_keys::Building;
use crate::pipeline::lease::Lease;
use crate::pipeline::look::{Look, look};
use crate::pipeline::pending;
use crate::pipeline::planner::Planner;
use crate::pipeline::requests;
use crate::pipeline::run::RunOptions;
use crate::pipeline::selection::Selection;
use crate::pipeline::status::State;
use crate::pipeline::wait::committed_position;
use crate::wire::Session;

/// Between two looks at a lease that somebody else holds. They release it on a clean stop, and its
/// backend is gone on a crash: either shows at the next look.
const STANDBY_LOOK: Duration = Duration::from_secs(1);

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
    /// The source's position when the first attempt began: where a drain ends.
    pub until: Option<Lsn>,
}

/// How an attempt ended, other than by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    Shutdown,
    CaughtUp,
    /// What it stood on has changed (tables, publications): the next one looks anew, at once.
    Again,
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
        if self.options.until_caught_up && self.memory.until.is_none() {
            self.memory.until = Some(committed_position(&source).await?);
        }
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
            result = Box::pin(self.work(held, replication, seen)) => result,
        };
        if matches!(result, Ok(AttemptEnd::Shutdown | AttemptEnd::CaughtUp)) {
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
        mut held: Held,
        mut replication: Session,
        look: Look,
    ) -> Result<AttemptEnd, PipelineError> {
        let context = self.context;
        let epoch = held.checkpoint.epoch;
        requests::take(context, &held.destination, epoch, &look.asked).await?;
        let verdict = self.judge(&mut held, &mut replication, &look).await?;
        let records = pending::settle(
            context,
            &held.destination,
            epoch,
            &look.selection,
            self.options.keep_old_rows,
        )
        .await?;
        let publications = look
            .ensure_publications(
                context,
                &held.source,
                &held.destination,
                &held.checkpoint,
                &records,
            )
            .await?;
        let Some(start) = self.start_at_slot(verdict, &held, &look, &mut replication).await? else {
            return Ok(AttemptEnd::Shutdown);
        };
        let slot::Start { applied_lsn, first_point } = start;
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
        checkpoint_requests::finish_taken(&held.destination, &context.checkpoint).await?;
        let planner = planner(held.records(context).await?);
        let building = Building {
            context,
            source: &held.source,
            planner: &planner,
            epoch: held.checkpoint.epoch,
            shutdown: self.shutdown,
        };
        building.ensure_partitions(&held.destination).await?;
        building.settle_foreign_keys().await?;
        if self.shutdown.is_cancelled() {
            return Ok(AttemptEnd::Shutdown);
        }
        let start = streaming::Start { applied_lsn, publications };
        self.stream(held, replication, look, planner, start).await
    }
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

pub(super) fn holder_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "unknown host" } else { host.trim() };
    format!("{host}, process {}", std::process::id())
}
