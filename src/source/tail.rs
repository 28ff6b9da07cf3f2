//! The replication stream of one connection: messages in, events out, status updates on their own
//! timer.
//!
//! The server ends a stream whose client is silent for `wal_sender_timeout`. So every wait in here
//! is also a wait for the next status update, and a caller that cannot take another event waits in
//! [`Tail::keep_alive`] instead of elsewhere.
//!
//! **Invariant:** [`Tail::next`] and [`Tail::keep_alive`] are cancel-safe: no event and no byte is
//! lost when they are dropped.

use std::time::{Duration, Instant};

use crate::failpoint;
use crate::model::change::TailEvent;
use crate::pg::lsn::Lsn;
use crate::pg::server_error::ServerError;
use crate::pg::time::PgTimestamp;
use crate::pgoutput::{self, DecodeError};
use crate::source::assemble::Assembler;
use crate::source::error::AssembleError;
use crate::source::feedback::{Feedback, StatusLsns};
use crate::source::oversized::Oversized;
use crate::source::relation::{KeyLookup, RelationCache};
use crate::wire::{
    CopyBoth, Envelope, Session, StatusUpdate, StreamOptions, WireError, start_replication_sql,
};

/// How often the source hears from us at least. A third of the smallest `wal_sender_timeout` that
/// anybody runs with (3 s); its default is 60 s.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Events between two looks at the clock while the stream is busy: about a millisecond's worth.
const EVENTS_PER_CLOCK_LOOK: u32 = 512;

#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("the replication connection failed")]
    Wire(#[from] WireError),
    #[error("the replication stream holds a message that cannot be read")]
    Decode(#[from] DecodeError),
    #[error("the replication stream breaks the protocol")]
    Assemble(#[from] AssembleError),
    /// PostgreSQL 18 and up skips a missing publication with a warning, and its rows with it.
    #[error("the source cannot use a publication of ours: {0}")]
    Publication(Box<ServerError>),
    #[error(transparent)]
    Oversized(Box<Oversized>),
    #[error("the source ended the replication stream")]
    Ended,
}

/// How long a read waits for company while there is a backlog. The server sends every message by
/// itself; reading each as it comes costs a wake-up of both sides for a few hundred bytes.
const GATHER_DELAY: Duration = Duration::from_millis(1);

/// A burst of this size needs no company.
const BURST_BYTES: u64 = 64 * 1024;

/// Where a stream begins.
#[derive(Clone, Copy, Debug)]
pub struct TailStart {
    /// The destination's checkpoint: what commits before it is applied, and skipped if it is sent.
    pub resume_lsn: Lsn,
    /// What is asked for; not beyond `resume_lsn`. What lies between shows whose history it is.
    pub from_lsn: Lsn,
    /// The slot's own position, which is confirmed already.
    pub confirmed_lsn: Lsn,
}

/// One replication connection that streams.
#[derive(Debug)]
pub struct Tail {
    copy_both: CopyBoth,
    assembler: Assembler,
    feedback: Feedback,
    received_lsn: Lsn,
    received_bytes: u64,
    confirmed_lsn: Lsn,
    events_to_clock_look: u32,
    /// There is much to read: bursts are gathered.
    is_gathering: bool,
    /// `received_bytes` at the last wait for the network.
    burst_start: u64,
    total_bytes: u64,
}

impl Tail {
    /// Starts streaming. Nothing more than the slot has already is confirmed before the first
    /// [`Tail::set_flushed`].
    pub async fn start(
        session: Session,
        slot: &str,
        start: TailStart,
        options: &StreamOptions,
        keys: KeyLookup,
    ) -> Result<Tail, TailError> {
        let TailStart { resume_lsn, from_lsn, confirmed_lsn } = start;
        let sql = start_replication_sql(slot, from_lsn.min(resume_lsn), options);
        let mut copy_both = session.start_replication(&sql).await?;
        copy_both
            .look_for_oversized(|payload, limit| pgoutput::oversized(payload, limit).is_some());
        let mut feedback = Feedback::new(STATUS_INTERVAL);
        feedback.set_flushed(confirmed_lsn.min(resume_lsn));
        Ok(Tail {
            copy_both,
            assembler: Assembler::new(RelationCache::new(keys), resume_lsn),
            feedback,
            received_lsn: resume_lsn,
            received_bytes: 0,
            confirmed_lsn: confirmed_lsn.min(resume_lsn),
            events_to_clock_look: 0,
            is_gathering: false,
            burst_start: 0,
            total_bytes: 0,
        })
    }

    /// Everything before `lsn` is durable at the destination and in the local mirror.
    pub fn set_flushed(&mut self, lsn: Lsn) {
        self.feedback.set_flushed(lsn);
    }

    /// Whether there is a backlog, so that throughput counts and a millisecond does not.
    pub fn set_gathering(&mut self, is_gathering: bool) {
        self.is_gathering = is_gathering;
    }

    /// Asks the server how far it is: a keepalive follows.
    pub async fn ask(&mut self) -> Result<(), TailError> {
        let update = status_update(self.feedback.final_report(), true);
        Ok(self.copy_both.send_status(update).await?)
    }

    pub fn received_lsn(&self) -> Lsn {
        self.received_lsn
    }

    /// The position last reported as flushed.
    pub fn confirmed_lsn(&self) -> Lsn {
        self.confirmed_lsn
    }

    /// Bytes received since the last call.
    pub fn take_received_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.received_bytes)
    }

    /// Bytes received since the start.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    pub fn in_transaction(&self) -> bool {
        self.assembler.in_transaction()
    }

    /// The last transaction left out because it was applied before.
    pub fn last_skipped(&self) -> Option<crate::model::change::Commit> {
        self.assembler.last_skipped()
    }

    /// The next event already received; none when the next one needs the network.
    pub fn try_next(&mut self) -> Result<Option<TailEvent>, TailError> {
        while let Some(envelope) = self.copy_both.try_recv()? {
            if let Some(event) = self.take(envelope)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The next event.
    pub async fn next(&mut self) -> Result<TailEvent, TailError> {
        loop {
            if self.events_to_clock_look == 0 {
                self.report_if_due().await?;
                self.events_to_clock_look = EVENTS_PER_CLOCK_LOOK;
            }
            self.events_to_clock_look -= 1;
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            self.report_if_due().await?;
            if self.is_gathering && self.total_bytes - self.burst_start < BURST_BYTES {
                tokio::time::sleep(GATHER_DELAY).await;
            }
            self.burst_start = self.total_bytes;
            let deadline = self.feedback.next_deadline(Instant::now());
            tokio::select! {
                biased;
                // Data first: the timer comes again.
                envelope = self.copy_both.recv() => {
                    if let Some(event) = self.take(envelope?)? {
                        return Ok(event);
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
        }
    }

    /// [`Tail::next`] if the caller can take an event, else [`Tail::keep_alive`].
    pub async fn next_if(&mut self, can_take: bool) -> Result<TailEvent, TailError> {
        if can_take {
            return self.next().await;
        }
        match self.keep_alive().await? {}
    }

    /// Sends status updates as they fall due and reads nothing. Ends only with an error.
    pub async fn keep_alive(&mut self) -> Result<std::convert::Infallible, TailError> {
        loop {
            self.report_if_due().await?;
            let deadline = self.feedback.next_deadline(Instant::now());
            tokio::time::sleep_until(deadline.into()).await;
        }
    }

    async fn report_if_due(&mut self) -> Result<(), TailError> {
        let Some(lsns) = self.feedback.due(Instant::now()) else {
            return Ok(());
        };
        self.copy_both.send_status(status_update(lsns, false)).await?;
        if lsns.flushed > self.confirmed_lsn {
            failpoint::hit(failpoint::FEEDBACK_SENT).await;
        }
        self.confirmed_lsn = self.confirmed_lsn.max(lsns.flushed);
        Ok(())
    }

    fn take(&mut self, envelope: Envelope) -> Result<Option<TailEvent>, TailError> {
        match envelope {
            Envelope::Data { start_lsn, payload, .. } => {
                self.received_bytes += payload.len() as u64;
                self.total_bytes += payload.len() as u64;
                self.received_lsn = self.received_lsn.max(start_lsn);
                self.feedback.set_received(start_lsn);
                // Streaming of unfinished transactions is never asked for.
                let message = pgoutput::decode(payload, false)?;
                Ok(self.assembler.feed(message)?)
            }
            Envelope::Keepalive { wal_end, reply_requested, .. } => {
                self.received_lsn = self.received_lsn.max(wal_end);
                self.feedback.set_received(wal_end);
                self.feedback.on_keepalive(reply_requested);
                Ok(Some(TailEvent::Keepalive { wal_end, reply_requested }))
            }
            Envelope::Notice(notice) if is_publication_skipped(&notice) => {
                Err(TailError::Publication(notice))
            }
            Envelope::Notice(notice) => {
                tracing::warn!(notice = %notice, "the source sent a notice");
                Ok(None)
            }
            Envelope::Oversized { bytes } => Err(self.oversized(bytes)),
            Envelope::End => {
                self.assembler.finish()?;
                Err(TailError::Ended)
            }
        }
    }

    /// Names the row that is too large to be taken in.
    fn oversized(&self, message_bytes: usize) -> TailError {
        let limit = self.copy_both.value_bytes_max();
        let payload = self.copy_both.unread();
        let found = pgoutput::oversized(payload, limit);
        let table = pgoutput::relation_id(payload).and_then(|id| self.assembler.table(id));
        let Some(table) = table else {
            let tag = crate::pg::channel::tag::COPY_DATA;
            return WireError::TooLarge { tag, bytes: message_bytes, limit }.into();
        };
        let column = found.and_then(|found| table.columns.get(found.column));
        TailError::Oversized(Box::new(Oversized {
            table: table.name.clone(),
            key: table.key_columns().map(|column| column.name.clone()).collect(),
            column: column.map(|column| column.name.clone()),
            bytes: found.map_or(message_bytes, |found| found.bytes),
            limit,
            lsn: self.assembler.commit_lsn(),
        }))
    }

    /// Reports what is durable and ends the stream in order.
    pub async fn stop(mut self) -> Result<(), TailError> {
        let update = status_update(self.feedback.final_report(), false);
        self.copy_both.send_status(update).await?;
        self.copy_both.finish().await?;
        Ok(())
    }
}

fn status_update(lsns: StatusLsns, reply_requested: bool) -> StatusUpdate {
    StatusUpdate {
        written: lsns.written,
        flushed: lsns.flushed,
        applied: lsns.applied,
        clock: PgTimestamp::now(),
        reply_requested,
    }
}

/// `skipped loading publication "…"` (55000, `pgoutput.c` of version 18).
fn is_publication_skipped(notice: &ServerError) -> bool {
    notice.code == tokio_postgres::error::SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
        && notice.message.contains("publication")
}
