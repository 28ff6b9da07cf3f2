//! What the data or a privilege holds: degraded without a flicker, named once, and over by itself.

use serde_json::Value;

use super::{log_lines, states_until, with_table};
use crate::support::agent::Agent;
use crate::support::cluster::Cluster;
use crate::support::compare::assert_same;
use crate::support::hold::{GATE, Hold};
use crate::support::wait;

/// How many attempts have failed on the code.
async fn failures(agent: &Agent, stage: &str, code: &str) -> f64 {
    let labels = [&format!("code=\"{code}\"") as &str, &format!("stage=\"{stage}\"")];
    agent.metric("sync_agent_errors_total", &labels).await.unwrap_or_default()
}

fn errors_of<'a>(lines: &'a [Value], code: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["level"] == "ERROR" && field(line, "code") == code).collect()
}

/// A field, wherever the format puts fields.
fn field(line: &Value, name: &str) -> String {
    let value = if line[name].is_null() { &line["fields"][name] } else { &line[name] };
    value.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_rejected_row_is_named_once_and_everything_arrives_once_it_is_mended() {
    let (source, destination) = with_table().await;
    source.exec(GATE).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    destination.exec("ALTER TABLE t ADD CONSTRAINT good CHECK (v <> 'bad')").await;
    // Behind a hold they land in one batch.
    let hold = Hold::place(&source, &destination).await;
    source.exec("INSERT INTO t VALUES (40, 'before')").await;
    let before = source.current_lsn().await;
    source.exec("INSERT INTO t VALUES (50, 'ok'), (51, 'bad')").await;
    source.exec("INSERT INTO t VALUES (52, 'later')").await;
    hold.release().await;
    agent.wait_for_state("degraded").await;
    let states = states_until(&mut agent, "five attempts", async |agent| {
        failures(agent, "apply", "E_CONFLICT").await >= 5.0
    })
    .await;
    assert_eq!(states.into_iter().collect::<Vec<_>>(), ["degraded"], "a retry is no recovery");
    let rows = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t";
    assert_eq!(destination.scalar(rows).await, "1 40", "all before it, nothing of it");
    let confirmed = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots";
    let end = "SELECT pg_current_wal_lsn() - '0/0'";
    let [confirmed, end] = [source.scalar(confirmed).await, source.scalar(end).await];
    assert!(confirmed.parse::<u64>().expect("a position") < end.parse().expect("a position"));

    let lines = log_lines(&agent);
    let [error] = errors_of(&lines, "E_CONFLICT")[..] else { panic!("{:#?}", agent.log()) };
    assert_eq!(field(error, "table"), "public.t");
    assert_eq!(field(error, "key"), "id");
    assert_eq!(field(error, "constraint"), "good");
    let inside = format!(
        "SELECT '{}'::pg_lsn BETWEEN '{before}' AND '{end}'::numeric + '0/0'::pg_lsn",
        field(error, "lsn")
    );
    assert_eq!(source.scalar(&inside).await, "t", "the commit's position");
    assert!(!agent.log().contains("'bad'") && !agent.log().contains("51, bad"), "no values");
    assert_eq!(agent.status().await["last_error"]["code"], "E_CONFLICT");

    destination.exec("ALTER TABLE t DROP CONSTRAINT good").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "gate"]).await;
    assert_eq!(agent.status().await["last_error"]["active"], false);
    // The same condition, later, is a new one.
    destination.exec("ALTER TABLE t ADD CONSTRAINT good CHECK (id < 60)").await;
    source.exec("INSERT INTO t VALUES (60, 'x')").await;
    agent.wait_for_state("degraded").await;
    assert_eq!(errors_of(&log_lines(&agent), "E_CONFLICT").len(), 2);
    assert_eq!(agent.terminate().await, Some(0), "a held pipeline stops in order");
}

#[tokio::test]
async fn a_copy_that_is_rejected_holds_and_goes_on() {
    let (source, destination) = with_table().await;
    destination.exec("CREATE TABLE t (id int PRIMARY KEY, v text CHECK (v <> 'a'))").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start();
    agent.wait_for_state("degraded").await;
    let states = states_until(&mut agent, "three attempts", async |agent| {
        failures(agent, "snapshot", "E_CONFLICT").await >= 3.0
    })
    .await;
    assert_eq!(states.into_iter().collect::<Vec<_>>(), ["degraded"]);
    assert_eq!(errors_of(&log_lines(&agent), "E_CONFLICT").len(), 1);
    destination.exec("ALTER TABLE t DROP CONSTRAINT t_v_check").await;
    agent.wait_for_state("streaming").await;
    assert_same(&source, &destination, &["t"]).await;
}

/// An agent that streams as roles which may do just enough.
async fn with_roles() -> (Cluster, Cluster, Agent) {
    let (source, destination) = with_table().await;
    source
        .exec(
            "CREATE ROLE reader LOGIN REPLICATION; GRANT SELECT ON t TO reader;
             CREATE PUBLICATION sync_agent_it FOR TABLE t",
        )
        .await;
    destination
        .exec(
            "CREATE ROLE writer LOGIN; CREATE SCHEMA sync_agent AUTHORIZATION writer;
             CREATE TABLE t (id int PRIMARY KEY, v text);
             GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON t TO writer",
        )
        .await;
    let mut agent = Agent::between(&source, &destination)
        .text("source.url", &source.url_as("reader"))
        .text("destination.url", &destination.url_as("writer"));
    agent.start_and_stream().await;
    (source, destination, agent)
}

#[tokio::test]
async fn a_privilege_taken_away_while_running_holds_until_it_is_given_back() {
    let (source, destination, mut agent) = with_roles().await;
    destination.exec("REVOKE UPDATE ON t FROM writer").await;
    source.exec("UPDATE t SET v = 'b' WHERE id = 1").await;
    agent.wait_for_state("degraded").await;
    let status = agent.status().await;
    assert_eq!(status["last_error"]["code"], "E_ACCESS", "{status}");
    assert_eq!(status["last_error"]["table"], "public.t");
    assert_eq!(destination.scalar("SELECT v FROM t").await, "a");
    destination.exec("GRANT UPDATE ON t TO writer").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;

    destination.exec("REVOKE USAGE ON SCHEMA sync_agent FROM writer; ALTER SCHEMA sync_agent OWNER TO postgres").await;
    source.exec("UPDATE t SET v = 'c' WHERE id = 1").await;
    agent.wait_for_state("degraded").await;
    assert_eq!(agent.status().await["last_error"]["code"], "E_ACCESS");
    destination.exec("GRANT USAGE ON SCHEMA sync_agent TO writer").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn a_role_that_may_no_longer_replicate_holds_and_comes_back() {
    let (source, destination, mut agent) = with_roles().await;
    source.exec("ALTER ROLE reader NOREPLICATION").await;
    source.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_replication").await;
    agent.wait_for_state("degraded").await;
    assert_eq!(agent.status().await["last_error"]["code"], "E_ACCESS");
    source.exec("INSERT INTO t VALUES (2, 'b'); ALTER ROLE reader REPLICATION").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    let slots = "SELECT count(*) FROM pg_replication_slots";
    wait::until("one slot", wait::PROCESS, async || source.scalar(slots).await == "1").await;
}
