//! A process that was superseded commits nothing more, wherever it was when it was stopped or cut
//! off, and does not hold up the one that took over.
//!
//! The lease is ended by hand: that it runs out by itself is shown in `operations::lease`. The table
//! has no key, so a row that both had written would show.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::monitor::Monitor;
use crate::support::proxy::{Behavior, Proxy};
use crate::support::wait;
use crate::support::workload::Workload;

/// From the end of the lease until the successor has the epoch: a look every second, and two for
/// the open transaction of the other.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// A trigger that waits for whoever holds the lock: rows are held up, and nothing else.
const GATE: &str = "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS \
     'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NEW; END'; \
     CREATE TRIGGER gate BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION gate(); \
     ALTER TABLE journal ENABLE ALWAYS TRIGGER gate";

const SCRIPT: &str = "\\set n random(1, 1000000)\nINSERT INTO journal VALUES (:n);\n";

/// Two agents of one pipeline: the first at work, with proxies on its legs, the second standing by.
struct Two {
    source: Cluster,
    destination: Cluster,
    near: Proxy,
    far: Proxy,
    first: Agent,
    second: Agent,
    monitor: Monitor,
}

impl Two {
    async fn started() -> Self {
        let (source, destination) = pair().await;
        source.exec("CREATE TABLE journal (n bigint)").await;
        let (near, far) = (Proxy::to(source.port).await, Proxy::to(destination.port).await);
        let mut first = Agent::between(&source, &destination)
            .text("source.url", &source.url_by_way_of(near.port))
            .text("destination.url", &destination.url_by_way_of(far.port));
        first.start_and_stream().await;
        let mut second = Agent::between(&source, &destination);
        second.start();
        second.wait_for_state("standby").await;
        let monitor = Monitor::watch(&source, &destination, "it");
        Self { source, destination, near, far, first, second, monitor }
    }

    /// The lease is over; the second one has to get on with it.
    async fn is_taken_over(&mut self) {
        self.destination.exec("UPDATE sync_agent.checkpoint SET lease_until = '-infinity'").await;
        let begun = Instant::now();
        let epoch = "SELECT epoch FROM sync_agent.checkpoint";
        let destination = &self.destination;
        let taken = async |_: &Agent| destination.scalar(epoch).await == "2";
        self.second.wait_for("another epoch", taken).await;
        assert!(begun.elapsed() < TAKE_OVER, "{:?}\n{}", begun.elapsed(), self.second.log());
    }

    /// The first one has woken up: it ends by itself, having written nothing.
    async fn ends_fenced(mut self) {
        self.second.wait_for_state("streaming").await;
        self.second.caught_up().await;
        let applied = "SELECT applied_lsn FROM sync_agent.checkpoint";
        let before = self.destination.scalar(applied).await;
        self.first.signal(Signal::SIGCONT);
        self.near.set(Behavior::Forward);
        self.far.set(Behavior::Forward);
        assert_eq!(self.first.wait_for_exit().await, Some(5), "{}", self.first.log());
        assert!(self.first.log().contains("E_FENCED"), "{}", self.first.log());
        let moved = format!("SELECT applied_lsn >= '{before}', epoch FROM sync_agent.checkpoint");
        let row = self.destination.query(&moved).await;
        assert_eq!(row, [[Some("t".to_owned()), Some("2".to_owned())]]);
        self.source.exec("INSERT INTO journal VALUES (-1)").await;
        self.second.caught_up().await;
        self.monitor.verdict();
        assert_same(&self.source, &self.destination, &["journal"]).await;
        assert_eq!(self.second.terminate().await, Some(0));
    }
}

/// The rows of a large transaction are written, and not committed.
#[tokio::test]
async fn an_agent_stopped_inside_an_open_transaction_leaves_no_row_of_it() {
    let mut two = Two::started().await;
    two.far.set(Behavior::Throttle { bytes_per_second: 200_000 });
    two.source.exec("INSERT INTO journal SELECT g FROM generate_series(1, 200000) g").await;
    let writing = "SELECT count(*) FROM pg_stat_activity \
         WHERE application_name LIKE 'sync-agent/it/apply%' AND backend_xid IS NOT NULL";
    let destination = &two.destination;
    let is_writing = async |_: &Agent| destination.scalar(writing).await == "1";
    two.first.wait_for("rows that are not committed", is_writing).await;
    two.first.signal(Signal::SIGSTOP);
    two.is_taken_over().await;
    two.ends_fenced().await;
}

/// The server has the COMMIT already, behind a statement that waits.
#[tokio::test]
async fn a_commit_that_waits_at_the_server_does_not_happen_after_a_take_over() {
    let mut two = Two::started().await;
    two.destination.exec(GATE).await;
    let gate = two.destination.session().await.expect("the destination answers");
    gate.batch_execute("SELECT pg_advisory_lock(4711)").await.expect("a lock");
    two.source.exec("INSERT INTO journal VALUES (1)").await;
    let waiting = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity \
         WHERE application_name LIKE 'sync-agent/it/apply%' AND wait_event = 'advisory'";
    let destination: Database = (*two.destination).clone();
    let is_waiting = async || {
        let pids = destination.scalar(waiting).await;
        (!pids.is_empty()).then_some(pids)
    };
    wait::until("it waits", wait::CATCH_UP, async || is_waiting().await.is_some()).await;
    let first = is_waiting().await;
    two.first.signal(Signal::SIGSTOP);
    two.is_taken_over().await;
    // The second one's transaction waits there too, once the first one's is out of the way.
    wait::until("the other one waits", wait::PROCESS, async || {
        let now = is_waiting().await;
        now.is_some() && now != first
    })
    .await;
    drop(gate);
    two.ends_fenced().await;
}

/// Which of the first one's legs swallow everything.
async fn is_partitioned(at_source: bool) {
    let mut two = Two::started().await;
    let load = Workload::script(&two.source, 2, SCRIPT);
    let destination = &two.destination;
    let some = async |_: &Agent| destination.count("journal").await > 200;
    two.first.wait_for("some of the load", some).await;
    // Wherever its batch is by now: not sent, half sent, its COMMIT on the way, the answer on the
    // way back.
    two.far.set(Behavior::Stall);
    if at_source {
        two.near.set(Behavior::Stall);
    }
    two.is_taken_over().await;
    let before = two.destination.count("journal").await;
    let destination = &two.destination;
    let more = async |_: &Agent| destination.count("journal").await > before + 200;
    two.second.wait_for("more of the load", more).await;
    load.stop(&two.source).await;
    two.ends_fenced().await;
}

#[tokio::test]
async fn an_agent_cut_off_from_the_destination_is_fenced() {
    is_partitioned(false).await;
}

#[tokio::test]
async fn an_agent_cut_off_from_both_servers_is_fenced() {
    is_partitioned(true).await;
}
