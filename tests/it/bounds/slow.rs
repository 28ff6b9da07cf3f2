//! A destination that takes one megabyte a second, in the tail and in the copy.

use super::assert_bounded;
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::proxy::{Behavior, Proxy};
use crate::support::wait;

const SLOW: Behavior = Behavior::Throttle { bytes_per_second: 1_000_000 };

const TABLE: &str = "CREATE TABLE t (id bigserial PRIMARY KEY, pad text)";

/// 60 MB in transactions of a megabyte and a bit.
const WRITES: &str = "DO $$ BEGIN FOR i IN 1 .. 50 LOOP
     INSERT INTO t (pad) SELECT repeat(md5(g::text), 32) FROM generate_series(1, 1000) g;
     COMMIT; END LOOP; END $$";

#[tokio::test]
async fn a_slow_destination_makes_the_reader_wait_not_the_memory_grow() {
    let (source, destination) = pair().await;
    source.exec(TABLE).await;
    let proxy = Proxy::to(destination.port).await;
    let mut agent = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_by_way_of(proxy.port));
    agent.start_and_stream().await;
    let walsender = "SELECT string_agg(pid::text, ' ') FROM pg_stat_replication";
    let before = source.scalar(walsender).await;
    proxy.set(SLOW);
    source.exec(WRITES).await;
    // The sender is stuck: what it has read of the WAL stays where it is.
    let sent = "SELECT sent_lsn FROM pg_stat_replication";
    let mut last = String::new();
    let mut same = 0;
    wait::until("the reader reads no more", wait::CATCH_UP, async || {
        let now = source.scalar(sent).await;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same >= 20
    })
    .await;
    assert_bounded(&agent, 0);
    assert_eq!(source.scalar(walsender).await, before, "the same connection");
    proxy.set(Behavior::Forward);
    agent.caught_up().await;
    assert_eq!(destination.count("t").await, 50_000);
    assert_bounded(&agent, 0);
}

#[tokio::test]
async fn a_copy_to_a_slow_destination_reads_no_faster_than_it_writes() {
    let (source, destination) = pair().await;
    source.exec(TABLE).await;
    source.exec(WRITES).await;
    for copy in 2..=4 {
        source
            .exec(&format!(
                "CREATE TABLE t{copy} (LIKE t INCLUDING ALL); INSERT INTO t{copy} SELECT * FROM t"
            ))
            .await;
    }
    let proxy = Proxy::to(destination.port).await;
    let mut agent = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_by_way_of(proxy.port));
    agent.start();
    agent.wait_for_state("copying").await;
    proxy.set(SLOW);
    // Some seconds of it: several megabytes over each connection.
    agent
        .wait_for("eight megabytes are written", async |agent| {
            let bytes = agent.metric("sync_agent_snapshot_bytes_total", &["public.t2"]).await;
            bytes.unwrap_or_default() > 4e6
        })
        .await;
    assert_bounded(&agent, 0);
    proxy.set(Behavior::Forward);
    agent.wait_for_state("streaming").await;
    assert_bounded(&agent, 0);
    assert_eq!(destination.count("t4").await, 50_000);
}
