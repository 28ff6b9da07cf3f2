//! The copy holds what the stream would have sent: rows by filter, columns by list.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};

/// `rf` with an identity that a filter over `ten` may use.
const RF: &str = "CREATE TABLE rf (id int, ten int NOT NULL, pub text, sec text);
     ALTER TABLE rf ADD PRIMARY KEY (id); CREATE UNIQUE INDEX rf_i ON rf (id, ten);
     ALTER TABLE rf REPLICA IDENTITY USING INDEX rf_i;
     INSERT INTO rf SELECT g, g % 3, 'p' || g, 'secret' FROM generate_series(1, 300) g;";

async fn columns(database: &Cluster, table: &str) -> String {
    let sql = format!(
        "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
          WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
    );
    database.scalar(&sql).await
}

/// The destination holds `wanted` of the source's table, and nothing else.
async fn assert_holds(source: &Cluster, destination: &Cluster, wanted: &str, columns: &str) {
    let pair = Pair::renamed(wanted, "rf").columns(columns, columns);
    assert_pair(source, destination, pair).await;
}

fn agent(source: &Cluster, destination: &Cluster) -> Agent {
    Agent::between(source, destination)
        .text("source.publication", "p")
        .set("include", "[\"public.rf\"]")
}

#[tokio::test]
async fn a_filter_and_a_column_list_hold_for_copy_and_tail() {
    let (source, destination) = pair().await;
    source.exec(RF).await;
    source.exec("CREATE PUBLICATION p FOR TABLE rf (id, ten, pub) WHERE (ten = 1)").await;
    let mut agent = agent(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(columns(&destination, "rf").await, "id,ten,pub", "what is not sent is not there");
    let wanted = "(SELECT * FROM rf WHERE ten = 1) AS rf";
    assert_holds(&source, &destination, wanted, "id, ten, pub").await;
    source
        .exec(
            "INSERT INTO rf SELECT g, g % 3, 'new', 'secret' FROM generate_series(301, 330) g;
             UPDATE rf SET pub = 'changed', sec = 'more' WHERE id <= 30;
             UPDATE rf SET ten = 2 WHERE id IN (1, 4); UPDATE rf SET ten = 1 WHERE id IN (2, 3);
             UPDATE rf SET id = id + 1000 WHERE id = 7; DELETE FROM rf WHERE id IN (10, 11)",
        )
        .await;
    agent.caught_up().await;
    assert_holds(&source, &destination, wanted, "id, ten, pub").await;
    source.exec("TRUNCATE rf; INSERT INTO rf VALUES (1, 1, 'a', 's'), (2, 2, 'b', 's')").await;
    agent.caught_up().await;
    assert_holds(&source, &destination, wanted, "id, ten, pub").await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn an_existing_table_keeps_its_other_columns_empty() {
    let (source, destination) = pair().await;
    source.exec(RF).await;
    source.exec("CREATE PUBLICATION p FOR TABLE rf (id, ten, pub) WHERE (ten = 1)").await;
    destination
        .exec("CREATE TABLE rf (id int, ten int, pub text, sec text DEFAULT 'none', UNIQUE (id, ten))")
        .await;
    let mut agent = agent(&source, &destination);
    agent.start_and_stream().await;
    source.exec("INSERT INTO rf VALUES (400, 1, 'new', 'secret')").await;
    agent.caught_up().await;
    assert_eq!(destination.count("rf").await, 101);
    assert_eq!(destination.count("rf WHERE sec <> 'none'").await, 0);
}

#[tokio::test]
async fn a_role_that_may_not_read_an_unpublished_column_need_not() {
    let (source, destination) = pair().await;
    source.exec(RF).await;
    source
        .exec(
            "CREATE PUBLICATION p FOR TABLE rf (id, ten, pub) WHERE (ten = 1);
             CREATE ROLE reader LOGIN REPLICATION; GRANT SELECT (id, pub) ON rf TO reader",
        )
        .await;
    let mut agent = agent(&source, &destination).text("source.url", &source.url_as("reader"));
    let checked = agent.verb(&["check"]).await;
    assert_eq!(checked.code, 4, "{}", checked.stdout);
    assert!(
        checked.stdout.contains("no SELECT privilege on columns \"ten\""),
        "{}",
        checked.stdout
    );
    source.exec("GRANT SELECT (ten) ON rf TO reader").await;
    agent.start_and_stream().await;
    let wanted = "(SELECT * FROM rf WHERE ten = 1) AS rf";
    assert_holds(&source, &destination, wanted, "id, ten, pub").await;
}

#[tokio::test]
async fn a_row_that_enters_a_filter_brings_its_unchanged_large_value() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE rf (id int, ten int NOT NULL, doc text, PRIMARY KEY (id, ten));
             ALTER TABLE rf ALTER doc SET STORAGE EXTERNAL;
             INSERT INTO rf SELECT g, g % 2, repeat(md5(g::text), 400) FROM generate_series(1, 20) g;
             CREATE PUBLICATION p FOR TABLE rf WHERE (ten = 1)",
        )
        .await;
    let mut agent = agent(&source, &destination);
    agent.start_and_stream().await;
    let wanted = "(SELECT * FROM rf WHERE ten = 1) AS rf";
    assert_holds(&source, &destination, wanted, "id, ten, doc").await;
    // The value is not logged with the update, and the destination has never had it.
    source
        .exec(
            "UPDATE rf SET ten = 1 WHERE id = 2; UPDATE rf SET ten = 0 WHERE id = 3;
             UPDATE rf SET ten = 1 WHERE id = 3; UPDATE rf SET ten = 1 WHERE id = 4;
             DELETE FROM rf WHERE id = 4",
        )
        .await;
    agent.caught_up().await;
    assert_holds(&source, &destination, wanted, "id, ten, doc").await;
    let conflicts = "sync_agent_conflicts_total";
    let counted = agent.metric(conflicts, &["table=\"public.rf\"", "kind=\"update_missing\""]);
    assert_eq!(counted.await, Some(3.0), "each is counted");
}

#[tokio::test]
async fn of_several_publications_filters_are_alternatives_and_one_without_wins() {
    let (source, destination) = pair().await;
    source.exec(RF).await;
    source
        .exec(
            "CREATE PUBLICATION p FOR TABLE rf WHERE (ten = 1);
             CREATE PUBLICATION q FOR TABLE rf WHERE (id > 200);
             CREATE PUBLICATION deletes FOR TABLE rf WITH (publish = 'delete')",
        )
        .await;
    let mut agent =
        agent(&source, &destination).set("source.publication", "[\"p\", \"q\", \"deletes\"]");
    agent.start_and_stream().await;
    let wanted = "(SELECT * FROM rf WHERE ten = 1 OR id > 200) AS rf";
    assert_holds(&source, &destination, wanted, "id, ten, pub, sec").await;
    source
        .exec(
            "INSERT INTO rf SELECT g, g % 3, 'new', 's' FROM generate_series(301, 330) g;
             UPDATE rf SET ten = 2 WHERE id IN (1, 4, 301); UPDATE rf SET ten = 1 WHERE id = 2;
             DELETE FROM rf WHERE id IN (7, 8, 250)",
        )
        .await;
    agent.caught_up().await;
    assert_holds(&source, &destination, wanted, "id, ten, pub, sec").await;
    assert_eq!(agent.terminate().await, Some(0));

    source.exec("CREATE PUBLICATION whole FOR ALL TABLES").await;
    agent.change("source.publication", "[\"p\", \"q\", \"deletes\", \"whole\"]");
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_holds(&source, &destination, "rf", "id, ten, pub, sec").await;
}

#[tokio::test]
async fn leaves_are_copied_by_their_roots_filter() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE rf (id int, k int, note text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
             CREATE TABLE rf_1 PARTITION OF rf FOR VALUES IN (1);
             CREATE TABLE rf_2 (note text, gone int, k int NOT NULL, id int NOT NULL);
             ALTER TABLE rf_2 DROP COLUMN gone;
             ALTER TABLE rf ATTACH PARTITION rf_2 FOR VALUES IN (2);
             INSERT INTO rf SELECT g, 1 + g % 2, 'n' || g FROM generate_series(1, 200) g;
             CREATE PUBLICATION p FOR TABLE rf WHERE (id % 5 = 0)
                    WITH (publish_via_partition_root = true)",
        )
        .await;
    destination.exec("CREATE TABLE rf (id int, k int, note text, PRIMARY KEY (id, k))").await;
    let mut agent = agent(&source, &destination);
    agent.start_and_stream().await;
    source.exec("INSERT INTO rf SELECT g, 1 + g % 2, 'n' FROM generate_series(201, 230) g").await;
    agent.caught_up().await;
    let wanted = "(SELECT * FROM rf WHERE id % 5 = 0) AS rf";
    assert_holds(&source, &destination, wanted, "id, k, note").await;
}

#[tokio::test]
async fn a_large_filtered_table_is_copied_in_chunks() {
    let (source, destination) = pair().await;
    source.exec(RF).await;
    source
        .exec(
            "INSERT INTO rf SELECT g, g % 3, repeat('x', 200), 's' FROM generate_series(301, 9000) g;
             CREATE PUBLICATION p FOR TABLE rf WHERE (ten = 1 OR id < 100)",
        )
        .await;
    let mut agent = agent(&source, &destination).text("snapshot.chunk", "128KiB");
    agent.start_and_stream().await;
    let wanted = "(SELECT * FROM rf WHERE ten = 1 OR id < 100) AS rf";
    assert_holds(&source, &destination, wanted, "id, ten, pub, sec").await;
}
