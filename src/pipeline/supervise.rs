//! Attempt after attempt: what to do about the error of the last one.
//!
//! **Invariant:** a permanent error ends it or is waited out with growing pauses; there is no hot
//! loop. Each condition is logged at ERROR once, then at WARN every ten minutes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::checkpoint::Store;
use crate::model::finding::Side;
use crate::pipeline::attempt::{Attempt, AttemptEnd, Memory, stopped_for};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::code::Code;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::policy::{Disposition, Verdict, judge};
use crate::pipeline::pulse::Silences;
use crate::pipeline::requests;
use crate::pipeline::retention;
use crate::pipeline::run::RunOptions;
use crate::pipeline::status::{ErrorReport, State};

/// How often a condition that lasts is logged again.
const REMINDER: Duration = Duration::from_secs(600);

/// An attempt that lasted this long may be followed by the next at once: shorter ones one after the
/// other would be a hot loop.
const STEADY: Duration = Duration::from_secs(5);

/// The part of `shutdown_grace` after which an attempt that has not ended is dropped: it hangs in a
/// connection or a query, and its transactions roll back. The rest closes the local store.
const ATTEMPT_SHARE: f64 = 0.9;

/// How a pipeline ended.
#[derive(Debug)]
pub enum RunEnd {
    Shutdown,
    CaughtUp,
    Failed { code: Code, error: PipelineError },
}

/// Runs attempts until one ends the pipeline, or the WAL that it holds does.
pub async fn supervise(
    context: &Context,
    store: &Arc<Store>,
    options: RunOptions,
    silences: &mut Silences,
    shutdown: &CancellationToken,
) -> RunEnd {
    tokio::select! {
        biased;
        end = attempts(context, store, options, silences, shutdown) => end,
        // The attempt is dropped: its transactions roll back, its connections end.
        () = context.too_much_wal.cancelled() => retention::give_up(context, shutdown).await,
    }
}

async fn attempts(
    context: &Context,
    store: &Arc<Store>,
    options: RunOptions,
    silences: &mut Silences,
    shutdown: &CancellationToken,
) -> RunEnd {
    let mut memory = Memory::default();
    let mut backoff = Backoff::default();
    let mut log = ConditionLog::default();
    loop {
        let attempt = Attempt { context, store, memory: &mut memory, options, shutdown };
        let (started_at, began) = (context.board.status().positions.applied, Instant::now());
        silences.forget();
        let result = tokio::select! {
            biased;
            result = Box::pin(attempt.run()) => result,
            // It waits for an answer that will not come.
            side = silences.next() => Err(PipelineError::Silent { side }),
            () = stopped_for(shutdown, context.settings.shutdown_grace.mul_f64(ATTEMPT_SHARE)) => {
                return RunEnd::Shutdown;
            }
        };
        let error = match result {
            Ok(AttemptEnd::Shutdown) => return RunEnd::Shutdown,
            Ok(AttemptEnd::CaughtUp) => return RunEnd::CaughtUp,
            Ok(AttemptEnd::Further) => continue,
            Ok(AttemptEnd::Again) => {
                if context.board.status().positions.applied > started_at {
                    backoff.reset();
                }
                let delay = match began.elapsed() >= STEADY {
                    true => Duration::ZERO,
                    false => backoff.next_delay(),
                };
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return RunEnd::Shutdown,
                    () = tokio::time::sleep(delay) => continue,
                }
            }
            Err(_) if shutdown.is_cancelled() => return RunEnd::Shutdown,
            Err(error) => error,
        };
        if let PipelineError::Silent { side: Side::Source } = error {
            // The server does not know that we let go: its end of the stream keeps the slot.
            memory.has_superseded = true;
        }
        let is_further = context.board.status().positions.applied > started_at;
        if is_further && !memory.has_failed_beside {
            backoff.reset();
            log = ConditionLog::default();
        }
        let verdict = verdict(&error, &memory);
        if verdict.disposition == Disposition::Hold && looks_closer(&error, &mut memory) {
            tracing::debug!("{}; its transactions are applied one by one", error.chain());
            continue;
        }
        log.report(&error, verdict.code, verdict.disposition);
        let message = error.chain();
        context.board.set_error(ErrorReport {
            stage: stage(&error),
            code: verdict.code.as_str(),
            message: message.clone(),
            table: error.table().cloned(),
        });
        let reason = format!("{}: {message}", verdict.code);
        match verdict.disposition {
            Disposition::Exit => return RunEnd::Failed { code: verdict.code, error },
            Disposition::Hold => context.board.hold(reason),
            Disposition::Retry => context.board.set_state(State::Backoff, reason),
        }
        let delay = backoff.next_delay();
        let is_held = verdict.disposition == Disposition::Hold;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return RunEnd::Shutdown,
            // It may be the way out of what holds the pipeline.
            () = requests::arrived_meanwhile(context), if is_held => {}
            () = tokio::time::sleep(delay) => {}
        }
        context.board.reconnect(side(&error));
    }
}

/// The policy's verdict at this moment of our life. Until preflight has passed, a privilege that
/// lacks was never there: that is a server that is not prepared.
fn verdict(error: &PipelineError, memory: &Memory) -> Verdict {
    let verdict = judge(error, memory.reached.has(side(error)));
    if verdict.code == Code::E_ACCESS && !memory.is_preflighted {
        return Verdict { code: Code::E_PREFLIGHT, disposition: Disposition::Exit };
    }
    verdict
}

/// A rejected batch is tried again one transaction at a time, at once: the error is to name the one
/// that is rejected, and those before it are not held up by it. False when it was alone already.
fn looks_closer(error: &PipelineError, memory: &mut Memory) -> bool {
    let PipelineError::Batch { place, .. } = error else { return false };
    memory.alone_until = memory.alone_until.max(place.commit_lsn);
    place.transaction_count > 1
}

fn side(error: &PipelineError) -> Side {
    match error {
        PipelineError::Tail(_) | PipelineError::Oversized(_) => Side::Source,
        PipelineError::Query { side, .. }
        | PipelineError::Catalog { side, .. }
        | PipelineError::Wire { side, .. }
        | PipelineError::Silent { side } => *side,
        PipelineError::Slot(_)
        | PipelineError::PublicationGone { .. }
        | PipelineError::SnapshotGone
        | PipelineError::Answer { .. } => Side::Source,
        PipelineError::Copy { source, .. } => side(source),
        PipelineError::Connect(error) if error.side() == Side::Source.label() => Side::Source,
        _ => Side::Destination,
    }
}

fn stage(error: &PipelineError) -> &'static str {
    match error {
        PipelineError::Connect(_) | PipelineError::Silent { .. } => "connect",
        PipelineError::Tail(_) | PipelineError::Oversized(_) => "stream",
        PipelineError::Apply(_) | PipelineError::Batch { .. } => "apply",
        PipelineError::Checkpoint(_) | PipelineError::Store(_) => "checkpoint",
        PipelineError::Preflight(_) | PipelineError::Config { .. } => "preflight",
        PipelineError::Copy { .. }
        | PipelineError::QueryCopy { .. }
        | PipelineError::QueryResult { .. }
        | PipelineError::Rewritten { .. } => "snapshot",
        _ => "pipeline",
    }
}

/// What the log says of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    New,
    /// It lasts; so many attempts failed on it.
    Again {
        attempt: u64,
    },
    Nothing,
}

/// Logs a condition when it is new, and again now and then.
#[derive(Debug, Default)]
struct ConditionLog {
    last: Option<(String, Instant)>,
    attempt_count: u64,
}

impl ConditionLog {
    fn report(&mut self, error: &PipelineError, code: Code, disposition: Disposition) {
        let text = error.chain();
        let condition = format!("{code} {:?} {}", error.table(), error);
        let said = self.look(condition, Instant::now());
        let server = error.server_error();
        let constraint = server.as_ref().and_then(|server| server.constraint.as_deref());
        let table = error.table().map(ToString::to_string);
        let (key, lsn, hint) = (error.key(), error.lsn().map(|lsn| lsn.to_string()), error.hint());
        let code = code.as_str();
        match said {
            Said::Nothing => {}
            Said::New if disposition == Disposition::Retry => {
                tracing::warn!(code, table, key, constraint, lsn, hint, "{text}");
            }
            Said::New => tracing::error!(code, table, key, constraint, lsn, hint, "{text}"),
            Said::Again { attempt } => {
                tracing::warn!(code, table, key, constraint, lsn, attempt, "{text}");
            }
        }
    }

    /// What is to be said of a failed attempt.
    fn look(&mut self, condition: String, now: Instant) -> Said {
        self.attempt_count += 1;
        match &mut self.last {
            Some((known, logged)) if *known == condition => {
                if now.duration_since(*logged) < REMINDER {
                    return Said::Nothing;
                }
                *logged = now;
                Said::Again { attempt: self.attempt_count }
            }
            _ => {
                self.attempt_count = 1;
                self.last = Some((condition, now));
                Said::New
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_said_once_and_then_every_ten_minutes_with_the_attempt() {
        let mut log = ConditionLog::default();
        let start = Instant::now();
        // An attempt every fifteen seconds, for half an hour.
        let said: Vec<(u64, Said)> = (0..=120)
            .map(|attempt| (attempt, start + Duration::from_secs(15 * attempt)))
            .map(|(attempt, now)| (attempt + 1, log.look("E_CONFLICT t".to_owned(), now)))
            .filter(|(_, said)| *said != Said::Nothing)
            .collect();
        let again = |attempt| (attempt, Said::Again { attempt });
        assert_eq!(said, [(1, Said::New), again(41), again(81), again(121)]);
        let later = start + Duration::from_secs(1801);
        assert_eq!(log.look("E_DATA t".to_owned(), later), Said::New, "another condition");
        assert_eq!(log.look("E_CONFLICT t".to_owned(), later), Said::New, "which came back");
    }
}
