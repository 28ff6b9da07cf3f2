//! What the stream cannot tell is held, never guessed.

use super::{assert_held_before, held, pair_of, resync};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;

/// Columns whose existing rows got values that no change brings.
const COLUMNS: [(&str, &str); 4] = [
    ("random", "c uuid DEFAULT gen_random_uuid()"),
    ("serial", "c serial"),
    ("identity", "c int GENERATED ALWAYS AS IDENTITY"),
    ("generated", "c int GENERATED ALWAYS AS (id * 2) STORED"),
];

async fn holds(source: &Cluster, destination: &Cluster) {
    for (kind, _) in COLUMNS {
        source.exec(&format!("CREATE TABLE t_{kind} (id int PRIMARY KEY, v text)")).await;
        source
            .exec(&format!("INSERT INTO t_{kind} SELECT g, 'v' FROM generate_series(1, 5) g"))
            .await;
    }
    source.exec("CREATE TABLE other (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(source, destination);
    agent.start_and_stream().await;
    for (number, (kind, column)) in COLUMNS.iter().enumerate() {
        source.exec(&format!("INSERT INTO other VALUES ({number})")).await;
        source.exec(&format!("INSERT INTO t_{kind} (id) VALUES (6)")).await;
        agent.caught_up().await;
        source.exec(&format!("ALTER TABLE t_{kind} ADD COLUMN {column}")).await;
        source.exec(&format!("INSERT INTO t_{kind} (id) VALUES (7)")).await;
        let lsn = source.current_lsn().await;
        let message = held(&mut agent, "E_SCHEMA").await;
        assert!(
            message.contains(&format!("sync-agent resync --table public.t_{kind}")),
            "{message}"
        );
        assert!(message.contains("\"c\""), "{message}");
        let there = destination.scalar(&format!("SELECT max(id) FROM t_{kind}")).await;
        assert_eq!(there, "6", "{kind}: nothing of the row");
        assert_held_before(source, destination, &lsn).await;
        resync(&agent, &format!("public.t_{kind}")).await;
        agent.wait_for_state("streaming").await;
        agent.caught_up().await;
        assert_same(source, destination, &[&format!("t_{kind}")]).await;
        agent.wait_for_state("streaming").await;
    }
    assert_same(source, destination, &["other"]).await;
}

#[tokio::test]
async fn a_value_that_differs_by_row_holds_and_a_copy_brings_it() {
    let (source, destination) = pair().await;
    holds(&source, &destination).await;
}

#[tokio::test]
async fn a_value_that_differs_by_row_holds_on_14() {
    let (source, destination) = pair_of(14).await;
    holds(&source, &destination).await;
}

#[tokio::test]
async fn a_value_that_differs_by_row_holds_on_18() {
    let (source, destination) = pair_of(18).await;
    holds(&source, &destination).await;
}

#[tokio::test]
async fn a_value_that_differs_by_row_holds_where_the_destination_has_the_column_and_its_default_is_gone()
 {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    destination.exec("ALTER TABLE t ADD COLUMN u uuid").await;
    source.exec("ALTER TABLE t ADD COLUMN u uuid DEFAULT gen_random_uuid()").await;
    source.exec("ALTER TABLE t ALTER COLUMN u DROP DEFAULT").await;
    source.exec("INSERT INTO t VALUES (2)").await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("\"u\"") && message.contains("resync"), "{message}");
    assert_eq!(destination.count("t").await, 1);
}

#[tokio::test]
async fn a_constant_that_a_rewrite_has_hidden_holds() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source.exec("ALTER TABLE t ADD COLUMN n int DEFAULT 5").await;
    source.exec("VACUUM FULL t").await;
    source.exec("INSERT INTO t VALUES (2, 6)").await;
    agent.start();
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("\"n\"") && message.contains("resync"), "{message}");
    assert_eq!(destination.count("t").await, 1);
}

#[tokio::test]
async fn where_there_are_no_rows_there_is_no_doubt() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)")
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("ALTER TABLE t ADD COLUMN u uuid DEFAULT gen_random_uuid()").await;
    source.exec("INSERT INTO t VALUES (1)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    // The same after all rows went, and in one transaction with what made them go.
    source.exec("DELETE FROM t").await;
    source.exec("ALTER TABLE t ADD COLUMN w uuid DEFAULT gen_random_uuid()").await;
    source.exec("INSERT INTO t VALUES (2)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    // Rows of the very transaction are rows.
    source
        .exec(
            "BEGIN; DELETE FROM t; INSERT INTO t VALUES (3); \
             ALTER TABLE t ADD COLUMN x uuid DEFAULT gen_random_uuid(); \
             INSERT INTO t VALUES (4); COMMIT",
        )
        .await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("\"x\"") && message.contains("resync"), "{message}");
}
