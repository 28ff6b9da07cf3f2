//! The two clocks of this machine, and where a test puts its own.
//!
//! The steady clock measures how long ago something was; the wall clock is only for showing a
//! moment to people and to Prometheus.

use std::fmt;
use std::time::Instant;

use crate::pg::time::PgTimestamp;

/// One look at both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// Microseconds on a clock that never jumps, from an arbitrary origin.
    pub(super) steady_micros: i64,
    pub(super) wall: PgTimestamp,
}

pub(super) trait Clock: fmt::Debug + Send + Sync {
    fn now(&self) -> Now;
}

#[derive(Debug)]
pub(super) struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    pub(super) fn new() -> SystemClock {
        SystemClock { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let elapsed = self.origin.elapsed().as_micros();
        Now { steady_micros: i64::try_from(elapsed).unwrap_or(i64::MAX), wall: PgTimestamp::now() }
    }
}
