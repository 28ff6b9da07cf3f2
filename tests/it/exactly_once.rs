//! Every row once, whatever dies: the agent at any moment with its local state in any state, the link
//! inside COMMIT, either server.
//!
//! The table `ev` has no key: nothing hides what is lost or applied twice. Its writer counts, so the
//! destination alone can tell: as many rows as different numbers as the highest number.

use crate::support::agent::Agent;
use crate::support::cluster::Cluster;
use crate::support::compare::assert_same;
use crate::support::monitor::Monitor;
use crate::support::workload::Workload;

/// What is confirmed to the source, and when.
mod acknowledged;
/// Servers that lose what they had not flushed.
mod crashes;
/// kill -9 at random moments, with the local state damaged in between.
mod random_kills;
/// COMMIT sent, and nobody heard the answer.
mod unknown_commit;

const TABLES: &str = "CREATE SEQUENCE next; CREATE TABLE ev (n bigint, pad text); \
     CREATE TABLE k (id int PRIMARY KEY, v bigint); \
     INSERT INTO k SELECT g, 0 FROM generate_series(1, 100) g";

/// One number a transaction, and a row that changes.
const SCRIPT: &str = "\\set id random(1, 100)\nBEGIN;\n\
     INSERT INTO ev VALUES (nextval('next'), repeat('x', 50));\n\
     UPDATE k SET v = v + 1 WHERE id = :id;\nCOMMIT;\n";

/// One writer, so that numbers have no gaps; what an agent that is dead half of the time catches up
/// with easily.
fn counting(source: &Cluster) -> Workload {
    Workload::start(source, &["-n", "-c", "1", "-T", "3600", "-R", "500"], Some(SCRIPT))
}

/// Waits until some more has arrived at the destination.
async fn progress(agent: &mut Agent, destination: &Cluster) {
    let before = destination.count("ev").await;
    agent
        .wait_for("progress at the destination", async |_| {
            let now = destination.try_query("SELECT count(*) FROM ev").await.unwrap_or_default();
            let now = now.first().and_then(|row| row[0].as_deref()?.parse::<u64>().ok());
            now.is_some_and(|now| now > before + 50)
        })
        .await;
}

/// Everything has arrived, once.
async fn assert_exact(source: &Cluster, destination: &Cluster) {
    assert_same(source, destination, &["ev", "k"]).await;
    let sql = "SELECT count(*) || ' ' || count(DISTINCT n) || ' ' || coalesce(max(n), 0) FROM ev";
    let counts = destination.scalar(sql).await;
    let mut numbers = counts.split(' ');
    let first = numbers.next();
    assert!(numbers.all(|number| Some(number) == first), "rows, numbers, highest: {counts}");
}

async fn finish(
    (source, destination): (&Cluster, &Cluster),
    mut agent: Agent,
    load: Workload,
    monitor: Monitor,
) {
    load.stop(source).await;
    agent.caught_up().await;
    monitor.verdict();
    assert_eq!(agent.terminate().await, Some(0));
    assert_exact(source, destination).await;
    let slots = "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots";
    assert_eq!(source.scalar(slots).await, "sync_agent_it");
}
