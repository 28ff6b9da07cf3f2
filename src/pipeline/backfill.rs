//! `snapshot`, without its command line: a one-off copy at one consistent snapshot.
//!
//! No slot, no publication, no replication connection: any role that may SELECT will do. State is
//! kept under the name `<pipeline>:snapshot`, so that a pipeline of the same name is not touched.
//!
//! ```text
//! look ─► preflight ─► lease ─► snapshot ─► copy what is not finished ─► report
//! ```
//!
//! **Invariants:** nothing is created before preflight has found nothing wrong. All tables of one
//! attempt are read at one snapshot; a table that an earlier attempt finished stays as it is, and
//! the report names each table's point in time.

mod look;
mod patience;
pub mod queries;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub use report::{BackfillReport, Origin, Point, TableReport, Totals};

use crate::checkpoint::row::{self, Acquired, Checkpoint, Claim};
use crate::checkpoint::tables::CopyState;
use crate::checkpoint::{CheckpointError, schema, tables};
use crate::config::settings::{OnExisting, Settings};
use crate::model::finding::Side;
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::attempt::holder_name;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::code::Code;
use crate::pipeline::context::{Context, SNAPSHOT_SUFFIX};
use crate::pipeline::copy::query::QueryPlan;
use crate::pipeline::copy::{self, Authority, CopyEnd, Preparation, Timings};
use crate::pipeline::error::PipelineError;
use crate::pipeline::foreign_keys::Building;
use crate::pipeline::lease::Lease;
use crate::pipeline::membership::Membership;
use crate::pipeline::pending;
use crate::pipeline::planner::Planner;
use crate::pipeline::policy::judge;
use crate::pipeline::pooling;
use crate::pipeline::status::{Board, State, TableState};
use crate::snapshot::ConsistentPoint;
use look::{Look, UNKNOWN_SYSTEM};
use patience::Patience;

/// How long the backend of a killed process may take to notice. Whoever runs the verb again must
/// not be refused by his own shadow.
const HOLDER_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at a lease that somebody else holds.
const HOLDER_LOOK: Duration = Duration::from_millis(200);

#[derive(Clone, Debug, Default)]
pub struct BackfillOptions {
    /// Forget what earlier calls finished.
    pub restart: bool,
    /// These tables alone; empty: all that the settings select.
    pub only: Vec<QualifiedName>,
    /// How long to keep trying when a server cannot be reached.
    pub wait: Option<Duration>,
}

/// How it ended.
#[derive(Debug)]
pub enum BackfillEnd {
    Done(BackfillReport),
    Interrupted(Unfinished),
    Failed { code: Code, error: PipelineError, unfinished: Unfinished },
}

/// What a backfill that was cut off has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Tables and queries that are finished, and stay so.
    pub finished_count: usize,
    pub chosen_count: usize,
}

/// What outlives an attempt.
#[derive(Debug, Default)]
struct Memory {
    epoch: Option<i64>,
    is_restarted: bool,
    timings: Timings,
    has_looked: bool,
    chosen_count: usize,
    finished_before: usize,
    report: BackfillReport,
}

impl Memory {
    fn unfinished(&self) -> Unfinished {
        Unfinished {
            finished_count: self.finished_before + self.timings.len(),
            chosen_count: self.chosen_count,
        }
    }
}

/// Copies until all is copied, `shutdown`, or an error that waiting does not mend.
pub async fn run(
    settings: Arc<Settings>,
    board: Board,
    options: BackfillOptions,
    shutdown: CancellationToken,
) -> BackfillEnd {
    let name = format!("{}{SNAPSHOT_SUFFIX}", settings.pipeline);
    let context = Context::new(settings, board, &name);
    let started_at = Instant::now();
    let mut memory = Memory::default();
    let mut backoff = Backoff::default();
    let mut patience = Patience::new(options.wait);
    loop {
        let result = {
            let backfill = Backfill {
                context: &context,
                options: &options,
                memory: &mut memory,
                shutdown: &shutdown,
            };
            tokio::select! {
                biased;
                result = Box::pin(backfill.attempt()) => result,
                // What is dropped in the middle is rolled back by the servers.
                () = overdue(&shutdown) => Ok(CopyEnd::Shutdown),
            }
        };
        memory.report.elapsed = started_at.elapsed();
        let error = match result {
            Err(_) if shutdown.is_cancelled() => {
                return BackfillEnd::Interrupted(memory.unfinished());
            }
            Ok(CopyEnd::Completed) => return BackfillEnd::Done(memory.report),
            Ok(CopyEnd::Shutdown) => {
                return BackfillEnd::Interrupted(memory.unfinished());
            }
            Err(error) => error,
        };
        let verdict = judge(&error, false);
        if !patience.goes_on(&error, verdict.disposition, memory.timings.len()) {
            log_error(&error, verdict.code);
            let unfinished = memory.unfinished();
            return BackfillEnd::Failed { code: verdict.code, error, unfinished };
        }
        tracing::warn!(code = verdict.code.as_str(), "{}; trying again", error.chain());
        context.board.set_state(State::Backoff, format!("{}: {}", verdict.code, error.chain()));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// A while after the stop was asked for: workers first cancel what they run at the destination, where it
/// would go on; whatever else an attempt waits for is not waited for.
async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(copy::CANCEL_PATIENCE).await;
}

fn log_error(error: &PipelineError, code: Code) {
    let server = error.server_error();
    let constraint = server.as_ref().and_then(|server| server.constraint.as_deref());
    let hint = match error {
        PipelineError::Connect(error) => error.hint(),
        _ => server.as_ref().and_then(|server| server.hint.clone()),
    };
    let table = error.table().map(ToString::to_string);
    tracing::error!(code = code.as_str(), table, constraint, hint, "{}", error.chain());
}

/// One attempt: connect, look, copy what is not finished.
struct Backfill<'a> {
    context: &'a Context,
    options: &'a BackfillOptions,
    memory: &'a mut Memory,
    shutdown: &'a CancellationToken,
}

/// What an attempt holds once the lease is its own.
struct Held {
    source: Arc<Client>,
    destination: Arc<Client>,
    epoch: i64,
}

impl Backfill<'_> {
    async fn attempt(mut self) -> Result<CopyEnd, PipelineError> {
        let context = self.context;
        if !context.settings.snapshot.copy_data {
            let message = "snapshot.copy_data is false: there is nothing for a snapshot to do";
            return Err(PipelineError::Config { message: message.to_owned() });
        }
        let source = Arc::new(context.source_client("control").await?);
        let destination = Arc::new(context.destination_client("lease").await?);
        if !self.memory.has_looked {
            pooling::refuse(context, &source, &destination).await?;
        }
        let is_restart = self.options.restart && !self.memory.is_restarted;
        let look =
            Look::take(context, &self.options.only, is_restart, &source, &destination).await?;
        let queries = look.preflight(context, &source, &destination).await?;
        self.memory.chosen_count = look.chosen_count(context);
        if !self.memory.has_looked {
            self.memory.has_looked = true;
            self.memory.finished_before = look.chosen_count(context) - look.pending_count();
        }
        if look.pending_count() == 0 && !look.owes() {
            self.memory.report.fill(&look.chosen(context), &look.records, &self.memory.timings);
            return Ok(CopyEnd::Completed);
        }
        schema::ensure(&destination, &context.checkpoint.schema).await?;
        let checkpoint = self.acquire(&destination, &look).await?;
        self.memory.epoch = Some(checkpoint.epoch);
        let sql = context.checkpoint.clone();
        let mut lease = Lease::keep(Arc::clone(&destination), sql, checkpoint.epoch);
        let held = Held { source, destination, epoch: checkpoint.epoch };
        let result = tokio::select! {
            biased;
            error = lease.lost() => return Err(error.into()),
            result = Box::pin(self.work(&held, &look, queries, is_restart)) => result,
        };
        let result = match result {
            Err(error) => Err(self.fenced(&held).await.unwrap_or(error)),
            end => end,
        };
        lease.release().await;
        result
    }

    /// Whoever took over has made our last transaction fail; that it was he says more than how.
    async fn fenced(&self, held: &Held) -> Option<PipelineError> {
        let renewed = row::renew(&held.destination, &self.context.checkpoint, held.epoch).await;
        renewed
            .err()
            .filter(|error| matches!(error, CheckpointError::Fenced { .. }))
            .map(Into::into)
    }

    /// Takes the lease. Another snapshot at work is an error, unless it is about to end.
    async fn acquire(
        &self,
        destination: &Client,
        look: &Look,
    ) -> Result<Checkpoint, PipelineError> {
        let claim = Claim {
            holder: holder_name(),
            source_system_identifier: look.source_system().to_owned(),
            timeline: 0,
        };
        let patience = Instant::now() + HOLDER_PATIENCE;
        loop {
            let sql = &self.context.checkpoint;
            match row::acquire(destination, sql, &claim, self.memory.epoch).await? {
                Acquired::Ours { checkpoint, .. } => return Ok(checkpoint),
                Acquired::Standby { holder } if Instant::now() > patience => {
                    return Err(PipelineError::Held { holder });
                }
                Acquired::Standby { .. } => tokio::time::sleep(HOLDER_LOOK).await,
            }
        }
    }

    async fn work(
        &mut self,
        held: &Held,
        look: &Look,
        queries: Vec<QueryPlan>,
        is_restart: bool,
    ) -> Result<CopyEnd, PipelineError> {
        let context = self.context;
        if is_restart {
            self.start_over(held, look).await?;
        }
        let records = read_records(context, &held.destination).await?;
        let snapshot_client = context.source_client("snapshot").await?;
        let point = ConsistentPoint::of_transaction(snapshot_client)
            .await
            .map_err(PipelineError::query(Side::Source, "taking the snapshot"))?;
        let pending = pending::described_again(&held.source, &look.pending).await?;
        let mut planner =
            Planner::new(context, &held.source, &held.destination, !look.has_replica_role)
                .for_copy_only();
        planner.set_source_tables(&look.tables).await?;
        planner.set_records(records);
        let preparation = Preparation {
            context,
            source: &held.source,
            destination: &held.destination,
            planner: &planner,
            membership: &Membership::default(),
            epoch: held.epoch,
            is_beside: false,
        };
        let start = copy::Start { point_lsn: point.lsn, resumed: &copy::Resumed::default() };
        let count = pending.len() + queries.len();
        context.board.set_state(State::Copying, format!("copying {count} tables"));
        let mut jobs = preparation.prepare(&pending, start).await?;
        queries::create_schemas(context, &held.destination, held.epoch, &queries).await?;
        // Where foreign keys are checked, rows that a query's may refer to are there before.
        let level = match look.has_replica_role {
            true => 0,
            false => jobs.iter().map(|job| job.level + 1).max().unwrap_or(0),
        };
        jobs.extend(queries.into_iter().map(|query| query.job(level)));
        let copy = copy::Copy {
            context,
            point,
            authority: Authority { epoch: held.epoch, has_replica_role: look.has_replica_role },
            timings: self.memory.timings.clone(),
            shutdown: self.shutdown,
        };
        let end = copy.run(jobs).await?;
        let records = read_records(context, &held.destination).await?;
        planner.set_records(records.clone());
        if end == CopyEnd::Completed {
            self.building(held, &planner).settle_foreign_keys().await?;
        }
        self.memory.report.fill(&look.chosen(context), &records, &self.memory.timings);
        Ok(end)
    }

    fn building<'b>(&'b self, held: &'b Held, planner: &'b Planner) -> Building<'b> {
        Building {
            context: self.context,
            source: &held.source,
            planner,
            epoch: held.epoch,
            shutdown: self.shutdown,
        }
    }

    /// Forgets that the tables are finished. What they hold is emptied when their turn comes; rows of
    /// a table that is merged into stay.
    async fn start_over(&mut self, held: &Held, look: &Look) -> Result<(), PipelineError> {
        let sql = &self.context.checkpoint;
        let is_merged =
            |name: &QualifiedName| self.context.settings.on_existing(name) == OnExisting::Merge;
        let names = look.tables.iter().map(|table| table.name.clone());
        let (merged, mut emptied): (Vec<QualifiedName>, _) = names.partition(is_merged);
        // Their rows stay until the new ones are there, whatever becomes of them.
        emptied.extend(look.chosen_queries(self.context));
        let mut text = sql.guarded_begin_text(held.epoch);
        for (state, names) in [(CopyState::Merging, merged), (CopyState::Copying, emptied)] {
            if !names.is_empty() {
                let reopen = tables::reopen_text(&sql.schema, &sql.pipeline, &names, state);
                text.push_str(&format!("; {reopen}"));
            }
        }
        text.push_str("; COMMIT");
        let done = held.destination.batch_execute(&text).await;
        done.map_err(PipelineError::query(Side::Destination, "starting tables over"))?;
        if look.source_system() != UNKNOWN_SYSTEM {
            let origin = row::SourceOrigin { system_identifier: look.source_system(), timeline: 0 };
            row::record_source(&held.destination, sql, held.epoch, origin).await?;
        }
        self.memory.is_restarted = true;
        Ok(())
    }
}

async fn read_records(
    context: &Context,
    destination: &Client,
) -> Result<Vec<tables::TableRecord>, PipelineError> {
    let sql = &context.checkpoint;
    Ok(tables::read_all(destination, &sql.schema, &sql.pipeline).await?)
}

/// Shows what was finished before, and what is to come.
fn show(context: &Context, look: &Look) {
    let Look { tables, pending, .. } = look;
    for table in tables {
        let destination = context.settings.destination_name(&table.name);
        context.board.table(&table.name, &destination, false);
        let is_pending = pending.iter().any(|other| other.oid == table.oid);
        let state = if is_pending { TableState::Pending } else { TableState::Copied };
        context.board.table_state(&table.name, state);
    }
    for (index, query) in context.settings.queries.iter().enumerate() {
        if !look.has_queries {
            break;
        }
        let name = queries::name(query);
        context.board.table(&name, &query.destination, false);
        let is_pending = look.pending_queries.contains(&index);
        let state = if is_pending { TableState::Pending } else { TableState::Copied };
        context.board.table_state(&name, state);
        if is_pending {
            context.board.snapshot_expected(&name, None, 0);
        }
    }
}
