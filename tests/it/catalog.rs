//! The catalog questions, asked of a real server with awkward objects in it.

use sync_agent::pg::catalog::{
    self, Generated, Identity, RelationKind, ReplicaIdentity, TableFilter, TableInfo,
};
use sync_agent::pg::ident::QualifiedName;
use tokio_postgres::Client;

use crate::support::cluster::Cluster;
use crate::support::database::Database;

/// As the agent pins its sessions.
async fn session(database: &Database) -> Client {
    let client = database.session().await.expect("the server answers");
    client.batch_execute("SET search_path = ''").await.expect("a setting");
    client
}

async fn table(client: &Client, name: &str) -> TableInfo {
    let name = QualifiedName::new("public", name);
    let mut tables =
        catalog::tables(client, TableFilter::Names(&[name])).await.expect("the catalog answers");
    tables.pop().expect("the table exists")
}

#[tokio::test]
async fn columns_are_described_as_a_create_table_would() {
    let source = Cluster::source().await;
    source
        .exec(
            "CREATE TYPE mood AS ENUM ('a'); CREATE TYPE pair AS (x int, m mood);
             CREATE TYPE named AS (x int, r regclass); CREATE FUNCTION f() RETURNS int LANGUAGE sql
               AS 'SELECT 1';
             CREATE SEQUENCE shared;
             CREATE TABLE t (id serial PRIMARY KEY, a bigint GENERATED ALWAYS AS IDENTITY,
               g int GENERATED ALWAYS AS (id * 2) STORED, m mood[], p pair, n named, r regclass[],
               c char(3) COLLATE \"C\", d int DEFAULT f(), s int DEFAULT nextval('shared'),
               gone int, v varchar(10) DEFAULT 'x', UNIQUE (a) DEFERRABLE);
             ALTER TABLE t DROP COLUMN gone;",
        )
        .await;
    let client = session(&source).await;
    let t = table(&client, "t").await;
    assert_eq!(t.kind, RelationKind::Table);
    let names: Vec<&str> = t.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "a", "g", "m", "p", "n", "r", "c", "d", "s", "v"]);
    let column = |name: &str| t.column(name).expect("the column exists");
    assert_eq!(column("a").identity, Identity::Always);
    assert_eq!(column("g").generated, Generated::Stored);
    assert_eq!(column("g").expression_columns, ["id"]);
    assert_eq!(column("g").default, None);
    assert_eq!(column("m").type_name, "public.mood[]");
    assert_eq!(column("p").type_shape, ".1 x -1:int4,.2 m -1:mood");
    assert_eq!(column("c").type_name, "character(3)");
    assert_eq!(column("c").base_type_name, "bpchar");
    assert_eq!(column("c").collation, Some(QualifiedName::new("pg_catalog", "C")));
    assert_eq!(column("v").default.as_deref(), Some("'x'::character varying"));
    let without_binary: Vec<&str> = t
        .columns
        .iter()
        .filter(|column| !column.has_binary)
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(without_binary, ["n", "r"], "a reg* type inside means text");
    let with_dependencies: Vec<&str> = t
        .columns
        .iter()
        .filter(|column| column.expression_has_dependencies)
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(with_dependencies, ["d"]);
    let sequences: Vec<(&str, &str, bool)> =
        t.sequences.iter().map(|s| (s.column.as_str(), s.name.name.as_str(), s.is_owned)).collect();
    assert_eq!(
        sequences,
        [("a", "t_a_seq", true), ("id", "t_id_seq", true), ("s", "shared", false)]
    );
    assert_eq!(t.key_columns(), ["id"]);
    let deferrable = t.indexes.iter().find(|index| index.name == "t_a_key").expect("it exists");
    assert!(deferrable.is_unique && !deferrable.is_immediate);
}

#[tokio::test]
async fn partitions_know_their_ancestors_and_views_are_not_replicable() {
    let source = Cluster::source().await;
    source
        .exec(
            "CREATE TABLE root (id int, k int, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
             CREATE TABLE leaf PARTITION OF root DEFAULT;
             CREATE VIEW v AS SELECT 1; CREATE UNLOGGED TABLE u (x int);
             INSERT INTO root VALUES (1, 1);",
        )
        .await;
    let client = session(&source).await;
    let root = table(&client, "root").await;
    assert_eq!(root.kind, RelationKind::Partitioned);
    assert!(root.has_usable_identity());
    let leaf = table(&client, "leaf").await;
    assert!(leaf.is_partition);
    assert_eq!(leaf.partition_ancestors, [root.oid]);
    source.exec("ALTER TABLE leaf REPLICA IDENTITY NOTHING").await;
    assert_eq!(table(&client, "leaf").await.identity, ReplicaIdentity::Nothing);
    assert!(!table(&client, "root").await.has_usable_identity());

    let relations = catalog::relations(&client).await.expect("an answer");
    let replicable: Vec<&str> = relations
        .iter()
        .filter(|relation| relation.is_replicable())
        .map(|relation| relation.name.name.as_str())
        .collect();
    assert_eq!(replicable, ["leaf", "root"]);
    let name = |name: &str| QualifiedName::new("public", name);
    let with_rows = catalog::tables_with_rows(&client, &[name("u"), name("root"), name("leaf")])
        .await
        .expect("an answer");
    assert_eq!(with_rows, [name("root"), name("leaf")]);
}

#[tokio::test]
async fn a_slot_and_the_transactions_it_waits_for_are_seen_by_an_ordinary_role() {
    let source = Cluster::source().await;
    source.exec("CREATE TABLE t (id int); CREATE ROLE plain LOGIN").await;
    let client = session(&source).await;
    client.batch_execute("SET ROLE plain").await.expect("a role");
    assert_eq!(catalog::slot(&client, "sync_agent").await.expect("an answer"), None);
    assert_eq!(catalog::poll(&client, "sync_agent").await.expect("an answer").slot, None);
    source.exec("SELECT pg_create_logical_replication_slot('sync_agent', 'pgoutput')").await;
    let slot = catalog::slot(&client, "sync_agent").await.expect("an answer").expect("the slot");
    assert_eq!(slot.plugin.as_deref(), Some("pgoutput"));
    assert_eq!(slot.wal_status.as_deref(), Some("reserved"));
    assert!(!slot.temporary && !slot.active && !slot.conflicting);
    let poll = catalog::poll(&client, "sync_agent").await.expect("an answer");
    let (wal_end, now) = catalog::wal_end(&client).await.expect("an answer");
    assert!(wal_end >= poll.wal_end && now >= poll.now);
    let polled = poll.slot.expect("the slot");
    assert_eq!(polled.confirmed_flush_lsn, slot.confirmed_flush_lsn);
    assert!(polled.retained_bytes.is_some());

    let writer = source.session().await.expect("a session");
    writer.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.expect("a row");
    let waiting = catalog::blocking_transactions(&client).await.expect("an answer");
    let [blocker] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!(blocker.role.as_deref(), Some("postgres"));
    assert!(blocker.pid.is_some());
    writer.batch_execute("COMMIT").await.expect("it commits");
    assert_eq!(catalog::blocking_transactions(&client).await.expect("an answer"), []);
}

#[tokio::test]
async fn privileges_and_facts_tell_what_a_role_lacks() {
    let source = Cluster::source().await;
    source
        .exec(
            "CREATE TABLE t (id int, secret text); CREATE ROLE plain LOGIN;
             GRANT SELECT (id) ON t TO plain;",
        )
        .await;
    let client = session(&source).await;
    let facts = catalog::server_facts(&client).await.expect("an answer");
    assert!(facts.is_superuser && facts.has_replication && facts.can_create_in_database);
    let identifier = source.scalar("SELECT system_identifier FROM pg_control_system()").await;
    assert_eq!(facts.system_identifier, Some(identifier));
    let t = table(&client, "t").await;
    client.batch_execute("SET ROLE plain").await.expect("a role");
    let facts = catalog::server_facts(&client).await.expect("an answer");
    assert_eq!(facts.role, "plain");
    assert!(!facts.is_superuser && !facts.has_replication && !facts.can_create_in_database);
    let privileges = catalog::privileges(&client, &[t.oid]).await.expect("an answer");
    let [of_t] = privileges.as_slice() else { panic!("{privileges:?}") };
    assert!(of_t.schema_usage && !of_t.select && !of_t.truncate);
    assert_eq!(of_t.no_select, ["secret"]);
    assert_eq!(of_t.no_insert, ["id", "secret"]);
}

#[tokio::test]
async fn publications_are_read_with_their_members() {
    let source = Cluster::source().await;
    source
        .exec(
            "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
             CREATE PUBLICATION every FOR ALL TABLES;
             CREATE PUBLICATION part FOR TABLE a WITH (publish = 'insert');",
        )
        .await;
    let client = session(&source).await;
    let names = ["every".to_owned(), "part".to_owned(), "none".to_owned()];
    let found = catalog::publications(&client, &names).await.expect("an answer");
    let [every, part] = found.as_slice() else { panic!("{found:?}") };
    assert!(every.all_tables && every.members.is_empty() && every.delete);
    assert!(part.insert && !part.delete);
    let [member] = part.members.as_slice() else { panic!("{part:?}") };
    assert_eq!(member.name, QualifiedName::new("public", "a"));
    assert!(member.columns.is_none() && member.filter.is_none());
}
