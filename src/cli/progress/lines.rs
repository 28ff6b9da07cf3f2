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

#[derive(Debug)]
struct Stream {
    written_at: Instant,
    row_count: u64,
    transaction_count: u64,
}

impl Lines {
    /// Writes the line that is due, if one is.
    pub(super) fn show(&mut self, status: &Status, now: Instant) {
        match status.state {
            State::Copying => self.copy(status, now),
            State::Streaming | State::CatchingUp => self.stream(status, now),
            _ => *self = Lines::default(),
        }
    }

    fn copy(&mut self, status: &Status, now: Instant) {
        self.stream = None;
        let start = || Copy { began_at: now, written_at: now, byte_count: 0 };
        let copy = self.copy.get_or_insert_with(start);
        let since = now.duration_since(copy.written_at);
        if since < COPY_INTERVAL {
            return;
        }
        let measure = CopyMeasure::of(status);
        let new_bytes = measure.byte_count.saturating_sub(copy.byte_count);
        let left = time_left(measure.fraction, now.duration_since(copy.began_at));
        tracing::info!(
            rows = measure.row_count,
            bytes = measure.byte_count,
            mb_per_second = tenths(megabytes(per_second(new_bytes, since))),
            percent = tenths(measure.fraction * 100.0),
            tables_done = measure.done_count,
            tables = measure.table_count,
            eta = left.map(clock),
            "copying"
        );
        copy.written_at = now;
        copy.byte_count = measure.byte_count;
    }

    fn stream(&mut self, status: &Status, now: Instant) {
        self.copy = None;
        let row_count = status.totals.rows.total();
        let transaction_count = status.totals.transactions;
        let last =
            self.stream.get_or_insert(Stream { written_at: now, row_count, transaction_count });
        let since = now.duration_since(last.written_at);
        if since < STREAM_INTERVAL {
            return;
        }
        let rows = row_count.saturating_sub(last.row_count);
        tracing::info!(
            state = status.state.label(),
            lag_seconds = status.lag.seconds.map(tenths),
            lag_bytes = status.lag.applied_bytes,
            rows_per_second = tenths(per_second(rows, since)),
            transactions = transaction_count.saturating_sub(last.transaction_count),
            "replicating"
        );
        *last = Stream { written_at: now, row_count, transaction_count };
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
