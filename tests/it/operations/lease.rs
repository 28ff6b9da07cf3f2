//! Two agents of one pipeline: exactly one works; the other touches nothing and takes over.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::with_table;
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::monitor::Monitor;
use crate::support::proxy::{Behavior, Proxy};
use crate::support::workload::Workload;

/// The contract: a standby has taken over within this.
const TAKE_OVER: Duration = Duration::from_secs(20);

/// The slot of a dead or stalled agent is free, at the latest, after so much more; a
/// `wal_sender_timeout` would be a minute.
const SLOT_FREE: Duration = Duration::from_secs(15);

/// Which of the two works, once the other stands by.
async fn elected(first: &mut Agent, second: &mut Agent) -> usize {
    let state = async |agent: &Agent| {
        let status = agent.try_get("/status").await;
        let status =
            status.and_then(|(_, body)| serde_json::from_str::<serde_json::Value>(&body).ok());
        status.map_or_else(String::new, |status| status["state"].to_string())
    };
    let mut winner = None;
    first
        .wait_for("one streams and the other stands by", async |first| {
            winner = match (state(first).await.as_str(), state(second).await.as_str()) {
                ("\"streaming\"", "\"standby\"") => Some(0),
                ("\"standby\"", "\"streaming\"") => Some(1),
                _ => None,
            };
            winner.is_some()
        })
        .await;
    winner.expect("it was waited for")
}

async fn exactly_one_applies(rounds: usize) {
    let (source, destination) = pair().await;
    for round in 0..rounds {
        let table = format!("t{round}");
        let (name, include) = (format!("p{round}"), format!("[\"public.{table}\"]"));
        source.exec(&format!("CREATE TABLE {table} (n int, line text); INSERT INTO {table} SELECT g, md5(g::text) FROM generate_series(1, 1000) g")).await;
        let agent = || Agent::between(&source, &destination).named(&name).set("include", &include);
        let (mut first, mut second) = (agent(), agent());
        first.start();
        second.start();
        let winner = elected(&mut first, &mut second).await;
        source.exec(&format!("INSERT INTO {table} VALUES (0, 'once')")).await;
        first.caught_up().await;
        // No key: a row that both had written would show.
        assert_same(&source, &destination, &[&table]).await;
        let copies = [&first, &second].map(|agent| agent.log().matches("the copy begins").count());
        assert_eq!((copies[winner], copies[1 - winner]), (1, 0), "one snapshot");
        let slots = format!(
            "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots WHERE slot_name ~ 'p{round}($|_)'"
        );
        assert_eq!(source.scalar(&slots).await, format!("sync_agent_p{round}"));
        for mut agent in [first, second] {
            assert_eq!(agent.terminate().await, Some(0));
            assert!(!agent.log().contains("\"ERROR\""), "{}", agent.log());
        }
        // Twelve slots are all that a server has.
        source.exec(&format!("SELECT pg_drop_replication_slot('sync_agent_{name}')")).await;
    }
}

#[tokio::test]
async fn of_two_started_at_once_exactly_one_applies() {
    exactly_one_applies(8).await;
}

mod long {
    use super::exactly_one_applies;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn of_two_started_at_once_exactly_one_applies_fifty_times() {
        exactly_one_applies(50).await;
    }
}

const SCRIPT: &str = "\\set n random(1, 1000000)\nINSERT INTO journal VALUES (:n);\n";

/// How the one at work ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Clean,
    Killed,
    /// Neither dead nor alive: its sessions stay, and its transaction.
    Stopped,
}

async fn is_taken_over(ending: Ending) {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE journal (n bigint, at timestamptz DEFAULT clock_timestamp())").await;
    let agent = || Agent::between(&source, &destination);
    let (mut first, mut second) = (agent(), agent());
    first.start_and_stream().await;
    second.start();
    second.wait_for_state("standby").await;
    let load = Workload::script(&source, 2, SCRIPT);
    let monitor = Monitor::watch(&source, &destination, &first.pipeline);
    first.wait_for("some of the load", async |_| destination.count("journal").await > 100).await;
    match ending {
        Ending::Clean => assert_eq!(first.terminate().await, Some(0)),
        Ending::Killed => first.kill9(),
        Ending::Stopped => first.signal(Signal::SIGSTOP),
    }
    let ended = Instant::now();
    let epoch = "SELECT epoch FROM sync_agent.checkpoint";
    second.wait_for("another epoch", async |_| destination.scalar(epoch).await == "2").await;
    assert!(ended.elapsed() < TAKE_OVER, "{ending:?}: {:?}\n{}", ended.elapsed(), second.log());
    second.wait_for_state("streaming").await;
    assert!(
        ended.elapsed() < TAKE_OVER + SLOT_FREE,
        "{ending:?}: {:?}\n{}",
        ended.elapsed(),
        second.log()
    );
    if let Ending::Stopped = ending {
        first.signal(Signal::SIGCONT);
        assert_eq!(first.wait_for_exit().await, Some(5), "fenced: {}", first.log());
        assert!(first.log().contains("E_FENCED"));
    }
    load.stop(&source).await;
    second.wait_for_state("streaming").await;
    second.caught_up().await;
    monitor.verdict();
    assert_same(&source, &destination, &["journal"]).await;
    assert_eq!(second.terminate().await, Some(0));
}

/// Away from the destination it knows nothing of its successor; back again it does not stand by,
/// because somebody has to look at how it was lost.
#[tokio::test]
async fn an_agent_that_was_cut_off_finds_itself_superseded() {
    let (source, destination) = with_table().await;
    let link = Proxy::to(destination.port).await;
    let mut first = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_by_way_of(link.port));
    let mut second = Agent::between(&source, &destination);
    first.start_and_stream().await;
    second.start();
    second.wait_for_state("standby").await;
    link.set(Behavior::Cut);
    second.wait_for_state("streaming").await;
    source.exec("INSERT INTO t VALUES (10, 'by the second')").await;
    link.set(Behavior::Forward);
    assert_eq!(first.wait_for_exit().await, Some(5), "{}", first.log());
    assert!(first.log().contains("E_FENCED"), "{}", first.log());
    second.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn a_standby_takes_over_from_a_clean_stop() {
    is_taken_over(Ending::Clean).await;
}

#[tokio::test]
async fn a_standby_takes_over_from_a_killed_one() {
    is_taken_over(Ending::Killed).await;
}

#[tokio::test]
async fn a_standby_takes_over_from_a_stopped_one_and_fences_it() {
    is_taken_over(Ending::Stopped).await;
}

/// What an agent at work has half made is no reason for the next one to give up.
#[tokio::test]
async fn a_second_agent_stands_by_while_the_first_makes_its_slot() {
    let (source, destination) = with_table().await;
    let open = source.session().await.expect("the server answers");
    open.batch_execute("BEGIN; INSERT INTO t VALUES (9, 'open')").await.expect("a row");
    let agent = || Agent::between(&source, &destination);
    let (mut first, mut second) = (agent(), agent());
    first.start();
    first.wait_for_state("waiting").await;
    second.start();
    second.wait_for_state("standby").await;
    open.batch_execute("COMMIT").await.expect("it lives");
    first.wait_for_state("streaming").await;
    assert_eq!(second.status().await["state"], "standby");
    assert_eq!(first.terminate().await, Some(0));
    second.wait_for_state("streaming").await;
    second.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

async fn rows_of(destination: &Cluster, pipeline: &str) -> String {
    let sql = format!(
        "SELECT (SELECT count(*) FROM sync_agent.checkpoint WHERE pipeline = '{pipeline}') || ' ' ||
                (SELECT count(*) FROM sync_agent.tables WHERE pipeline = '{pipeline}')"
    );
    destination.scalar(&sql).await
}

#[tokio::test]
async fn two_pipelines_share_a_destination_and_one_is_removed() {
    let (source, destination) = pair().await;
    let other =
        Cluster::start(crate::support::cluster::Spec { identity: 2, ..Default::default() }).await;
    for (server, value) in [(&source, "a"), (&other, "b")] {
        server
            .exec(&format!(
                "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, '{value}')"
            ))
            .await;
    }
    let agent = |server: &Cluster, name: &str| {
        Agent::between(server, &destination)
            .named(name)
            .set("destination.schemas", &format!("{{ public = \"{name}\" }}"))
    };
    let (mut first, mut second) = (agent(&source, "one"), agent(&other, "two"));
    first.start_and_stream().await;
    second.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (2, 'c')").await;
    other.exec("UPDATE t SET v = 'd'").await;
    first.caught_up().await;
    second.caught_up().await;
    let values = "SELECT (SELECT string_agg(v, '' ORDER BY id) FROM one.t) || ' ' || (SELECT string_agg(v, '') FROM two.t)";
    assert_eq!(destination.scalar(values).await, "ac d");
    assert_eq!(first.terminate().await, Some(0));
    let output = first.verb(&["reset", "--yes"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(rows_of(&destination, "one").await, "0 0");
    assert_eq!(rows_of(&destination, "two").await, "1 1");
    other.exec("INSERT INTO t VALUES (3, 'e')").await;
    second.caught_up().await;
    assert_eq!(destination.scalar("SELECT count(*) FROM two.t").await, "2");
    assert_eq!(destination.scalar("SELECT count(*) FROM one.t").await, "2", "its rows stay");
    assert_eq!(second.terminate().await, Some(0));
}
