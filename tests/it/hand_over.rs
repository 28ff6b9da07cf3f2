//! Snapshot and tail together are exact: no gap and no duplicate, with writers running.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;
use crate::support::monitor::Monitor;
use crate::support::workload::{self, Workload};

/// What the first issue asks for, at its full size: about a minute.
#[tokio::test]
async fn pgbench_at_work_ends_with_the_same_rows_on_both_sides() {
    let (source, destination) = pair().await;
    workload::initialize(&source, 20).await;
    let mut load = Workload::start(&source, &["-n", "-c", "4", "-T", "30"], None);
    // In the middle: it has written, and it goes on writing.
    crate::support::wait::until("pgbench is at work", crate::support::wait::PROCESS, async || {
        source.count("pgbench_history").await > 1000
    })
    .await;
    let mut agent = Agent::between(&source, &destination);
    let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
    agent.start();
    load.finish().await;
    agent.caught_up().await;
    monitor.verdict();
    assert_eq!(agent.terminate().await, Some(0));
    assert_same(&source, &destination, &workload::TABLES).await;
}

/// A race at the hand-over shows once in many times, so it happens several times here: small
/// tables, so that the copy ends while the writers are at their busiest.
#[tokio::test]
async fn many_hand_overs_under_load_are_all_exact() {
    let (source, destination) = pair().await;
    for round in 0..5 {
        let name = format!("round_{round}");
        source.exec(&format!("CREATE DATABASE {name}")).await;
        destination.exec(&format!("CREATE DATABASE {name}")).await;
        let (here, there) = (source.database(&name), destination.database(&name));
        workload::initialize(&here, 1).await;
        // A serial number shows a row that is twice there where the plain history could not.
        here.exec("ALTER TABLE pgbench_history ADD COLUMN h bigserial").await;
        let load = Workload::tpcb(&here, 8);
        let mut agent = Agent::between(&here, &there).named(&name);
        agent.start_and_stream().await;
        load.stop(&here).await;
        agent.caught_up().await;
        assert_eq!(agent.terminate().await, Some(0));
        assert_same(&here, &there, &workload::TABLES).await;
    }
}

/// A transaction that began before the slot and commits after it is in the stream, not in the copy.
#[tokio::test]
async fn a_transaction_open_across_the_start_arrives_once() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 100)").await;
    let straddling = source.session().await.expect("the source answers");
    straddling.batch_execute("BEGIN; INSERT INTO t VALUES (1000)").await.expect("an insert");
    let mut agent = Agent::between(&source, &destination);
    agent.start();
    // The slot waits for the transaction, so the agent cannot be further than asking for it.
    crate::support::wait::until("the slot waits", crate::support::wait::CATCH_UP, async || {
        source.scalar("SELECT count(*) FROM pg_locks WHERE NOT granted").await != "0"
    })
    .await;
    straddling.batch_execute("INSERT INTO t VALUES (1001); COMMIT").await.expect("a commit");
    source.exec("INSERT INTO t VALUES (1002)").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}
