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

    /// As every server reads it, whatever its DateStyle and time zone. Years from 1 on.
    pub fn to_utc_text(self) -> String {
        const MICROS_PER_DAY: i64 = 86_400_000_000;
        const DAYS_PER_ROUND: i64 = 146_097;
        let (days, micros) = (self.0.div_euclid(MICROS_PER_DAY), self.0.rem_euclid(MICROS_PER_DAY));
        // Years that begin in March, because the leap day is their last one then; four hundred of them
        // are a round. The first of March 2000 begins one.
        let days = days - 60;
        let (round, day) = (days.div_euclid(DAYS_PER_ROUND), days.rem_euclid(DAYS_PER_ROUND));
        let mut year = (day / 365).min(399);
        while days_of_years(year) > day {
            year -= 1;
        }
        let day = day - days_of_years(year);
        let month = (5 * day + 2) / 153;
        let day_of_month = day - (153 * month + 2) / 5 + 1;
        let (year, month) = match month < 10 {
            true => (year, month + 3),
            false => (year + 1, month - 9),
        };
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        format!(
            "{:04}-{month:02}-{day_of_month:02} {:02}:{:02}:{:02}.{micros:06}+00",
            2_000 + 400 * round + year,
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60,
        )
    }

    /// Time from `earlier` to here; zero where `earlier` is not earlier.
    pub fn since(self, earlier: PgTimestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Days of the first `years` years of a round, fewer than four hundred.
const fn days_of_years(years: i64) -> i64 {
    365 * years + years / 4 - years / 100
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
    fn the_text_is_a_date_and_a_time() {
        let day = 86_400_000_000;
        for (micros, text) in [
            (0, "2000-01-01 00:00:00.000000+00"),
            (-1, "1999-12-31 23:59:59.999999+00"),
            (59 * day, "2000-02-29 00:00:00.000000+00"),
            (60 * day, "2000-03-01 00:00:00.000000+00"),
            (9_555 * day + 3_723_000_004, "2026-02-28 01:02:03.000004+00"),
            (9_556 * day, "2026-03-01 00:00:00.000000+00"),
            (36_583 * day, "2100-02-28 00:00:00.000000+00"),
            (36_584 * day, "2100-03-01 00:00:00.000000+00"),
            (146_097 * day, "2400-01-01 00:00:00.000000+00"),
        ] {
            assert_eq!(PgTimestamp(micros).to_utc_text(), text);
        }
    }

    #[test]
    fn the_epochs_differ_by_thirty_years() {
        assert_eq!(PgTimestamp(0).unix_seconds(), 946_684_800.0);
        let time = PgTimestamp(123_456_789);
        assert_eq!(PgTimestamp::from(SystemTime::from(time)), time);
    }
}
