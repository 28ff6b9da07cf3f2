//! Whatever ends the agent, a server or a connection, it goes on where the destination is.
//!
//! The oracle is always the same: a table without a key, which shows every row that is lost or
//! applied twice. Kills at random moments are in `exactly_once`.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Stop, pair};
use crate::support::compare::assert_same;
use crate::support::proxy::{Behavior, Direction, Proxy};
use crate::support::wait;
use crate::support::workload::{self, Workload};

/// A table without a key that is written as fast as pgbench can, and one with a key.
const TABLES: &str = "CREATE TABLE journal (n bigint, at timestamptz DEFAULT clock_timestamp()); \
     CREATE TABLE totals (id int PRIMARY KEY, sum bigint); \
     INSERT INTO totals SELECT g, 0 FROM generate_series(1, 20) g";
const SCRIPT: &str = "\\set id random(1, 20)\n\\set n random(1, 1000000)\nBEGIN;\n\
     INSERT INTO journal VALUES (:n);\nUPDATE totals SET sum = sum + :n WHERE id = :id;\nCOMMIT;\n";

/// Writers at work and an agent that has passed its copy.
async fn under_load() -> (Cluster, Cluster, Agent, Workload) {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let load = Workload::script(&source, 2, SCRIPT);
    (source, destination, agent, load)
}

/// Waits until some more of the load has arrived at the destination.
async fn progress(agent: &mut Agent, destination: &Cluster) {
    let before = destination.count("journal").await;
    agent
        .wait_for("progress at the destination", async |_| {
            destination.count("journal").await > before + 200
        })
        .await;
}

async fn finish(source: &Cluster, destination: &Cluster, mut agent: Agent, load: Workload) {
    load.stop(source).await;
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    assert_same(source, destination, &["journal", "totals"]).await;
}

#[tokio::test]
async fn a_clean_stop_under_load_exits_0_and_goes_on_where_it_was() {
    let (source, destination, mut agent, load) = under_load().await;
    for _ in 0..3 {
        progress(&mut agent, &destination).await;
        assert_eq!(agent.terminate().await, Some(0));
        agent.start();
    }
    finish(&source, &destination, agent, load).await;
}

/// Whoever may not read the table cannot have copied it again.
#[tokio::test]
async fn a_restart_does_not_copy_again() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    source.exec("CREATE ROLE repl LOGIN REPLICATION; GRANT SELECT ON t TO repl").await;
    source.exec("CREATE PUBLICATION shop FOR TABLE t").await;
    let mut agent = Agent::between(&source, &destination)
        .text("source.url", &source.url_as("repl"))
        .text("source.publication", "shop");
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source.exec("REVOKE SELECT ON t FROM repl").await;
    source.exec("INSERT INTO t VALUES (3)").await;
    agent.delete_state();
    agent.start();
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

/// Half-way by count: chunks of 1 MiB over a link of 8 MB/s.
#[tokio::test]
async fn a_copy_killed_half_way_starts_over_by_itself() {
    let (source, destination) = pair().await;
    let rows = 300_000;
    source.exec("CREATE TABLE nk (a int, b text)").await;
    source
        .exec(&format!("INSERT INTO nk SELECT g, md5(g::text) FROM generate_series(1, {rows}) g"))
        .await;
    source.exec(TABLES).await;
    let load = Workload::script(&source, 1, SCRIPT);
    let proxy = Proxy::to(destination.port).await;
    proxy.set(Behavior::Throttle { bytes_per_second: 8_000_000 });
    let mut agent = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_by_way_of(proxy.port))
        .text("snapshot.chunk", "1MiB")
        .set("snapshot.workers", "1");
    for _ in 0..2 {
        agent.start();
        agent
            .wait_for("a part of the copy", async |_| {
                let copied = destination.try_query("SELECT count(*) FROM nk").await;
                let copied = copied.ok().and_then(|rows| rows[0][0].clone());
                let copied: u64 = copied.map_or(0, |text| text.parse().expect("a count"));
                assert!(copied < rows, "the copy was quicker than the test");
                copied > rows / 20
            })
            .await;
        agent.kill9();
    }
    proxy.set(Behavior::Forward);
    agent.start_and_stream().await;
    load.stop(&source).await;
    agent.caught_up().await;
    assert_eq!(destination.count("nk").await, rows);
    assert_same(&source, &destination, &["nk", "journal", "totals"]).await;
    assert_nothing_left_over(&source, &destination).await;
}

/// One slot, no staging tables, no forgotten transaction.
async fn assert_nothing_left_over(source: &Cluster, destination: &Cluster) {
    let slots = "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots";
    assert_eq!(source.scalar(slots).await, "sync_agent_it");
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync-agent%' \
         AND state LIKE 'idle in transaction%'";
    assert_eq!(source.scalar(open).await, "0");
    let tables = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    assert_eq!(destination.scalar(tables).await, "journal nk totals");
}

#[tokio::test]
async fn a_restart_of_the_source_is_survived() {
    for mode in [Stop::Fast, Stop::Immediate] {
        let (mut source, destination, mut agent, load) = under_load().await;
        progress(&mut agent, &destination).await;
        // The writers first: pgbench ends when its server does.
        load.stop(&source).await;
        source.restart(mode).await;
        let load = Workload::script(&source, 2, SCRIPT);
        progress(&mut agent, &destination).await;
        finish(&source, &destination, agent, load).await;
    }
}

#[tokio::test]
async fn a_restart_of_the_destination_is_survived() {
    let (source, mut destination, mut agent, load) = under_load().await;
    for mode in [Stop::Fast, Stop::Immediate, Stop::Kill] {
        progress(&mut agent, &destination).await;
        destination.restart(mode).await;
    }
    finish(&source, &destination, agent, load).await;
}

#[tokio::test]
async fn cut_connections_are_survived() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let (near, far) = (Proxy::to(source.port).await, Proxy::to(destination.port).await);
    let mut agent = Agent::between(&source, &destination)
        .text("source.url", &source.url_by_way_of(near.port))
        .text("destination.url", &destination.url_by_way_of(far.port));
    agent.start_and_stream().await;
    let load = Workload::script(&source, 2, SCRIPT);
    for proxy in [&near, &far, &near, &far] {
        progress(&mut agent, &destination).await;
        proxy.cut_once().await;
    }
    // In the middle of a message, and where an answer to COMMIT may be lost.
    for (proxy, direction) in
        [(&near, Direction::FromServer), (&far, Direction::ToServer), (&far, Direction::FromServer)]
    {
        progress(&mut agent, &destination).await;
        proxy.set(Behavior::CutAfter { direction, bytes: 5000 });
        wait::until("it is cut", wait::PROCESS, async || proxy.cut_count() > 0).await;
        proxy.set(Behavior::Forward);
    }
    finish(&source, &destination, agent, load).await;
}

/// Two agents of one pipeline never write at the same time; the second takes over.
#[tokio::test]
async fn a_second_agent_waits_and_takes_over() {
    let (source, destination, mut agent, load) = under_load().await;
    let mut second = Agent::between(&source, &destination);
    second.start();
    second.wait_for_state("standby").await;
    progress(&mut agent, &destination).await;
    agent.kill9();
    second.wait_for_state("streaming").await;
    finish(&source, &destination, second, load).await;
}

#[tokio::test]
async fn pgbench_survives_a_kill_in_every_phase() {
    let (source, destination) = pair().await;
    workload::initialize(&source, 2).await;
    let load = Workload::tpcb(&source, 2);
    let mut agent = Agent::between(&source, &destination).text("snapshot.chunk", "1MiB");
    for phase in ["starting", "copying", "streaming"] {
        agent.start();
        agent
            .wait_for(phase, async |agent| {
                // A phase may be over before we look: past it is as good.
                let status = agent.try_get("/status").await;
                let at = |name: &str| status.as_ref().is_some_and(|(_, body)| body.contains(name));
                at(&format!("\"{phase}\"")) || at("\"streaming\"")
            })
            .await;
        agent.kill9();
    }
    agent.start_and_stream().await;
    load.stop(&source).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &workload::TABLES).await;
}

/// What an agent of the first version left behind is read, and brought up to date by the next start.
#[tokio::test]
async fn state_of_the_first_version_is_upgraded_in_place() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    destination
        .exec(
            "ALTER TABLE sync_agent.tables DROP COLUMN source_oid, DROP COLUMN published, \
             DROP COLUMN partitions, DROP COLUMN finished, DROP COLUMN beside; \
             DROP TABLE sync_agent.requests, sync_agent.chunks, sync_agent.missing, sync_agent.catch_up; \
             UPDATE sync_agent.versions SET version = 1 WHERE component = 'state'",
        )
        .await;
    let checked = agent.verb(&["check"]).await;
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    source.exec("INSERT INTO journal VALUES (1)").await;
    agent.start_and_stream().await;
    agent.caught_up().await;
    let version = "SELECT version FROM sync_agent.versions WHERE component = 'state'";
    assert_eq!(destination.scalar(version).await, "3");
    assert_eq!(agent.terminate().await, Some(0));
    assert_same(&source, &destination, &["journal", "totals"]).await;
}
