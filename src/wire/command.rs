//! The replication commands: text out, typed reply in.
//!
//! They have a grammar of their own (`src/backend/replication/repl_gram.y`): identifiers in double
//! quotes, strings in single quotes without escapes.

use crate::pg::channel::{TextRows, WireError};
use crate::pg::ident;
use crate::pg::lsn::Lsn;
use crate::wire::session::Session;

/// `IDENTIFY_SYSTEM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemIdentity {
    /// What `initdb` drew; the same on all standbys.
    pub system_identifier: String,
    pub timeline: u32,
    /// How far the server's WAL is flushed.
    pub wal_end: Lsn,
    pub dbname: Option<String>,
}

/// `CREATE_REPLICATION_SLOT … EXPORT_SNAPSHOT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedSlot {
    /// The stream has everything that commits at or after it, the snapshot everything before.
    pub consistent_lsn: Lsn,
    /// Can be imported until the next command on this session.
    pub snapshot_name: String,
}

/// A line of a timeline's history: `timeline` was left at `switch_lsn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineSwitch {
    pub timeline: u32,
    pub switch_lsn: Lsn,
}

/// What pgoutput is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    pub proto_version: u8,
    pub publications: Vec<String>,
    /// Values in binary.
    pub binary: bool,
    /// `pg_logical_emit_message` too.
    pub messages: bool,
}

impl Session {
    pub async fn identify_system(&mut self) -> Result<SystemIdentity, WireError> {
        let rows = self.simple_query("IDENTIFY_SYSTEM").await?;
        let mut reply = Reply::one_row("IDENTIFY_SYSTEM", rows)?;
        Ok(SystemIdentity {
            system_identifier: reply.text()?,
            timeline: reply.parsed()?,
            wal_end: reply.parsed()?,
            dbname: reply.optional()?,
        })
    }

    /// The switches that led to `timeline`, oldest first. The first timeline has none.
    pub async fn timeline_history(
        &mut self,
        timeline: u32,
    ) -> Result<Vec<TimelineSwitch>, WireError> {
        if timeline <= 1 {
            return Ok(Vec::new());
        }
        let rows = self.simple_query(&format!("TIMELINE_HISTORY {timeline}")).await?;
        let mut reply = Reply::one_row("TIMELINE_HISTORY", rows)?;
        reply.text()?; // the file's name
        parse_history(&reply.text()?)
            .ok_or_else(|| WireError::protocol(b'D', "TIMELINE_HISTORY: a line is malformed"))
    }

    /// Waits until every transaction that writes at this moment has ended: possibly for hours.
    ///
    /// A temporary slot goes with its session, and with the first command that fails on it.
    ///
    /// The classic form is understood by every server that we support; the one with options is
    /// needed for `failover` (17 and later) only.
    pub async fn create_logical_slot(
        &mut self,
        name: &str,
        temporary: bool,
        failover: bool,
    ) -> Result<CreatedSlot, WireError> {
        let sql = create_slot_sql(name, temporary, failover);
        let rows = self.simple_query(&sql).await?;
        let mut reply = Reply::one_row("CREATE_REPLICATION_SLOT", rows)?;
        reply.text()?; // the slot's name
        Ok(CreatedSlot { consistent_lsn: reply.parsed()?, snapshot_name: reply.text()? })
    }

    /// Version 17 and later. The slot must not be in use.
    pub async fn alter_slot_failover(
        &mut self,
        name: &str,
        failover: bool,
    ) -> Result<(), WireError> {
        let name = ident::identifier(name);
        self.execute(&format!("ALTER_REPLICATION_SLOT {name} (FAILOVER {failover})")).await
    }

    pub async fn drop_slot(&mut self, name: &str) -> Result<(), WireError> {
        self.execute(&format!("DROP_REPLICATION_SLOT {}", ident::identifier(name))).await
    }
}

fn create_slot_sql(name: &str, temporary: bool, failover: bool) -> String {
    let kind = if temporary { " TEMPORARY" } else { "" };
    let options = if failover { "(SNAPSHOT 'export', FAILOVER true)" } else { "EXPORT_SNAPSHOT" };
    format!("CREATE_REPLICATION_SLOT {}{kind} LOGICAL pgoutput {options}", ident::identifier(name))
}

/// `START_REPLICATION` for pgoutput. The server silently goes on from its own
/// `confirmed_flush_lsn` where that is later than `lsn`.
pub fn start_replication_sql(slot: &str, lsn: Lsn, options: &StreamOptions) -> String {
    // A list of identifiers inside a string: both quotings, the inner one first.
    let publications: Vec<String> =
        options.publications.iter().map(|name| ident::identifier(name)).collect();
    let mut list = format!(
        "proto_version {}, publication_names {}",
        ident::replication_literal(&options.proto_version.to_string()),
        ident::replication_literal(&publications.join(","))
    );
    for (name, is_asked) in [("binary", options.binary), ("messages", options.messages)] {
        if is_asked {
            list.push_str(&format!(", {name} 'true'"));
        }
    }
    format!("START_REPLICATION SLOT {} LOGICAL {lsn} ({list})", ident::identifier(slot))
}

/// Lines `timeline<TAB>lsn<TAB>reason`; empty ones and comments are skipped
/// (`readTimeLineHistory` in `timeline.c`).
fn parse_history(text: &str) -> Option<Vec<TimelineSwitch>> {
    text.lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            Some(TimelineSwitch {
                timeline: words.next()?.parse().ok()?,
                switch_lsn: words.next()?.parse().ok()?,
            })
        })
        .collect()
}

// === Reply ===

/// One row's values, in order.
struct Reply {
    command: &'static str,
    values: std::vec::IntoIter<Option<String>>,
}

impl Reply {
    fn one_row(command: &'static str, rows: TextRows) -> Result<Reply, WireError> {
        let mut rows = rows.into_iter();
        match (rows.next(), rows.next()) {
            (Some(row), None) => Ok(Reply { command, values: row.into_iter() }),
            _ => Err(WireError::protocol(b'D', format!("{command}: expected one row"))),
        }
    }

    fn bad(&self) -> WireError {
        WireError::protocol(b'D', format!("{}: a value is missing or malformed", self.command))
    }

    fn optional(&mut self) -> Result<Option<String>, WireError> {
        self.values.next().ok_or_else(|| self.bad())
    }

    fn text(&mut self) -> Result<String, WireError> {
        self.optional()?.ok_or_else(|| self.bad())
    }

    fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, WireError> {
        self.text()?.parse().map_err(|_| self.bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_for_both_grammars() {
        let options = StreamOptions {
            proto_version: 1,
            publications: vec!["shop".into(), "p\"u,b'x".into()],
            binary: true,
            messages: false,
        };
        assert_eq!(
            start_replication_sql("s1", "16/B374D848".parse().expect("lsn"), &options),
            "START_REPLICATION SLOT \"s1\" LOGICAL 16/B374D848 (proto_version '1', \
             publication_names '\"shop\",\"p\"\"u,b''x\"', binary 'true')"
        );
    }

    #[test]
    fn only_failover_uses_the_newer_form() {
        assert_eq!(
            create_slot_sql("s", true, false),
            "CREATE_REPLICATION_SLOT \"s\" TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT"
        );
        assert_eq!(
            create_slot_sql("s", false, true),
            "CREATE_REPLICATION_SLOT \"s\" LOGICAL pgoutput (SNAPSHOT 'export', FAILOVER true)"
        );
    }

    #[test]
    fn a_history_file_is_read_as_the_server_reads_it() {
        let text = "# comment\n\n1\t0/3000060\tno recovery target specified\n 2\t16/0\tx\n";
        let switches = parse_history(text).expect("valid");
        assert_eq!(switches.len(), 2);
        assert_eq!(switches[0].switch_lsn.to_string(), "0/3000060");
        assert_eq!(switches[1].timeline, 2);
        assert_eq!(parse_history("1 nonsense"), None);
    }
}
