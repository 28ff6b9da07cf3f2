//! SIGTERM in every phase: exit 0 within the grace, nothing half-done, and the next start goes on.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::with_table;
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Stop};
use crate::support::compare::assert_same;
use crate::support::proxy::{Behavior, Proxy};
use crate::support::wait;
use crate::support::workload::Workload;

/// The grace of these tests; short, so that a stop that needs all of it is cheap.
const GRACE: Duration = Duration::from_secs(4);

fn agent(source: &Cluster, destination: &Cluster) -> Agent {
    Agent::between(source, destination).text("shutdown_grace", "4s")
}

/// Stops it and demands exit 0 in time.
async fn assert_stops(agent: &mut Agent, phase: &str) {
    let asked = Instant::now();
    assert_eq!(agent.terminate().await, Some(0), "{phase}: {}", agent.log());
    let took = asked.elapsed();
    assert!(took < GRACE, "{phase}: {took:?}\n{}", agent.log());
}

/// Nothing of ours is connected any more, and the slot is free.
async fn assert_gone(server: &Cluster) {
    wait::until("its sessions end", wait::PROCESS, async || {
        let ours =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync-agent%'";
        server.scalar(ours).await == "0"
    })
    .await;
}

async fn goes_on(mut agent: Agent, source: &Cluster, destination: &Cluster) {
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(source, destination, &["t"]).await;
    assert_stops(&mut agent, "streaming").await;
    assert_gone(source).await;
}

#[tokio::test]
async fn while_connecting_in_backoff_and_standing_by() {
    let (source, mut destination) = with_table().await;
    let proxy = Proxy::to(source.port).await;
    proxy.set(Behavior::Stall);
    let mut stalled =
        agent(&source, &destination).text("source.url", &source.url_by_way_of(proxy.port));
    stalled.start();
    let reached = "a connection that hangs";
    stalled.wait_for(reached, async |_| proxy.open_connections() > 0).await;
    assert_stops(&mut stalled, "connecting").await;

    destination.stop(Stop::Fast).await;
    let mut agent = agent(&source, &destination);
    agent.start();
    agent.wait_for_state("backoff").await;
    assert_stops(&mut agent, "backoff").await;
    destination.launch_again().await;

    agent.start_and_stream().await;
    let mut second = self::agent(&source, &destination);
    second.start();
    second.wait_for_state("standby").await;
    assert_stops(&mut second, "standby").await;
    assert_stops(&mut agent, "streaming").await;
    goes_on(agent, &source, &destination).await;
}

#[tokio::test]
async fn while_a_slot_waits_for_an_open_transaction() {
    let (source, destination) = with_table().await;
    let open = source.session().await.expect("the server answers");
    open.batch_execute("BEGIN; INSERT INTO t VALUES (9, 'open')").await.expect("a row");
    let mut agent = agent(&source, &destination);
    agent.start();
    agent.wait_for_state("waiting").await;
    assert_stops(&mut agent, "waiting").await;
    let slots = "SELECT count(*) FROM pg_replication_slots";
    wait::until("no slot is left", wait::PROCESS, async || source.scalar(slots).await == "0").await;
    assert_gone(&source).await;
    open.batch_execute("COMMIT").await.expect("it lives");
    goes_on(agent, &source, &destination).await;
}

#[tokio::test]
async fn while_it_copies() {
    let (source, destination) = with_table().await;
    source
        .exec("INSERT INTO t SELECT g, repeat(md5(g::text), 8) FROM generate_series(2, 100000) g")
        .await;
    let proxy = Proxy::to(destination.port).await;
    proxy.set(Behavior::Throttle { bytes_per_second: 500_000 });
    let mut agent = agent(&source, &destination)
        .text("destination.url", &destination.url_by_way_of(proxy.port));
    agent.start();
    agent.wait_for_state("copying").await;
    agent
        .wait_for("rows on their way", async |agent| {
            agent.metric("sync_agent_snapshot_rows_total", &[]).await > Some(100.0)
        })
        .await;
    assert_stops(&mut agent, "copying").await;
    assert_gone(&source).await;
    proxy.set(Behavior::Forward);
    goes_on(agent, &source, &destination).await;
}

/// In the copy's preparation and in the tail: somebody holds a lock that we wait for.
#[tokio::test]
async fn while_the_destination_is_locked() {
    let (source, destination) = with_table().await;
    destination.exec("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let lock = destination.session().await.expect("the server answers");
    let locked = async || {
        lock.batch_execute("BEGIN; LOCK TABLE t").await.expect("it is there");
    };
    let waits = async |agent: &mut Agent| {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        agent.wait_for("a lock", async |_| destination.scalar(waiting).await != "0").await;
    };
    let mut agent = agent(&source, &destination);
    locked().await;
    agent.start();
    waits(&mut agent).await;
    assert_stops(&mut agent, "copying, locked").await;
    lock.batch_execute("ROLLBACK").await.expect("it lives");

    agent.start_and_stream().await;
    locked().await;
    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    waits(&mut agent).await;
    assert_stops(&mut agent, "streaming, locked").await;
    // Still locked: the batch was cancelled, it does not wait behind us.
    assert_gone(&destination).await;
    assert_gone(&source).await;
    lock.batch_execute("ROLLBACK").await.expect("it lives");
    assert_eq!(destination.count("t").await, 1, "rolled back");
    goes_on(agent, &source, &destination).await;
}

#[tokio::test]
async fn while_it_catches_up_under_load() {
    let (source, destination) = with_table().await;
    let script = "\\set id random(10, 1000000000)\nINSERT INTO t VALUES (:id, 'x') ON CONFLICT DO NOTHING;\n";
    let load = Workload::script(&source, 4, script);
    let mut agent = agent(&source, &destination);
    for _ in 0..3 {
        agent.start();
        let before = destination.try_query("SELECT count(*) FROM t").await.ok();
        agent
            .wait_for("progress", async |_| {
                let now = destination.try_query("SELECT count(*) FROM t").await.ok();
                now.is_some() && now != before
            })
            .await;
        assert_stops(&mut agent, "catching up").await;
    }
    load.stop(&source).await;
    goes_on(agent, &source, &destination).await;
}

#[tokio::test]
async fn a_second_signal_forces() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination).text("shutdown_grace", "100s");
    agent.start_and_stream().await;
    let lock = destination.session().await.expect("the server answers");
    lock.batch_execute("BEGIN; LOCK TABLE t").await.expect("it is there");
    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    agent
        .wait_for("the lock", async |_| {
            destination.scalar("SELECT count(*) FROM pg_locks WHERE NOT granted").await != "0"
        })
        .await;
    agent.signal(Signal::SIGTERM);
    let stopping = "a second signal forces it";
    agent.wait_for("it stops", async |agent| agent.log().contains(stopping)).await;
    let asked = Instant::now();
    agent.signal(Signal::SIGINT);
    assert_eq!(agent.wait_for_exit().await, Some(130), "{}", agent.log());
    assert!(asked.elapsed() < GRACE);
    lock.batch_execute("ROLLBACK").await.expect("it lives");
    goes_on(agent.text("shutdown_grace", "4s"), &source, &destination).await;
}
