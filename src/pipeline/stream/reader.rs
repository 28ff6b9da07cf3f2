//! The task that owns the replication connection: events to batches, batches to the applier,
//! durable positions to the feedback.

mod drain;
mod take;

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::batch::Limits;
use crate::failpoint;
use crate::model::change::Begin;
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::{Board, State, TableState};
use crate::pipeline::stream::applier::{ApplierTask, Work};
use crate::pipeline::stream::held::Held;
use crate::pipeline::stream::intake::Intake;
use crate::pipeline::stream::link::{ApplierLink, Told};
use crate::pipeline::stream::past::Past;
use crate::pipeline::stream_tables::{Restart, StreamTables};
use crate::source::feedback::InFlight;
use crate::source::{IdleRule, Tail};
use drain::applier_error;

/// How far behind the source's WAL end the stream counts as having a backlog, in bytes. Less is
/// read in a few milliseconds; waiting for company would only add to the latency.
const BACKLOG_BYTES: u64 = 1 << 20;

/// How long a batch may fill while there is a backlog. What waits in it is late already, and a
/// large batch costs the destination less than many small ones; double it and little is gained.
const BACKLOG_DELAY: Duration = Duration::from_millis(100);

/// How a stream ended, other than by an error.
#[derive(Debug)]
pub enum ReaderEnd {
    Shutdown,
    /// Stopped, and the batch in hand did not finish in time.
    CutOff,
    /// The position asked for is applied.
    CaughtUp,
    /// A table changed in a way that needs another stream; all before it is applied.
    Restart(Restart),
}

/// Where the stream is going.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// The stream ends once this is applied.
    pub(super) until: Option<Lsn>,
    /// The stream ends before the first transaction whose commit stands here or later.
    pub(super) before: Option<Lsn>,
    /// From here on it is streaming, before it is catching up.
    pub(super) caught_up_at: Lsn,
    /// It has all tables: where it streams, the pipeline does.
    pub(super) is_whole: bool,
    /// Commits up to here are applied one by one: one of them was rejected among others.
    pub(super) alone_until: Lsn,
    /// What the stream must show of what was applied before.
    pub(super) past: Past,
}

#[derive(Debug)]
pub(super) struct Reader {
    tail: Tail,
    tables: StreamTables,
    goal: Goal,
    is_streaming: bool,
    /// What the source sent again has been compared with what was applied. Until then nothing is
    /// confirmed to it.
    is_past_checked: bool,
    intake: Intake,
    board: Board,
    link: ApplierLink,
    idle_rule: IdleRule,
    held: Held,
    /// What the transaction being received announced.
    begun: Begin,
    /// Why the stream ends: nothing more of it is taken in.
    end: Option<ReaderEnd>,
    /// The source's WAL end as last polled.
    wal_end_polled: Lsn,
    queue_capacity_bytes: u64,
}

impl Reader {
    pub(super) fn new(
        tail: Tail,
        tables: StreamTables,
        goal: Goal,
        limits: Limits,
        board: Board,
        link: ApplierLink,
    ) -> Reader {
        let (calculator, is_binary) = tables.calculation();
        let intake = Intake::new(limits, calculator, is_binary);
        Reader {
            tail,
            tables,
            goal,
            is_streaming: false,
            is_past_checked: false,
            intake,
            board,
            link,
            idle_rule: IdleRule::new(),
            held: Held::default(),
            begun: Begin { commit_lsn: Lsn::ZERO, commit_time: PgTimestamp(0), xid: 0 },
            end: None,
            wal_end_polled: Lsn::ZERO,
            queue_capacity_bytes: 4 * limits.memory_bytes_max as u64,
        }
    }

    /// Reads until something ends it, then lets the applier finish what it has.
    pub(super) async fn run(
        mut self,
        shutdown: CancellationToken,
        grace: Duration,
        mut applier: ApplierTask,
    ) -> Result<ReaderEnd, PipelineError> {
        let result = tokio::select! {
            biased;
            // The applier ends by itself only with an error: nothing else matters then.
            ended = &mut applier => return Err(applier_error(ended)),
            result = self.read(&shutdown) => result,
        };
        match result {
            // What came before our own failure is applied, so that the position stands right
            // before the transaction that cannot be.
            Err(error) if error.is_about_data() => {
                self.intake.batcher_mut().close();
                self.drain(grace, &mut applier).await?;
                Err(error)
            }
            Err(error) => {
                applier.abort();
                Err(error)
            }
            Ok(end) => {
                failpoint::hit(failpoint::DRAIN_BEGUN).await;
                if matches!(end, ReaderEnd::Restart(_) | ReaderEnd::CaughtUp) {
                    // As above: the next stream begins right before the transaction in hand.
                    self.intake.batcher_mut().close();
                }
                if !self.drain(grace, &mut applier).await? {
                    return Ok(ReaderEnd::CutOff);
                }
                failpoint::hit(failpoint::DRAINED).await;
                if let Err(error) = self.tail.stop().await {
                    tracing::debug!(%error, "the replication connection did not end in order");
                }
                Ok(end)
            }
        }
    }

    async fn read(&mut self, shutdown: &CancellationToken) -> Result<ReaderEnd, PipelineError> {
        loop {
            // Also where nothing is left to do: a source that is idle says nothing for a long time.
            if self.is_past_checked && self.is_caught_up() {
                return Ok(ReaderEnd::CaughtUp);
            }
            self.hand_over(Instant::now());
            let deadline = self.deadline(self.idle_deadline());
            let is_behind = self.is_behind();
            self.tail.set_gathering(is_behind);
            self.board.confirmed(self.tail.confirmed_lsn());
            let can_read = self.can_read();
            tokio::select! {
                biased;
                // A stop is never late for data.
                () = shutdown.cancelled() => return Ok(ReaderEnd::Shutdown),
                // Feedback, and an applier that waits, even under load.
                told = self.link.next() => if told == Told::Moved { self.on_progress(); },
                // Full: only status updates go out until the applier takes a batch.
                event = self.tail.next_if(can_read) => {
                    self.take_turn(event?).await?;
                    if let Some(end) = self.end.take() { return Ok(end); }
                }
                // Nothing to read at this moment: an idle applier gets what there is.
                () = std::future::ready(()), if can_read && !is_behind && self.can_hand_over() => {
                    self.intake.batcher_mut().close();
                }
                () = tokio::time::sleep_until(deadline.into()) => self.ask_if_waiting().await?,
            }
        }
    }

    /// Somebody waits for a position: an idle server says how far it is only when asked.
    async fn ask_if_waiting(&mut self) -> Result<(), PipelineError> {
        if self.goal.until.is_some() && !self.in_flight().is_busy {
            self.tail.ask().await?;
        }
        Ok(())
    }

    fn can_hand_over(&self) -> bool {
        self.link.is_ready() && self.intake.batcher().has_ready()
    }

    /// Gives the applier the next closed batch, one that is due, or an idle position.
    fn hand_over(&mut self, now: Instant) {
        if !self.link.is_ready() {
            return;
        }
        if !self.intake.batcher().has_closed() && self.batch_due().is_some_and(|due| due <= now) {
            self.intake.batcher_mut().close();
        }
        let work = match self.intake.batcher_mut().next_closed() {
            Some(batch) => Work::Batch(batch),
            None => match self.idle_rule.due(self.in_flight(), now) {
                Some(lsn) => Work::Idle(lsn),
                None => return,
            },
        };
        self.link.send(work);
    }

    /// Whether there is room for more: a batch that waits, or a large value that is being applied,
    /// is waited for. What is received is never too much by itself: it could not be applied else.
    fn can_read(&self) -> bool {
        if self.intake.batcher().has_closed() {
            return false;
        }
        let sent_bytes = self.link.sent_bytes();
        let held_bytes = self.intake.batcher().memory_bytes() as u64 + sent_bytes;
        !self.link.is_busy() || sent_bytes == 0 || held_bytes <= self.queue_capacity_bytes
    }

    /// The source has much more for us than what we have read.
    fn is_behind(&self) -> bool {
        let received_lsn = self.tail.received_lsn();
        self.wal_end_polled.bytes_since(received_lsn) > BACKLOG_BYTES
    }

    /// When the open batch must leave. With a backlog the delay gives way to the other limits.
    fn batch_due(&self) -> Option<Instant> {
        let due = self.intake.batcher().due()?;
        Some(if self.is_behind() { due + BACKLOG_DELAY } else { due })
    }

    fn in_flight(&self) -> InFlight {
        InFlight {
            applied_lsn: self.link.positions().applied_lsn,
            is_busy: self.link.is_busy() || !self.intake.is_empty() || self.tail.in_transaction(),
        }
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.idle_rule.next_deadline(self.in_flight(), Instant::now())
    }

    fn deadline(&self, idle: Option<Instant>) -> Instant {
        let fallback = Instant::now() + Duration::from_secs(1);
        // Without a ready applier neither can be acted on; its readiness wakes the loop.
        if !self.link.is_ready() {
            return fallback;
        }
        [self.batch_due(), idle].into_iter().flatten().fold(fallback, Instant::min)
    }

    fn on_progress(&mut self) {
        let positions = self.link.positions();
        self.idle_rule.on_applied();
        self.confirm(positions.flushed_lsn);
        self.reached(positions.applied_lsn);
        self.show_queue();
    }

    /// The source may forget what is durable, once it has shown that it is the one that we know.
    fn confirm(&mut self, flushed_lsn: Lsn) {
        if self.is_past_checked {
            self.tail.set_flushed(flushed_lsn);
        }
    }

    /// Nothing up to `lsn` is missing at the destination.
    fn reached(&mut self, lsn: Lsn) {
        if self.is_streaming || lsn < self.goal.caught_up_at {
            return;
        }
        self.is_streaming = true;
        if self.goal.is_whole {
            self.board.set_state(State::Streaming, "streaming");
            self.board.clear_error();
        }
        for table in self.tables.followed() {
            self.board.table_state(&table, TableState::Ready);
        }
        tracing::info!(%lsn, "caught up; streaming");
    }

    fn is_caught_up(&self) -> bool {
        let Some(until) = self.goal.until else { return false };
        let positions = self.link.positions();
        positions.flushed_lsn >= until && positions.flushed_lsn >= positions.applied_lsn
    }

    fn show_queue(&self) {
        self.board.queue(self.intake.batcher().memory_bytes() as u64, self.queue_capacity_bytes);
    }
}
