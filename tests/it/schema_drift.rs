//! Structure that changes at the source, or at the destination, while changes are followed.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::database::Database;
use crate::support::installation::installation;

/// A column that appears brings its existing rows' value, or holds.
mod added;
/// Several changes in a backlog.
mod backlog;
/// What became of existing rows is not in the stream.
mod doubt;
/// Columns dropped, renamed, added again.
mod dropped;
/// Enums that grow.
mod enums;
/// Tables that are gone.
mod gone;
/// new_columns = "halt", and masking tables.
mod halt;
/// What moves rows without changing them, and what changes types.
mod rewritten;
/// Changes of every kind, in transactions and between starts.
mod scenes;

/// A source and a destination of this version.
async fn pair_of(major: u32) -> (Cluster, Cluster) {
    let found = installation(major).unwrap_or_else(|| {
        panic!("PostgreSQL {major} is not installed: run scripts/install-versions.sh")
    });
    let spec =
        |identity| Spec { installation: Some(found.clone()), identity, settings: String::new() };
    tokio::join!(Cluster::start(spec(0)), Cluster::start(spec(1)))
}

/// The way out: the table is copied again, by the agent that holds.
async fn resync(agent: &Agent, table: &str) {
    let asked = agent.verb(&["resync", "--table", table, "--yes"]).await;
    assert_eq!(asked.code, 0, "{}{}", asked.stdout, asked.stderr);
}

/// Each statement for itself: several in one string are one transaction.
async fn each(database: &Database, statements: &str) {
    for statement in statements.split("; ") {
        database.exec(statement).await;
    }
}

/// Waits until the agent holds with this code, and gives what it says.
async fn held(agent: &mut Agent, code: &str) -> String {
    let mut message = String::new();
    agent
        .wait_for(&format!("it holds with {code}"), async |agent| {
            let status = agent.try_get("/status").await;
            let Some((_, body)) = status else { return false };
            let status: serde_json::Value = serde_json::from_str(&body).expect("/status is JSON");
            let error = &status["last_error"];
            message = error["message"].as_str().unwrap_or_default().to_owned();
            status["state"] == "degraded" && error["code"] == code && error["active"] == true
        })
        .await;
    message
}

/// Whether the slot is still before `lsn`, and so is the checkpoint: both would show a change that
/// was let go by.
async fn assert_held_before(source: &Database, destination: &Database, lsn: &str) {
    let slot = format!("SELECT confirmed_flush_lsn < '{lsn}' FROM pg_replication_slots");
    assert_eq!(source.scalar(&slot).await, "t", "confirmed_flush_lsn");
    let row = format!("SELECT applied_lsn < '{lsn}' FROM sync_agent.checkpoint");
    assert_eq!(destination.scalar(&row).await, "t", "applied_lsn");
}
