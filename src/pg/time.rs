//! PostgreSQL's clock on the wire: microseconds since 2000-01-01 00:00:00 UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds from the Unix epoch to PostgreSQL's (`POSTGRES_EPOCH_JDATE` in `timestamp.h`).
const POSTGRES_EPOCH_UNIX_SECONDS: i64 = 946_684_800;

/// A moment as PostgreSQL sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PgTimestamp(pub i64);

impl PgTimestamp {
    /// Microseconds since the Unix epoch.
    pub const fn unix_micros(self) -> i64 {
        self.0.saturating_add(POSTGRES_EPOCH_UNIX_SECONDS * 1_000_000)
    }

    pub const fn from_unix_micros(micros: i64) -> PgTimestamp {
        PgTimestamp(micros.saturating_sub(POSTGRES_EPOCH_UNIX_SECONDS * 1_000_000))
    }

    pub fn now() -> PgTimestamp {
        PgTimestamp::from(SystemTime::now())
    }

    /// Seconds since the Unix epoch, as Prometheus wants them.
    pub fn unix_seconds(self) -> f64 {
        self.unix_micros() as f64 / 1e6
    }

    /// Time from `earlier` to here; zero where `earlier` is not earlier.
    pub fn since(self, earlier: PgTimestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for PgTimestamp {
    fn from(time: SystemTime) -> PgTimestamp {
        let micros = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        PgTimestamp::from_unix_micros(micros)
    }
}

impl From<PgTimestamp> for SystemTime {
    fn from(time: PgTimestamp) -> SystemTime {
        let micros = time.unix_micros();
        let distance = Duration::from_micros(micros.unsigned_abs());
        if micros >= 0 { UNIX_EPOCH + distance } else { UNIX_EPOCH - distance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epochs_differ_by_thirty_years() {
        assert_eq!(PgTimestamp(0).unix_seconds(), 946_684_800.0);
        let time = PgTimestamp(123_456_789);
        assert_eq!(PgTimestamp::from(SystemTime::from(time)), time);
    }
}
