//! Tables of every shape arrive as they are.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, pair};
use crate::support::compare::{Pair, assert_pair, assert_same};

async fn copied(agent: &Agent) {
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
}

/// Neither logical WAL nor a role that may replicate.
#[tokio::test]
async fn reading_is_all_that_the_source_has_to_allow() {
    let spec = Spec {
        settings: "wal_level = minimal\nmax_wal_senders = 0\n".to_owned(),
        ..Spec::default()
    };
    let (source, destination) = tokio::join!(Cluster::start(spec), Cluster::destination());
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); \
             CREATE UNLOGGED TABLE u (id int); INSERT INTO u VALUES (3); \
             CREATE ROLE reader LOGIN",
        )
        .await;
    let agent = Agent::between(&source, &destination).text("source.url", &source.url_as("reader"));
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("GRANT SELECT ON"), "{}", output.stderr);
    assert_eq!(agent.traces().await, Vec::<String>::new(), "nothing was made");
    source.exec("GRANT SELECT ON t, u TO reader").await;
    copied(&agent).await;
    assert_same(&source, &destination, &["t", "u"]).await;
}

#[tokio::test]
async fn row_security_is_refused_and_never_thins_a_copy() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); CREATE ROLE reader LOGIN; \
             GRANT SELECT ON t TO reader; ALTER TABLE t ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY one ON t USING (id = 1)",
        )
        .await;
    let agent = Agent::between(&source, &destination).text("source.url", &source.url_as("reader"));
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("BYPASSRLS"), "{}", output.stderr);
    assert_eq!(agent.traces().await, Vec::<String>::new(), "nothing was made");
    source.exec("ALTER ROLE reader BYPASSRLS").await;
    copied(&agent).await;
    assert_same(&source, &destination, &["t"]).await;
}

/// Versions of a row on one page, on another one, dead ones between, and pages without any.
#[tokio::test]
async fn chunks_hold_every_row_once_whatever_happened_to_its_page() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE hot (id int PRIMARY KEY, v text, n int) WITH (fillfactor = 60, \
               autovacuum_enabled = off); \
             INSERT INTO hot SELECT g, repeat(md5(g::text), 3), 0 FROM generate_series(1, 40000) g; \
             UPDATE hot SET n = n + 1 WHERE id % 3 = 0; UPDATE hot SET n = n + 1 WHERE id % 3 = 0; \
             DELETE FROM hot WHERE id % 7 = 0; DELETE FROM hot WHERE id BETWEEN 20000 AND 30000; \
             UPDATE hot SET v = v || v WHERE id % 11 = 0",
        )
        .await;
    source.exec("ANALYZE hot").await;
    let hot = "SELECT n_tup_hot_upd > 1000 FROM pg_stat_user_tables WHERE relname = 'hot'";
    assert_eq!(source.scalar(hot).await, "t", "there are heap-only tuples");
    let agent = Agent::between(&source, &destination)
        .text("snapshot.chunk", "512KiB")
        .set("snapshot.workers", "3");
    copied(&agent).await;
    assert_same(&source, &destination, &["hot"]).await;
}

#[tokio::test]
async fn tables_without_columns_partitions_or_rows_arrive() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES; INSERT INTO bare DEFAULT VALUES; \
             CREATE TABLE root (id int, at date, v text, PRIMARY KEY (id, at)) \
               PARTITION BY RANGE (at); \
             CREATE TABLE root_2024 PARTITION OF root FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); \
             CREATE TABLE root_rest PARTITION OF root DEFAULT PARTITION BY HASH (id); \
             CREATE TABLE root_rest_0 PARTITION OF root_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
             CREATE TABLE root_rest_1 PARTITION OF root_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
             INSERT INTO root SELECT g, '2024-06-01'::date + g, md5(g::text) \
               FROM generate_series(1, 900) g; \
             CREATE TABLE childless (id int) PARTITION BY LIST (id); \
             CREATE TABLE empty (id int PRIMARY KEY)",
        )
        .await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["snapshot", "--output", "json"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(destination.count("bare").await, 2);
    assert_same(&source, &destination, &["root", "empty"]).await;
    assert_eq!(destination.count("childless").await, 0);
    let report: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(report["totals"]["tables"], 4, "{}", output.stdout);
    assert_eq!(report["totals"]["rows"], 902, "{}", output.stdout);
}

#[tokio::test]
async fn types_of_users_pass_between_servers_that_number_them_otherwise() {
    let (source, destination) = pair().await;
    let types = "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN pos AS int CHECK (VALUE > 0); \
         CREATE TYPE pair AS (a int, m mood)";
    source.exec(types).await;
    destination.exec(&format!("CREATE TYPE other AS ENUM ('x'); {types}")).await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, m mood, ms mood[], p pos, ps pos[], c pair, \
               cs pair[], ia int[], ta text[][]); \
             INSERT INTO t VALUES (1, 'ok', '{sad,NULL}', 3, '{4,5}', '(1,sad)', \
               ARRAY['(2,ok)', NULL]::pair[], '[0:1]={1,2}', '{{a,b},{c,\"d,e\"}}'); INSERT INTO t VALUES (2)",
        )
        .await;
    let agent = Agent::between(&source, &destination);
    copied(&agent).await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn columns_of_another_type_are_filled_by_way_of_text() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, v varchar(10), n int, d date); \
             INSERT INTO t SELECT g, E'a\\tb\\\\' || g, -g, '2024-01-01'::date + g \
               FROM generate_series(1, 500) g; \
             INSERT INTO t VALUES (0, '', NULL, 'infinity')",
        )
        .await;
    destination.exec("CREATE TABLE t (id bigint PRIMARY KEY, v text, n numeric, d text)").await;
    let agent = Agent::between(&source, &destination);
    copied(&agent).await;
    assert_pair(
        &source,
        &destination,
        Pair::table("t").columns("id::bigint, v::text, n::numeric, d::text", "id, v, n, d"),
    )
    .await;
}

/// Emptied tables that foreign keys tie together are emptied together.
#[tokio::test]
async fn tables_tied_by_foreign_keys_are_emptied_together() {
    let (source, destination) = pair().await;
    let tables = "CREATE TABLE parent (id int PRIMARY KEY); \
         CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent)";
    for side in [&source, &destination] {
        side.exec(tables).await;
        side.exec("INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1)").await;
    }
    source.exec("INSERT INTO parent VALUES (2); INSERT INTO child VALUES (2, 2)").await;
    let agent = Agent::between(&source, &destination).text("destination.on_existing", "truncate");
    copied(&agent).await;
    assert_same(&source, &destination, &["parent", "child"]).await;
    let output = agent.verb(&["snapshot", "--restart", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["parent", "child"]).await;
}

/// A table that we made is loaded as VACUUM would leave it, keys and statistics included.
#[tokio::test]
async fn a_table_of_our_making_needs_no_vacuum() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, v text); \
             INSERT INTO t SELECT g, repeat(md5(g::text), 4) FROM generate_series(1, 20000) g",
        )
        .await;
    let agent = Agent::between(&source, &destination);
    copied(&agent).await;
    assert_same(&source, &destination, &["t"]).await;
    let visible = "SELECT relallvisible > 0 AND relallvisible = relpages AND reltuples = 20000 \
         AND relhasindex FROM pg_class WHERE relname = 't'";
    assert_eq!(destination.scalar(visible).await, "t");
}

#[tokio::test]
async fn as_many_rows_are_shown_as_there_are() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, v text); \
             INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 30000) g; \
             CREATE TABLE hashed (id int PRIMARY KEY, v text); \
             INSERT INTO hashed SELECT g, 'x' FROM generate_series(1, 100) g; \
             CREATE TABLE empty (id int PRIMARY KEY)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination)
        .text("snapshot.chunk", "1MiB")
        .section("[[table]]\nname = \"public.hashed\"\n[table.columns]\nv = { hash = \"sha256\" }");
    agent.start_and_stream().await;
    for (table, rows) in [("t", 30000.0), ("hashed", 100.0), ("empty", 0.0)] {
        let label = format!("table=\"public.{table}\"");
        let shown = agent.metric("sync_agent_snapshot_rows_total", &[&label]).await;
        assert_eq!(shown, Some(rows), "{table}");
    }
}
