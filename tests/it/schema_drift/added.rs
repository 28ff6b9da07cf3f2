//! Columns that appear at the source arrive with their first value.

use super::{held, pair_of};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair, assert_same};

/// Rows that exist, a column of each kind, and rows behind it.
const COLUMNS: [&str; 9] = [
    "plain text",
    "filled int DEFAULT 5",
    "required bool NOT NULL DEFAULT false",
    "moment timestamptz DEFAULT now()",
    "price numeric(10,2) DEFAULT 1.5",
    "tags text[] NOT NULL DEFAULT '{a,\"b c\",NULL}'",
    "quoted text DEFAULT E'it''s \\\\ \"x\" {1,2}'",
    "sorted text COLLATE \"C\" DEFAULT 'z'",
    "mood s.\"my mood\" DEFAULT 'so so'",
];

const TYPES: &str = "CREATE SCHEMA s; CREATE TYPE s.\"my mood\" AS ENUM ('good', 'so so')";

async fn follows_every_column(source: &Cluster, destination: &Cluster, identity: &str, rows: &str) {
    for side in [source, destination] {
        side.exec(TYPES).await;
    }
    source
        .exec(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY {identity}; \
             CREATE TABLE other (id int PRIMARY KEY); \
             INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 10) g"
        ))
        .await;
    let mut agent = Agent::between(source, destination).set("apply.max_batch_rows", rows);
    agent.start_and_stream().await;
    for (number, column) in COLUMNS.iter().enumerate() {
        let name = column.split(' ').next().expect("a name");
        source.exec(&format!("ALTER TABLE t ADD COLUMN {column}")).await;
        // The first row with the column is an insert, an update, or beside another table's.
        match number % 3 {
            0 => source.exec(&format!("INSERT INTO t (id) VALUES ({})", 100 + number)).await,
            1 => source.exec(&format!("UPDATE t SET v = v || '+' WHERE id = {number}")).await,
            _ => {
                source
                    .exec(&format!(
                        "BEGIN; INSERT INTO other VALUES ({number}); \
                         INSERT INTO t (id, {name}) SELECT {}, {name} FROM t WHERE id = 5; COMMIT",
                        100 + number
                    ))
                    .await;
            }
        }
        agent.caught_up().await;
        assert_same(source, destination, &["t", "other"]).await;
    }
    // The whole of it in the catalog, too: types, NOT NULL, collations, defaults.
    let shape = "SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), \
         a.attnotnull, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid)), '; ' \
         ORDER BY a.attnum) FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid \
         AND d.adnum = a.attnum WHERE a.attrelid = 't'::regclass AND a.attnum > 0";
    assert_eq!(source.scalar(shape).await, destination.scalar(shape).await);
    let known = "SELECT cardinality(known_columns) FROM sync_agent.tables WHERE source_table = 't'";
    assert_eq!(destination.scalar(known).await, (COLUMNS.len() + 2).to_string());
    let error = agent.status().await["last_error"].clone();
    assert!(error.is_null() || error["code"] != "E_SCHEMA", "{error}");
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_new_column_of_every_kind_is_followed_one_row_a_batch() {
    let (source, destination) = pair().await;
    follows_every_column(&source, &destination, "DEFAULT", "1").await;
}

#[tokio::test]
async fn a_new_column_of_every_kind_is_followed_under_full_identity() {
    let (source, destination) = pair().await;
    follows_every_column(&source, &destination, "FULL", "50000").await;
}

#[tokio::test]
async fn a_new_column_of_every_kind_is_followed_on_14() {
    let (source, destination) = pair_of(14).await;
    follows_every_column(&source, &destination, "DEFAULT", "50000").await;
}

#[tokio::test]
async fn a_new_column_of_every_kind_is_followed_on_18() {
    let (source, destination) = pair_of(18).await;
    follows_every_column(&source, &destination, "FULL", "1").await;
}

#[tokio::test]
async fn columns_that_appear_inside_a_large_transaction_are_followed() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (0, 'x')").await;
    let mut agent = Agent::between(&source, &destination).set("apply.max_batch_rows", "50");
    agent.start_and_stream().await;
    // The first part of it is written under our open transaction when the column appears.
    source
        .exec(
            "BEGIN; INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g; \
             ALTER TABLE t ADD COLUMN n int NOT NULL DEFAULT 7; \
             INSERT INTO t SELECT g, 'y', g FROM generate_series(3001, 3100) g; \
             UPDATE t SET n = 8 WHERE id < 10; COMMIT",
        )
        .await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn a_column_that_the_destination_has_already_is_taken() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    destination.exec("ALTER TABLE t ADD COLUMN a text, ADD COLUMN b int DEFAULT 3").await;
    source.exec("ALTER TABLE t ADD COLUMN a text, ADD COLUMN b int DEFAULT 3").await;
    source.exec("INSERT INTO t VALUES (3, 'x', 4)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    // But not where its rows hold something else than the source's.
    destination.exec("ALTER TABLE t ADD COLUMN c int").await;
    source.exec("ALTER TABLE t ADD COLUMN c int DEFAULT 3").await;
    source.exec("INSERT INTO t (id, c) VALUES (4, 4)").await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("\"c\"") && message.contains("resync --table public.t"), "{message}");
    assert_eq!(destination.count("t").await, 3, "nothing of the row");
    destination.exec("UPDATE t SET c = 3").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn a_new_column_goes_through_the_settings() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE kept (id int PRIMARY KEY, note text); INSERT INTO kept VALUES (1, 'n'); \
             CREATE TABLE dropped (id int PRIMARY KEY); INSERT INTO dropped VALUES (1)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination)
        .set("destination.schemas", "{ public = \"shop\" }")
        .section("[[table]]\nname = \"public.kept\"\nunlisted = \"pass\"\n[table.columns]\nnote = { drop = true }")
        .section("[[table]]\nname = \"public.dropped\"\nunlisted = \"drop\"\n[table.columns]\nid = { rename = \"id\" }");
    agent.start_and_stream().await;
    source.exec("ALTER TABLE kept ADD COLUMN n int DEFAULT 1").await;
    source.exec("ALTER TABLE dropped ADD COLUMN u uuid DEFAULT gen_random_uuid()").await;
    source.exec("INSERT INTO kept VALUES (2, 'x', 2); INSERT INTO dropped VALUES (2)").await;
    agent.caught_up().await;
    assert_pair(
        &source,
        &destination,
        Pair::renamed("kept", "shop.kept").columns("id, n", "id, n"),
    )
    .await;
    let columns = "SELECT count(*) FROM pg_attribute WHERE attnum > 0 AND attrelid = ";
    assert_eq!(destination.scalar(&format!("{columns}'shop.kept'::regclass")).await, "2");
    assert_eq!(destination.scalar(&format!("{columns}'shop.dropped'::regclass")).await, "1");
    assert_eq!(destination.count("shop.dropped").await, 2);
}

#[tokio::test]
async fn a_partitioned_table_gets_its_new_column_in_every_partition() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); \
             CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); \
             CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20); \
             INSERT INTO t VALUES (1), (11)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("ALTER TABLE t ADD COLUMN n int NOT NULL DEFAULT 4").await;
    source.exec("INSERT INTO t VALUES (2, 5), (12, 6)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn a_type_that_the_destination_lacks_is_named() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("CREATE TYPE mood AS ENUM ('a'); ALTER TABLE t ADD COLUMN m mood").await;
    source.exec("INSERT INTO t VALUES (1, 'a')").await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("\"m\"") && message.contains("mood"), "{message}");
    destination.exec("CREATE TYPE mood AS ENUM ('a')").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}
