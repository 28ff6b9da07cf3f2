//! What the source is told, seen from the source: its own numbers, and none before the destination
//! has what they stand for.

use super::{TABLES, counting, finish, progress};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::monitor::Monitor;
use crate::support::wait;

/// Somebody else's WAL, in another database, a segment at a time: keepalives carry its end.
async fn noise(source: &Cluster) {
    source.database("noise").exec("INSERT INTO n VALUES (repeat('x', 1000))").await;
    source.database("noise").exec("SELECT pg_switch_wal()").await;
}

async fn with_noise() -> (Cluster, Cluster) {
    let (source, destination) = pair().await;
    source.exec("CREATE DATABASE noise").await;
    source.database("noise").exec("CREATE TABLE n (v text)").await;
    source.exec("CREATE TABLE a1 (id int PRIMARY KEY)").await;
    (source, destination)
}

/// ACK-01: the row waits for a lock at the destination; keepalives go far beyond it.
#[tokio::test]
async fn keepalives_do_not_confirm_a_row_that_is_not_applied() {
    let (source, destination) = with_noise().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
    // It knows the table: else it waits for its description, and reads nothing meanwhile.
    source.exec("INSERT INTO a1 VALUES (0)").await;
    agent.caught_up().await;
    let lock = destination.session().await.expect("the destination answers");
    lock.batch_execute("BEGIN; LOCK TABLE a1").await.expect("the table is there");
    let before = source.current_lsn().await;
    source.exec("INSERT INTO a1 VALUES (1)").await;
    wait::until("the agent waits for the lock", wait::CATCH_UP, async || {
        destination.scalar("SELECT count(*) FROM pg_locks WHERE NOT granted").await != "0"
    })
    .await;
    for _ in 0..4 {
        noise(&source).await;
        let lsn = source.current_lsn().await;
        // It has come to the agent: `write_lsn` is what we say that we have received.
        let heard = format!("SELECT write_lsn >= '{lsn}' FROM pg_stat_replication");
        wait::until("the keepalive is heard", wait::CATCH_UP, async || {
            source.scalar(&heard).await == "t"
        })
        .await;
        let confirmed =
            format!("SELECT confirmed_flush_lsn <= '{before}' FROM pg_replication_slots");
        assert_eq!(source.scalar(&confirmed).await, "t", "the row was confirmed, not applied");
    }
    agent.kill9();
    lock.batch_execute("ROLLBACK").await.expect("the session lives");
    agent.start_and_stream().await;
    agent.caught_up().await;
    monitor.verdict();
    assert_eq!(agent.terminate().await, Some(0));
    assert_same(&source, &destination, &["a1"]).await;
}

/// The same while the copy waits for a lock: the slot is there, and so are its keepalives.
#[tokio::test]
async fn nothing_is_confirmed_while_the_copy_waits() {
    let (source, destination) = with_noise().await;
    source.exec("INSERT INTO a1 VALUES (1)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.arm("chunk-loaded=park");
    agent.start();
    agent.wait_for("a chunk that stands still", async |agent| agent.log().contains("parked")).await;
    let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
    let before = source.current_lsn().await;
    source.exec("INSERT INTO a1 VALUES (2)").await;
    for _ in 0..3 {
        noise(&source).await;
        let confirmed =
            format!("SELECT confirmed_flush_lsn <= '{before}' FROM pg_replication_slots");
        assert_eq!(source.scalar(&confirmed).await, "t", "the row was confirmed, not applied");
    }
    agent.kill9();
    agent.arm("");
    agent.start_and_stream().await;
    agent.caught_up().await;
    monitor.verdict();
    assert_eq!(agent.terminate().await, Some(0));
    assert_same(&source, &destination, &["a1"]).await;
}

/// So many segments of WAL, of nothing.
async fn run_ahead(server: &Cluster, segments: u32) {
    for _ in 0..segments {
        server.exec("CREATE TABLE ahead (); DROP TABLE ahead").await;
        server.exec("SELECT pg_switch_wal()").await;
    }
}

async fn is_ahead(one: &Cluster, other: &Cluster) -> bool {
    let lsn = other.current_lsn().await;
    one.scalar(&format!("SELECT pg_current_wal_lsn() - '{lsn}' > 50000000")).await == "t"
}

/// ACK-02: the two servers' positions have nothing to do with each other.
#[tokio::test]
async fn the_confirmed_position_is_the_sources_whichever_server_is_ahead() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    run_ahead(&destination, 12).await;
    assert!(is_ahead(&destination, &source).await);
    let mut agent = Agent::between(&source, &destination);
    let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
    let load = counting(&source);
    agent.start_and_stream().await;
    for round in 0..2 {
        progress(&mut agent, &destination).await;
        agent.kill9();
        if round == 0 {
            run_ahead(&source, 24).await;
            assert!(is_ahead(&source, &destination).await);
        }
        agent.start_and_stream().await;
    }
    finish((&source, &destination), agent, load, monitor).await;
}

/// ACK-04: the slot moves by keepalives alone, and a restart sees nothing wrong with that; a slot that
/// somebody else has moved is told all the same.
#[tokio::test]
async fn idle_positions_do_not_look_like_a_slot_that_was_advanced() {
    let (source, destination) = with_noise().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
    for is_state_lost in [false, true] {
        noise(&source).await;
        let lsn = source.current_lsn().await;
        agent
            .wait_for("the slot moves without a row", async |_| {
                let sql =
                    format!("SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots");
                source.scalar(&sql).await == "t"
            })
            .await;
        agent.kill9();
        if is_state_lost {
            agent.delete_state();
        }
        agent.start_and_stream().await;
    }
    assert_eq!(agent.terminate().await, Some(0));
    monitor.verdict();
    source.exec("INSERT INTO a1 VALUES (7)").await;
    wait::until("the slot is free", wait::PROCESS, async || {
        source.scalar("SELECT active FROM pg_replication_slots").await == "f"
    })
    .await;
    let advance = "SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) \
         FROM pg_replication_slots";
    source.exec(advance).await;
    agent.start();
    assert_eq!(agent.wait_for_exit().await, Some(5), "{}", agent.log());
    assert!(agent.log().contains("E_SLOT"), "{}", agent.log());
    assert_eq!(destination.count("a1").await, 0, "nothing was written");
}
