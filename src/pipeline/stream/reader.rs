//! The task that owns the replication connection: events to batches, batches to the applier,
//! durable positions to the feedback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::batch::Limits;
use crate::failpoint;
use crate::model::change::{Begin, Change, Op, RowChange, TailEvent};
use crate::model::table::Table;
use crate::pg::channel::READ_BYTES;
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::{Board, ConflictKind, State, TableState};
use crate::pipeline::stream::applier::{ApplierTask, Work};
use crate::pipeline::stream::held::Held;
use crate::pipeline::stream::intake::Intake;
use crate::pipeline::stream::past::Past;
use crate::pipeline::stream::progress::ProgressReader;
use crate::pipeline::stream_tables::{Resolution, Restart, StreamTable, StreamTables};
use crate::source::feedback::InFlight;
use crate::source::{IdleRule, Tail};

/// Events taken in one turn before the other arms of the loop are looked at: well under a
/// millisecond of work.
const EVENTS_PER_TURN: usize = 1024;

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

/// The reader's ends of the channels.
#[derive(Debug)]
pub struct Links {
    pub work: mpsc::Sender<Work>,
    pub ready: mpsc::Receiver<()>,
    pub progress: ProgressReader,
}

/// Where the stream is going.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The stream ends once this is applied.
    pub until: Option<Lsn>,
    /// The stream ends before the first transaction whose commit stands here or later.
    pub before: Option<Lsn>,
    /// From here on it is streaming, before it is catching up.
    pub caught_up_at: Lsn,
    /// It has all tables: where it streams, the pipeline does.
    pub is_whole: bool,
    /// Commits up to here are applied one by one: one of them was rejected among others.
    pub alone_until: Lsn,
    /// What the stream must show of what was applied before.
    pub past: Past,
}

#[derive(Debug)]
pub struct Reader {
    tail: Tail,
    tables: StreamTables,
    goal: Goal,
    is_streaming: bool,
    /// What the source sent again has been compared with what was applied. Until then nothing is
    /// confirmed to it.
    is_past_checked: bool,
    intake: Intake,
    board: Board,
    links: Links,
    idle_rule: IdleRule,
    /// The applier is idle and has not been given anything since it said so.
    is_applier_ready: bool,
    sent_count: u64,
    /// What was last given to the applier holds so much memory until it is finished.
    sent_bytes: u64,
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
    pub fn new(
        tail: Tail,
        tables: StreamTables,
        goal: Goal,
        limits: Limits,
        board: Board,
        links: Links,
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
            links,
            idle_rule: IdleRule::new(),
            is_applier_ready: false,
            sent_count: 0,
            sent_bytes: 0,
            held: Held::default(),
            begun: Begin { commit_lsn: Lsn::ZERO, commit_time: PgTimestamp(0), xid: 0 },
            end: None,
            wal_end_polled: Lsn::ZERO,
            queue_capacity_bytes: 4 * limits.memory_bytes_max as u64,
        }
    }

    /// Reads until something ends it, then lets the applier finish what it has.
    pub async fn run(
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
                // What became durable must reach the source even under load.
                changed = self.links.progress.changed() => {
                    if changed.is_ok() { self.on_progress(); }
                    if self.is_caught_up() { return Ok(ReaderEnd::CaughtUp); }
                }
                // Cheap, and decides whether a batch may leave.
                Some(()) = self.links.ready.recv(), if !self.is_applier_ready => {
                    self.is_applier_ready = true;
                }
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

    /// Asked once, when the stream has come to where we are: before the first transaction that is
    /// not skipped, or when the server says that it is there.
    fn check_past(&mut self) -> Result<(), PipelineError> {
        if self.is_past_checked {
            return Ok(());
        }
        let message = self.goal.past.contradiction(self.tail.last_skipped());
        if let Some(message) = message {
            return Err(PipelineError::Lineage { message });
        }
        self.is_past_checked = true;
        let flushed_lsn = self.links.progress.borrow().flushed_lsn;
        self.tail.set_flushed(flushed_lsn);
        Ok(())
    }

    fn can_hand_over(&self) -> bool {
        self.is_applier_ready && self.intake.batcher().has_ready()
    }

    /// Gives the applier the next closed batch, one that is due, or an idle position.
    fn hand_over(&mut self, now: Instant) {
        if !self.is_applier_ready {
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
        self.send(work);
    }

    fn send(&mut self, work: Work) {
        let sent_bytes = match &work {
            Work::Batch(batch) => batch.memory_bytes as u64,
            Work::Idle(_) => 0,
        };
        if self.links.work.try_send(work).is_ok() {
            self.is_applier_ready = false;
            self.sent_count += 1;
            self.sent_bytes = sent_bytes;
        }
    }

    /// Whether there is room for more: a batch that waits, or a large value that is being applied,
    /// is waited for. What is received is never too much by itself: it could not be applied else.
    fn can_read(&self) -> bool {
        if self.intake.batcher().has_closed() {
            return false;
        }
        let is_applying = self.links.progress.borrow().finished_count < self.sent_count;
        let held_bytes = self.intake.batcher().memory_bytes() as u64 + self.sent_bytes;
        !is_applying || self.sent_bytes == 0 || held_bytes <= self.queue_capacity_bytes
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
        let positions = self.links.progress.borrow();
        InFlight {
            applied_lsn: positions.applied_lsn,
            is_busy: positions.finished_count < self.sent_count
                || !self.intake.is_empty()
                || self.tail.in_transaction(),
        }
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.idle_rule.next_deadline(self.in_flight(), Instant::now())
    }

    fn deadline(&self, idle: Option<Instant>) -> Instant {
        let fallback = Instant::now() + Duration::from_secs(1);
        // Without a ready applier neither can be acted on; its readiness wakes the loop.
        if !self.is_applier_ready {
            return fallback;
        }
        [self.batch_due(), idle].into_iter().flatten().fold(fallback, Instant::min)
    }

    fn on_progress(&mut self) {
        let positions = *self.links.progress.borrow_and_update();
        self.idle_rule.on_applied();
        if self.is_past_checked {
            self.tail.set_flushed(positions.flushed_lsn);
        }
        self.reached(positions.applied_lsn);
        self.show_queue();
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
        let positions = *self.links.progress.borrow();
        positions.flushed_lsn >= until && positions.flushed_lsn >= positions.applied_lsn
    }

    /// Takes an event, and those that came with it.
    async fn take_turn(&mut self, first: TailEvent) -> Result<(), PipelineError> {
        let taken = self.take_events(first).await;
        // Also before an error: what came before it is applied.
        self.settle().await?;
        taken?;
        self.board.received(self.tail.received_lsn(), self.tail.take_received_bytes());
        self.wal_end_polled = self.board.wal_end().unwrap_or(Lsn::ZERO);
        self.board.message_received(PgTimestamp::now());
        Ok(())
    }

    async fn take_events(&mut self, first: TailEvent) -> Result<(), PipelineError> {
        self.take(first).await?;
        for _ in 0..EVENTS_PER_TURN {
            let is_enough = self.intake.batcher().has_closed() || self.intake.is_full();
            if is_enough || self.end.is_some() {
                break;
            }
            match self.tail.try_next()? {
                Some(event) => self.take(event).await?,
                None => break,
            }
        }
        Ok(())
    }

    /// What waits to be computed is computed. The source must not miss us meanwhile.
    async fn settle(&mut self) -> Result<(), PipelineError> {
        if !self.intake.is_open() {
            return Ok(());
        }
        tokio::select! {
            biased;
            settled = self.intake.settle() => settled,
            never = self.tail.keep_alive() => match never? {},
        }
    }

    async fn take(&mut self, event: TailEvent) -> Result<(), PipelineError> {
        self.held.event(self.tail.total_bytes());
        match event {
            TailEvent::Begin(begin) => {
                self.check_past()?;
                if self.goal.before.is_some_and(|before| begin.commit_lsn >= before) {
                    self.end = Some(ReaderEnd::CaughtUp);
                    return Ok(());
                }
                self.begun = begin;
                self.tables.begin(begin);
                self.intake.begin(begin);
            }
            TailEvent::Change(change) => self.take_change(change).await?,
            TailEvent::Commit(commit) => {
                let is_alone = commit.commit_lsn <= self.goal.alone_until;
                self.intake.commit(commit, is_alone);
            }
            TailEvent::Keepalive { wal_end, reply_requested } => {
                if wal_end >= self.goal.past.resume_lsn {
                    self.check_past()?;
                }
                self.idle_rule.on_keepalive(wal_end, reply_requested);
                if !self.in_flight().is_busy {
                    self.board.idle_up_to(wal_end);
                    self.reached(wal_end);
                }
            }
        }
        Ok(())
    }

    async fn take_change(&mut self, change: Change) -> Result<(), PipelineError> {
        match change {
            Change::Row { table, change } => {
                let Some(stream_table) = self.resolve(&table).await? else { return Ok(()) };
                let change = match stream_table.needs_values(&change, self.begun.commit_lsn) {
                    false => change,
                    true => match self.read_values(&table, &stream_table, change).await? {
                        Some(change) => change,
                        None => return Ok(()),
                    },
                };
                if let Some(taken) = stream_table.take(change, self.begun)? {
                    let held_bytes = self.held.keep(READ_BYTES as u64);
                    self.intake.take_row(&stream_table, taken, held_bytes, self.begun);
                }
            }
            // Ours alone to make.
            Change::Left { .. } => {}
            Change::Truncate(truncate) => {
                for table in &truncate.tables {
                    if self.resolve(table).await?.is_none() {
                        return Ok(());
                    }
                }
                let truncated = self.tables.truncate(truncate, self.begun.commit_lsn)?;
                for table in &truncated.ignored {
                    self.board.rows(table, Op::Truncate, 1);
                }
                if let Some((change, policy)) = truncated.change {
                    self.intake.push(change, policy);
                }
            }
        }
        Ok(())
    }

    /// What happens to the table's changes. `None`: the stream has to begin anew for it.
    async fn resolve(
        &mut self,
        table: &Arc<Table>,
    ) -> Result<Option<Arc<StreamTable>>, PipelineError> {
        if let Some(known) = self.tables.known(table, self.begun.commit_lsn) {
            return Ok(Some(known));
        }
        // Asking both servers takes a while; the source must not miss us.
        let resolution = tokio::select! {
            biased;
            resolved = self.tables.resolve(table, self.begun.commit_lsn) => resolved?,
            never = self.tail.keep_alive() => match never? {},
        };
        match resolution {
            Resolution::Known(known) => Ok(Some(known)),
            Resolution::Restart(restart) => {
                self.end = Some(ReaderEnd::Restart(restart));
                Ok(None)
            }
        }
    }

    /// The row of a change without all its values, completed at the source.
    async fn read_values(
        &mut self,
        table: &Arc<Table>,
        followed: &StreamTable,
        change: RowChange,
    ) -> Result<Option<RowChange>, PipelineError> {
        self.board.conflict(&table.name, ConflictKind::UpdateMissing, 1);
        tokio::select! {
            biased;
            completed = self.tables.complete(table, followed, change) => completed,
            never = self.tail.keep_alive() => match never? {},
        }
    }

    fn show_queue(&self) {
        self.board.queue(self.intake.batcher().memory_bytes() as u64, self.queue_capacity_bytes);
    }

    /// Hands over what is closed and waits until the applier and the mirror are done with it. False
    /// where that took too long.
    async fn drain(
        &mut self,
        grace: Duration,
        applier: &mut ApplierTask,
    ) -> Result<bool, PipelineError> {
        let draining = async {
            let mut has_source = true;
            loop {
                self.hand_over_closed();
                let positions = *self.links.progress.borrow_and_update();
                if self.is_past_checked {
                    self.tail.set_flushed(positions.flushed_lsn);
                }
                let is_done = positions.finished_count >= self.sent_count
                    && !self.intake.batcher().has_closed()
                    && positions.flushed_lsn >= positions.applied_lsn;
                if is_done {
                    return Ok(true);
                }
                tokio::select! {
                    biased;
                    changed = self.links.progress.changed() => {
                        if changed.is_err() { return Ok(true); }
                    }
                    Some(()) = self.links.ready.recv(), if !self.is_applier_ready => {
                        self.is_applier_ready = true;
                    }
                    ended = &mut *applier => return Err(applier_error(ended)),
                    // A source that is gone does not stop the destination's last commit.
                    _ = self.tail.keep_alive(), if has_source => {
                        tracing::debug!("the replication connection ended during the drain");
                        has_source = false;
                    }
                }
            }
        };
        match tokio::time::timeout(grace, draining).await {
            Ok(result) => result,
            Err(_) => {
                tracing::warn!(
                    grace_seconds = grace.as_secs_f64(),
                    "the batch in hand did not finish in time and is rolled back"
                );
                applier.abort();
                Ok(false)
            }
        }
    }

    fn hand_over_closed(&mut self) {
        if self.is_applier_ready
            && let Some(batch) = self.intake.batcher_mut().next_closed()
        {
            self.send(Work::Batch(batch));
        }
    }
}

fn applier_error(
    ended: Result<Result<(), PipelineError>, tokio::task::JoinError>,
) -> PipelineError {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => PipelineError::TaskEnded { task: "applier" },
        Err(error) => PipelineError::TaskFailed { task: "applier", source: error },
    }
}
