//! Tables that hold rows before the copy: refused, emptied, or merged into, as told.

use nix::sys::signal::Signal;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair, assert_same};
use crate::support::wait;

const CREATE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

/// Ids 1 to 10 at the source; a stale one and one of its own at the destination.
async fn stale_and_extra() -> (Cluster, Cluster) {
    let (source, destination) = pair().await;
    source.exec(CREATE).await;
    source.exec("INSERT INTO t SELECT g, 'new ' || g FROM generate_series(1, 10) g").await;
    destination.exec(CREATE).await;
    destination.exec("INSERT INTO t VALUES (1, 'stale'), (999, 'extra')").await;
    (source, destination)
}

fn merging(source: &Cluster, destination: &Cluster) -> Agent {
    Agent::between(source, destination).text("destination.on_existing", "merge")
}

async fn rows_of_source_and_extra(source: &Cluster, destination: &Cluster) {
    let ours = Pair::renamed("t", "(SELECT * FROM t WHERE id <> 999) AS ours");
    assert_pair(source, destination, ours.columns("id, v", "id, v")).await;
    let extra = destination.scalar("SELECT v FROM t WHERE id = 999").await;
    assert_eq!(extra, "extra", "it stays");
}

#[tokio::test]
async fn rows_of_nobody_knows_whom_are_refused_and_stay() {
    let (source, destination) = stale_and_extra().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start();
    assert_eq!(agent.wait_for_exit().await, Some(4));
    assert!(agent.log().contains("E_PREFLIGHT"), "{}", agent.log());
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("E_PREFLIGHT"), "{}", output.stderr);
    assert_eq!(destination.scalar("SELECT string_agg(v, ',') FROM t").await, "stale,extra");
    assert_eq!(agent.traces().await, Vec::<String>::new(), "nothing was made");
}

#[tokio::test]
async fn rows_are_removed_when_told_to() {
    let (source, destination) = stale_and_extra().await;
    let mut agent =
        Agent::between(&source, &destination).text("destination.on_existing", "truncate");
    agent.start_and_stream().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn a_backfill_merges_rows_by_the_key() {
    let (source, destination) = stale_and_extra().await;
    let agent = merging(&source, &destination);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    rows_of_source_and_extra(&source, &destination).await;
}

#[tokio::test]
async fn a_pipeline_merges_counts_what_it_overwrites_and_goes_on() {
    let (source, destination) = stale_and_extra().await;
    destination.exec("INSERT INTO t VALUES (2, 'new 2')").await;
    let mut agent = merging(&source, &destination);
    agent.start_and_stream().await;
    rows_of_source_and_extra(&source, &destination).await;
    let labels = ["table=\"public.t\"", "kind=\"insert_exists\""];
    let conflicts = agent.metric("sync_agent_conflicts_total", &labels).await;
    assert_eq!(conflicts, Some(1.0), "the stale row; an equal one is none");
    source.exec("UPDATE t SET v = 'changed' WHERE id = 1; DELETE FROM t WHERE id = 2").await;
    source.exec("INSERT INTO t VALUES (11, 'late')").await;
    agent.caught_up().await;
    rows_of_source_and_extra(&source, &destination).await;
}

/// Merged, and once more by --restart: what is equal is not even written, what is extra stays.
#[tokio::test]
async fn merging_again_writes_nothing_and_removes_nothing() {
    let (source, destination) = stale_and_extra().await;
    let agent = merging(&source, &destination);
    assert_eq!(agent.verb(&["snapshot"]).await.code, 0);
    let versions = "SELECT string_agg(id || ' ' || xmin || ' ' || ctid, ',' ORDER BY id) FROM t";
    let before = destination.scalar(versions).await;
    let output = agent.verb(&["snapshot", "--restart", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(destination.scalar(versions).await, before);
    rows_of_source_and_extra(&source, &destination).await;
}

/// Chunks by several workers; types that differ (so the copy is in text); a masked column; a generated
/// one; an identity that only the server may set, in the key and beside it.
#[tokio::test]
async fn every_shape_of_table_is_merged() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE plain (id int PRIMARY KEY, v text, j json, n numeric); \
             INSERT INTO plain SELECT g, repeat(md5(g::text), 5), '{\"a\":1}', 1.00 \
               FROM generate_series(1, 20000) g; \
             CREATE TABLE texts (id int PRIMARY KEY, v varchar(40)); \
             INSERT INTO texts SELECT g, E'a\\tb' || g FROM generate_series(1, 100) g; \
             CREATE TABLE masked (id int PRIMARY KEY, ssn text); \
             INSERT INTO masked SELECT g, 'CANARY-' || g FROM generate_series(1, 100) g; \
             CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, \
               b int GENERATED ALWAYS AS (a * 2) STORED); \
             INSERT INTO made (a) SELECT g FROM generate_series(1, 100) g; \
             CREATE TABLE beside (k text PRIMARY KEY, id int GENERATED ALWAYS AS IDENTITY, v int); \
             INSERT INTO beside (k, v) SELECT 'k' || g, g FROM generate_series(1, 10) g; \
             CREATE TABLE only_key (a int, b int, PRIMARY KEY (a, b)); \
             INSERT INTO only_key SELECT g, g FROM generate_series(1, 10) g",
        )
        .await;
    destination
        .exec(
            "CREATE TABLE plain (id int PRIMARY KEY, v text, j json, n numeric, own int DEFAULT 7); \
             INSERT INTO plain VALUES (1, 'stale', '{}', 1.0, 8), (-1, 'extra', '{}', 0, 0), \
               (2, repeat(md5('2'), 5), '{\"a\":1}', 1.0, 9); \
             CREATE TABLE texts (id bigint PRIMARY KEY, v text); \
             INSERT INTO texts VALUES (5, 'stale'), (-1, 'extra'); \
             CREATE TABLE masked (id int PRIMARY KEY, ssn text); \
             INSERT INTO masked VALUES (5, 'stale'), (-1, 'extra'); \
             CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, \
               b int GENERATED ALWAYS AS (a * 2) STORED); \
             INSERT INTO made OVERRIDING SYSTEM VALUE VALUES (5, 0), (-1, 0); \
             CREATE TABLE beside (k text PRIMARY KEY, id int GENERATED ALWAYS AS IDENTITY, v int); \
             INSERT INTO beside (k, v) VALUES ('k9', 0), ('extra', 0); \
             CREATE TABLE only_key (a int, b int, PRIMARY KEY (a, b)); \
             INSERT INTO only_key VALUES (1, 1), (-1, 1)",
        )
        .await;
    let agent = merging(&source, &destination).text("snapshot.chunk", "1MiB").section(
        "[[table]]\nname = \"public.masked\"\n[table.columns]\nssn = { hash = \"sha256\" }",
    );
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    for (table, extra, here, there) in [
        ("plain", "id > 0", "id, v, j::text, n::text", "id, v, j::text, n::text"),
        ("texts", "id > 0", "id::bigint, v::text", "id, v"),
        ("masked", "id > 0", "id, encode(sha256(ssn::bytea), 'hex')", "id, ssn"),
        ("made", "id > 0", "id, a, b", "id, a, b"),
        ("beside", "k <> 'extra'", "k, id, v", "k, id, v"),
        ("only_key", "a > 0", "a, b", "a, b"),
    ] {
        let ours = Pair::renamed(table, &format!("(SELECT * FROM {table} WHERE {extra}) AS ours"));
        assert_pair(&source, &destination, ours.columns(here, there)).await;
        let kept = format!("(SELECT FROM {table} WHERE NOT ({extra})) AS extra");
        assert_eq!(destination.count(&kept).await, 1, "{table}");
    }
    let own = "SELECT string_agg(own::text, ',' ORDER BY id) FROM plain WHERE id IN (1, 2, 3)";
    assert_eq!(destination.scalar(own).await, "8,9,7", "the destination's own column stays");
}

/// Its last chunk waits for a row that somebody has locked at the destination; then it is killed, and
/// told other things meanwhile.
#[tokio::test]
async fn a_merge_that_was_cut_off_goes_on_and_never_empties_the_table() {
    for verb in ["snapshot", "run"] {
        let (source, destination) = pair().await;
        source.exec(CREATE).await;
        source
            .exec(
                "INSERT INTO t SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 20000) g",
            )
            .await;
        destination.exec(CREATE).await;
        destination.exec("INSERT INTO t VALUES (20000, 'stale'), (20001, 'extra')").await;
        let lock = destination.session().await.expect("a session");
        lock.batch_execute("BEGIN; UPDATE t SET v = 'locked' WHERE id = 20000").await.expect("it");
        let mut agent = merging(&source, &destination)
            .text("snapshot.chunk", "1MiB")
            .set("snapshot.workers", "1");
        agent.start_verb(verb, &[]);
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        agent.wait_for("the last chunk", async |_| destination.scalar(waiting).await == "1").await;
        agent.kill9();
        drop(lock);
        wait::until("the cut chunk is gone", wait::PROCESS, async || {
            destination.scalar(waiting).await == "0"
        })
        .await;
        let merged = destination.count("t").await;
        assert!((1000..20000).contains(&merged), "{verb}: half of it is there: {merged}");
        let state = "SELECT state FROM sync_agent.tables";
        assert_eq!(destination.scalar(state).await, "merging");

        agent.change("destination.on_existing", "\"refuse\"");
        let output = agent.verb(&["snapshot"]).await;
        assert_eq!(output.code, 4, "its rows are not all ours: {}", output.stderr);
        agent.change("destination.on_existing", "\"merge\"");
        if verb == "run" {
            agent.start_and_stream().await;
            agent.caught_up().await;
        } else {
            let output = agent.verb(&["snapshot"]).await;
            assert_eq!(output.code, 0, "{}", output.stderr);
        }
        let ours = Pair::renamed("t", "(SELECT * FROM t WHERE id < 20001) AS ours");
        assert_pair(&source, &destination, ours.columns("id, v", "id, v")).await;
        assert_eq!(destination.scalar("SELECT v FROM t WHERE id = 20001").await, "extra");
    }
}

#[tokio::test]
async fn rows_that_cannot_be_told_apart_are_not_merged() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    source.exec("CREATE TABLE nokey (id int); INSERT INTO nokey VALUES (1)").await;
    destination.exec("CREATE TABLE t (id int); INSERT INTO t VALUES (2)").await;
    destination.exec("CREATE TABLE nokey (id int); INSERT INTO nokey VALUES (2)").await;
    let mut agent = merging(&source, &destination);
    agent.start();
    assert_eq!(agent.wait_for_exit().await, Some(4));
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    for said in [&agent.log(), &output.stderr] {
        assert!(said.contains("no unique index on exactly the key columns"), "{said}");
        assert!(said.contains("it has no key"), "{said}");
    }
    assert!(output.stderr.contains("CREATE UNIQUE INDEX ON"), "{}", output.stderr);
    assert_eq!((destination.count("t").await, destination.count("nokey").await), (1, 1));
}

#[tokio::test]
async fn another_unique_index_that_rejects_a_merged_row_is_named() {
    let (source, destination) = pair().await;
    let create = "CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE)";
    source.exec(create).await;
    source.exec("INSERT INTO t VALUES (1, 'SECRET')").await;
    destination.exec(create).await;
    destination.exec("INSERT INTO t VALUES (2, 'SECRET')").await;
    let mut agent = merging(&source, &destination);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 6, "{}", output.stderr);
    assert!(output.stderr.contains("E_CONFLICT"), "{}", output.stderr);
    assert!(output.stderr.contains("t_code_key"), "{}", output.stderr);
    assert!(!output.stderr.contains("SECRET"), "{}", output.stderr);
    agent.start();
    agent.wait_for_state("degraded").await;
    destination.exec("DELETE FROM t WHERE id = 2").await;
    agent.wait_for_state("streaming").await;
    assert_same(&source, &destination, &["t"]).await;
    agent.signal(Signal::SIGTERM);
}

#[tokio::test]
async fn what_a_merge_needs_is_found_before_it_begins() {
    let (source, destination) = stale_and_extra().await;
    destination
        .exec(
            "REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC; CREATE ROLE writer LOGIN; \
             GRANT CREATE ON DATABASE postgres TO writer; \
             GRANT SELECT, INSERT ON t TO writer",
        )
        .await;
    let agent =
        merging(&source, &destination).text("destination.url", &destination.url_as("writer"));
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    for statement in [
        "GRANT TEMPORARY ON DATABASE \"postgres\" TO \"writer\"",
        "GRANT UPDATE ON \"public\".\"t\" TO \"writer\"",
    ] {
        assert!(output.stderr.contains(&statement.replace('"', "\\\"")), "{}", output.stderr);
        destination.exec(statement).await;
    }
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    rows_of_source_and_extra(&source, &destination).await;
}

/// Rows of a table that we do not copy stand on those that are to go.
#[tokio::test]
async fn a_table_is_not_emptied_under_rows_that_stay() {
    let (source, destination) = stale_and_extra().await;
    destination
        .exec(
            "CREATE SCHEMA other; \
             CREATE TABLE other.child (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); \
             INSERT INTO other.child VALUES (1, 999), (2, NULL)",
        )
        .await;
    let mut agent =
        Agent::between(&source, &destination).text("destination.on_existing", "truncate");
    agent.start();
    assert_eq!(agent.wait_for_exit().await, Some(4));
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    for said in [&agent.log(), &output.stderr] {
        assert!(said.contains("child_t_fkey"), "{said}");
    }
    assert_eq!((destination.count("t").await, destination.count("other.child").await), (2, 2));

    destination.exec("DELETE FROM other.child WHERE id = 1").await;
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["t"]).await;
    assert_eq!(destination.count("other.child").await, 1, "it is not replicated");
}
