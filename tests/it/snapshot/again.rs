//! What a backfill leaves when it does not come to its end, and what the next one makes of it.
//!
//! A table that somebody has locked at the destination is the middle of a copy, for as long as the
//! test likes.

use nix::sys::signal::Signal;
use tokio_postgres::Client;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::proxy::{Behavior, Proxy};
use crate::support::wait;

const POINT: &str = "SELECT state || ' ' || coalesce(copied_lsn::text, '-') || ' ' || \
     coalesce(copied_at::text, '-') FROM sync_agent.tables WHERE source_table = ";

async fn point(destination: &Database, table: &str) -> String {
    destination.scalar(&format!("{POINT}'{table}'")).await
}

/// Two tables in chunks, the larger one first. The smaller one is locked at the destination.
struct HalfWay {
    source: Cluster,
    destination: Cluster,
    agent: Agent,
    lock: Client,
}

impl HalfWay {
    /// Until `done` is finished and `held` waits.
    async fn reached() -> HalfWay {
        let (source, destination) = pair().await;
        let tables = "CREATE TABLE done (id int PRIMARY KEY, v text); \
             CREATE TABLE held (id int PRIMARY KEY, v text)";
        source.exec(tables).await;
        destination.exec(tables).await;
        source
            .exec(
                "INSERT INTO done SELECT g, repeat(md5(g::text), 8) \
                   FROM generate_series(1, 20000) g; \
                 INSERT INTO held SELECT g, repeat(md5(g::text), 8) \
                   FROM generate_series(1, 8000) g",
            )
            .await;
        let lock = destination.session().await.expect("a session");
        lock.batch_execute("BEGIN; LOCK TABLE held IN SHARE MODE").await.expect("it locks");
        let mut agent = Agent::between(&source, &destination)
            .text("snapshot.chunk", "1MiB")
            .set("snapshot.workers", "2");
        agent.start_verb("snapshot", &[]);
        let copied = "SELECT count(*) FROM sync_agent.tables WHERE state = 'copied'";
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
             AND query LIKE '%COPY%held%'";
        // Both workers wait, each with a chunk of `held`.
        agent
            .wait_for("the middle of the copy", async |_| {
                let rows = destination.try_query(copied).await.unwrap_or_default();
                let is_copied = rows.first().and_then(|row| row[0].as_deref()) == Some("1");
                is_copied && destination.scalar(waiting).await == "2"
            })
            .await;
        HalfWay { source, destination, agent, lock }
    }
}

#[tokio::test]
async fn a_killed_backfill_keeps_finished_tables_and_copies_the_others_again() {
    let HalfWay { source, destination, mut agent, lock } = HalfWay::reached().await;
    let before = point(&destination, "done").await;
    agent.kill9();
    drop(lock);
    source.exec("INSERT INTO done VALUES (-1, 'late'); INSERT INTO held VALUES (-1, 'late')").await;
    let output = agent.verb(&["snapshot", "--output", "json"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["held"]).await;
    assert_eq!(destination.count("done").await, 20000, "it was finished before the late row");
    assert_eq!(point(&destination, "done").await, before);

    let report: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    let [done, held] = [&report["tables"][0], &report["tables"][1]];
    assert_eq!((&done["name"], &done["copied"]), (&"public.done".into(), &"earlier".into()));
    assert_eq!((&held["name"], &held["copied"]), (&"public.held".into(), &"now".into()));
    assert_eq!((&done["rows"], &held["rows"]), (&20000.into(), &8001.into()));
    assert_eq!(report["totals"]["rows"], 8001);
    let lsn = held["lsn"].as_str().expect("a position");
    assert_eq!(
        source
            .scalar(&format!(
                "SELECT '{lsn}'::pg_lsn > '{}'",
                done["lsn"].as_str().expect("a position")
            ))
            .await,
        "t",
        "its own point in time"
    );
    assert!(point(&destination, "held").await.contains(lsn));
    let as_of = held["as_of"].as_str().expect("a time");
    let age = format!("SELECT clock_timestamp() - '{as_of}' BETWEEN '0' AND '1 minute'");
    assert_eq!(source.scalar(&age).await, "t", "the source's clock");
}

#[tokio::test]
async fn a_stopped_backfill_says_so_and_keeps_what_is_finished() {
    let HalfWay { source, destination, mut agent, lock } = HalfWay::reached().await;
    assert_eq!(agent.terminate().await, Some(143));
    assert!(agent.log().contains("1 of 2 tables are finished"), "{}", agent.log());
    drop(lock);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("earlier"), "{}", output.stdout);
    assert!(output.stdout.contains("Copied 1 table: 8000 rows"), "{}", output.stdout);
    assert_same(&source, &destination, &["done", "held"]).await;
    agent.start_verb("snapshot", &[]);
    assert_eq!(agent.wait_for_exit().await, Some(0));
}

#[tokio::test]
async fn an_interrupt_is_130() {
    let mut half_way = HalfWay::reached().await;
    half_way.agent.signal(Signal::SIGINT);
    assert_eq!(half_way.agent.wait_for_exit().await, Some(130));
}

#[tokio::test]
async fn a_second_backfill_of_the_same_name_is_refused_while_the_first_works() {
    let half_way = HalfWay::reached().await;
    let output = half_way.agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 5, "{}", output.stderr);
    assert!(output.stderr.contains("the lease is held by"), "{}", output.stderr);
}

#[tokio::test]
async fn a_superseded_backfill_writes_nothing_more() {
    let HalfWay { source: _source, destination, mut agent, lock } = HalfWay::reached().await;
    destination.exec("UPDATE sync_agent.checkpoint SET epoch = epoch + 1").await;
    assert_eq!(agent.wait_for_exit().await, Some(5));
    assert!(agent.log().contains("E_FENCED"), "{}", agent.log());
    drop(lock);
    assert_eq!(destination.count("held").await, 0);
}

#[tokio::test]
async fn finished_tables_are_copied_again_only_when_told_to() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1); \
             CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1)",
        )
        .await;
    let agent = Agent::between(&source, &destination);
    assert_eq!(agent.verb(&["snapshot"]).await.code, 0);
    source.exec("INSERT INTO a VALUES (2); INSERT INTO b VALUES (2)").await;

    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("All 2 tables were copied already"), "{}", output.stdout);
    assert_eq!(destination.count("a").await, 1, "nothing was copied");

    let output = agent.verb(&["snapshot", "--restart"]).await;
    assert_eq!(output.code, 2, "nobody was asked: {}", output.stderr);
    assert_eq!(destination.count("a").await, 1);

    let output = agent.verb(&["snapshot", "--restart", "--yes", "--table", "public.a"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!((destination.count("a").await, destination.count("b").await), (2, 1));

    let output = agent.verb(&["snapshot", "--restart", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["a", "b"]).await;

    let output = agent.verb(&["snapshot", "--table", "public.c"]).await;
    assert_eq!(output.code, 3, "{}", output.stderr);
    let nothing = ["snapshot", "--set", "snapshot.copy_data=false"];
    assert_eq!(agent.verb(&nothing).await.code, 3, "nothing to do is a mistake");
}

#[tokio::test]
async fn a_cut_fails_at_once_and_is_waited_out_when_told_to() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE big (id int PRIMARY KEY, v text); \
             INSERT INTO big SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 30000) g",
        )
        .await;
    let proxy = Proxy::to(source.port).await;
    let agent = Agent::between(&source, &destination)
        .text("source.url", &source.url_by_way_of(proxy.port))
        .set("snapshot.workers", "1");
    let cut = Behavior::CutAfter {
        direction: crate::support::proxy::Direction::FromServer,
        bytes: 2_000_000,
    };
    proxy.set(cut);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 1, "{}", output.stderr);
    // Counted from here.
    proxy.set(cut);
    let (output, ()) = tokio::join!(agent.verb(&["snapshot", "--wait", "60s"]), async {
        wait::until("a cut", wait::CATCH_UP, async || proxy.cut_count() >= 1).await;
        proxy.set(Behavior::Forward);
    });
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("trying again"), "{}", output.stderr);
    assert_same(&source, &destination, &["big"]).await;
}

/// Without the session that exported it, no other can come under the snapshot any more.
#[tokio::test]
async fn a_lost_snapshot_begins_a_new_one_for_what_is_not_copied() {
    let HalfWay { source, destination, mut agent, lock } = HalfWay::reached().await;
    let holder = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = 'sync-agent/it/snapshot'";
    assert_eq!(source.scalar(holder).await, "t");
    drop(lock);
    assert_eq!(agent.wait_for_exit().await, Some(1));
    assert!(agent.log().contains("the copy's snapshot is gone"), "{}", agent.log());
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["done", "held"]).await;
}

#[tokio::test]
async fn tables_that_a_pipeline_keeps_in_step_are_left_alone() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let mut agent =
        Agent::between(&source, &destination).text("destination.on_existing", "truncate");
    agent.start_and_stream().await;
    agent.terminate().await;
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("keeps it in step"), "{}", output.stderr);
}
