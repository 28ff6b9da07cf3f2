//! What is reported to the source, and when; pure, with time as a parameter.
//!
//! In: what was received, what became durable, what the server asks. Out: the positions of the next
//! standby status update ([`Feedback`]), and the idle positions worth recording ([`IdleRule`]).
//!
//! **Invariants:**
//! - `flushed_lsn` is only ever what [`Feedback::set_flushed`] was given, after it was durable.
//! - Reported positions never go back.
//!
//! When a report leaves, the first that applies:
//!
//! | why | when |
//! | --- | --- |
//! | nothing was reported yet | at once |
//! | the server asks, and we have news for it | at once |
//! | the server asks again and nothing is new | [`REPEAT_GAP`] after the last report |
//! | `flushed_lsn` advanced | at once, but [`PROMPT_GAP`] after the last report |
//! | otherwise | the status interval after the last report |
//!
//! A keepalive that asks for nothing is not answered: while it waits, a server whose position we
//! have not confirmed sends one in each turn of its loop (`WalSndWaitForWal` in `walsender.c`), and
//! an answer wakes that loop.

use std::time::{Duration, Instant};

use crate::pg::lsn::Lsn;

/// Between two reports because `flushed_lsn` advanced. Half of it doubles the messages of a busy
/// stream; double it and the source holds WAL and waits at shutdown that much longer.
const PROMPT_GAP: Duration = Duration::from_millis(100);

/// Between two reports that say the same. A server that shuts down asks again as soon as it is
/// answered, until we have confirmed everything: without a gap that is a hot loop on both sides.
const REPEAT_GAP: Duration = Duration::from_millis(10);

/// Between two idle positions recorded for no other reason. Each is a commit at the destination,
/// and where that is in the source's cluster it is itself the WAL of the next.
const IDLE_GAP: Duration = Duration::from_secs(10);

/// The positions of a standby status update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusLsns {
    /// Everything before it has been received.
    pub written: Lsn,
    /// Everything before it is durable at the destination and in the local mirror: the server
    /// discards what it needed for it.
    pub flushed: Lsn,
    /// The same position: what is applied and not yet flushed is nobody else's business.
    pub applied: Lsn,
}

/// Decides when a status update is due and what it says.
#[derive(Debug)]
pub struct Feedback {
    status_interval: Duration,
    received_lsn: Lsn,
    /// The acknowledged position. [`Lsn::ZERO`] until one is set, which tells the server nothing.
    flushed_lsn: Lsn,
    is_reply_requested: bool,
    last_report: Option<Report>,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    lsns: StatusLsns,
    at: Instant,
}

impl Feedback {
    /// `status_interval` must be well below the server's `wal_sender_timeout`.
    pub fn new(status_interval: Duration) -> Feedback {
        Feedback {
            status_interval,
            received_lsn: Lsn::ZERO,
            flushed_lsn: Lsn::ZERO,
            is_reply_requested: false,
            last_report: None,
        }
    }

    /// Everything before `lsn` has been received; a smaller value changes nothing.
    pub fn set_received(&mut self, lsn: Lsn) {
        self.received_lsn = self.received_lsn.max(lsn);
    }

    /// Everything before `lsn` is durable: checkpointed at the destination and mirrored. A smaller
    /// value changes nothing.
    pub fn set_flushed(&mut self, lsn: Lsn) {
        self.flushed_lsn = self.flushed_lsn.max(lsn);
    }

    pub fn on_keepalive(&mut self, reply_requested: bool) {
        self.is_reply_requested |= reply_requested;
    }

    /// The update to send now, if one is due. It counts as sent.
    pub fn due(&mut self, now: Instant) -> Option<StatusLsns> {
        if self.next_deadline(now) > now {
            return None;
        }
        let lsns = self.lsns();
        self.is_reply_requested = false;
        self.last_report = Some(Report { lsns, at: now });
        Some(lsns)
    }

    /// When [`Feedback::due`] will next have something, if nothing happens; `now` when it has.
    pub fn next_deadline(&self, now: Instant) -> Instant {
        let Some(Report { lsns: reported, at }) = self.last_report else {
            return now;
        };
        let gap = if self.is_reply_requested && self.lsns() != reported {
            Duration::ZERO
        } else if self.is_reply_requested {
            REPEAT_GAP
        } else if self.flushed_lsn > reported.flushed {
            PROMPT_GAP
        } else {
            self.status_interval
        };
        (at + gap.min(self.status_interval)).max(now)
    }

    /// The last report of a stream that ends now, whatever is due.
    pub fn final_report(&self) -> StatusLsns {
        self.lsns()
    }

    fn lsns(&self) -> StatusLsns {
        let flushed = self.flushed_lsn;
        StatusLsns { written: self.received_lsn.max(flushed), flushed, applied: flushed }
    }
}

// === impl IdleRule ===

/// Decides when the position of an idle stream is recorded at the destination.
///
/// Without transactions for us the source's WAL still grows, and the slot would hold all of it. A
/// keepalive's `wal_end` says that the server has sent us everything before it, so once nothing is
/// in flight it is as good as applied. It is recorded like a batch without rows, and only then
/// reported: a keepalive alone never moves what we confirm.
#[derive(Debug, Default)]
pub struct IdleRule {
    wal_end: Lsn,
    is_reply_requested: bool,
    /// Something was applied since the last idle position was recorded.
    is_after_data: bool,
    recorded_at: Option<Instant>,
}

/// Where the stream stands when the rule is asked.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// The destination's checkpoint.
    pub applied_lsn: Lsn,
    /// Whether anything received is not yet covered by it: a transaction begun and not committed,
    /// one that waits in a queue or batch, one being applied.
    pub is_busy: bool,
}

impl IdleRule {
    pub fn new() -> IdleRule {
        IdleRule::default()
    }

    pub fn on_keepalive(&mut self, wal_end: Lsn, reply_requested: bool) {
        self.wal_end = self.wal_end.max(wal_end);
        self.is_reply_requested |= reply_requested;
    }

    /// A batch was applied.
    pub fn on_applied(&mut self) {
        self.is_after_data = true;
    }

    /// The position to record now, if any: always beyond `applied_lsn`. It counts as recorded.
    pub fn due(&mut self, in_flight: InFlight, now: Instant) -> Option<Lsn> {
        let deadline = self.next_deadline(in_flight, now);
        if !in_flight.is_busy {
            self.is_reply_requested = false;
        }
        if deadline? > now {
            return None;
        }
        self.is_after_data = false;
        self.recorded_at = Some(now);
        Some(self.wal_end)
    }

    /// When [`IdleRule::due`] will next have something, if nothing happens; `None` while there is
    /// nothing to record.
    pub fn next_deadline(&self, in_flight: InFlight, now: Instant) -> Option<Instant> {
        if in_flight.is_busy || self.wal_end <= in_flight.applied_lsn {
            return None;
        }
        match self.recorded_at {
            Some(at) if !self.is_reply_requested && !self.is_after_data => {
                Some((at + IDLE_GAP).max(now))
            }
            _ => Some(now),
        }
    }
}

#[cfg(test)]
mod tests;
