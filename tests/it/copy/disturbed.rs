//! Copies that something disturbs: time limits of our role, a snapshot that is lost, DDL meanwhile.

use tokio_postgres::Client;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::wait;

const TABLES: &str = "CREATE TABLE done (id int PRIMARY KEY, v text); \
     CREATE TABLE held (id int PRIMARY KEY, v text)";

/// `held` is locked at the destination; until one of its chunks waits.
struct HalfWay {
    source: Cluster,
    destination: Cluster,
    agent: Agent,
    lock: Client,
}

/// A COPY into `held` that has waited for so many seconds.
fn waiting(seconds: f32) -> String {
    format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
         AND query LIKE '%COPY%held%' AND clock_timestamp() - query_start > '{seconds} s'"
    )
}

impl HalfWay {
    async fn reached(verb: &str, before: &str) -> HalfWay {
        let (source, destination) = pair().await;
        source.exec(TABLES).await;
        source
            .exec(
                "INSERT INTO done SELECT g, repeat(md5(g::text), 8) \
                   FROM generate_series(1, 20000) g; \
                 INSERT INTO held SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 8000) g",
            )
            .await;
        destination.exec(TABLES).await;
        for side in [&source, &destination] {
            side.exec(before).await;
        }
        let lock = destination.session().await.expect("a session");
        // Limits of the role are for the agent to bear.
        let unlimited = "SET idle_in_transaction_session_timeout = 0; BEGIN; \
             LOCK TABLE held IN SHARE MODE";
        lock.batch_execute(unlimited).await.expect("it locks");
        let mut agent = Agent::between(&source, &destination)
            .text("snapshot.chunk", "1MiB")
            .set("snapshot.workers", "2");
        agent.start_verb(verb, &[]);
        let copied = "SELECT count(*) FROM sync_agent.tables WHERE state = 'copied'";
        agent
            .wait_for("the middle of the copy", async |_| {
                let rows = destination.try_query(copied).await.unwrap_or_default();
                let is_copied = rows.first().and_then(|row| row[0].as_deref()) == Some("1");
                is_copied && destination.scalar(&waiting(0.0)).await == "2"
            })
            .await;
        HalfWay { source, destination, agent, lock }
    }

    async fn ends_well(&mut self, verb: &str) {
        if verb == "run" {
            self.agent.wait_for_state("streaming").await;
            self.agent.caught_up().await;
        } else {
            assert_eq!(self.agent.wait_for_exit().await, Some(0), "{}", self.agent.log());
        }
    }
}

#[tokio::test]
async fn time_limits_of_our_role_do_not_end_a_copy() {
    let limits = "ALTER ROLE postgres SET statement_timeout = '300ms'; \
         ALTER ROLE postgres SET lock_timeout = '300ms'; \
         ALTER ROLE postgres SET idle_in_transaction_session_timeout = '300ms'; \
         ALTER ROLE postgres SET idle_session_timeout = '1s'";
    for verb in ["run", "snapshot"] {
        let mut half_way = HalfWay::reached(verb, limits).await;
        let (source, destination) = (&half_way.source, &half_way.destination);
        // Five times each limit: statements run, locks are waited for, the snapshot's holder is idle.
        wait::until("the copy has waited", wait::CATCH_UP, async || {
            destination.scalar(&waiting(1.5)).await == "2"
        })
        .await;
        half_way.lock.batch_execute("COMMIT").await.expect("the session lives");
        for side in [source, destination] {
            side.exec("ALTER ROLE postgres RESET ALL").await;
        }
        half_way.ends_well(verb).await;
        assert_same(&half_way.source, &half_way.destination, &["done", "held"]).await;
        let log = half_way.agent.log();
        assert!(!log.contains("timeout") && !log.contains("trying again"), "{log}");
    }
}

/// What is not copied is copied at a later point, with the changes in between neither lost nor twice.
#[tokio::test]
async fn a_pipeline_that_loses_its_snapshot_takes_a_new_one() {
    let mut half_way = HalfWay::reached("run", "SELECT 1").await;
    let source = &half_way.source;
    let holder = "SELECT bool_and(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE application_name = 'sync-agent/it/stream'";
    assert_eq!(source.scalar(holder).await, "t");
    source
        .exec(
            "INSERT INTO done VALUES (-1, 'late'); UPDATE done SET v = 'late' WHERE id = 1; \
             INSERT INTO held VALUES (-1, 'late'); DELETE FROM held WHERE id = 1; \
             UPDATE held SET id = -2 WHERE id = 2",
        )
        .await;
    half_way.lock.batch_execute("COMMIT").await.expect("the session lives");
    half_way.ends_well("run").await;
    assert!(half_way.agent.log().contains("the copy's snapshot is gone"));
    assert_same(&half_way.source, &half_way.destination, &["done", "held"]).await;
}

/// TRUNCATE waits for the chunks that are being read; the next one finds another file.
#[tokio::test]
async fn a_table_that_is_truncated_under_its_copy_ends_as_the_source_has_it() {
    for verb in ["run", "snapshot"] {
        let mut half_way = HalfWay::reached(verb, "SELECT 1").await;
        let source: Database = half_way.source.database("postgres");
        let truncating = tokio::spawn(async move {
            source.exec("BEGIN; TRUNCATE held; INSERT INTO held VALUES (1, 'after'); COMMIT").await;
        });
        let queued = "SELECT count(*) FROM pg_locks WHERE NOT granted \
             AND mode = 'AccessExclusiveLock'";
        wait::until("TRUNCATE waits", wait::CATCH_UP, async || {
            half_way.source.scalar(queued).await == "1"
        })
        .await;
        half_way.lock.batch_execute("COMMIT").await.expect("the session lives");
        truncating.await.expect("it truncates");
        half_way.ends_well(verb).await;
        assert_same(&half_way.source, &half_way.destination, &["done", "held"]).await;
        assert_eq!(half_way.destination.scalar("SELECT v FROM held").await, "after");
    }
}

/// Held where the destination's table is made: the source's tables have been looked at.
#[tokio::test]
async fn a_column_that_is_added_between_look_and_copy_shifts_nothing() {
    for verb in ["run", "snapshot"] {
        let (source, destination) = pair().await;
        source.exec("CREATE TABLE t (id int PRIMARY KEY, gone int, v text)").await;
        source.exec("INSERT INTO t SELECT g, -g, 'v' || g FROM generate_series(1, 100) g").await;
        destination
            .exec(
                "CREATE FUNCTION gate() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
                   IF current_query() LIKE '%CREATE TABLE \"public\"%' THEN \
                     PERFORM pg_advisory_xact_lock_shared(42); END IF; END $$; \
                 CREATE EVENT TRIGGER gate ON ddl_command_start WHEN TAG IN ('CREATE TABLE') \
                   EXECUTE FUNCTION gate()",
            )
            .await;
        let lock = destination.session().await.expect("a session");
        lock.batch_execute("SELECT pg_advisory_lock(42)").await.expect("it locks");
        let mut agent = Agent::between(&source, &destination);
        agent.start_verb(verb, &[]);
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        agent.wait_for("the gate", async |_| destination.scalar(waits).await == "1").await;
        source.exec("ALTER TABLE t ADD COLUMN c int DEFAULT 7").await;
        drop(lock);
        if verb == "run" {
            agent.wait_for_state("streaming").await;
        } else {
            assert_eq!(agent.wait_for_exit().await, Some(0), "{}", agent.log());
        }
        let shown = "SELECT count(*) FROM t WHERE gone = -id AND v = 'v' || id";
        assert_eq!(destination.scalar(shown).await, "100", "{verb}");
    }
}

/// Columns that came, with values, after the look and before the slot belong to the copy.
#[tokio::test]
async fn a_column_that_came_before_the_slot_is_copied() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    // The slot waits for this transaction.
    let open = source.session().await.expect("a session");
    open.batch_execute("BEGIN; CREATE TABLE other (id int PRIMARY KEY)").await.expect("it begins");
    let mut agent = Agent::between(&source, &destination);
    agent.start();
    agent
        .wait_for("the slot waits", async |_| {
            source.scalar("SELECT count(*) FROM pg_locks WHERE NOT granted").await != "0"
        })
        .await;
    source.exec("ALTER TABLE t ADD COLUMN c int; UPDATE t SET c = id * 10").await;
    open.batch_execute("COMMIT").await.expect("it commits");
    agent.wait_for_state("streaming").await;
    source.exec("UPDATE t SET c = 11 WHERE id = 1").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn objects_that_hold_no_rows_of_their_own_are_let_alone() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); \
             CREATE UNLOGGED TABLE ul (id int PRIMARY KEY, v int); INSERT INTO ul VALUES (1, 1); \
             CREATE VIEW vw AS SELECT 1 AS i; CREATE MATERIALIZED VIEW mv AS SELECT * FROM t; \
             CREATE EXTENSION postgres_fdw; CREATE SERVER f FOREIGN DATA WRAPPER postgres_fdw; \
             CREATE FOREIGN TABLE ft (i int) SERVER f; CREATE SEQUENCE sq",
        )
        .await;
    let temporary = source.session().await.expect("a session");
    temporary.batch_execute("CREATE TEMP TABLE tt (i int)").await.expect("it creates");
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source
        .exec("UPDATE ul SET v = 2; REFRESH MATERIALIZED VIEW mv; INSERT INTO t VALUES (2)")
        .await;
    temporary.batch_execute("INSERT INTO tt VALUES (1); UPDATE tt SET i = 2").await.expect("it");
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    let made = "SELECT string_agg(relname, ',') FROM pg_class \
         WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'";
    assert_eq!(destination.scalar(made).await, "t");
    agent.terminate().await;
    let agent =
        Agent::between(&source, &destination).named("unlogged").set("include", "[\"public.ul\"]");
    let output = agent.verb(&["run", "--until", "caught-up"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("ul"), "{}", output.stderr);
}

#[tokio::test]
async fn no_transaction_of_the_copy_outlives_it() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v int) WITH (autovacuum_enabled = off)").await;
    source.exec("INSERT INTO t SELECT g, 0 FROM generate_series(1, 1000) g").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("UPDATE t SET v = 1").await;
    agent.caught_up().await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync-agent%' \
         AND backend_type = 'client backend' \
         AND (state LIKE 'idle in transaction%' OR state = 'idle' AND backend_xmin IS NOT NULL)";
    for side in [&source, &destination] {
        assert_eq!(side.scalar(open).await, "0");
    }
    // Nobody holds the dead rows back.
    source.exec("VACUUM t").await;
    let dead = "SELECT count(*) FROM pg_stat_user_tables WHERE relname = 't' AND n_dead_tup > 0";
    wait::until("the dead rows are gone", wait::PROCESS, async || source.scalar(dead).await == "0")
        .await;
}
