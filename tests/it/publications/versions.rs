//! What only some versions have.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::{Pair, assert_pair, assert_same};
use crate::support::installation::installation;

async fn pair_of(major: u32) -> (Cluster, Cluster) {
    let found = installation(major).expect("run scripts/install-versions.sh");
    let spec =
        |identity| Spec { installation: Some(found.clone()), identity, settings: String::new() };
    tokio::join!(Cluster::start(spec(0)), Cluster::start(spec(1)))
}

#[tokio::test]
async fn version_14_has_neither_filters_nor_schemas_and_all_else_works() {
    let (source, destination) = pair_of(14).await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE log (line text);
             INSERT INTO t SELECT g, 'v' FROM generate_series(1, 20) g;
             CREATE TABLE m (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
             CREATE TABLE m_1 PARTITION OF m FOR VALUES IN (1); INSERT INTO m VALUES (1, 1)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).looking_often();
    agent.start_and_stream().await;
    source
        .exec(
            "ALTER PUBLICATION sync_agent_it DROP TABLE t; INSERT INTO t VALUES (100, 'gap');
             ALTER PUBLICATION sync_agent_it ADD TABLE t; INSERT INTO log VALUES ('x');
             CREATE TABLE m_2 (id int NOT NULL, k int NOT NULL); INSERT INTO m_2 VALUES (5, 2);
             ALTER TABLE m ATTACH PARTITION m_2 FOR VALUES IN (2)",
        )
        .await;
    agent
        .wait_for("both are copied again", async |agent| {
            agent.log().matches("is copied again").count() == 2
        })
        .await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "log", "m"]).await;
    assert_eq!(agent.terminate().await, Some(0));
}

const GENERATED: &str =
    "CREATE TABLE g (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED,
        shown int GENERATED ALWAYS AS (a * 3) VIRTUAL);
     INSERT INTO g SELECT n, n FROM generate_series(1, 20) n;";
const CHANGES: &str = "INSERT INTO g SELECT n, n FROM generate_series(21, 30) n;
     UPDATE g SET a = a + 100 WHERE id < 5; DELETE FROM g WHERE id = 9";

#[tokio::test]
async fn version_18_publishes_generated_columns_as_plain_ones_where_it_is_told_to() {
    for publication in [
        "CREATE PUBLICATION p FOR TABLE g WITH (publish_generated_columns = stored)",
        "CREATE PUBLICATION p FOR TABLE g (id, a, twice)",
    ] {
        let (source, destination) = pair_of(18).await;
        source.exec(GENERATED).await;
        source.exec(publication).await;
        destination.exec("CREATE TABLE g (id int PRIMARY KEY, a int, twice int)").await;
        let mut agent = Agent::between(&source, &destination).text("source.publication", "p");
        agent.start_and_stream().await;
        source.exec(CHANGES).await;
        agent.caught_up().await;
        let pair = Pair::table("g").columns("id, a, twice", "id, a, twice");
        assert_pair(&source, &destination, pair).await;
        assert_eq!(agent.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn version_18_generated_columns_at_the_destination_are_left_to_it() {
    let (source, destination) = pair_of(18).await;
    source.exec(GENERATED).await;
    source.exec("CREATE PUBLICATION p FOR TABLE g WITH (publish_generated_columns = stored)").await;
    destination.exec(GENERATED).await;
    destination.exec("TRUNCATE g").await;
    let mut agent = Agent::between(&source, &destination).text("source.publication", "p");
    agent.start_and_stream().await;
    source.exec(CHANGES).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["g"]).await;
}

#[tokio::test]
async fn version_18_skips_rows_of_a_publication_that_is_gone_and_we_do_not() {
    let (source, destination) = pair_of(18).await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t").await;
    let mut agent = Agent::between(&source, &destination).text("source.publication", "p");
    agent.start_and_stream().await;
    source.exec("DROP PUBLICATION p; INSERT INTO t VALUES (1)").await;
    assert_eq!(agent.wait_for_exit().await, Some(5), "{}", agent.log());
    assert!(agent.log().contains("\"code\":\"E_SLOT\""), "{}", agent.log());
    source.exec("CREATE PUBLICATION p FOR TABLE t; INSERT INTO t VALUES (2)").await;
    let refused = agent.verb(&["run"]).await;
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert_eq!(destination.count("t").await, 0);
}
