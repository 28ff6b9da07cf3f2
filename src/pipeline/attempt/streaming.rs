//! From the checkpoint on: the stream, until something ends it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::beside::{Beside, BesideEnd};
use super::{Attempt, AttemptEnd, Held, cut_off, stopped_for};
use crate::apply::targets::Targets;
use crate::apply::transaction::Applier;
use crate::checkpoint::Record;
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::failpoint;
use crate::model::finding::Side;
use crate::model::table::TableId;
use crate::pg::catalog::{self, ReplicaIdentity, TableInfo};
use crate::pg::client::Client;
use crate::pg::lsn::Lsn;
use crate::pg::oid::Oid;
use crate::pipeline::context::Context;
use crate::pipeline::drift::tables::Sides;
use crate::pipeline::drift::watch::watch as watch_for_loss;
use crate::pipeline::drift::{self, Looks};
use crate::pipeline::error::PipelineError;
use crate::pipeline::lineage::follow_promotion;
use crate::pipeline::look::Look;
use crate::pipeline::planner::Planner;
use crate::pipeline::requests;
use crate::pipeline::reread::Rereader;
use crate::pipeline::status::{State, TableState};
use crate::pipeline::stream::{Past, ReaderEnd, Stream, batch_limits, past};
use crate::pipeline::stream_tables::{Restart, Scope, StreamTables};
use crate::pipeline::watch::Watch;
use crate::source::publication::Mark;
use crate::source::{KeyLookup, Tail, TailError, TailStart};
use crate::wire::{Session, StreamOptions};

/// How long the source may wait for us when it shuts down.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(4);

/// The part of `shutdown_grace` that the batch in hand may take to finish: the rest is for rolling it
/// back, giving the lease back and saying goodbye.
const BATCH_SHARE: f64 = 0.7;

/// When a stream is given up that has not even come to finishing its batch: its reader waits for the
/// destination to describe a table, for example.
const READER_SHARE: f64 = 0.75;

/// How long what is copied beside the stream may take to stop.
const BESIDE_PATIENCE: Duration = Duration::from_secs(3);

/// What a stream starts from.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) applied_lsn: Lsn,
    /// The slot's position.
    pub(super) confirmed_lsn: Lsn,
    pub(super) publications: Vec<String>,
    pub(super) stage: Option<Stage>,
    /// What is copied meanwhile.
    pub(super) beside: Option<Box<Beside>>,
}

/// A stream that ends at a position, for another attempt to follow: then these publications, by
/// OID, are older than the position.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) until: Lsn,
    pub(super) young: Vec<Oid>,
}

impl Attempt<'_> {
    /// Streams until something ends it.
    pub(super) async fn stream(
        &mut self,
        held: Held,
        replication: Session,
        look: Look,
        mut planner: Planner,
        (start, watch): (Start, Watch),
    ) -> Result<AttemptEnd, PipelineError> {
        let context = self.context;
        let epoch = held.checkpoint.epoch;
        let sides = Sides { context, source: &held.source, destination: &held.destination, epoch };
        let looks = Looks::default();
        sides.begin(&mut planner, &looks, &look.selection.tables).await?;
        let records: Vec<TableRecord> = planner.records().cloned().collect();
        let is_binary = self.is_binary(&look, &planner, start.applied_lsn).await?;
        let mut reached = source_position(&held.source).await?;
        context.board.set_state(State::CatchingUp, format!("catching up to {reached}"));
        if start.stage.is_some() {
            // There is a copy to come before it streams.
            reached = Lsn::new(u64::MAX);
        }
        if start.beside.is_some() {
            let reason = "tables are copied beside the stream of the others";
            context.board.set_state(State::Copying, reason);
        }
        let past = self.past(&held, &look, &start, &records);
        let options = StreamOptions {
            proto_version: 1,
            publications: start.publications,
            binary: is_binary,
            messages: false,
        };
        let keys = full_identity_keys(&look.selection.tables);
        let slot = &context.settings.source.slot;
        let tail_start = TailStart {
            resume_lsn: start.applied_lsn,
            from_lsn: past.from_lsn,
            confirmed_lsn: start.confirmed_lsn,
        };
        let tail = Tail::start(replication, slot, tail_start, &options, keys).await?;
        failpoint::hit(failpoint::STREAM_STARTED).await;
        let targets = Targets::default();
        let rereader = Rereader::new(Arc::clone(&held.source), context.calculator.clone());
        let writer = context.writing_client("apply", look.has_replica_role).await?;
        let cancel = writer.cancel_handle();
        let applier = Applier::new(
            writer,
            is_binary,
            targets.clone(),
            Arc::new(rereader.clone()),
            (context.checkpoint.clone(), epoch),
            start.applied_lsn,
        );
        let stream = Stream {
            tail,
            tables: StreamTables::new(
                planner,
                Scope::default(),
                (targets, rereader),
                looks.clone(),
                is_binary,
            ),
            applier,
            mirror: Some((Arc::clone(self.store), self.record(&held, &look, start.applied_lsn))),
            board: context.board.clone(),
            limits: batch_limits(&context.settings),
            caught_up_at: reached,
            is_whole: start.beside.is_none(),
            before: None,
            alone_until: self.memory.alone_until,
            past,
        };
        let whole_grace = context.settings.shutdown_grace;
        let grace = whole_grace.mul_f64(BATCH_SHARE);
        // Stopped with us, or alone: then another attempt follows.
        let stop = self.shutdown.child_token();
        tracing::info!(lsn = %start.applied_lsn, binary = is_binary, "streaming");
        let source = Arc::clone(&held.source);
        let until = match start.beside {
            // They belong to what is to be caught up with.
            Some(_) => None,
            None => start.stage.as_ref().map(|stage| stage.until).or(self.memory.until),
        };
        // Ends with the stream.
        let _watching = watch.start(stop.clone());
        let destination = Arc::clone(&held.destination);
        let mut meanwhile = std::pin::pin!(async {
            let mut copied = std::pin::pin!(copied_beside(start.beside.as_deref(), &stop));
            tokio::select! {
                biased;
                () = requests::arrived(context, &destination) => stop.cancel(),
                end = &mut copied => return end,
            }
            copied.await
        });
        let mut promotion = std::pin::pin!(async {
            match look.source_facts.in_recovery {
                true => follow_promotion(context, &source, &destination, epoch).await,
                false => std::future::pending().await,
            }
        });
        let mut beside_end = None;
        let mut streaming = Box::pin(stream.run(until, stop.clone(), grace));
        let end = loop {
            tokio::select! {
                biased;
                end = &mut streaming => match end {
                    Ok(end) => break end,
                    Err(error) => return Err(drift::enums::explain(sides, &records, error).await),
                },
                () = source_left(&source) => return Err(TailError::Ended.into()),
                never = &mut promotion => match never {},
                end = &mut meanwhile, if beside_end.is_none() => {
                    self.memory.has_failed_beside = end.is_err();
                    beside_end = Some(end?);
                    // The stream ends in order, and another attempt follows.
                    stop.cancel();
                }
                () = stopped_for(self.shutdown, whole_grace.mul_f64(READER_SHARE)) => {
                    break ReaderEnd::CutOff;
                }
                error = watch_for_loss(sides, &looks, records.clone()) => return Err(error),
            }
        };
        if start.beside.is_some() && beside_end.is_none() {
            stop.cancel();
            // It cancels what it runs at the destination, where nobody would wait for it any more.
            let _ = tokio::time::timeout(BESIDE_PATIENCE, &mut meanwhile).await;
        }
        if matches!(end, ReaderEnd::CutOff) {
            let at_control = held.destination.cancel_handle();
            tokio::join!(cut_off(&cancel), cut_off(&at_control));
        }
        // A batch that was cut off may be on its way still: its position is not known then.
        if let (Some(beside), Some(BesideEnd::Close), ReaderEnd::Shutdown) =
            (&start.beside, beside_end, &end)
            && !self.shutdown.is_cancelled()
        {
            return Ok(match beside.hand_over(self.shutdown).await? {
                BesideEnd::Close => AttemptEnd::Further,
                BesideEnd::Stopped => AttemptEnd::Shutdown,
            });
        }
        if let (ReaderEnd::CaughtUp, Some(stage)) = (&end, start.stage) {
            self.memory.settled.extend(stage.young);
            return Ok(AttemptEnd::Again);
        }
        Ok(match end {
            ReaderEnd::Shutdown | ReaderEnd::CutOff if self.shutdown.is_cancelled() => {
                AttemptEnd::Shutdown
            }
            ReaderEnd::Shutdown | ReaderEnd::CutOff => AttemptEnd::Again,
            ReaderEnd::CaughtUp => AttemptEnd::CaughtUp,
            ReaderEnd::Restart(restart) => {
                self.restart(restart, epoch).await?;
                AttemptEnd::Again
            }
        })
    }

    /// What the source has to send again, so that it shows whose history it is.
    fn past(&self, held: &Held, look: &Look, start: &Start, records: &[TableRecord]) -> Past {
        let used: BTreeSet<&str> = start.publications.iter().map(String::as_str).collect();
        // As they were when the last commit came: a publication that is not used any more may have
        // sent it.
        let marks = look.records.iter().filter_map(|r| Mark::parse(r.published.as_deref()?));
        let is_all_used =
            marks.flat_map(|mark| mark.through).all(|through| used.contains(through.name.as_str()));
        // A publication that appeared was waited for in this process: it may be younger than the
        // last commit, and must not be asked for what is older.
        let is_settled = self.memory.settled.is_empty();
        let copied = records.iter().map(|record| match record.state {
            CopyState::Copied => record.copied_lsn.unwrap_or(Lsn::ZERO),
            _ => Lsn::new(u64::MAX),
        });
        Past::new(
            start.applied_lsn,
            held.checkpoint.last_commit.filter(|_| is_settled),
            start.confirmed_lsn,
            past::Leniency {
                let_go_below: copied.max().unwrap_or(Lsn::ZERO),
                may_miss_last: !is_all_used,
            },
        )
    }

    /// What a table's change needs between two streams.
    async fn restart(&mut self, restart: Restart, epoch: i64) -> Result<(), PipelineError> {
        match restart {
            Restart::Follow(todo) => drift::follow::follow(self.context, epoch, &todo).await,
            Restart::AsText { commit_lsn } => {
                tracing::info!(lsn = %commit_lsn, "a table's columns do not travel in binary any more; going on in text");
                self.memory.as_text_through = Some(commit_lsn);
                Ok(())
            }
            Restart::LookAgain => Ok(()),
        }
    }

    /// Whether the stream runs in binary.
    async fn is_binary(
        &self,
        look: &Look,
        planner: &Planner,
        applied_lsn: Lsn,
    ) -> Result<bool, PipelineError> {
        let is_allowed = self.memory.as_text_through.is_none_or(|lsn| lsn < applied_lsn);
        // In a stage some are still to be copied, and need not exist at the destination yet.
        let is_copied = |info: &&TableInfo| {
            planner.record(&info.name).is_some_and(|record| record.state == CopyState::Copied)
        };
        let tables: Vec<TableInfo> =
            look.selection.tables.iter().filter(is_copied).cloned().collect();
        Ok(can_be_binary(self.context, planner, &tables).await? && is_allowed)
    }

    pub(super) fn record(&self, held: &Held, look: &Look, applied_lsn: Lsn) -> Record {
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

/// Copies beside the stream. Never ends where nothing is to be copied.
async fn copied_beside(
    beside: Option<&Beside>,
    stop: &CancellationToken,
) -> Result<BesideEnd, PipelineError> {
    match beside {
        Some(beside) => Box::pin(beside.run(stop)).await,
        None => std::future::pending().await,
    }
}

/// Whether all tables that are about to be followed can be, as they are now, in binary. One that does
/// not fit the destination now is judged when its changes come.
pub(super) async fn can_be_binary(
    context: &Context,
    planner: &Planner,
    tables: &[TableInfo],
) -> Result<bool, PipelineError> {
    let mut is_binary = true;
    for (info, plan) in tables.iter().zip(planner.plan_each(tables).await?) {
        is_binary &= match plan {
            Ok(plan) => plan.is_stream_binary,
            Err(PipelineError::Schema { .. }) => false,
            Err(error) => return Err(error),
        };
        context.board.table_state(&info.name, TableState::CatchingUp);
    }
    Ok(is_binary)
}

/// A server that shuts down ends ordinary connections at once, and then waits until the stream has
/// confirmed everything. With a backlog that is too long: it gets a moment, then the stream lets go.
async fn source_left(source: &Client) {
    source.closed().await;
    tokio::time::sleep(SHUTDOWN_PATIENCE).await;
}

/// Under FULL identity the stream marks every column as identifying; the key is the primary key.
pub(super) fn full_identity_keys(tables: &[TableInfo]) -> KeyLookup {
    tables
        .iter()
        .filter(|table| table.identity == ReplicaIdentity::Full)
        .map(|table| (TableId(table.oid), table.key_columns()))
        .collect()
}

pub(super) async fn source_position(source: &Client) -> Result<Lsn, PipelineError> {
    let (wal_end, _) =
        catalog::wal_end(source).await.map_err(PipelineError::catalog(Side::Source))?;
    Ok(wal_end)
}
