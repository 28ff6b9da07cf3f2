//! The destination as a whole: version, encoding, the replica role, a proxy in front of it.

use std::collections::BTreeSet;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{CatalogError, ServerFacts};
use crate::pg::ident::identifier;

/// Versions that are tested; older ones are refused, newer ones are a warning.
const VERSIONS: std::ops::RangeInclusive<i32> = 14..=18;

/// The first version on which a parameter can be granted.
const PARAMETER_GRANTS_SINCE: i32 = 15;

/// Version, role of the server, encodings, and whether it is the source.
pub fn server_findings(facts: &ServerFacts, source: &ServerFacts) -> Vec<Finding> {
    let error = |object: &str, message: String| Finding::error(Side::Destination, object, message);
    let warning =
        |object: &str, message: String| Finding::warning(Side::Destination, object, message);
    let mut findings = Vec::new();
    let major = facts.major_version();
    if major < *VERSIONS.start() {
        let message = format!("it is PostgreSQL {}; version 14 is the oldest", facts.version);
        findings.push(error("server", message));
    } else if major > *VERSIONS.end() {
        let message = format!("it is PostgreSQL {}, newer than what was tested", facts.version);
        findings.push(warning("server", message));
    }
    if facts.in_recovery {
        findings.push(error("server", "it is a standby and cannot be written".to_owned()));
    }
    let database = format!("database {}", identifier(&facts.database));
    if facts.is_same_database(source) {
        findings.push(error(&database, "it is the source itself".to_owned()));
    }
    findings.extend(encoding_finding(facts, source));
    findings
}

/// Text travels as UTF-8, which every encoding can be converted to; not each character back.
fn encoding_finding(facts: &ServerFacts, source: &ServerFacts) -> Option<Finding> {
    const NONE: &str = "SQL_ASCII";
    let (to, from) = (facts.encoding.as_str(), source.encoding.as_str());
    let database = format!("database {}", identifier(&facts.database));
    let warning = |message: String| Finding::warning(Side::Destination, &database, message);
    match (from, to) {
        _ if from == to => None,
        (_, "UTF8") if from != NONE => None,
        (NONE, _) => Some(warning(
            "the source's encoding is SQL_ASCII: its texts are taken as UTF-8, and one that is not is rejected"
                .to_owned(),
        )),
        ("UTF8", NONE) => {
            Some(warning("its encoding is SQL_ASCII: it keeps texts as the bytes of UTF-8".to_owned()))
        }
        (_, NONE) => {
            let message = format!(
                "its encoding is SQL_ASCII, the source's is {from}: nothing would say which characters the \
                 bytes are that it keeps; use a database that has an encoding"
            );
            let remedy = "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0";
            Some(Finding::error(Side::Destination, &database, message).remedy(remedy))
        }
        _ => Some(warning(format!(
            "its encoding is {to}, the source's is {from}: characters that it lacks are rejected"
        ))),
    }
}

/// Whether our role may set `session_replication_role`: then foreign keys are not checked and
/// triggers do not fire while we write.
pub async fn can_set_replica_role(client: &Client) -> Result<bool, CatalogError> {
    // SET LOCAL does nothing then but check the privilege. Two statements are one transaction: alone it
    // would be a WARNING in the server's log. A role that has the value by ALTER ROLE … SET needs none.
    const ATTEMPT: &str = "SET LOCAL session_replication_role = 'replica'; SELECT";
    const QUESTION: &str = "session_replication_role";
    let failed = |source| CatalogError::Query { question: QUESTION, source };
    let present = client.simple_query("SHOW session_replication_role").await.map_err(failed)?;
    if first_value(&present) == Some("replica") {
        return Ok(true);
    }
    match client.batch_execute(ATTEMPT).await {
        Ok(()) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

pub(super) fn replica_role_finding(facts: &ServerFacts) -> Finding {
    let role = identifier(&facts.role);
    let message = "our role may not set it: foreign keys are checked and triggers fire while rows \
                   are written";
    let statement = if facts.major_version() >= PARAMETER_GRANTS_SINCE {
        format!("GRANT SET ON PARAMETER session_replication_role TO {role}")
    } else {
        format!("ALTER ROLE {role} SET session_replication_role = 'replica'")
    };
    Finding::warning(Side::Destination, "setting session_replication_role", message)
        .remedy(statement)
}

/// Large batches are staged in temporary tables.
pub(super) fn temporary_finding(facts: &ServerFacts) -> Finding {
    let (role, database) = (identifier(&facts.role), identifier(&facts.database));
    let message = format!("role {role} may not make the temporary tables that large batches need");
    Finding::error(Side::Destination, format!("database {database}"), message)
        .remedy(format!("GRANT TEMPORARY ON DATABASE {database} TO {role}"))
}

/// Whether a proxy gives each transaction another server session: then session settings, advisory
/// locks and prepared statements are not ours.
///
/// Two connections of ours that are open at once can share a server session only so. Between
/// transactions such a proxy takes the first one's session back and, taking the last one used, gives
/// it to the second.
pub async fn is_transaction_pooled(
    first: &Client,
    second: &Client,
) -> Result<bool, tokio_postgres::Error> {
    /// Other clients of the same pool can take the session in between: not every try hits.
    const ATTEMPTS: usize = 3;
    const PID: &str = "SELECT pg_catalog.pg_backend_pid()";
    let mut sessions = BTreeSet::new();
    for _ in 0..ATTEMPTS {
        let before = first.simple_query(PID).await?;
        second.batch_execute("BEGIN").await?;
        let held = second.simple_query(PID).await;
        let after = first.simple_query(PID).await;
        second.batch_execute("ROLLBACK").await?;
        let (held, after) = (held?, after?);
        let pids = [&before, &held, &after].map(|answer| first_value(answer).map(str::to_owned));
        if pids[0] == pids[1] || pids[1] == pids[2] {
            return Ok(true);
        }
        sessions.insert(pids[0].clone());
        sessions.insert(pids[2].clone());
    }
    Ok(sessions.len() > 1)
}

/// What [`is_transaction_pooled`] means for an operator.
pub fn pooling_finding(side: Side) -> Finding {
    let message = "a proxy in front of it pools by transaction: sessions are not kept; connect to \
                   the server itself or to a pool by session";
    Finding::error(side, "connection", message)
}

fn first_value(messages: &[SimpleQueryMessage]) -> Option<&str> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}
