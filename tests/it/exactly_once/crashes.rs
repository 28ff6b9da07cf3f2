//! Servers that stop at once under load, and come back without what they had not flushed.

use super::{TABLES, counting, finish, progress};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, Stop, pair};
use crate::support::monitor::Monitor;

/// A server that loses up to ten seconds of commits in a crash, unless whoever commits says
/// otherwise.
const FORGETFUL: &str = "synchronous_commit = off\nwal_writer_delay = 10s\n";

const CONFIRMED: &str = "SELECT confirmed_flush_lsn FROM pg_replication_slots";

/// DUR-01: a destination that is asynchronous by its settings and by its role's.
async fn destination_crashes(count: usize) {
    let spec = Spec { identity: 1, settings: FORGETFUL.to_owned(), ..Spec::default() };
    let (source, mut destination) = tokio::join!(Cluster::source(), Cluster::start(spec));
    destination.exec("ALTER ROLE postgres SET synchronous_commit = off").await;
    assert_forgets(&mut destination).await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let load = counting(&source);
    let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
    for round in 0..count {
        progress(&mut agent, &destination).await;
        destination.stop(Stop::Immediate).await;
        // Now and then it goes on by itself; else it must not move before we have looked.
        let is_killed = round % 3 != 2;
        if is_killed {
            agent.kill9();
        }
        let confirmed = source.scalar(CONFIRMED).await;
        destination.launch_again().await;
        let sql = format!("SELECT applied_lsn >= '{confirmed}' FROM sync_agent.checkpoint");
        assert_eq!(destination.scalar(&sql).await, "t", "confirmed {confirmed}, then forgotten");
        if is_killed {
            agent.start();
        }
    }
    finish((&source, &destination), agent, load, monitor).await;
}

/// The premise: a commit of anybody else is lost.
async fn assert_forgets(destination: &mut Cluster) {
    destination.exec("CREATE TABLE premise (n int)").await;
    destination.exec("CHECKPOINT").await;
    destination.exec("INSERT INTO premise VALUES (1)").await;
    destination.restart(Stop::Immediate).await;
    assert_eq!(destination.count("premise").await, 0, "this server forgets nothing");
    destination.exec("DROP TABLE premise; CHECKPOINT").await;
}

#[tokio::test]
async fn what_was_confirmed_survives_a_crash_of_an_asynchronous_destination() {
    destination_crashes(3).await;
}

/// A slot's position reaches the disk with a checkpoint only: a crash moves it backwards.
#[tokio::test]
async fn a_crash_of_the_source_that_moves_the_slot_backwards_repeats_nothing() {
    let (mut source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("CHECKPOINT").await;
    let load = counting(&source);
    let before = source.scalar(CONFIRMED).await;
    progress(&mut agent, &destination).await;
    agent.wait_for("the slot moves on", async |_| source.scalar(CONFIRMED).await != before).await;
    // The writers first: pgbench ends when its server does.
    load.stop(&source).await;
    agent.kill9();
    let confirmed = source.scalar(CONFIRMED).await;
    source.restart(Stop::Immediate).await;
    let sql = format!("SELECT confirmed_flush_lsn < '{confirmed}' FROM pg_replication_slots");
    assert_eq!(source.scalar(&sql).await, "t", "the slot did not move backwards");
    // A sequence, too, is ahead of itself after a crash.
    source.exec("SELECT setval('next', (SELECT max(n) FROM ev))").await;
    let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
    let load = counting(&source);
    agent.start_and_stream().await;
    progress(&mut agent, &destination).await;
    finish((&source, &destination), agent, load, monitor).await;
}

mod long {
    use super::*;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn twenty_crashes_of_an_asynchronous_destination_lose_nothing() {
        destination_crashes(20).await;
    }
}
