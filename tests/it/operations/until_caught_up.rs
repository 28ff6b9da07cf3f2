//! `run --until caught-up`, and `--on-halt`.

use super::with_table;
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::wait;
use crate::support::workload::{self, Workload};
use nix::sys::signal::Signal;

async fn assert_slot_is_kept(source: &Cluster) {
    let slot = "SELECT slot_name || ' ' || active FROM pg_replication_slots";
    wait::until("the slot is kept, unused", wait::PROCESS, async || {
        source.scalar(slot).await == "sync_agent_it false"
    })
    .await;
}

#[tokio::test]
async fn it_copies_drains_and_ends_while_others_go_on_writing() {
    let (source, destination) = pair().await;
    workload::initialize(&source, 1).await;
    let load = Workload::tpcb(&source, 2);
    let mut agent = Agent::between(&source, &destination);
    for _ in 0..2 {
        // The second time there is nothing to copy.
        source.exec("INSERT INTO pgbench_history (tid, mtime) VALUES (-1, now())").await;
        let marks = source.scalar("SELECT count(*) FROM pgbench_history WHERE tid = -1").await;
        agent.start_with(&["--until", "caught-up"]);
        assert_eq!(agent.wait_for_exit().await, Some(0), "{}", agent.log());
        let arrived = "SELECT count(*) FROM pgbench_history WHERE tid = -1";
        assert_eq!(destination.scalar(arrived).await, marks, "all that was there at the call");
        assert_slot_is_kept(&source).await;
    }
    load.stop(&source).await;
    for _ in 0..2 {
        // The second time it is caught up already.
        agent.start_with(&["--until", "caught-up"]);
        assert_eq!(agent.wait_for_exit().await, Some(0), "{}", agent.log());
        assert_same(&source, &destination, &workload::TABLES).await;
    }
    assert_slot_is_kept(&source).await;
    assert!(agent.log().contains("caught up; the slot is kept"));
}

#[tokio::test]
async fn it_waits_for_a_destination_that_is_locked() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_with(&["--until", "caught-up"]);
    assert_eq!(agent.wait_for_exit().await, Some(0));
    source.exec("UPDATE t SET v = 'b'; INSERT INTO t VALUES (2, 'c')").await;
    let lock = destination.session().await.expect("the server answers");
    lock.batch_execute("BEGIN; LOCK TABLE t").await.expect("it is there");
    agent.start_with(&["--until", "caught-up"]);
    agent
        .wait_for("it waits for the lock", async |_| {
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            destination.scalar(waiting).await != "0"
        })
        .await;
    lock.batch_execute("COMMIT").await.expect("the session lives");
    assert_eq!(agent.wait_for_exit().await, Some(0), "{}", agent.log());
    assert_same(&source, &destination, &["t"]).await;
    assert_slot_is_kept(&source).await;
}

#[tokio::test]
async fn a_halted_agent_stays_to_be_looked_at_and_writes_nothing() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    source.exec("SELECT pg_drop_replication_slot('sync_agent_it')").await;
    agent.start();
    assert_eq!(agent.wait_for_exit().await, Some(5), "without the flag it leaves");

    let row = "SELECT epoch || ' ' || applied_lsn FROM sync_agent.checkpoint";
    agent.start_with(&["--on-halt", "stay"]);
    agent.wait_for_state("halted").await;
    let before = destination.scalar(row).await;
    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    let end = agent.status().await["positions"]["wal_end"].clone();
    agent
        .wait_for("the source is still looked at", async |agent| {
            let status = agent.status().await;
            status["positions"]["wal_end"] != end
        })
        .await;
    assert_eq!(agent.metric("sync_agent_state", &["state=\"halted\""]).await, Some(1.0));
    assert_eq!(agent.get("/live").await.0, 200);
    assert_eq!(agent.get("/ready").await.0, 503);
    let status = agent.status().await;
    assert_eq!(status["last_error"]["code"], "E_SLOT", "{status}");
    assert_eq!(destination.scalar(row).await, before);
    assert_eq!(destination.count("t").await, 1);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.wait_for_exit().await, Some(5), "the halt's own code");
}
