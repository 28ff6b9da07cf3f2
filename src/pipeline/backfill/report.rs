//! What a backfill has to say: each table's rows and point in time, and the totals.

use std::time::{Duration, SystemTime};

use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::pg::catalog::TableInfo;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::copy::Timings;

/// Finished tables, by name.
#[derive(Clone, Debug, Default)]
pub struct BackfillReport {
    pub tables: Vec<TableReport>,
    pub elapsed: Duration,
}

/// One finished table.
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

/// Of the tables copied now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub table_count: usize,
    pub row_count: u64,
    pub byte_count: u64,
}

impl BackfillReport {
    /// Makes the report anew from the destination's records.
    pub(super) fn fill(
        &mut self,
        chosen: &[TableInfo],
        records: &[TableRecord],
        timings: &Timings,
    ) {
        self.tables = records
            .iter()
            .filter(|record| record.state == CopyState::Copied)
            .filter(|record| chosen.iter().any(|table| table.name == record.source))
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
            })
            .collect();
    }

    pub fn totals(&self) -> Totals {
        let now = self.tables.iter().filter(|table| table.origin != Origin::Earlier);
        now.fold(Totals::default(), |totals, table| Totals {
            table_count: totals.table_count + 1,
            row_count: totals.row_count + table.row_count,
            byte_count: totals.byte_count + table.byte_count,
        })
    }
}
