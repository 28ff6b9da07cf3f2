//! What travels beside rows: logical messages, origins, relations that are not replicated.

use super::Group;
use crate::support::agent::Agent;
use crate::support::thrice::Thrice;

pub(super) const GROUP: Group =
    Group { schema: "noise", setup: SETUP, changes: &CHANGES, tables: &["t"] };

/// One table, and everything that has a name like a table's and is none that could be replicated.
const SETUP: &str = "
    CREATE TABLE t (id int PRIMARY KEY, v text);
    CREATE EXTENSION postgres_fdw;
    CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
    CREATE UNLOGGED TABLE fast (id int PRIMARY KEY);
    CREATE VIEW seen AS SELECT id FROM t; CREATE MATERIALIZED VIEW kept AS SELECT id FROM t;
    CREATE FOREIGN TABLE abroad (id int) SERVER far; CREATE SEQUENCE numbers;
    CREATE TYPE row_type AS (a int);
    CREATE RULE into_t AS ON INSERT TO seen DO INSTEAD INSERT INTO t VALUES (new.id, 'ruled');
    SELECT pg_replication_origin_create('elsewhere')";

const CHANGES: [&str; 10] = [
    // Messages, transactional and not, inside and between transactions, larger than a batch.
    BETWEEN,
    "BEGIN; INSERT INTO t VALUES (1, 'a'); SELECT pg_logical_emit_message(true, 'x', 'inside'),
       pg_logical_emit_message(false, '', 'at once'); UPDATE t SET v = 'b' WHERE id = 1; COMMIT",
    ALONE,
    "BEGIN; INSERT INTO t VALUES (2, 'never'); SELECT pg_logical_emit_message(true, 'x', 'undone');
     ROLLBACK",
    "SELECT pg_logical_emit_message(true, 'large', decode(repeat('00ff', 4000000), 'hex')),
       pg_logical_emit_message(false, 'large', repeat('y', 8000000))",
    // Rows that came to the source by replication are the source's rows like any others.
    "SELECT pg_replication_origin_session_setup('elsewhere'); INSERT INTO t VALUES (10, 'origin')",
    "SELECT pg_replication_origin_session_setup('elsewhere');
     BEGIN; SELECT pg_replication_origin_xact_setup('0/ABC', now());
     INSERT INTO t VALUES (11, 'known'); UPDATE t SET v = v || '!'; COMMIT;
     SELECT pg_replication_origin_session_reset(); INSERT INTO t VALUES (12, 'own')",
    // What is not in the stream, or gone before its transaction ends.
    "INSERT INTO fast SELECT generate_series(1, 50); UPDATE fast SET id = -id; TRUNCATE fast;
     CREATE TEMP TABLE passing (id int PRIMARY KEY); INSERT INTO passing VALUES (21);
     INSERT INTO t SELECT id, 'of a temporary one' FROM passing; DROP TABLE passing",
    "INSERT INTO seen VALUES (22); REFRESH MATERIALIZED VIEW kept; SELECT nextval('numbers');
     SELECT id, v INTO TEMP later FROM t; CREATE UNLOGGED TABLE faster AS SELECT * FROM t",
    "BEGIN; CREATE TABLE born (id int PRIMARY KEY); INSERT INTO born VALUES (1);
     DROP TABLE born; INSERT INTO t VALUES (23, 'beside it'); COMMIT",
];

const BETWEEN: &str = "SELECT pg_logical_emit_message(false, 'x', 'between')";
const ALONE: &str = "BEGIN; SELECT pg_logical_emit_message(true, 'x', 'alone'); COMMIT";

/// Killed right behind a message, started with another one before the next row.
pub(super) async fn stop_and_start_beside_messages(thrice: &mut Thrice) {
    thrice.source.exec(BETWEEN).await;
    thrice.whole.agent.kill9();
    thrice.source.exec(ALONE).await;
    thrice.whole.agent.start_and_stream().await;
    thrice.play(&["INSERT INTO noise.t VALUES (30, 'c')", BETWEEN, ALONE]).await;
    thrice.source.exec(BETWEEN).await;
    thrice.caught_up().await;
}

pub(super) async fn assert_nothing_else_came(thrice: &Thrice) {
    let others = "SELECT string_agg(relname, ' ') FROM pg_class \
         WHERE relnamespace = 'noise'::regnamespace AND relkind IN ('r', 'v', 'm', 'f', 'S', 'p')";
    assert_eq!(thrice.whole.scalar(others).await, "t");
    let named = ["fast", "seen", "kept", "abroad", "t"].map(|name| format!("\"noise.{name}\""));
    let agent = Agent::between(&thrice.source, &thrice.whole)
        .named("named")
        .set("include", &format!("[{}]", named.join(", ")));
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{}", output.stdout);
    for finding in [
        "table \"noise\".\"fast\"",
        "SET LOGGED",
        "a view cannot be replicated",
        "a materialized view cannot be replicated",
        "a foreign table cannot be replicated",
    ] {
        assert!(output.stdout.contains(finding), "{finding}: {}", output.stdout);
    }
}
