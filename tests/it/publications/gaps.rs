//! A time in which a table was not published, or otherwise: copied again, or the pipeline ends.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;

const TABLES: &str =
    "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY);
     INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 50) g;
     INSERT INTO u SELECT generate_series(1, 50);";

/// What happens to `t` behind our back, with writes in between that are not sent.
const GAP: &str = "ALTER PUBLICATION p DROP TABLE t;
     INSERT INTO t VALUES (1001, 'in the gap'); UPDATE t SET v = 'gap' WHERE id = 1;
     DELETE FROM t WHERE id = 2; INSERT INTO u VALUES (1001);
     ALTER PUBLICATION p ADD TABLE t; INSERT INTO t VALUES (1002, 'after')";

async fn with_existing(publication: &str) -> (Cluster, Cluster, Agent) {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source.exec(publication).await;
    let agent =
        Agent::between(&source, &destination).text("source.publication", "p").looking_often();
    (source, destination, agent)
}

async fn copied_again(agent: &mut Agent, table: &str, reason: &str) {
    agent
        .wait_for("the table is copied again", async |agent| {
            agent.log().lines().any(|line| {
                line.contains("is copied again") && line.contains(table) && line.contains(reason)
            })
        })
        .await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
}

#[tokio::test]
async fn a_member_removed_and_added_again_while_stopped_is_copied_again() {
    let (source, destination, mut agent) =
        with_existing("CREATE PUBLICATION p FOR TABLE t, u").await;
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source.exec(GAP).await;
    agent.start();
    copied_again(&mut agent, "public.t", "removed from and added to").await;
    assert_same(&source, &destination, &["t", "u"]).await;
    assert!(!agent.log().contains("\"table\":\"public.u\",\"reason\""), "u was never out");
    assert_eq!(agent.terminate().await, Some(0));
    let before = agent.log().matches("is copied again").count();
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_eq!(agent.log().matches("is copied again").count(), before, "once");
}

#[tokio::test]
async fn a_member_removed_and_added_again_while_running_is_copied_again() {
    let (source, destination, agent) = with_existing("CREATE PUBLICATION p FOR TABLE t, u").await;
    // The one test that waits for the next look as people do.
    let mut agent = agent.variable("SYNC_AGENT_LOOKS_MS", "3600000");
    agent.start_and_stream().await;
    let began = std::time::Instant::now();
    source.exec(GAP).await;
    agent.wait_for("a look", async |agent| agent.log().contains("looking anew")).await;
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    copied_again(&mut agent, "public.t", "removed from and added to").await;
    source.exec("INSERT INTO t VALUES (1003, 'later'); UPDATE t SET v = 'x' WHERE id = 3").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "u"]).await;
}

#[tokio::test]
async fn a_member_that_is_gone_is_an_error_at_the_start_and_a_condition_while_running() {
    let (source, destination, mut agent) =
        with_existing("CREATE PUBLICATION p FOR TABLE t, u").await;
    agent.start_and_stream().await;
    source.exec("ALTER PUBLICATION p DROP TABLE t; INSERT INTO t VALUES (1001, 'gap')").await;
    agent.wait_for_state("degraded").await;
    let status = agent.status().await;
    let reason = status["reason"].as_str().expect("a reason");
    assert!(reason.contains("ALTER PUBLICATION \"p\" ADD TABLE \"public\".\"t\""), "{reason}");
    source.exec("INSERT INTO u VALUES (1001)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["u"]).await;
    assert_eq!(agent.terminate().await, Some(0));
    let refused = agent.verb(&["run"]).await;
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    source.exec("ALTER PUBLICATION p ADD TABLE t").await;
    agent.start();
    copied_again(&mut agent, "public.t", "").await;
    assert_same(&source, &destination, &["t", "u"]).await;
}

#[tokio::test]
async fn a_changed_filter_is_a_gap_and_an_unchanged_one_is_not() {
    let (source, destination, mut agent) =
        with_existing("CREATE PUBLICATION p FOR TABLE t WHERE (id < 30), TABLE u").await;
    agent.start_and_stream().await;
    assert_eq!(destination.count("t").await, 29);
    source.exec("ALTER PUBLICATION p SET TABLE t WHERE (id < 40), u").await;
    copied_again(&mut agent, "public.t", "row filter").await;
    assert_eq!(destination.count("t").await, 39);
    source.exec("ALTER PUBLICATION p SET TABLE t WHERE (id < 40), u").await;
    assert_eq!(agent.terminate().await, Some(0));
    let before = agent.log().matches("is copied again").count();
    agent.start_and_stream().await;
    assert_eq!(agent.log().matches("is copied again").count(), before);
}

#[tokio::test]
async fn options_changed_and_changed_back_are_a_gap() {
    let (source, destination, mut agent) =
        with_existing("CREATE PUBLICATION p FOR TABLE t, u").await;
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source
        .exec(
            "ALTER PUBLICATION p SET (publish = 'insert'); DELETE FROM t WHERE id = 5;
             ALTER PUBLICATION p SET (publish = 'insert, update, delete, truncate')",
        )
        .await;
    agent.start();
    copied_again(&mut agent, "public.t", "options were changed").await;
    assert_same(&source, &destination, &["t", "u"]).await;
    // Another owner publishes the same.
    source.exec("CREATE ROLE other SUPERUSER; ALTER PUBLICATION p OWNER TO other").await;
    assert_eq!(agent.terminate().await, Some(0));
    let before = agent.log().matches("is copied again").count();
    agent.start_and_stream().await;
    assert_eq!(agent.log().matches("is copied again").count(), before);
}

#[tokio::test]
async fn a_publication_that_is_renamed_while_running_ends_the_pipeline() {
    let (source, destination, mut agent) =
        with_existing("CREATE PUBLICATION p FOR TABLE t, u").await;
    agent.start_and_stream().await;
    source.exec("ALTER PUBLICATION p RENAME TO q").await;
    assert_eq!(agent.wait_for_exit().await, Some(5), "{}", agent.log());
    assert!(agent.log().contains("\"code\":\"E_SLOT\""), "{}", agent.log());
    let checked = agent.verb(&["check"]).await;
    assert_eq!(checked.code, 4, "{}", checked.stdout);
    source.exec("ALTER PUBLICATION q RENAME TO p").await;
    agent.start();
    copied_again(&mut agent, "public.t", "options").await;
    assert_same(&source, &destination, &["t", "u"]).await;
}

#[tokio::test]
async fn a_publication_that_was_dropped_and_created_again_ends_the_pipeline_until_all_is_copied() {
    let (source, destination, mut agent) =
        with_existing("CREATE PUBLICATION p FOR TABLE t, u").await;
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source
        .exec(
            "DROP PUBLICATION p; INSERT INTO t VALUES (1001, 'in the gap');
             CREATE PUBLICATION p FOR TABLE t, u; INSERT INTO t VALUES (1002, 'after')",
        )
        .await;
    let refused = agent.verb(&["run"]).await;
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("dropped and created again"), "{}", refused.stderr);
    let asked = agent.verb(&["resync", "--all", "--yes"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "u"]).await;
}

#[tokio::test]
async fn our_own_publication_is_mended_and_the_table_copied_again() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination).looking_often();
    agent.start_and_stream().await;
    source
        .exec("ALTER PUBLICATION sync_agent_it DROP TABLE t; INSERT INTO t VALUES (1001, 'gap')")
        .await;
    copied_again(&mut agent, "public.t", "not published").await;
    assert_same(&source, &destination, &["t", "u"]).await;
    assert_eq!(agent.terminate().await, Some(0));
    source.exec("DROP PUBLICATION sync_agent_it").await;
    let refused = agent.verb(&["run"]).await;
    assert_eq!(refused.code, 5, "{}", refused.stderr);
}

#[tokio::test]
async fn a_table_dropped_and_created_again_is_another_table() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source
        .exec(
            "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text);
             INSERT INTO t VALUES (7, 'other')",
        )
        .await;
    agent.start();
    copied_again(&mut agent, "public.t", "created again").await;
    source.exec("INSERT INTO t VALUES (8, 'more')").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "u"]).await;
}

#[tokio::test]
async fn a_table_that_was_unlogged_for_a_while_is_copied_again() {
    let (source, destination, mut agent) =
        with_existing("CREATE PUBLICATION p FOR ALL TABLES").await;
    agent.start_and_stream().await;
    source.exec("ALTER TABLE t SET UNLOGGED; INSERT INTO t VALUES (1001, 'gap')").await;
    copied_or_put_back(&mut agent).await;
    source.exec("ALTER TABLE t SET LOGGED; INSERT INTO t VALUES (1002, 'after')").await;
    agent
        .wait_for("the gap's rows", async |_| {
            destination.count("t WHERE id IN (1001, 1002)").await == 2
        })
        .await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "u"]).await;
}

async fn copied_or_put_back(agent: &mut Agent) {
    agent.wait_for("it is seen", async |agent| agent.log().contains("it is unlogged")).await;
}
