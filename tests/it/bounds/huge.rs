//! Transactions larger than memory: atomic at the destination, and nothing grows with them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::assert_bounded;
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::monitor::Monitor;
use crate::support::wait;

const TABLES: &str = "CREATE TABLE huge (id int PRIMARY KEY, pad text);
     CREATE TABLE other (id int PRIMARY KEY, pad text);
     CREATE TABLE small (id int PRIMARY KEY)";

/// The transaction's statements for `rows` rows: all inserted, half of them updated, a third deleted.
fn statements(table: &str, rows: u32) -> [String; 3] {
    [
        format!(
            "INSERT INTO {table} SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, {rows}) g"
        ),
        format!("UPDATE {table} SET pad = pad || 'x' WHERE id % 2 = 0"),
        format!("DELETE FROM {table} WHERE id % 3 = 0"),
    ]
}

/// Looks at a table of the destination all along, and keeps every number of rows it sees.
struct Reader {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Vec<u64>>>,
}

impl Reader {
    fn watch(destination: &Database, table: &'static str) -> Reader {
        let (destination, seen) = (destination.clone(), Arc::<Mutex<Vec<u64>>>::default());
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let session = destination.session().await.expect("the destination answers");
            let sql = format!("SELECT count(*) FROM {table}");
            loop {
                let row = session.query_one(&sql, &[]).await.expect("the destination answers");
                let count = u64::try_from(row.get::<_, i64>(0)).expect("a count");
                note(&shared, count);
                wait::between_looks().await;
            }
        });
        Reader { task, seen }
    }

    fn verdict(self) -> Vec<u64> {
        self.task.abort();
        self.seen.lock().expect("no panic inside").clone()
    }
}

fn note(seen: &Mutex<Vec<u64>>, count: u64) {
    let mut seen = seen.lock().expect("no panic inside");
    if seen.last() != Some(&count) {
        seen.push(count);
    }
}

/// A sender that is not answered for two seconds hangs up.
async fn servers() -> (Cluster, Cluster) {
    let settings = "wal_sender_timeout = 2s\nmax_wal_size = 8GB\n".to_owned();
    let source = Spec { settings, ..Spec::default() };
    let settings = "max_wal_size = 8GB\n".to_owned();
    let destination = Spec { identity: 1, settings, ..Spec::default() };
    tokio::join!(Cluster::start(source), Cluster::start(destination))
}

async fn walsender(source: &Database) -> String {
    source.scalar("SELECT string_agg(pid::text, ' ') FROM pg_stat_replication").await
}

/// Two of them, interleaved on the source; `is_killed` in the middle of the first once.
async fn two_interleaved(rows: u32, is_killed: bool, patience: Duration) {
    let (source, destination) = servers().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination).patient(patience);
    agent.start_and_stream().await;
    let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
    let readers = ["huge", "other"].map(|table| Reader::watch(&destination, table));
    let one = source.session().await.expect("the source answers");
    let two = source.session().await.expect("the source answers");
    for session in [&one, &two] {
        session.batch_execute("BEGIN").await.expect("it begins");
    }
    for (of_one, of_two) in statements("huge", rows).iter().zip(statements("other", rows / 3)) {
        one.batch_execute(of_one).await.expect("it writes");
        two.batch_execute(&of_two).await.expect("it writes");
    }
    let before = walsender(&source).await;
    one.batch_execute("COMMIT").await.expect("it commits");
    two.batch_execute("COMMIT").await.expect("it commits");
    source.exec("INSERT INTO small SELECT generate_series(1, 100)").await;
    if is_killed {
        agent
            .wait_for("much of it is received", async |agent| {
                let received = agent.metric("sync_agent_received_bytes_total", &[]).await;
                received.unwrap_or_default() > f64::from(rows) * 300.0
            })
            .await;
        assert_bounded(&agent, 0);
        agent.kill9();
        agent.start_and_stream().await;
    }
    agent.caught_up().await;
    if !is_killed {
        assert_eq!(walsender(&source).await, before, "the same connection:\n{}", source.log());
    }
    assert_bounded(&agent, 0);
    assert_same(&source, &destination, &["huge", "other", "small"]).await;
    for (reader, table) in readers.into_iter().zip(["huge", "other"]) {
        assert_eq!(reader.verdict(), [0, source.count(table).await], "none or all of {table}");
    }
    monitor.verdict();
}

#[tokio::test]
async fn two_transactions_larger_than_memory_are_atomic_and_bounded() {
    two_interleaved(100_000, false, wait::CATCH_UP).await;
}

mod long {
    use std::time::Duration;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn two_transactions_of_millions_of_rows_survive_a_kill() {
        super::two_interleaved(3_000_000, true, Duration::from_secs(1800)).await;
    }
}
