//! `resync`: tables are copied again while the agent runs, and after a lost slot.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;
use crate::support::wait;

const TABLES: &str = "CREATE TABLE big (id int PRIMARY KEY, pad text); \
     INSERT INTO big SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g; \
     CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1), (2)";

#[tokio::test]
async fn a_damaged_table_is_equal_again_and_never_empty_for_its_readers() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination).text("snapshot.chunk", "1MiB");
    agent.start_and_stream().await;
    destination
        .exec("DELETE FROM big WHERE id % 3 = 0; UPDATE big SET pad = 'y' WHERE id = 1")
        .await;
    let reader = tokio::spawn({
        let destination = (*destination).clone();
        async move {
            let mut least = u64::MAX;
            loop {
                let finished = "sync_agent.requests WHERE outcome = 'done'";
                least = least.min(destination.count("big").await);
                if destination.count(finished).await == 1 {
                    return least;
                }
            }
        }
    });
    let asked = agent.verb(&["resync", "--table", "public.big", "--yes"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    assert!(asked.stdout.contains("has taken it"), "{}", asked.stdout);
    let waited = agent.verb(&["wait", "--for", "streaming", "--timeout", "60s"]).await;
    assert_eq!(waited.code, 0, "{}", waited.stderr);
    source.exec("INSERT INTO big VALUES (20001, 'z'); INSERT INTO small VALUES (3)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["big", "small"]).await;
    assert!(reader.await.expect("it reads") > 13_000, "old rows stay until the new ones are there");
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_row_in_requests_does_the_same_as_the_verb() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    destination.exec("TRUNCATE small").await;
    destination
        .exec(
            "INSERT INTO sync_agent.requests (pipeline, verb, tables, options) VALUES \
             ('it', 'resync', '{public.small}', '{\"truncate\": true}'), \
             ('it', 'resync', '{public.nowhere}', '{}'), ('it', 'dance', NULL, '{}'), \
             ('another', 'resync', NULL, '{}')",
        )
        .await;
    agent
        .wait_for("both outcomes", async |_| {
            destination.count("sync_agent.requests WHERE finished_at IS NOT NULL").await == 3
        })
        .await;
    agent.wait_for_state("streaming").await;
    let outcomes = "SELECT string_agg(outcome || ' ' || coalesce(message, ''), '; ' ORDER BY id) \
         FROM sync_agent.requests";
    let said = destination.scalar(outcomes).await;
    assert!(said.starts_with("done ; refused table"), "{said}");
    assert!(said.ends_with("verb \"dance\" is not known to this agent"), "{said}");
    assert_same(&source, &destination, &["small", "big"]).await;
}

#[tokio::test]
async fn wrong_calls_ask_for_nothing() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    let before = agent.verb(&["resync", "--all", "--yes"]).await;
    assert_eq!(before.code, 3, "never run: {}", before.stderr);
    assert!(agent.traces().await.is_empty(), "nothing is created");
    agent.start_and_stream().await;
    for (arguments, code) in [
        (&["resync", "--table", "public.big"][..], 2),
        (&["resync", "--yes"], 2),
        (&["resync", "--all", "--table", "public.big", "--yes"], 2),
        (&["resync", "--table", "public.nowhere", "--yes"], 3),
        (&["resync", "--all", "--method", "compare", "--yes"], 3),
    ] {
        let refused = agent.verb(arguments).await;
        assert_eq!(refused.code, code, "{arguments:?}: {}", refused.stderr);
    }
    assert_eq!(destination.count("sync_agent.requests").await, 0);
}

#[tokio::test]
async fn resync_all_is_the_way_out_of_a_lost_slot_and_of_nothing_less() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source.exec("SELECT pg_drop_replication_slot('sync_agent_it')").await;
    source.exec("INSERT INTO small VALUES (3); DELETE FROM big WHERE id = 5").await;
    let asked = agent.verb(&["resync", "--table", "public.small", "--yes"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    let lost = agent.verb(&["run"]).await;
    assert_eq!(lost.code, 5, "{}", lost.stderr);
    assert!(
        lost.stderr.contains("E_SLOT") && lost.stderr.contains("resync --all"),
        "{}",
        lost.stderr
    );
    let slots = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(source.scalar(slots).await, "0", "no slot is made in silence");

    let asked = agent.verb(&["resync", "--all", "--yes"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    agent.start();
    // Cut off in between: what was asked for is not forgotten.
    wait::until("the new slot", wait::CATCH_UP, async || source.scalar(slots).await != "0").await;
    agent.kill9();
    agent.start_and_stream().await;
    source.exec("INSERT INTO small VALUES (4)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["big", "small"]).await;
    let open = "sync_agent.requests WHERE finished_at IS NULL";
    assert_eq!(destination.count(open).await, 0);
}
