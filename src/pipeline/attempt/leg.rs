//! A leg of a stream: from where a slot's position stands to a goal, while tables are being copied.
//!
//! Two slots have legs: the pipeline's own, when a copy that was cut off goes on (everything before its
//! new point is applied first), and the second one, whose tables are copied beside the stream. The leg
//! ends in order at its goal; what stands in its way is mended and it goes on, as the stream does.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::streaming::{can_be_binary, full_identity_keys};
use crate::apply::ApplyError;
use crate::apply::targets::Targets;
use crate::apply::transaction::Applier;
use crate::checkpoint::row::CheckpointSql;
use crate::checkpoint::tables;
use crate::checkpoint::{Record, Store, catch_up, missing, row};
use crate::model::finding::Side;
use crate::pg::catalog::TableInfo;
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::context::Context;
use crate::pipeline::copy::Resumed;
use crate::pipeline::drift::{self, Looks};
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::Planner;
use crate::pipeline::reread::Rereader;
use crate::pipeline::stream::{Past, ReaderEnd, Stream, batch_limits};
use crate::pipeline::stream_tables::{Restart, Scope, StreamTables};
use crate::source::{Tail, TailStart};
use crate::wire::StreamOptions;

/// The part of `limits.memory` for a leg that runs beside the pipeline's stream.
const BESIDE_SHARE: u64 = 4;

/// The part of `shutdown_grace` that a leg's batch in hand may take to finish.
const BATCH_SHARE: f64 = 0.5;

/// Where a leg ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// Before the first transaction whose commit stands here or later.
    Before(Lsn),
    /// Once this is applied; more may be.
    Until(Lsn),
}

/// How a leg ended, other than by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegEnd {
    Reached,
    Stopped,
}

/// Whose position it is.
#[derive(Clone, Debug)]
pub(super) enum Course {
    /// The pipeline's, which the local store mirrors.
    Main(Arc<Store>, Record),
    /// The second slot's.
    Beside,
}

#[derive(Debug)]
pub(super) struct Leg<'a> {
    pub(super) context: &'a Context,
    pub(super) source: &'a Arc<Client>,
    pub(super) destination: &'a Arc<Client>,
    pub(super) epoch: i64,
    pub(super) has_replica_role: bool,
    /// The selected tables.
    pub(super) tables: &'a [TableInfo],
    pub(super) publications: &'a [String],
    pub(super) slot: &'a str,
    pub(super) course: Course,
    /// Commits up to here are applied one by one.
    pub(super) alone_until: Lsn,
    pub(super) stop: &'a CancellationToken,
}

impl Leg<'_> {
    /// Applies what comes before the goal. `resumed`: tables that are loaded in part are followed, too.
    pub(super) async fn run(&self, goal: Goal, resumed: &Resumed) -> Result<LegEnd, PipelineError> {
        let mut as_text = false;
        loop {
            let applied_lsn = self.position().await?;
            if matches!(goal, Goal::Until(lsn) if applied_lsn >= lsn) {
                return Ok(LegEnd::Reached);
            }
            let end = Box::pin(self.stream(applied_lsn, goal, resumed, as_text)).await?;
            match end {
                ReaderEnd::CaughtUp => return Ok(LegEnd::Reached),
                ReaderEnd::Shutdown | ReaderEnd::CutOff => return Ok(LegEnd::Stopped),
                ReaderEnd::Restart(Restart::Follow(todo)) => {
                    drift::follow::follow(self.context, self.epoch, &todo).await?;
                }
                ReaderEnd::Restart(Restart::AsText { .. }) => as_text = true,
                ReaderEnd::Restart(Restart::LookAgain) => {}
            }
        }
    }

    async fn position(&self) -> Result<Lsn, PipelineError> {
        let sql = &self.context.checkpoint;
        let found = match self.course {
            Course::Main(..) => {
                row::read(self.destination, sql).await?.and_then(|row| row.applied_lsn)
            }
            Course::Beside => {
                catch_up::read(self.destination, sql).await?.and_then(|row| row.applied_lsn)
            }
        };
        found.ok_or_else(|| PipelineError::Lineage {
            message: format!("the destination has no position of slot \"{}\" any more", self.slot),
        })
    }

    fn is_beside(&self) -> bool {
        matches!(self.course, Course::Beside)
    }

    /// The statements that move the position.
    fn sql(&self) -> CheckpointSql {
        match self.course {
            Course::Main(..) => self.context.checkpoint.clone(),
            Course::Beside => self.context.checkpoint.of_catch_up(),
        }
    }

    async fn planner(&self) -> Result<Planner, PipelineError> {
        let sql = &self.context.checkpoint;
        let records = tables::read_all(self.destination, &sql.schema, &sql.pipeline).await?;
        let mut planner =
            Planner::new(self.context, self.source, self.destination, !self.has_replica_role);
        planner.set_source_tables(self.tables).await?;
        planner.set_records(records);
        Ok(planner)
    }

    fn scope(&self, resumed: &Resumed) -> Scope {
        let sql = &self.context.checkpoint;
        let partial = self.tables.iter().filter(|info| resumed.has(info.oid));
        let remember = |info: &TableInfo| {
            let head = missing::remember_text(&sql.schema, &sql.pipeline, &info.name);
            (info.name.clone(), head)
        };
        Scope { is_beside: self.is_beside(), partial: partial.map(remember).collect() }
    }

    async fn stream(
        &self,
        applied_lsn: Lsn,
        goal: Goal,
        resumed: &Resumed,
        as_text: bool,
    ) -> Result<ReaderEnd, PipelineError> {
        let context = self.context;
        let planner = self.planner().await?;
        let scope = self.scope(resumed);
        let followed: Vec<TableInfo> = self.followed(&planner, &scope);
        let looks = Looks::default();
        let oids: Vec<u32> = followed.iter().map(|info| info.oid).collect();
        looks.look(self.source, &oids).await.map_err(PipelineError::catalog(Side::Source))?;
        let is_binary = !as_text && can_be_binary(context, &planner, &followed).await?;
        let options = StreamOptions {
            proto_version: 1,
            publications: self.publications.to_vec(),
            binary: is_binary,
            messages: false,
        };
        let replication = context.replication_session().await?;
        let keys = full_identity_keys(self.tables);
        // What came before is compared where the pipeline streams.
        let past = Past::unseen(applied_lsn);
        let start = TailStart {
            resume_lsn: applied_lsn,
            from_lsn: past.from_lsn,
            confirmed_lsn: applied_lsn,
        };
        let tail = Tail::start(replication, self.slot, start, &options, keys).await?;
        let targets = Targets::default();
        let writer = context.writing_client("apply", self.has_replica_role).await?;
        let cancel = writer.cancel_handle();
        let rereader = Rereader::new(Arc::clone(self.source), context.calculator.clone());
        let applier = Applier::new(
            writer,
            is_binary,
            targets.clone(),
            Arc::new(rereader.clone()),
            (self.sql(), self.epoch),
            applied_lsn,
        );
        let mut limits = batch_limits(&context.settings);
        let mirror = match &self.course {
            Course::Main(store, record) => {
                Some((Arc::clone(store), Record { applied_lsn, ..record.clone() }))
            }
            Course::Beside => {
                limits.memory_bytes_max /= usize::try_from(BESIDE_SHARE).unwrap_or(usize::MAX);
                None
            }
        };
        let (until, before) = match goal {
            Goal::Before(lsn) => (None, Some(lsn)),
            Goal::Until(lsn) => (Some(lsn), None),
        };
        let stream = Stream {
            tail,
            tables: StreamTables::new(planner, scope, (targets, rereader), looks, is_binary),
            applier,
            mirror,
            board: context.board.clone(),
            limits,
            // The copy is not complete: this is not streaming.
            caught_up_at: Lsn::new(u64::MAX),
            is_whole: false,
            before,
            alone_until: self.alone_until,
            past,
        };
        tracing::info!(slot = self.slot, lsn = %applied_lsn, goal = ?goal, "catching up");
        let grace = context.settings.shutdown_grace.mul_f64(BATCH_SHARE);
        let end = Box::pin(stream.run(until, self.stop.clone(), grace)).await?;
        if matches!(end, ReaderEnd::CutOff) {
            super::cut_off(&cancel).await;
        }
        Ok(end)
    }

    fn followed(&self, planner: &Planner, scope: &Scope) -> Vec<TableInfo> {
        let is_followed =
            |info: &&TableInfo| planner.record(&info.name).is_some_and(|record| scope.has(record));
        self.tables.iter().filter(is_followed).cloned().collect()
    }
}

/// The destination's table in which `error` misses a row.
pub(super) fn missing_row(error: &PipelineError) -> Option<&QualifiedName> {
    match error {
        PipelineError::Batch { source: ApplyError::RowMissing { table }, .. } => Some(table),
        _ => None,
    }
}
