//! Failover slots (version 17 and up): asked for where the server has them, and followed.

use super::timelines::{either, timeline};
use super::{TABLES, write};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, Stop};
use crate::support::compare::assert_same;
use crate::support::wait;
use crate::versions::required;

fn version(major: u32, settings: &str) -> Spec {
    Spec { installation: Some(required(major)), settings: settings.to_owned(), ..Spec::default() }
}

const FAILOVER: &str =
    "SELECT failover FROM pg_replication_slots WHERE slot_name = 'sync_agent_it'";

#[tokio::test]
async fn failover_slots_are_made_as_the_settings_say() {
    let servers = tokio::join!(Cluster::start(version(17, "")), Cluster::destination());
    let (source, destination) = servers;
    source.exec(TABLES).await;
    // Made; then altered, but for the third, which leaves it as it is.
    for (word, is_failover) in [("off", "f"), ("on", "t"), ("auto", "t"), ("off", "f")] {
        let mut agent = Agent::between(&source, &destination).text("source.failover", word);
        agent.start_and_stream().await;
        assert_eq!(source.scalar(FAILOVER).await, is_failover, "{word}");
        assert_eq!(agent.terminate().await, Some(0));
    }
    let mut agent = Agent::between(&source, &destination);
    let reset = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(reset.code, 0, "{}", reset.stderr);
    destination.exec("DROP TABLE t, journal").await;
    agent.start_and_stream().await;
    assert_eq!(source.scalar(FAILOVER).await, "t", "asked for where there are");
    assert_eq!(agent.terminate().await, Some(0));
}

/// Asked for where it cannot be had: nothing is made without it.
#[tokio::test]
async fn a_failover_slot_that_cannot_be_had_is_refused() {
    let (source, destination) = crate::support::cluster::pair().await;
    source.exec(TABLES).await;
    let agent = Agent::between(&source, &destination).text("source.failover", "on");
    let run = agent.verb(&["run"]).await;
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(run.stderr.contains("failover"), "{}", run.stderr);
    assert!(agent.traces().await.is_empty());
    let check = agent.verb(&["check"]).await;
    assert_eq!(check.code, 4, "{}", check.stdout);
    assert!(check.stdout.contains("failover"), "{}", check.stdout);
}

/// What takes its time: version 17 synchronizes slots every now and then.
mod long {
    use super::*;

    /// Nothing happens at the primary: the slot's creation says what it waits for.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_standby_is_a_source_and_says_what_it_waits_for() {
        let servers = tokio::join!(Cluster::start(version(16, "")), Cluster::destination());
        let (mut source, destination) = servers;
        source.exec(TABLES).await;
        source.exec("ALTER TABLE journal REPLICA IDENTITY FULL").await;
        let publication = "CREATE PUBLICATION sync_agent_it FOR TABLE t, journal \
             WITH (publish_via_partition_root = true)";
        source.exec(publication).await;
        let standby = source.standby("hot_standby_feedback = on").await;
        standby.follows(&source).await;
        let mut agent =
            Agent::between(&standby, &destination).text("source.publication", "sync_agent_it");
        agent.start();
        agent.wait_for_state("waiting").await;
        let reason = agent.status().await["reason"].to_string();
        assert!(reason.contains("pg_log_standby_snapshot()"), "{reason}");
        let streaming = async |agent: &Agent| {
            // A connection may have come in between: whoever waits asks once more.
            drop(source.try_exec("SELECT pg_log_standby_snapshot()").await);
            agent.status().await["state"] == "streaming"
        };
        agent.wait_for("streaming", streaming).await;
        write(&source).await;
        let end = source.current_lsn().await;
        agent.wait_until_applied(&end).await;
        standby.follows(&source).await;
        source.stop(Stop::Fast).await;
        standby.promote().await;
        write(&standby).await;
        agent.caught_up().await;
        assert_same(&standby, &destination, &["t", "journal"]).await;
        // The connection has not broken: the stream goes on, and the timeline is stored beside it.
        let is_stored = async |_: &Agent| timeline(&destination).await == "2";
        agent.wait_for("the new timeline", is_stored).await;
        write(&standby).await;
        agent.caught_up().await;
        assert_eq!(agent.terminate().await, Some(0));
        agent.start_and_stream().await;
        write(&standby).await;
        agent.caught_up().await;
        assert_same(&standby, &destination, &["t", "journal"]).await;
        assert_eq!(agent.terminate().await, Some(0));
    }

    /// The whole of it: a synchronized slot, a primary that is gone, a promotion.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_failover_slot_is_followed_to_the_promoted_standby() {
        let primary = version(17, "synchronized_standby_slots = 'physical'");
        let servers = tokio::join!(Cluster::start(primary), Cluster::destination());
        let (mut source, destination) = servers;
        source.exec(TABLES).await;
        source.exec("SELECT pg_create_physical_replication_slot('physical', true)").await;
        let mut standby = source
            .standby(
                "primary_slot_name = 'physical'\nhot_standby_feedback = on\n\
                 sync_replication_slots = on\nsynchronized_standby_slots = ''",
            )
            .await;
        let mut agent =
            Agent::between(&standby, &destination).text("source.url", &either(&standby, &source));
        agent.start_and_stream().await;
        write(&source).await;
        let end = source.current_lsn().await;
        agent.wait_until_applied(&end).await;

        // What the standby does not have is not sent to us: we never get ahead of it.
        standby.stop(Stop::Fast).await;
        let before = destination.count("t").await;
        write(&source).await;
        let written = source.current_lsn().await;
        assert_eq!(destination.count("t").await, before, "it waits for the standby");
        standby.launch_again().await;
        agent.wait_until_applied(&written).await;

        wait::until("the slot is synchronized", wait::PROCESS, async || {
            write(&source).await;
            let sql = "SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary \
                 AND invalidation_reason IS NULL AND slot_name = 'sync_agent_it'";
            standby.scalar(sql).await == "1"
        })
        .await;
        let end = source.current_lsn().await;
        agent.wait_until_applied(&end).await;
        source.stop(Stop::Immediate).await;
        standby.exec("ALTER SYSTEM SET sync_replication_slots = off").await;
        standby.promote().await;
        write(&standby).await;
        agent.caught_up().await;
        assert_same(&standby, &destination, &["t", "journal"]).await;
        assert_eq!(timeline(&destination).await, "2");
        assert_eq!(agent.terminate().await, Some(0));
    }
}
