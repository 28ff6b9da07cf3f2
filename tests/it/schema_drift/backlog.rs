//! Several changes while the agent was down.

use super::{each, held, resync};
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

#[tokio::test]
async fn columns_added_one_after_another_while_nobody_looked_are_all_followed() {
    for rows in ["1", "50000"] {
        let (source, destination) = pair().await;
        source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
        let mut agent = Agent::between(&source, &destination).set("apply.max_batch_rows", rows);
        agent.start_and_stream().await;
        assert_eq!(agent.terminate().await, Some(0));
        each(
            &source,
            "INSERT INTO t VALUES (2); ALTER TABLE t ADD COLUMN a int DEFAULT 5; \
                 INSERT INTO t VALUES (3); ALTER TABLE t ADD COLUMN b text; \
                 INSERT INTO t VALUES (4, 6, 'x'); ALTER TABLE t ADD COLUMN c bool NOT NULL DEFAULT true; \
                 UPDATE t SET c = false WHERE id < 3",
        )
        .await;
        agent.start();
        agent.caught_up().await;
        assert_same(&source, &destination, &["t"]).await;
        assert_eq!(agent.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn what_came_before_the_change_that_cannot_be_followed_is_applied() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    source.exec("CREATE TABLE other (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    each(
        &source,
        "INSERT INTO t VALUES (2); INSERT INTO other VALUES (1); \
             ALTER TABLE t ADD COLUMN u uuid DEFAULT gen_random_uuid(); INSERT INTO t VALUES (3)",
    )
    .await;
    agent.start();
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("\"u\""), "{message}");
    assert_eq!(destination.count("t").await, 2);
    assert_same(&source, &destination, &["other"]).await;
}

#[tokio::test]
async fn several_changes_at_once_never_put_a_value_in_the_wrong_column() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE t (id int PRIMARY KEY, c0 text); INSERT INTO t VALUES (1, 'c0')")
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    each(
        &source,
        "ALTER TABLE t ADD COLUMN c1 int; INSERT INTO t VALUES (2, 'x', 2); \
             ALTER TABLE t DROP COLUMN c0; INSERT INTO t VALUES (3, 3); \
             ALTER TABLE t RENAME COLUMN c1 TO c2; INSERT INTO t VALUES (4, 4); \
             ALTER TABLE t ALTER COLUMN c2 TYPE bigint; INSERT INTO t VALUES (5, 5)",
    )
    .await;
    destination.exec("ALTER TABLE t ADD COLUMN c2 bigint; ALTER TABLE t DROP COLUMN c0").await;
    agent.start();
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("public.t") && message.contains("c1"), "{message}");
    assert_eq!(destination.scalar("SELECT string_agg(t::text, ' ') FROM t").await, "(1,)");
    // Copied again, it is right.
    resync(&agent, "public.t").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn a_column_that_came_and_went_is_not_taken_for_the_next_of_its_name() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    each(
        &source,
        "ALTER TABLE t ADD COLUMN n int DEFAULT 5; INSERT INTO t VALUES (2, 6); \
             ALTER TABLE t DROP COLUMN n; ALTER TABLE t ADD COLUMN n int DEFAULT 7; \
             INSERT INTO t VALUES (3, 8)",
    )
    .await;
    agent.start();
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("\"n\"") && message.contains("resync"), "{message}");
    assert_eq!(destination.count("t").await, 1);
}
