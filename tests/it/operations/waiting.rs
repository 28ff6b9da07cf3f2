//! What is waited for at the source, what is refused there, and how either is said.

use sync_agent::pg::conninfo::ConnInfo;
use sync_agent::pg::dial::{Endpoint, PasswordSource};
use sync_agent::pg::lsn::Lsn;
use sync_agent::wire::{Mode, Session, StreamOptions, start_replication_sql};

use super::{log_lines, with_table};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::assert_same;
use crate::support::wait;

#[tokio::test]
async fn a_forgotten_prepared_transaction_is_named_and_then_it_goes_on() {
    let (source, destination) = with_table().await;
    source.exec("BEGIN; INSERT INTO t VALUES (2, 'b'); PREPARE TRANSACTION 'forgotten'").await;
    let xid = source.scalar("SELECT transaction FROM pg_prepared_xacts").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start();
    let started = std::time::Instant::now();
    agent.wait_for_state("waiting").await;
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
    let said = |agent: &Agent| {
        let lines = log_lines(agent);
        let line =
            lines.iter().find(|line| line.to_string().contains("waiting for transaction(s)"));
        line.map(ToString::to_string)
    };
    let line = said(&agent).expect("the log says so too");
    assert!(line.contains("forgotten") && line.contains(&xid), "{line}");
    // It waits in the same attempt: no other slot, no other error.
    agent
        .wait_for("it is said again", async |agent| {
            agent.log().matches("waiting for transaction(s)").count() >= 2
        })
        .await;
    assert_eq!(agent.status().await["attempts"], 0);
    assert_eq!(source.scalar("SELECT count(*) FROM pg_replication_slots").await, "1");
    source.exec("COMMIT PREPARED 'forgotten'").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

async fn walsender(source: &Cluster) -> Session {
    let endpoint = Endpoint {
        side: "source",
        conninfo: ConnInfo::parse(&source.url(), &|_| None).expect("valid"),
        password: PasswordSource::ConnInfo,
        pipeline: "other".to_owned(),
    };
    Session::connect(&endpoint, "test", Mode::Replication).await.expect("connected")
}

/// Holds the slot as a leftover connection of ours would: nothing is confirmed.
async fn occupy(source: &Cluster) -> impl Sized {
    let session = walsender(source).await;
    let options = StreamOptions {
        proto_version: 1,
        publications: vec!["sync_agent_it".to_owned()],
        binary: false,
        messages: false,
    };
    let sql = start_replication_sql("sync_agent_it", Lsn::ZERO, &options);
    session.start_replication(&sql).await.expect("the slot is free")
}

#[tokio::test]
async fn a_slot_in_use_is_waited_for_by_its_pid() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    let active = "SELECT coalesce(active_pid::text, '') FROM pg_replication_slots";
    wait::until("the slot is free", wait::PROCESS, async || source.scalar(active).await.is_empty())
        .await;
    let occupied = occupy(&source).await;
    let pid = source.scalar(active).await;
    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    agent.start();
    agent.wait_for_state("backoff").await;
    let status = agent.status().await;
    let reason = status["reason"].as_str().expect("a reason");
    assert!(reason.contains(&format!("active for PID {pid}")), "{reason}");
    agent
        .wait_for("more attempts", async |agent| {
            agent.status().await["attempts"].as_u64() >= Some(3)
        })
        .await;
    assert_eq!(source.scalar("SELECT count(*) FROM pg_replication_slots").await, "1");
    drop(occupied);
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

/// `run` ends with 4, says this, and has created nothing but what was there before.
async fn assert_refused(agent: &Agent, words: &[&str], traces: &[&str]) {
    let output = agent.verb(&["run"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    for word in words.iter().chain(&["E_PREFLIGHT"]) {
        assert!(output.stderr.contains(word), "{word} is missing in {output:?}");
    }
    assert_eq!(agent.traces().await, traces);
}

#[tokio::test]
async fn a_wrong_environment_is_refused_with_the_setting_and_the_value_needed() {
    let destination = Cluster::destination().await;
    for (settings, prepare, words, traces) in [
        ("wal_level = replica\n", "", &["ALTER SYSTEM SET wal_level = 'logical'"][..], &[][..]),
        (
            "max_replication_slots = 1\n",
            "SELECT pg_create_physical_replication_slot('other')",
            &["max_replication_slots", "all 1 are in use", "= 3"],
            &["slot other"],
        ),
        ("max_wal_senders = 0\n", "", &["max_wal_senders", "all 0 are in use", "= 2"], &[]),
        (
            "",
            "SELECT pg_create_logical_replication_slot('sync_agent_it', 'test_decoding')",
            &["sync_agent_it", "test_decoding"],
            &["slot sync_agent_it"],
        ),
        (
            "",
            "SELECT pg_create_physical_replication_slot('sync_agent_it')",
            &["sync_agent_it", "physical"],
            &["slot sync_agent_it"],
        ),
        (
            "",
            "SELECT pg_create_logical_replication_slot('sync_agent_it', 'pgoutput')",
            &["sync_agent_it", "no checkpoint at the destination belongs to it"],
            &["slot sync_agent_it"],
        ),
    ] {
        let source =
            Cluster::start(Spec { settings: settings.to_owned(), ..Spec::default() }).await;
        source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
        source.exec(prepare).await;
        let agent = Agent::between(&source, &destination);
        assert_refused(&agent, words, traces).await;
    }
    // A slot of the same name in another database of the server.
    let source = Cluster::source().await;
    source.exec("CREATE DATABASE other").await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let slot = "SELECT pg_create_logical_replication_slot('sync_agent_it', 'pgoutput')";
    source.database("other").exec(slot).await;
    let agent = Agent::between(&source, &destination);
    assert_refused(&agent, &["sync_agent_it", "it belongs to database"], &["slot sync_agent_it"])
        .await;
}

/// With a slot that is known, a server without a free walsender is one that has to be waited for.
#[tokio::test]
async fn a_known_pipeline_waits_for_a_free_walsender() {
    let spec = Spec { settings: "max_wal_senders = 2\n".to_owned(), ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec), Cluster::destination());
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    let senders = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'";
    let none_left = async || source.scalar(senders).await == "0";
    wait::until("the walsenders end", wait::PROCESS, none_left).await;
    let occupied = (walsender(&source).await, walsender(&source).await);
    agent.start();
    agent.wait_for_state("backoff").await;
    let reason = agent.status().await["reason"].to_string();
    assert!(reason.contains("max_wal_senders"), "{reason}");
    drop(occupied);
    agent.wait_for_state("streaming").await;
}
