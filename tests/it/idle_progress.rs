//! An idle pipeline pins no WAL and never keeps the source from stopping.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, Stop, pair};
use crate::support::compare::assert_same;
use crate::support::monitor::Monitor;
use crate::support::wait;

#[tokio::test]
async fn other_tables_traffic_is_confirmed_while_ours_are_idle() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (v text)").await;
    let mut agent = Agent::between(&source, &destination).set("exclude", "[\"public.other\"]");
    agent.start_and_stream().await;
    let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
    source.exec("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 20000)").await;
    let lsn = source.current_lsn().await;
    agent
        .wait_for("the slot moves on without a row of ours", async |_| {
            let sql = format!(
                "SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots \
                 WHERE slot_name = 'sync_agent_it'"
            );
            source.scalar(&sql).await == "t"
        })
        .await;
    monitor.verdict();
}

#[tokio::test]
async fn a_fast_shutdown_of_the_source_is_not_held_up() {
    let (mut source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    // Idle. `stop` waits 30 s; the server itself would wait for ever.
    source.stop(Stop::Fast).await;
    source.launch_again().await;
    agent.caught_up().await;
    // With a backlog that the destination does not take.
    let lock = destination.session().await.expect("the destination answers");
    lock.batch_execute("BEGIN; LOCK TABLE t").await.expect("the table is there");
    source.exec("INSERT INTO t SELECT generate_series(1, 50000)").await;
    wait::until("the agent waits for the lock", wait::CATCH_UP, async || {
        destination.scalar("SELECT count(*) FROM pg_locks WHERE NOT granted").await != "0"
    })
    .await;
    source.stop(Stop::Fast).await;
    lock.batch_execute("COMMIT").await.expect("the session lives");
    source.launch_again().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

/// The server drops a client that is silent for `wal_sender_timeout`, idle or not.
#[tokio::test]
async fn the_stream_outlives_a_short_sender_timeout() {
    let spec = Spec { settings: "wal_sender_timeout = 2s\n".to_owned(), ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec), Cluster::destination());
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let walsender = "SELECT string_agg(pid::text, ' ') FROM pg_stat_replication";
    let before = source.scalar(walsender).await;
    let lock = destination.session().await.expect("the destination answers");
    lock.batch_execute("BEGIN; LOCK TABLE t").await.expect("the table is there");
    source.exec("INSERT INTO t VALUES (1)").await;
    // Three timeouts, measured by the server's clock.
    source.exec("SELECT pg_sleep(6)").await;
    assert_eq!(source.scalar(walsender).await, before, "the same connection:\n{}", source.log());
    lock.batch_execute("COMMIT").await.expect("the session lives");
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

/// After the copy no session of ours holds back vacuum.
#[tokio::test]
async fn no_transaction_of_the_copy_stays_open() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    wait::until("nothing of ours holds a snapshot", wait::PROCESS, async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync-agent%' \
             AND backend_type = 'client backend' AND (backend_xmin IS NOT NULL OR xact_start IS NOT NULL)";
        source.scalar(sql).await == "0"
    })
    .await;
}
