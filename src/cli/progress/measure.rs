//! How far a copy is, from a [`Status`]; pure.
//!
//! What a table will come to is the source's estimate: its heap, and its rows where they were ever
//! counted. Neither is exact, so a table is never done before it says so.

use std::time::Duration;

use crate::pipeline::status::{Status, TableState, TableStatus};

/// The most that a running copy can claim.
pub(super) const ALMOST: f64 = 0.99;

/// An empty table's weight in the whole: it costs about as much as a block.
const WEIGHT_MIN: u64 = 8192;

/// One copy at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CopyMeasure {
    pub(super) row_count: u64,
    pub(super) byte_count: u64,
    pub(super) table_count: usize,
    pub(super) done_count: usize,
    /// 0 to 1.
    pub(super) fraction: f64,
}

impl CopyMeasure {
    /// Sums up the tables of the copy. Those that an earlier one finished are not in it.
    pub(super) fn of(status: &Status) -> CopyMeasure {
        let mut measure = CopyMeasure::default();
        let (mut weights, mut reached) = (0.0, 0.0);
        for table in status.tables.iter().filter(|table| is_in_copy(table)) {
            measure.row_count += table.copy.rows;
            measure.byte_count += table.copy.bytes;
            measure.table_count += 1;
            measure.done_count += usize::from(is_done(table));
            let weight = table.copy.expected_bytes.unwrap_or(0).max(WEIGHT_MIN) as f64;
            weights += weight;
            reached += weight * fraction(table);
        }
        measure.fraction = if weights > 0.0 { reached / weights } else { 0.0 };
        measure
    }
}

fn is_in_copy(table: &TableStatus) -> bool {
    table.copy.expected_bytes.is_some()
        || matches!(table.state, TableState::Pending | TableState::Copying)
}

fn is_done(table: &TableStatus) -> bool {
    !matches!(table.state, TableState::Pending | TableState::Copying | TableState::Error)
}

/// How far one table is, 0 to 1.
pub(super) fn fraction(table: &TableStatus) -> f64 {
    if is_done(table) {
        return 1.0;
    }
    let of = |done: u64, expected: Option<u64>| {
        expected.filter(|&expected| expected > 0).map(|expected| done as f64 / expected as f64)
    };
    // Rows first: a heap has dead rows in it and large values beside it.
    let by_rows = of(table.copy.rows, table.copy.expected_rows);
    let reached = by_rows.or_else(|| of(table.copy.bytes, table.copy.expected_bytes));
    reached.unwrap_or(0.0).min(ALMOST)
}

/// The time left, if it goes on as it did. None before anything can be said.
pub(super) fn time_left(fraction: f64, elapsed: Duration) -> Option<Duration> {
    /// Before this much is done an estimate is a guess.
    const FRACTION_MIN: f64 = 0.001;
    if !(FRACTION_MIN..1.0).contains(&fraction) {
        return None;
    }
    let seconds = elapsed.as_secs_f64() * (1.0 - fraction) / fraction;
    Duration::try_from_secs_f64(seconds).ok()
}

/// `1:05`, `2:03:04`.
pub(super) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A second's worth of what came in `elapsed`.
pub(super) fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// Decimal megabytes, as rates are commonly given.
pub(super) fn megabytes(byte_count: f64) -> f64 {
    byte_count / 1e6
}

#[cfg(test)]
pub(super) mod fixture {
    //! Tables in the middle of a copy.

    use crate::pipeline::status::{CopyStatus, OpCounts, State, Status, TableState, TableStatus};

    pub(in super::super) fn table(name: &str, state: TableState, copy: CopyStatus) -> TableStatus {
        TableStatus {
            name: name.to_owned(),
            destination: None,
            state,
            insert_only: false,
            rows: OpCounts::default(),
            copy,
            conflicts: 0,
        }
    }

    /// One table done, one half-way, one to come, one finished by an earlier call.
    pub(in super::super) fn copying() -> Status {
        let copy = |rows, bytes, expected_rows, expected_bytes| CopyStatus {
            rows,
            bytes,
            expected_rows,
            expected_bytes,
        };
        let mut status = Status::new("shop");
        status.state = State::Copying;
        status.tables = vec![
            table("public.done", TableState::Copied, copy(10, 100_000, None, Some(100_000))),
            table("public.half", TableState::Copying, copy(50, 30_000, Some(100), Some(100_000))),
            table("public.next", TableState::Pending, copy(0, 0, None, Some(200_000))),
            table("public.old", TableState::Copied, CopyStatus::default()),
        ];
        status
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::{copying, table};
    use super::*;
    use crate::pipeline::status::CopyStatus;

    #[test]
    fn tables_weigh_by_their_size_and_earlier_ones_not_at_all() {
        let measure = CopyMeasure::of(&copying());
        assert_eq!((measure.done_count, measure.table_count), (1, 3));
        assert_eq!((measure.row_count, measure.byte_count), (60, 130_000));
        assert!((measure.fraction - 150_000.0 / 400_000.0).abs() < 1e-9, "{measure:?}");
    }

    #[test]
    fn a_copy_beyond_its_estimate_is_not_done() {
        let copy =
            CopyStatus { rows: 0, bytes: 900, expected_rows: None, expected_bytes: Some(100) };
        assert!(fraction(&table("t", TableState::Copying, copy)) < 1.0);
        assert_eq!(fraction(&table("t", TableState::Copied, copy)), 1.0);
    }

    #[test]
    fn the_time_left_follows_from_the_time_taken() {
        let minute = Duration::from_secs(60);
        assert_eq!(time_left(0.25, minute), Some(Duration::from_secs(180)));
        assert_eq!(time_left(0.0, minute), None);
        assert_eq!(time_left(1.0, minute), None);
        assert_eq!(clock(Duration::from_secs(65)), "1:05");
        assert_eq!(clock(Duration::from_secs(7384)), "2:03:04");
    }
}
