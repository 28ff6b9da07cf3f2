//! Promotions of the source: one whose timeline has our position in it goes on, one that left before
//! it is refused.

use super::{Scene, TABLES, last_error, write};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Stop, pair};
use crate::support::compare::assert_same;
use crate::support::wait;

/// A URL of two hosts, of which one is the primary.
pub(super) fn either(first: &Cluster, second: &Cluster) -> String {
    format!("postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", first.port, second.port)
}

pub(super) async fn timeline(destination: &Cluster) -> String {
    destination.scalar("SELECT timeline FROM sync_agent.checkpoint").await
}

/// The standby has the slot, because its files were copied from the primary's; it is named first, and
/// passed over for as long as it is one.
#[tokio::test]
async fn a_promotion_that_has_our_position_goes_on_and_is_remembered() {
    let (mut source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    write(&source).await;
    agent.caught_up().await;
    let standby = source.standby("").await;
    let mut second =
        Agent::between(&standby, &destination).text("source.url", &either(&standby, &source));
    assert_eq!(agent.terminate().await, Some(0));
    second.start_and_stream().await;
    write(&source).await;
    let end = source.current_lsn().await;
    second.wait_until_applied(&end).await;
    standby.follows(&source).await;
    assert_eq!(timeline(&destination).await, "1");

    source.stop(Stop::Fast).await;
    standby.promote().await;
    write(&standby).await;
    second.caught_up().await;
    assert_same(&standby, &destination, &["t", "journal"]).await;
    assert_eq!(timeline(&destination).await, "2");
    let log = second.log();
    assert!(log.contains("the source was promoted"), "{log}");
    // Now that the position lies beyond the switch, the next start must know the new timeline.
    assert_eq!(second.terminate().await, Some(0));
    second.start_and_stream().await;
    write(&standby).await;
    second.caught_up().await;
    assert_same(&standby, &destination, &["t", "journal"]).await;
    assert_eq!(second.terminate().await, Some(0));
}

#[tokio::test]
async fn a_promotion_that_left_before_our_position_is_refused() {
    let mut scene = Scene::streaming().await;
    let standby = scene.source.standby("").await;
    scene.agent.wait_for_state("streaming").await;
    standby.follows(&scene.source).await;
    standby.stay_behind().await;
    scene.is_exact().await;
    let applied = scene.applied().await;
    scene.cut_off_source().await;
    standby.promote().await;
    // As far as we are, and further.
    let sql = format!("SELECT pg_current_wal_flush_lsn() > '{applied}'");
    wait::until("the new primary has passed our position", wait::PROCESS, async || {
        write(&standby).await;
        standby.scalar(&sql).await == "t"
    })
    .await;
    scene.near.lead_to(standby.port);
    let before = scene.untouched_beside(&standby).await;
    scene.let_through();
    let begun = std::time::Instant::now();
    assert_eq!(scene.agent.wait_for_exit().await, Some(5), "{}", scene.agent.log());
    assert!(begun.elapsed() < super::LIMIT, "{:?}", begun.elapsed());
    let (code, said) = last_error(&scene.agent);
    assert_eq!(code, "E_LINEAGE", "{said}");
    for word in [applied.as_str(), "timeline 1", "timeline 2"] {
        assert!(said.contains(word), "\"{word}\" is not in: {said}");
    }
    assert_eq!(scene.untouched_beside(&standby).await, before);
}
