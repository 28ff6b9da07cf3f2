//! Transactions that never commit leave nothing: no row, no memory, no disk.

use super::assert_bounded;
use crate::support::agent::Agent;
use crate::support::cluster::{Stop, pair};
use crate::support::compare::assert_same;

const ROWS: &str =
    "INSERT INTO t SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 100000) g";

fn disk_bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("our own folder").flatten();
    let bytes = |entry: std::fs::DirEntry| match entry.file_type().expect("it is there").is_dir() {
        true => disk_bytes(&entry.path()),
        false => entry.metadata().map_or(0, |metadata| metadata.len()),
    };
    entries.map(bytes).sum()
}

#[tokio::test]
async fn aborted_transactions_leave_nothing() {
    let (mut source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, pad text)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let before = disk_bytes(&agent.state_dir());
    source.exec(&format!("BEGIN; {ROWS}; ROLLBACK")).await;
    let ended = source.session().await.expect("the source answers");
    ended.batch_execute(&format!("BEGIN; {ROWS}")).await.expect("it writes");
    source
        .exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        .await;
    let crashed = source.session().await.expect("the source answers");
    crashed.batch_execute(&format!("BEGIN; {ROWS}")).await.expect("it writes");
    source.stop(Stop::Immediate).await;
    source.launch_again().await;
    source.exec("INSERT INTO t VALUES (0, 'small')").await;
    agent.caught_up().await;
    assert_bounded(&agent, 0);
    assert_same(&source, &destination, &["t"]).await;
    assert_eq!(destination.count("t").await, 1);
    let dead = "SELECT n_dead_tup + n_tup_ins FROM pg_stat_user_tables WHERE relname = 't'";
    agent.wait_for("the statistics", async |_| destination.scalar(dead).await == "1").await;
    let grown = disk_bytes(&agent.state_dir()).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more in the state directory");
}
