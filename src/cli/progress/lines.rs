//! Progress as log lines.

use std::time::{Duration, Instant};

use super::measure::{CopyMeasure, clock, megabytes, per_second, time_left};
use crate::pipeline::status::{State, Status};

/// Between two lines of a copy.
const COPY_INTERVAL: Duration = Duration::from_secs(10);

/// Between two lines of a stream.
const STREAM_INTERVAL: Duration = Duration::from_secs(60);

/// What the last line said.
#[derive(Debug, Default)]
pub(super) struct Lines {
    copy: Option<Copy>,
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Copy {
    began_at: Instant,
    written_at: Instant,
    byte_count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    written_at: Instant,
    row_count: u64,
    transaction_count: u64,
}

/// A line that is due.
#[derive(Debug, PartialEq)]
enum Line {
    Copy { measure: CopyMeasure, mb_per_second: f64, left: Option<Duration> },
    Stream { rows_per_second: f64, transaction_count: u64 },
}

impl Lines {
    /// Writes the line that is due, if one is.
    pub(super) fn show(&mut self, status: &Status, now: Instant) {
        match self.due(status, now) {
            None => {}
            Some(Line::Copy { measure, mb_per_second, left }) => tracing::info!(
                rows = measure.row_count,
                bytes = measure.byte_count,
                mb_per_second = tenths(mb_per_second),
                percent = tenths(measure.fraction * 100.0),
                tables_done = measure.done_count,
                tables = measure.table_count,
                eta = left.map(clock),
                "copying"
            ),
            Some(Line::Stream { rows_per_second, transaction_count }) => tracing::info!(
                state = status.state.label(),
                lag_seconds = status.lag.seconds.map(tenths),
                lag_bytes = status.lag.applied_bytes,
                rows_per_second = tenths(rows_per_second),
                transactions = transaction_count,
                "replicating"
            ),
        }
    }

    fn due(&mut self, status: &Status, now: Instant) -> Option<Line> {
        match status.state {
            State::Copying => self.copy(status, now),
            State::Streaming | State::CatchingUp => self.stream(status, now),
            _ => {
                *self = Lines::default();
                None
            }
        }
    }

    fn copy(&mut self, status: &Status, now: Instant) -> Option<Line> {
        self.stream = None;
        let start = || Copy { began_at: now, written_at: now, byte_count: 0 };
        let copy = self.copy.get_or_insert_with(start);
        let since = now.duration_since(copy.written_at);
        if since < COPY_INTERVAL {
            return None;
        }
        let measure = CopyMeasure::of(status);
        let new_bytes = measure.byte_count.saturating_sub(copy.byte_count);
        copy.written_at = now;
        copy.byte_count = measure.byte_count;
        Some(Line::Copy {
            measure,
            mb_per_second: megabytes(per_second(new_bytes, since)),
            left: time_left(measure.fraction, now.duration_since(copy.began_at)),
        })
    }

    fn stream(&mut self, status: &Status, now: Instant) -> Option<Line> {
        self.copy = None;
        let row_count = status.totals.rows.total();
        let transaction_count = status.totals.transactions;
        let present = Stream { written_at: now, row_count, transaction_count };
        let last = self.stream.get_or_insert(present);
        let since = now.duration_since(last.written_at);
        if since < STREAM_INTERVAL {
            return None;
        }
        let last = std::mem::replace(last, present);
        Some(Line::Stream {
            rows_per_second: per_second(row_count.saturating_sub(last.row_count), since),
            transaction_count: transaction_count.saturating_sub(last.transaction_count),
        })
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::super::measure::fixture::copying;
    use super::*;

    #[test]
    fn a_copy_has_a_line_every_ten_seconds() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let mut status = copying();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(lines.due(&status, at(0)), None);
        assert_eq!(lines.due(&status, at(9)), None);
        let measure = CopyMeasure::of(&status);
        let first =
            Line::Copy { measure, mb_per_second: 0.013, left: time_left(0.375, at(10) - start) };
        assert_eq!(lines.due(&status, at(10)), Some(first));
        assert_eq!(lines.due(&status, at(19)), None);
        status.tables[1].copy.bytes += 5_000_000;
        let Some(Line::Copy { mb_per_second, .. }) = lines.due(&status, at(20)) else {
            panic!("a line is due");
        };
        assert!((mb_per_second - 0.5).abs() < 1e-9, "of the last ten seconds: {mb_per_second}");
    }

    #[test]
    fn a_stream_has_a_line_every_minute_and_starts_anew_after_a_pause() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        let mut status = copying();
        let at = |seconds| start + Duration::from_secs(seconds);
        status.state = State::Streaming;
        assert_eq!(lines.due(&status, at(0)), None);
        status.totals.rows.insert = 600;
        status.totals.transactions = 6;
        let line = Line::Stream { rows_per_second: 10.0, transaction_count: 6 };
        assert_eq!(lines.due(&status, at(60)), Some(line));
        status.state = State::Backoff;
        assert_eq!(lines.due(&status, at(90)), None);
        status.state = State::Streaming;
        assert_eq!(lines.due(&status, at(120)), None);
    }
}
