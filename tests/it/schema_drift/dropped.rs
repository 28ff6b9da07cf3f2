//! Columns that go, are renamed or come back.

use super::{held, resync};
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair, assert_same};

#[tokio::test]
async fn a_dropped_column_stays_and_later_rows_get_its_default() {
    for identity in ["DEFAULT", "FULL"] {
        let (source, destination) = pair().await;
        source
            .exec(&format!(
                "CREATE TABLE t (id int PRIMARY KEY, c text, d int); \
                 ALTER TABLE t REPLICA IDENTITY {identity}; \
                 INSERT INTO t VALUES (1, 'old', 1), (2, 'old', 2)"
            ))
            .await;
        let mut agent = Agent::between(&source, &destination);
        agent.start_and_stream().await;
        destination.exec("ALTER TABLE t ALTER COLUMN c SET DEFAULT 'none'").await;
        source.exec("INSERT INTO t VALUES (3, 'last', 3)").await;
        source.exec("ALTER TABLE t DROP COLUMN c").await;
        source.exec("INSERT INTO t VALUES (4, 4); UPDATE t SET d = 20 WHERE id = 2").await;
        source.exec("UPDATE t SET id = 10 WHERE id = 1; DELETE FROM t WHERE id = 3").await;
        agent.caught_up().await;
        assert_same(&source, &destination, &["t"]).await;
        let values = "SELECT string_agg(id || ' ' || c, ', ' ORDER BY id) FROM t";
        assert_eq!(destination.scalar(values).await, "2 old, 4 none, 10 old");
    }
}

#[tokio::test]
async fn a_dropped_column_that_the_destination_requires_is_named() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, c text NOT NULL)").await;
    source.exec("INSERT INTO t VALUES (1, 'old')").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("ALTER TABLE t DROP COLUMN c; INSERT INTO t VALUES (2)").await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("\"c\"") && message.contains("DROP NOT NULL"), "{message}");
    destination.exec("ALTER TABLE t ALTER COLUMN c DROP NOT NULL").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn a_column_added_again_under_its_name_never_gets_the_other_ones_values() {
    for (identity, again) in [("DEFAULT", "int"), ("FULL", "text"), ("DEFAULT", "text DEFAULT 'x'")]
    {
        let (source, destination) = pair().await;
        source
            .exec(&format!(
                "CREATE TABLE t (id int PRIMARY KEY, c text); \
                 ALTER TABLE t REPLICA IDENTITY {identity}; INSERT INTO t VALUES (1, 'old')"
            ))
            .await;
        let mut agent = Agent::between(&source, &destination);
        agent.start_and_stream().await;
        source.exec("INSERT INTO t VALUES (2, 'old')").await;
        agent.caught_up().await;
        source.exec(&format!("ALTER TABLE t DROP COLUMN c, ADD COLUMN c {again}")).await;
        source.exec("INSERT INTO t VALUES (3, NULL)").await;
        let message = held(&mut agent, "E_SCHEMA").await;
        assert!(
            message.contains("\"c\"") && message.contains("resync --table public.t"),
            "{message}"
        );
        assert_eq!(destination.count("t").await, 2);
        // A copy into a table of the new shape brings it back.
        destination.exec(&format!("ALTER TABLE t DROP COLUMN c, ADD COLUMN c {again}")).await;
        resync(&agent, "public.t").await;
        agent.wait_for_state("streaming").await;
        agent.caught_up().await;
        assert_same(&source, &destination, &["t"]).await;
    }
}

#[tokio::test]
async fn a_renamed_column_is_named_and_followed_once_it_is_renamed_there() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, before text, z int)").await;
    source.exec("INSERT INTO t VALUES (1, 'value', 1)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("ALTER TABLE t RENAME COLUMN before TO after").await;
    source.exec("INSERT INTO t VALUES (2, 'later', 2)").await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("\"before\"") && message.contains("\"after\""), "{message}");
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0";
    assert_eq!(destination.scalar(columns).await, "3", "nothing was added");
    destination.exec("ALTER TABLE t RENAME COLUMN before TO after").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn columns_that_swap_their_names_hold() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, a text, b text)").await;
    source.exec("INSERT INTO t VALUES (1, 'a', 'b')").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source
        .exec(
            "BEGIN; ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME b TO a; \
             ALTER TABLE t RENAME x TO b; COMMIT; INSERT INTO t VALUES (2, 'b', 'a')",
        )
        .await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("swapped"), "{message}");
    assert_eq!(destination.count("t").await, 1);
    assert_pair(
        &source,
        &destination,
        Pair {
            source: "(SELECT * FROM t WHERE id = 1) s".to_owned(),
            destination: "t".to_owned(),
            source_columns: "id, b, a".to_owned(),
            destination_columns: "id, a, b".to_owned(),
        },
    )
    .await;
}
