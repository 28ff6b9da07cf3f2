//! The report of a backfill: a table for people, JSON for scripts.
//!
//! Times are the source's clock at the snapshot, in UTC. Fields of the JSON may be added under the
//! same `schema_version`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use comfy_table::{CellAlignment, Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::output::Output;
use crate::pipeline::backfill::{BackfillReport, Origin, Point, TableReport};

const SCHEMA_VERSION: u32 = 1;

/// Several lines of text, the last one ended.
pub(super) fn render(pipeline: &str, report: &BackfillReport, output: Output) -> String {
    match output {
        Output::Human => human(report),
        Output::Json => format!("{:#}\n", json(pipeline, report)),
    }
}

fn human(report: &BackfillReport) -> String {
    let mut text = tables(report);
    text.push_str("\n\n");
    let totals = report.totals();
    let written = if totals.table_count + totals.query_count == 0 {
        let all = match report.queries.len() {
            0 => format!("{} tables", report.tables.len()),
            count => counted(report.tables.len(), count),
        };
        writeln!(text, "All {all} were copied already; --restart copies them again.")
    } else {
        writeln!(
            text,
            "Copied {}: {} rows, {} in {}, {:.1} MB/s.",
            counted(totals.table_count, totals.query_count),
            totals.row_count,
            bytes(totals.byte_count),
            seconds(report.elapsed),
            rate(totals.byte_count, report.elapsed) as f64 / 1e6,
        )
    };
    written.expect("writing to a string does not fail");
    text
}

/// `2 tables and 1 query`.
fn counted(table_count: usize, query_count: usize) -> String {
    let tables = match table_count {
        1 => "1 table".to_owned(),
        count => format!("{count} tables"),
    };
    let queries = match query_count {
        1 => "1 query".to_owned(),
        count => format!("{count} queries"),
    };
    match (table_count, query_count) {
        (_, 0) => tables,
        (0, _) => queries,
        _ => format!("{tables} and {queries}"),
    }
}

fn tables(report: &BackfillReport) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["TABLE", "DESTINATION", "ROWS", "BYTES", "TIME", "AS OF", "LSN"]);
    for index in 2..5 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let named = report.tables.iter().map(|table| (table, table.source.to_string()));
    let queries = report.queries.iter().map(|query| (query, format!("query {}", query.source)));
    for (report, name) in named.chain(queries) {
        let (time, lsn) = match report.point {
            Some(Point { lsn, time }) => (when(time), lsn.to_string()),
            None => ("unknown".to_owned(), "unknown".to_owned()),
        };
        table.add_row([
            clean(&name),
            clean(&report.destination.to_string()),
            report.row_count.to_string(),
            bytes(report.byte_count),
            match report.origin {
                Origin::Now(duration) => seconds(duration),
                Origin::Earlier => "earlier".to_owned(),
            },
            time,
            lsn,
        ]);
    }
    table.trim_fmt()
}

fn json(pipeline: &str, report: &BackfillReport) -> Value {
    let totals = report.totals();
    let list = |reports: &[TableReport]| -> Vec<Value> { reports.iter().map(one).collect() };
    json!({
        "schema_version": SCHEMA_VERSION,
        "pipeline": pipeline,
        "ok": true,
        "tables": list(&report.tables),
        "queries": list(&report.queries),
        "totals": {
            "tables": totals.table_count,
            "queries": totals.query_count,
            "rows": totals.row_count,
            "bytes": totals.byte_count,
            "seconds": report.elapsed.as_secs_f64(),
            "bytes_per_second": rate(totals.byte_count, report.elapsed),
        },
    })
}

fn one(table: &TableReport) -> Value {
    json!({
        "name": table.source.to_string(),
        "destination": table.destination.to_string(),
        "rows": table.row_count,
        "bytes": table.byte_count,
        "seconds": match table.origin {
            Origin::Now(duration) => Some(duration.as_secs_f64()),
            Origin::Earlier => None,
        },
        "copied": match table.origin {
            Origin::Now(_) => "now",
            Origin::Earlier => "earlier",
        },
        "lsn": table.point.map(|point| point.lsn.to_string()),
        "as_of": table.point.map(|point| timestamp(point.time).to_string()),
    })
}

fn when(time: SystemTime) -> String {
    timestamp(time).strftime("%F %T UTC").to_string()
}

/// A time outside of jiff's range (±9999 years) is the epoch.
fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn rate(byte_count: u64, elapsed: Duration) -> u64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { (byte_count as f64 / seconds) as u64 } else { 0 }
}

fn bytes(count: u64) -> String {
    bytesize::ByteSize::b(count).display().si().to_string()
}

/// Names may hold anything; a terminal gets no control character from us.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::ident::QualifiedName;
    use crate::pg::lsn::Lsn;

    fn report(origin: Origin) -> BackfillReport {
        let name = QualifiedName::new("public", "t\u{1b}[2J");
        BackfillReport {
            tables: vec![TableReport {
                source: name.clone(),
                destination: name,
                row_count: 7,
                byte_count: 3_000_000,
                point: Some(Point { lsn: Lsn::new(0x16_0000_0001), time: SystemTime::UNIX_EPOCH }),
                origin,
            }],
            queries: Vec::new(),
            elapsed: Duration::from_secs(2),
        }
    }

    #[test]
    fn each_table_has_its_point_in_time() {
        let text = human(&report(Origin::Now(Duration::from_millis(1500))));
        for fact in ["1970-01-01 00:00:00 UTC", "16/1", "1.5 s", "3.0 MB in 2.0 s, 1.5 MB/s"] {
            assert!(text.contains(fact), "{fact} is missing in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_was_finished_before_counts_for_nothing_now() {
        let report = report(Origin::Earlier);
        assert!(human(&report).contains("All 1 tables were copied already"));
        let json = json("shop", &report);
        assert_eq!(json["totals"]["rows"], 0);
        assert_eq!(json["tables"][0]["rows"], 7);
        assert_eq!(json["tables"][0]["as_of"], "1970-01-01T00:00:00Z");
        assert_eq!(json["tables"][0]["seconds"], Value::Null);
    }
}
