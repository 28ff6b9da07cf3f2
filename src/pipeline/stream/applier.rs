//! The task that owns the destination's connection for rows.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::apply::ApplyError;
use crate::apply::reread::RereadError;
use crate::apply::transaction::{Applied, Applier};
use crate::batch::{Batch, End};
use crate::failpoint;
use crate::model::change::Op;
use crate::model::finding::Side;
use crate::pg::lsn::Lsn;
use crate::pipeline::error::{BatchPlace, PipelineError};
use crate::pipeline::status::{Board, State};
use crate::pipeline::stream::progress::Progress;
use crate::pipeline::stream_tables::SourceNames;

/// What the reader hands over.
#[derive(Debug)]
pub enum Work {
    Batch(Batch),
    /// Nothing happened up to here.
    Idle(Lsn),
}

/// The applier's end: its error, or nothing once the reader has let go of it.
pub(super) type ApplierTask = AbortOnDropHandle<Result<(), PipelineError>>;

/// Starts the task. `ready` yields once each time the applier is idle.
pub(super) fn start(
    applier: Applier,
    names: SourceNames,
    board: Board,
    progress: Progress,
) -> (mpsc::Sender<Work>, mpsc::Receiver<()>, ApplierTask) {
    let (work_sender, work) = mpsc::channel(1);
    let (ready, ready_receiver) = mpsc::channel(1);
    let task = tokio::spawn(run(applier, names, board, progress, work, ready).in_current_span());
    let task = AbortOnDropHandle::new(task);
    (work_sender, ready_receiver, task)
}

async fn run(
    mut applier: Applier,
    names: SourceNames,
    board: Board,
    progress: Progress,
    mut work: mpsc::Receiver<Work>,
    ready: mpsc::Sender<()>,
) -> Result<(), PipelineError> {
    // Counted only once committed: a large transaction's parts wait for its end.
    let mut uncommitted = Vec::new();
    loop {
        // Full means that the reader has not used the last one yet.
        let _ = ready.try_send(());
        let Some(next) = work.recv().await else {
            return Ok(());
        };
        let started = Instant::now();
        let applied = match next {
            Work::Idle(lsn) => {
                let applied = applier.advance_idle(lsn).await?;
                failpoint::hit(failpoint::IDLE_COMMITTED).await;
                Some(applied)
            }
            Work::Batch(batch) => {
                let applied = match applier.apply(&batch).await {
                    Ok(applied) => applied,
                    Err(error) => return Err(failed(&applier, &batch, error)),
                };
                let is_committed = matches!(batch.end, End::Commit { .. });
                let change_count = batch.change_count as u64;
                uncommitted.extend(batch.counts);
                if is_committed {
                    failpoint::hit(failpoint::COMMITTED).await;
                    let last = applied.as_ref().and_then(|applied| applied.last);
                    let commit_time = last.map(|commit| commit.commit_time);
                    board.batch_applied(started.elapsed(), change_count, commit_time);
                    for counts in uncommitted.drain(..) {
                        let Some(name) = names.of(counts.table) else { continue };
                        for op in Op::ALL {
                            board.rows(&name, op, counts.of(op));
                        }
                    }
                }
                applied
            }
        };
        if let Some(applied) = &applied {
            show(&board, &names, applied);
        }
        progress.finished(applied.map(|applied| applied.through));
    }
}

/// Says which transactions failed, and by which columns their rows are known.
fn failed(applier: &Applier, batch: &Batch, source: ApplyError) -> PipelineError {
    let source = match source {
        // Not the destination's: its connection to the source ended, or the source refused.
        ApplyError::Reread { source: RereadError::Source(source), .. } => {
            return PipelineError::Query {
                side: Side::Source,
                doing: "reading a row that the destination has lost",
                source,
            };
        }
        other => other,
    };
    let transaction_count = match batch.end {
        End::Commit { transaction_count, .. } => transaction_count,
        End::Continues => 1,
    };
    let key = source.table().map_or_else(Vec::new, |table| applier.key_columns(table));
    let place = BatchPlace { transaction_count, commit_lsn: batch.commit_lsn, key };
    PipelineError::Batch { place, source }
}

fn show(board: &Board, names: &SourceNames, applied: &Applied) {
    board.applied(applied.through, applied.last.map(|commit| commit.commit_time));
    if applied.last.is_some() {
        board.went_on(State::CatchingUp, "going on");
    }
    board.transactions(applied.transaction_count);
    for (table, kind, count) in applied.conflicts.iter() {
        if let Some(name) = names.of_conflict(table, kind) {
            tracing::warn!(table = %name, kind = kind.label(), count, "rows were not as the stream said");
            board.conflict(&name, kind, count);
        }
    }
}
