//! What a backfill has to say: each table's rows and point in time, and the totals.

use std::time::{Duration, SystemTime};

use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::copy::Timings;

/// Finished tables and queries, by name.
#[derive(Clone, Debug, Default)]
pub struct BackfillReport {
    pub tables: Vec<TableReport>,
    /// Their `source` is the query's name, in no schema.
    pub queries: Vec<TableReport>,
    pub elapsed: Duration,
}

/// One finished table, or query.
#[derive(Clone, Debug)]
pub struct TableReport {
    pub source: QualifiedName,
    pub destination: QualifiedName,
    pub row_count: u64,
    pub byte_count: u64,
    pub point: Option<Point>,
    pub origin: Origin,
}

/// Which state of the source the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub lsn: Lsn,
    /// On the source's clock.
    pub time: SystemTime,
}

/// When a table was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Now, in this time.
    Now(Duration),
    /// By an earlier call.
    Earlier,
}

/// Of the tables and queries copied now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub table_count: usize,
    pub query_count: usize,
    pub row_count: u64,
    pub byte_count: u64,
}

impl BackfillReport {
    /// Makes the report anew from the destination's records.
    pub(super) fn fill(
        &mut self,
        chosen: &[QualifiedName],
        records: &[TableRecord],
        timings: &Timings,
    ) {
        let reports = records
            .iter()
            .filter(|record| record.state == CopyState::Copied)
            .filter(|record| chosen.contains(&record.source))
            .map(|record| TableReport {
                source: record.source.clone(),
                destination: record.destination.clone(),
                row_count: u64::try_from(record.rows).unwrap_or(0),
                byte_count: u64::try_from(record.bytes).unwrap_or(0),
                point: record
                    .copied_lsn
                    .zip(record.copied_at)
                    .map(|(lsn, time)| Point { lsn, time }),
                origin: timings.get(&record.source).map_or(Origin::Earlier, Origin::Now),
            });
        (self.queries, self.tables) = reports.partition(|report| report.source.schema.is_empty());
    }

    pub fn totals(&self) -> Totals {
        let now = |reports: &[TableReport]| {
            let now = reports.iter().filter(|report| report.origin != Origin::Earlier);
            now.fold((0, 0, 0), |(count, rows, bytes), report| {
                (count + 1, rows + report.row_count, bytes + report.byte_count)
            })
        };
        let (tables, queries) = (now(&self.tables), now(&self.queries));
        Totals {
            table_count: tables.0,
            query_count: queries.0,
            row_count: tables.1 + queries.1,
            byte_count: tables.2 + queries.2,
        }
    }
}
