//! The WAL that the slot holds: shown, told, and let go of when the configuration says so.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::proxy::{Behavior, Proxy};

const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, pad text);
     CREATE TABLE noise (pad text);
     INSERT INTO t SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 20000) g";

/// 60 MB of WAL.
const NOISE: &str =
    "INSERT INTO noise SELECT repeat(md5(g::text), 32) FROM generate_series(1, 50000) g";

const SLOTS: &str = "SELECT count(*) FROM pg_replication_slots";

/// What the server holds for the slot is what the metric comes to say: it is polled, and WAL is
/// written all the while, so that the two are not of one moment.
async fn assert_shown(agent: &mut Agent, source: &Database) {
    let retained = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint \
         FROM pg_replication_slots WHERE slot_name = 'sync_agent_it'";
    agent
        .wait_for("metric of what the slot holds", async |agent| {
            let held: f64 = source.scalar(retained).await.parse().expect("a number");
            let shown = agent.metric("sync_agent_slot_retained_wal_bytes", &[]).await;
            (shown.expect("it is shown") - held).abs() <= 1e6
        })
        .await;
}

#[tokio::test]
async fn more_wal_than_allowed_is_a_warning_and_a_condition_until_it_is_less() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination)
        .set("exclude", "[\"public.noise\"]")
        .text("source.max_retained_wal", "32MiB");
    agent.start_and_stream().await;
    let lock = destination.session().await.expect("the destination answers");
    lock.batch_execute("BEGIN; LOCK TABLE t").await.expect("the table is there");
    source.exec("INSERT INTO t VALUES (0, '')").await;
    source.exec(NOISE).await;
    agent.wait_for_state("degraded").await;
    let status = agent.status().await;
    assert!(status["reason"].to_string().contains("max_retained_wal"), "{status:#}");
    assert!(agent.log().contains("more WAL than max_retained_wal allows"));
    assert_shown(&mut agent, &source).await;
    lock.batch_execute("COMMIT").await.expect("the session lives");
    agent.caught_up().await;
    // The slot moves when the server notes its running transactions, which a checkpoint does.
    agent
        .wait_for("state streaming", async |agent| {
            source.exec("CHECKPOINT").await;
            agent.status().await["state"] == "streaming"
        })
        .await;
    assert_shown(&mut agent, &source).await;
    assert_eq!(source.scalar(SLOTS).await, "1", "an alert drops nothing");
    assert_same(&source, &destination, &["t"]).await;
}

async fn assert_given_up(agent: &mut Agent, source: &Database) {
    assert_eq!(agent.wait_for_exit().await, Some(5), "{}", agent.log());
    assert_eq!(source.scalar(SLOTS).await, "0", "{}", agent.log());
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("ERROR") && line.contains("E_SLOT"));
    let line = line.expect("it is said");
    assert!(line.contains("was dropped") && line.contains("resync --all"), "{line}");
}

#[tokio::test]
async fn a_slot_that_holds_too_much_is_dropped_and_resync_is_the_way_back() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let proxy = Proxy::to(destination.port).await;
    let mut agent = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_by_way_of(proxy.port))
        .set("exclude", "[\"public.noise\"]")
        .text("source.max_retained_wal", "32MiB")
        .text("source.max_retained_wal_action", "drop-slot");
    agent.start_and_stream().await;
    // It backs off at a destination that is not there.
    proxy.set(Behavior::Cut);
    agent.wait_for_state("backoff").await;
    source.exec("INSERT INTO t VALUES (0, '')").await;
    source.exec(NOISE).await;
    assert_given_up(&mut agent, &source).await;
    proxy.set(Behavior::Forward);
    agent.start();
    assert_eq!(agent.wait_for_exit().await, Some(5), "it stays so:\n{}", agent.log());
    let asked = agent.verb(&["resync", "--all", "--yes"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn a_copy_that_holds_too_much_is_ended() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let proxy = Proxy::to(destination.port).await;
    proxy.set(Behavior::Throttle { bytes_per_second: 1_000_000 });
    let mut agent = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_by_way_of(proxy.port))
        .set("exclude", "[\"public.noise\"]")
        .text("source.max_retained_wal", "32MiB")
        .text("source.max_retained_wal_action", "drop-slot");
    agent.start();
    agent.wait_for_state("copying").await;
    proxy.set(Behavior::Stall);
    source.exec(NOISE).await;
    assert_given_up(&mut agent, &source).await;
    let state = "SELECT string_agg(DISTINCT state, ' ') FROM sync_agent.tables";
    assert_ne!(destination.scalar(state).await, "copied", "it was ended in the middle");
}
