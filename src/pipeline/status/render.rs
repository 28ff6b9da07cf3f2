//! A [`Status`] for people on a terminal.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::report::{Status, TableStatus};
use super::states::TableState;

/// Several lines of text, the last one ended.
pub fn render_human(status: &Status) -> String {
    let mut text = String::new();
    head(&mut text, status).expect("writing to a string does not fail");
    if !status.tables.is_empty() {
        text.push('\n');
        text.push_str(&tables(&status.tables));
        text.push('\n');
    }
    text
}

fn head(text: &mut String, status: &Status) -> std::fmt::Result {
    writeln!(text, "pipeline   {} (sync-agent {})", printable(&status.pipeline), status.version)?;
    write!(text, "state      {}", status.state.label())?;
    if !status.reason.is_empty() && status.reason != status.state.label() {
        write!(text, ": {}", printable(&status.reason))?;
    }
    writeln!(text, " (since {})", status.since.strftime("%F %T UTC"))?;
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    writeln!(
        text,
        "lag        {}, {}",
        known(status.lag.seconds.map(|seconds| format!("{seconds:.1} s"))),
        known(status.lag.applied_bytes.map(bytes)),
    )?;
    let lsn = |lsn: Option<crate::pg::lsn::Lsn>| known(lsn.map(|lsn| lsn.to_string()));
    let positions = status.positions;
    writeln!(
        text,
        "positions  received {}, applied {}, confirmed {}, source at {}",
        lsn(positions.received),
        lsn(positions.applied),
        lsn(positions.confirmed),
        lsn(positions.wal_end),
    )?;
    if let Some(slot) = &status.slot {
        write!(text, "slot       holds {} of WAL", bytes(slot.retained_bytes))?;
        if let Some(safe) = slot.safe_bytes {
            write!(text, ", {} more before it is lost", bytes(u64::try_from(safe).unwrap_or(0)))?;
        }
        let activity = if slot.active { "active" } else { "not active" };
        writeln!(text, " ({}, {activity})", printable(&slot.wal_status))?;
    }
    if let Some(error) = &status.last_error {
        let kind = if error.active { "error     " } else { "last error" };
        let table = error.table.as_ref().map(|table| format!(" ({})", printable(table)));
        writeln!(
            text,
            "{kind} {} {}{} at {}",
            error.code,
            printable(&error.message),
            table.unwrap_or_default(),
            error.at.strftime("%F %T UTC"),
        )?;
    }
    if status.attempts > 0 {
        writeln!(text, "attempts   {} failed", status.attempts)?;
    }
    Ok(())
}

fn tables(statuses: &[TableStatus]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "TABLE",
        "DESTINATION",
        "STATE",
        "COPIED",
        "INSERTS",
        "UPDATES",
        "DELETES",
        "CONFLICTS",
    ]);
    for index in 3..8 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for status in statuses {
        let state = if status.insert_only {
            format!("{} (insert-only)", status.state.label())
        } else {
            status.state.label().to_owned()
        };
        table.add_row([
            printable(&status.name),
            status.destination.as_deref().map_or_else(|| "-".to_owned(), printable),
            state,
            copied(status),
            status.rows.insert.to_string(),
            status.rows.update.to_string(),
            status.rows.delete.to_string(),
            status.conflicts.to_string(),
        ]);
    }
    table.trim_fmt()
}

/// Rows, and how far along they are while the copy runs.
fn copied(status: &TableStatus) -> String {
    let copy = status.copy;
    match (status.state, copy.expected_bytes) {
        (TableState::Copying, Some(expected)) if expected > 0 => {
            let percent = (copy.bytes.saturating_mul(100) / expected).min(99);
            format!("{} ({percent} %)", copy.rows)
        }
        _ => copy.rows.to_string(),
    }
}

fn bytes(count: u64) -> String {
    bytesize::ByteSize::b(count).display().iec().to_string()
}

/// Names and messages may hold anything; a terminal gets no control character from us.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::{CopyStatus, ErrorStatus, LagStatus, OpCounts};
    use super::super::states::State;
    use super::*;

    fn table(name: &str, state: TableState) -> TableStatus {
        TableStatus {
            name: name.to_owned(),
            destination: None,
            state,
            insert_only: false,
            rows: OpCounts::default(),
            copy: CopyStatus::default(),
            conflicts: 0,
        }
    }

    #[test]
    fn what_is_unknown_is_said_to_be() {
        let text = render_human(&Status::new("shop"));
        assert!(text.contains("lag        unknown, unknown"), "{text}");
        assert!(!text.contains("slot"), "{text}");
    }

    #[test]
    fn the_facts_an_operator_needs_are_there() {
        let mut status = Status::new("shop");
        status.state = State::Degraded;
        status.reason = "a row does not fit".to_owned();
        status.attempts = 3;
        status.lag = LagStatus {
            applied_bytes: Some(3 << 20),
            seconds: Some(12.34),
            ..LagStatus::default()
        };
        status.last_error = Some(ErrorStatus {
            active: true,
            stage: "apply".to_owned(),
            code: "E_DATA".to_owned(),
            message: "value too long".to_owned(),
            table: Some("public.t".to_owned()),
            at: status.at,
        });
        let mut copying = table("public.big", TableState::Copying);
        copying.copy =
            CopyStatus { rows: 7, bytes: 50, expected_rows: None, expected_bytes: Some(200) };
        status.tables = vec![copying, table("public.t", TableState::Ready)];
        let text = render_human(&status);
        for fact in [
            "degraded: a row does not fit",
            "12.3 s, 3.0 MiB",
            "E_DATA value too long (public.t)",
            "attempts   3",
            "7 (25 %)",
            "ready",
        ] {
            assert!(text.contains(fact), "{fact} is missing in\n{text}");
        }
    }

    #[test]
    fn a_hostile_name_cannot_steer_the_terminal() {
        let mut status = Status::new("shop");
        status.tables = vec![table("public.\u{1b}[2J\nx", TableState::Ready)];
        assert!(!render_human(&status).contains('\u{1b}'));
    }
}
