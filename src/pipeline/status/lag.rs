//! Lag in seconds: how old is the oldest source change that is not at the destination?
//!
//! Nobody can look it up: the change has not been read yet, perhaps. But the source is polled every
//! second for its WAL end, and that bounds the answer from above, which is the side to err on:
//!
//! ```text
//!   poll       1        2        3        4            now
//!   WAL end    A        B        C        D
//!                          ^ covered
//! ```
//!
//! Everything up to `covered` is at the destination, and C is the first WAL end beyond it. At poll
//! 2 the source had not written more than B, so whatever is missing was written after poll 2: the
//! lag is at most `now - time of poll 2`. It grows by itself while nothing moves, be it that the
//! destination stalls or that the source is gone, because `now` goes on.
//!
//! A second bound is the commit time of the last applied transaction: commits arrive in the order
//! of their commit records, so that what is missing committed later. The smaller bound counts. It
//! is also the only one after a start with a backlog, when the first poll already finds more than
//! is covered; before a commit is known then, the lag is absent.
//!
//! When everything up to the last poll is covered the lag is 0, except when that poll is old: then
//! there may be changes that we cannot know of, and the lag is the age of the poll.
//!
//! Ages are the larger of two measurements, this machine's steady clock and the source's own clock:
//! the first misses a suspended machine, the second a clock that was set back.
//!
//! **Invariant:** never negative, and never below the real lag (by more than what concurrent commits
//! on the source differ between taking their timestamp and writing their record).

use std::collections::VecDeque;

use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;

/// How old a poll may be before it no longer says that there is nothing new: two poll intervals.
/// Half of it would show a lag at each late poll, twice of it would hide one for as long.
const POLL_OVERDUE_MICROS: i64 = 2_000_000;

/// How many polls are remembered: 8.5 minutes at full resolution. More are thinned out, oldest
/// first, which only makes the bound looser: with a backlog of hours by minutes.
const SAMPLES_MAX: usize = 512;

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) steady_micros: i64,
    pub(super) source: PgTimestamp,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    wal_end: Lsn,
    /// The last poll that still found this WAL end.
    at: Moment,
}

/// What the polls and the applied commits tell about lag.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// WAL ends, strictly rising.
    samples: VecDeque<Sample>,
    covered: Option<Lsn>,
    commit: Option<Commit>,
    is_unreachable: bool,
}

#[derive(Clone, Copy, Debug)]
struct Commit {
    source: PgTimestamp,
    /// When that was on the steady clock, if the source's clock was known at the time.
    steady_micros: Option<i64>,
}

impl Lag {
    /// The source answered at `at`: its WAL ends at `wal_end`.
    pub(super) fn poll(&mut self, wal_end: Lsn, at: Moment) {
        self.is_unreachable = false;
        // A source that was rewound: what it had written before is no longer its history.
        while self.samples.back().is_some_and(|last| last.wal_end > wal_end) {
            self.samples.pop_back();
        }
        match self.samples.back_mut() {
            Some(last) if last.wal_end == wal_end => last.at = at,
            _ => self.samples.push_back(Sample { wal_end, at }),
        }
        self.forget_covered();
        if self.samples.len() > SAMPLES_MAX {
            self.thin_out();
        }
    }

    /// The source could not be asked.
    pub(super) fn unreachable(&mut self) {
        self.is_unreachable = true;
    }

    /// Everything up to `lsn` is at the destination; it never goes back but by [`Lag::restart`].
    pub(super) fn cover(&mut self, lsn: Lsn) {
        self.covered = self.covered.max(Some(lsn));
        self.forget_covered();
    }

    /// A transaction that committed at `time` on the source's clock was applied.
    pub(super) fn commit(&mut self, time: PgTimestamp, now_steady_micros: i64) {
        let age = self.source_now(now_steady_micros).map(|now| now.0.saturating_sub(time.0));
        // A commit from the future is a clock that was set back: it bounds nothing.
        if age.is_some_and(|age| age < 0) {
            self.commit = None;
            return;
        }
        let steady_micros = age.map(|age| now_steady_micros.saturating_sub(age));
        self.commit = Some(Commit { source: time, steady_micros });
    }

    /// An attempt begins at a position that may lie before the present one.
    pub(super) fn restart(&mut self, lsn: Lsn) {
        self.covered = Some(lsn);
        self.commit = None;
    }

    pub(super) fn covered(&self) -> Option<Lsn> {
        self.covered
    }

    /// The source's clock as it should stand now.
    pub(super) fn source_now(&self, now_steady_micros: i64) -> Option<PgTimestamp> {
        let at = self.samples.back()?.at;
        let elapsed = now_steady_micros.saturating_sub(at.steady_micros);
        Some(PgTimestamp(at.source.0.saturating_add(elapsed)))
    }

    /// The lag in microseconds; `None` while it is not known.
    pub(super) fn micros(&self, now_steady_micros: i64) -> Option<i64> {
        let last = self.samples.back()?;
        let covered = self.covered?;
        let source_now = self.source_now(now_steady_micros)?;
        let age = |steady_micros: Option<i64>, source: PgTimestamp| {
            let by_steady = steady_micros.map_or(0, |then| now_steady_micros.saturating_sub(then));
            by_steady.max(source_now.0.saturating_sub(source.0)).max(0)
        };
        let is_overdue =
            now_steady_micros.saturating_sub(last.at.steady_micros) > POLL_OVERDUE_MICROS;
        if covered >= last.wal_end && !self.is_unreachable && !is_overdue {
            return Some(0);
        }
        let missing = self.samples.partition_point(|sample| sample.wal_end <= covered);
        let by_poll = missing
            .checked_sub(1)
            .map(|before| self.samples[before].at)
            .map(|at| age(Some(at.steady_micros), at.source));
        let by_commit = self.commit.map(|commit| age(commit.steady_micros, commit.source));
        by_poll.into_iter().chain(by_commit).min()
    }

    /// Of the samples that are covered only the newest still bounds anything.
    fn forget_covered(&mut self) {
        let Some(covered) = self.covered else { return };
        while self.samples.get(1).is_some_and(|second| second.wal_end <= covered) {
            self.samples.pop_front();
        }
    }

    /// Every second sample of the older half goes; the first stays, it is the outermost bound.
    fn thin_out(&mut self) {
        let half = self.samples.len() / 2;
        let mut index = 0;
        self.samples.retain(|_| {
            let keep = index >= half || index % 2 == 0;
            index += 1;
            keep
        });
    }
}

#[cfg(test)]
mod tests;
