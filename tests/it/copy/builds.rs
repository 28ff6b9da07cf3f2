//! Indexes of tables that we make, built after the load.
//!
//! An event trigger at the destination is the middle of a build: it waits for a lock of the test's, or
//! takes down how many rows there were.

use tokio_postgres::Client;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::wait;

/// Above 16 MiB, so that each index is built by itself.
const TABLE: &str = "CREATE TABLE t (id int CONSTRAINT first PRIMARY KEY, a text NOT NULL, b int, v text, \
       CONSTRAINT second UNIQUE (a) INCLUDE (b), \
       CONSTRAINT third UNIQUE (b) DEFERRABLE INITIALLY DEFERRED); \
     INSERT INTO t SELECT g, 'a' || g, g, repeat(md5(g::text), 12) FROM generate_series(1, 50000) g";

const KEYS: &str = "SELECT string_agg(conname || ' ' || pg_get_constraintdef(c.oid) || ' ' || \
       i.relname || ' ' || x.indisprimary || x.indimmediate || x.indisvalid, '; ' ORDER BY conname) \
     FROM pg_constraint c JOIN pg_class i ON i.oid = conindid JOIN pg_index x ON x.indexrelid = i.oid \
     WHERE conrelid = 't'::regclass AND contype IN ('p', 'u')";

const BUILDING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
     AND query LIKE 'CREATE UNIQUE INDEX%'";

/// Statements that build an index and have `part` in their text wait while the client holds the lock.
async fn gate(destination: &Cluster, part: &str) -> Client {
    destination
        .exec(&format!(
            "CREATE FUNCTION gate() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
               IF current_query() LIKE '%{part}%' THEN \
                 PERFORM pg_advisory_xact_lock_shared(42); END IF; END $$; \
             CREATE EVENT TRIGGER gate ON ddl_command_start WHEN TAG IN ('CREATE INDEX') \
               EXECUTE FUNCTION gate(); \
             ALTER EVENT TRIGGER gate ENABLE ALWAYS"
        ))
        .await;
    let lock = destination.session().await.expect("a session");
    lock.batch_execute("SELECT pg_advisory_lock(42)").await.expect("it locks");
    lock
}

#[tokio::test]
async fn a_large_tables_indexes_are_built_at_once_while_the_rest_is_copied() {
    let (source, destination) = pair().await;
    source.exec(TABLE).await;
    source.exec("CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1)").await;
    let lock = gate(&destination, "sync_agent_building").await;
    let mut agent = Agent::between(&source, &destination).text("snapshot.chunk", "4MiB");
    agent.start();
    agent.wait_for("three builds", async |_| destination.scalar(BUILDING).await == "3").await;
    let copied = "SELECT string_agg(source_table || ' ' || state, ',' ORDER BY source_table) \
         FROM sync_agent.tables";
    // Three workers build; the fourth has copied the other table.
    agent
        .wait_for("the other table", async |_| {
            destination.scalar(copied).await == "small copied,t copying"
        })
        .await;
    agent
        .wait_for("the snapshot's end", async |_| {
            let held = "SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL \
                 AND application_name LIKE 'sync-agent%'";
            source.scalar(held).await == "0"
        })
        .await;
    let (_, status) = agent.get("/status").await;
    assert!(status.contains("3 of their indexes are being built"), "{status}");
    drop(lock);
    agent.wait_for_state("streaming").await;
    assert_same(&source, &destination, &["t", "small"]).await;
    assert_eq!(destination.scalar(KEYS).await, source.scalar(KEYS).await);
    let analyzed = "SELECT reltuples FROM pg_class WHERE relname = 't'";
    assert_eq!(destination.scalar(analyzed).await, "50000");
}

/// Stopped with one key built, one being built: within its time, with nothing going on at the
/// destination, and the next one makes the keys anew.
#[tokio::test]
async fn a_stop_in_the_middle_of_a_build_ends_it() {
    for verb in ["run", "snapshot"] {
        let (source, destination) = pair().await;
        source.exec(TABLE).await;
        let lock = gate(&destination, "(a)").await;
        let mut agent = Agent::between(&source, &destination).set("snapshot.workers", "2");
        agent.start_verb(verb, &[]);
        let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'sync\\_agent\\_building%'";
        agent
            .wait_for("one build held and the others done", async |_| {
                destination.scalar(BUILDING).await == "1" && destination.scalar(left).await == "2"
            })
            .await;
        let code = agent.terminate().await;
        assert_eq!(code, Some(if verb == "run" { 0 } else { 143 }));
        wait::until("no build goes on", wait::PROCESS, async || {
            destination.scalar(BUILDING).await == "0"
        })
        .await;
        drop(lock);
        assert_eq!(destination.scalar(left).await, "2", "{verb}");
        source.exec("DELETE FROM t WHERE id = 1; UPDATE t SET b = -b WHERE id = 2").await;
        if verb == "run" {
            agent.start_and_stream().await;
            agent.caught_up().await;
        } else {
            let output = agent.verb(&["snapshot"]).await;
            assert_eq!(output.code, 0, "{}", output.stderr);
        }
        assert_same(&source, &destination, &["t"]).await;
        assert_eq!(destination.scalar(KEYS).await, source.scalar(KEYS).await);
        assert_eq!(destination.scalar(left).await, "0", "{verb}");
    }
}

#[tokio::test]
async fn an_index_that_cannot_be_built_is_named_with_its_table() {
    let (source, destination) = pair().await;
    source.exec(TABLE).await;
    source.exec("CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1)").await;
    destination
        .exec(
            "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS \
               $$ BEGIN RAISE EXCEPTION 'not here'; END $$; \
             CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('CREATE INDEX') \
               EXECUTE FUNCTION no(); \
             ALTER EVENT TRIGGER no ENABLE ALWAYS",
        )
        .await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 6, "{}", output.stderr);
    // What a function raises may hold values: its words stay in the server's log.
    let parts = [
        "E_CONFLICT",
        "public.t",
        "CREATE UNIQUE INDEX",
        "sync_agent_building",
        "raised by a function",
    ];
    for part in parts {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    destination.exec("DROP EVENT TRIGGER no").await;
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["t", "small"]).await;
    assert_eq!(destination.scalar(KEYS).await, source.scalar(KEYS).await);
}

/// How many rows there were when the first index was finished.
#[tokio::test]
async fn keys_come_before_the_rows_when_told_so() {
    for (deferred, rows) in [("true", "50000"), ("false", "0")] {
        let (source, destination) = pair().await;
        source.exec(TABLE).await;
        destination
            .exec(
                "CREATE TABLE seen (at serial, rows bigint); \
                 CREATE FUNCTION look() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
                   INSERT INTO public.seen (rows) SELECT count(*) FROM public.t; END $$; \
                 CREATE EVENT TRIGGER look ON ddl_command_end \
                   WHEN TAG IN ('CREATE INDEX', 'ALTER TABLE') EXECUTE FUNCTION look(); \
                 ALTER EVENT TRIGGER look ENABLE ALWAYS",
            )
            .await;
        let agent = Agent::between(&source, &destination).set("snapshot.defer_indexes", deferred);
        let output = agent.verb(&["snapshot"]).await;
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(destination.scalar("SELECT rows FROM seen ORDER BY at").await, rows);
        assert_same(&source, &destination, &["t"]).await;
        assert_eq!(destination.scalar(KEYS).await, source.scalar(KEYS).await);
    }
}
