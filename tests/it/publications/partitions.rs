//! Partitions that come and go.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;

const ROOT: &str =
    "CREATE TABLE m (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
     CREATE TABLE m_1 PARTITION OF m FOR VALUES IN (1);
     CREATE TABLE m_2 PARTITION OF m FOR VALUES IN (2);
     INSERT INTO m SELECT g, 1 + g % 2, 'v' || g FROM generate_series(1, 50) g;";
const FULL: &str = "CREATE TABLE m_3 (id int NOT NULL, k int NOT NULL, v text);
     INSERT INTO m_3 SELECT g, 3, 'old' FROM generate_series(1, 30) g;
     ALTER TABLE m ATTACH PARTITION m_3 FOR VALUES IN (3)";

async fn started() -> (Cluster, Cluster, Agent) {
    let (source, destination) = pair().await;
    source.exec(ROOT).await;
    destination.exec("CREATE TABLE m (id int, k int, v text, PRIMARY KEY (id, k))").await;
    let mut agent =
        Agent::between(&source, &destination).set("include", "[\"public.m*\"]").looking_often();
    agent.start_and_stream().await;
    (source, destination, agent)
}

async fn holds(destination: &Cluster, agent: &mut Agent, condition: &str, count: u64) {
    let rows = format!("m WHERE {condition}");
    agent.wait_for(&rows, async |_| destination.count(&rows).await == count).await;
}

#[tokio::test]
async fn an_attached_partition_with_rows_is_copied_while_running_and_while_stopped() {
    let (source, destination, mut agent) = started().await;
    source.exec(FULL).await;
    holds(&destination, &mut agent, "k = 3", 30).await;
    agent.wait_for_state("streaming").await;
    source.exec("UPDATE m SET v = 'new' WHERE k = 3; DELETE FROM m WHERE k = 1").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["m"]).await;
    assert_eq!(agent.terminate().await, Some(0));
    // Detached, written to, and attached again, all while nobody looks.
    source
        .exec(
            "ALTER TABLE m DETACH PARTITION m_3; DELETE FROM m_3 WHERE id = 1;
             INSERT INTO m_3 VALUES (100, 3, 'apart');
             ALTER TABLE m ATTACH PARTITION m_3 FOR VALUES IN (3)",
        )
        .await;
    agent.start();
    holds(&destination, &mut agent, "v = 'apart'", 1).await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["m"]).await;
}

#[tokio::test]
async fn rows_written_before_an_attachment_in_the_same_transaction_are_not_missed() {
    let (source, destination, mut agent) = started().await;
    source.exec(&format!("BEGIN; {FULL}; COMMIT")).await;
    holds(&destination, &mut agent, "k = 3", 30).await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["m"]).await;
}

#[tokio::test]
async fn a_partition_that_is_born_as_one_needs_no_copy() {
    let (source, destination, mut agent) = started().await;
    source
        .exec(
            "CREATE TABLE m_4 PARTITION OF m FOR VALUES IN (4, 5) PARTITION BY LIST (k);
             CREATE TABLE m_4_a PARTITION OF m_4 FOR VALUES IN (4);
             CREATE TABLE m_4_b PARTITION OF m_4 FOR VALUES IN (5);
             ALTER TABLE m_4_b ALTER v SET STATISTICS 50; ALTER TABLE m_4_a RENAME TO m_4_x;
             INSERT INTO m SELECT g, 4 + g % 2, 'born' FROM generate_series(1, 20) g;
             CREATE TABLE m_6 (id int NOT NULL, k int NOT NULL, v text);
             ALTER TABLE m ATTACH PARTITION m_6 FOR VALUES IN (6)",
        )
        .await;
    agent
        .wait_for("it is looked at anew", async |agent| {
            agent.log().matches("caught up; streaming").count() == 2
        })
        .await;
    source.exec("INSERT INTO m VALUES (1, 6, 'after')").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["m"]).await;
    assert_eq!(agent.terminate().await, Some(0));
    agent.start_and_stream().await;
    assert!(!agent.log().contains("is copied again"), "{}", agent.log());
}

#[tokio::test]
async fn a_detached_partition_is_a_table_of_its_own_and_not_taken_up() {
    let (source, destination, mut agent) = started().await;
    let before = destination.count("m").await;
    source.exec("ALTER TABLE m DETACH PARTITION m_2").await;
    agent
        .wait_for("it is spoken of", async |agent| agent.log().contains("was a partition of"))
        .await;
    agent.wait_for_state("streaming").await;
    source
        .exec("INSERT INTO m_2 VALUES (900, 2, 'apart'); INSERT INTO m VALUES (900, 1, 'in')")
        .await;
    source.exec("DROP TABLE m_2").await;
    agent.caught_up().await;
    assert_eq!(destination.count("m").await, before + 1, "its rows stay, later ones do not come");
    assert_eq!(destination.count("m WHERE v = 'apart'").await, 0);
    assert_eq!(agent.terminate().await, Some(0));
    agent.start_and_stream().await;
}
