//! The watchers: what holds at every moment, looked at all along.
//!
//! Each promise is compared in the order of reads that makes the comparison sound, and a look that a
//! server does not answer says nothing. The destination's checkpoint is durable once it can be read,
//! whatever the server's defaults are, so a restart in between excuses nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::record::Record;
use super::workload::{BANK_SUM, connected};
use crate::support::agent::try_get;
use crate::support::database::{Database, TextRow};
use crate::support::wait;

/// Between two looks of one watcher.
const LOOK: Duration = Duration::from_millis(150);

/// What the agent may hold: `limits.memory` and 64 MiB beside it.
pub(super) const MEMORY_MIB: u64 = 32;
const RSS_MAX_MIB: f64 = (MEMORY_MIB + 64) as f64;

/// The source is polled every second, and a poll counts as news for two.
const LAG_ALLOWANCE: Duration = Duration::from_secs(3);

/// After the copy no transaction of ours is older on the source.
const TRANSACTION_MAX: Duration = Duration::from_secs(10);

/// An answer of the agent's HTTP server; a paused process accepts and says nothing.
const HTTP_PATIENCE: Duration = Duration::from_secs(1);

/// Runs until dropped.
#[derive(Debug)]
pub(super) struct Watchers(Vec<JoinHandle<()>>);

impl Watchers {
    pub(super) fn start(
        source: &Database,
        destination: &Database,
        pipeline: &str,
        record: &Arc<Record>,
    ) -> Self {
        let watched = || Watched {
            source: Look::at(source),
            destination: Look::at(destination),
            pipeline: pipeline.to_owned(),
            record: Arc::clone(record),
        };
        Self(vec![
            tokio::spawn(watched().positions()),
            tokio::spawn(watched().snapshots()),
            tokio::spawn(watched().process()),
            tokio::spawn(watched().transactions()),
        ])
    }

    /// Fails where one of them has ended.
    pub(super) fn are_awake(&self) -> bool {
        self.0.iter().all(|task| !task.is_finished())
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// A database and the session that is used as long as it lives.
#[derive(Debug)]
struct Look {
    database: Database,
    session: Option<Client>,
}

impl Look {
    fn at(database: &Database) -> Self {
        Self { database: database.clone(), session: None }
    }

    /// The rows; `None` when the server does not answer, or has no such table yet.
    async fn rows(&mut self, sql: &str) -> Option<Vec<TextRow>> {
        let client = connected(&self.database, self.session.take()).await?;
        let messages = client.simple_query(sql).await.ok()?;
        self.session = Some(client);
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Some(
            rows.map(|row| (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
                .collect(),
        )
    }

    /// The first row, where none of its values is NULL.
    async fn first(&mut self, sql: &str) -> Option<Vec<String>> {
        self.rows(sql).await?.into_iter().next()?.into_iter().collect()
    }
}

#[derive(Debug)]
struct Watched {
    source: Look,
    destination: Look,
    pipeline: String,
    record: Arc<Record>,
}

impl Watched {
    /// I1, I2, I3, I5. The slot is read first: the checkpoint only grows, so it must cover then what
    /// was confirmed before.
    async fn positions(mut self) {
        let slots = format!(
            "SELECT coalesce(max(confirmed_flush_lsn - '0/0') FILTER (WHERE slot_name = 'sync_agent_{0}'), 0), \
             pg_current_wal_lsn() - '0/0', \
             count(*) FILTER (WHERE slot_name = 'sync_agent_{0}'), \
             count(*) FILTER (WHERE slot_name NOT IN ('sync_agent_{0}', 'sync_agent_{0}_sync', \
             'sync_agent_{0}_point')) \
             FROM pg_replication_slots WHERE slot_name LIKE 'sync\\_agent\\_%'",
            self.pipeline
        );
        let checkpoint = format!(
            "SELECT applied_lsn - '0/0' FROM sync_agent.checkpoint WHERE pipeline = '{}'",
            self.pipeline
        );
        let mut last_applied: u64 = 0;
        loop {
            wait::pace(LOOK).await;
            let Some(slots) = self.source.first(&slots).await else { continue };
            let [confirmed, wal_end, own, foreign] = numbers(&slots);
            if foreign > 0 || (own != 1 && self.record.is_ready()) {
                self.record
                    .breach("I5 one slot", format!("{own} of the pipeline's, {foreign} others"));
            }
            self.record.sample("I5 one slot");
            if confirmed > wal_end {
                let text = format!("confirmed {confirmed:X}, the end of WAL {wal_end:X}");
                self.record.breach("I3 confirmed within WAL", text);
            }
            self.record.sample("I3 confirmed within WAL");
            let Some(applied) = self.destination.first(&checkpoint).await else { continue };
            let [applied] = numbers(&applied);
            if confirmed > applied {
                let text = format!("confirmed {confirmed:X}, the checkpoint says {applied:X}");
                self.record.breach("I1 confirmed is applied", text);
            }
            self.record.sample("I1 confirmed is applied");
            if applied < last_applied {
                let text = format!("from {last_applied:X} to {applied:X}");
                self.record.breach("I2 the checkpoint grows", text);
            }
            self.record.sample("I2 the checkpoint grows");
            last_applied = applied;
        }
    }

    /// I6 and the monotone prefix: two statements, each one snapshot.
    async fn snapshots(mut self) {
        let bank = "SELECT (SELECT sum(bal) FROM acct_a) + (SELECT sum(bal) FROM acct_b)";
        let numbers_seen = sequence_query("count(*), coalesce(max(n), 0), coalesce(min(n), 1)");
        let mut last = 0;
        loop {
            wait::pace(LOOK / 3).await;
            if !self.record.is_ready() {
                continue;
            }
            if let Some(sum) = self.destination.first(bank).await {
                if sum[0] != BANK_SUM {
                    self.record.breach("I6 bank sum", format!("{} instead of {BANK_SUM}", sum[0]));
                }
                self.record.sample("I6 bank sum");
            }
            let Some(seen) = self.destination.first(&numbers_seen).await else { continue };
            let [count, most, least] = numbers(&seen);
            if count != most || least != 1 {
                let text = format!("{count} numbers from {least} to {most}");
                self.record.breach("ORD-02 a prefix", text);
            }
            if most < last {
                self.record
                    .breach("ORD-02 a prefix", format!("it went back from {last} to {most}"));
            }
            self.record.sample("ORD-02 a prefix");
            last = most;
        }
    }

    /// I4 and I8, and the numbers of the summary.
    async fn process(mut self) {
        let newest = sequence_query("coalesce(max(n), 0)");
        loop {
            wait::pace(LOOK * 2).await;
            let pid = self.record.agent_pid.load(Ordering::Relaxed);
            if let Some(mib) = rss_mib(pid) {
                self.record.maximum("RSS, MiB", mib);
                self.record.sample("I4 memory");
                if mib > RSS_MAX_MIB {
                    self.record.breach("I4 memory", format!("{mib:.0} MiB of {RSS_MAX_MIB:.0}"));
                }
            }
            let port = self.record.agent_port.load(Ordering::Relaxed);
            let asked_at = Instant::now();
            let answer = tokio::time::timeout(HTTP_PATIENCE, try_get(port, "/metrics")).await;
            let Ok(Some((200, metrics))) = answer else { continue };
            for (name, series) in [
                ("transactions applied", "sync_agent_transactions_total"),
                ("batches applied", "sync_agent_apply_batch_duration_seconds_count"),
            ] {
                if let Some(value) = value_of(&metrics, series) {
                    self.record.counter(name, value);
                }
            }
            let lag = value_of(&metrics, "sync_agent_replication_lag_seconds");
            let Some(lag) = lag.filter(|_| self.record.is_ready()) else { continue };
            self.record.maximum("lag, s", lag);
            // What is not visible now was not applied when the lag was asked for.
            let Some(seen) = self.destination.first(&newest).await else { continue };
            let [seen] = numbers(&seen);
            let missing_since = self.record.number_committed_at(seen + 1);
            let real = missing_since
                .map_or(Duration::ZERO, |since| asked_at.saturating_duration_since(since));
            if lag < real.saturating_sub(LAG_ALLOWANCE).as_secs_f64() {
                let text = format!("{lag} s are shown, {:.1} s are real", real.as_secs_f64());
                self.record.breach("I8 true lag", text);
            }
            self.record.sample("I8 true lag");
        }
    }

    /// I7. Only where nothing was in the agent's way since the transaction began, and no table is
    /// being copied; seen twice, because a copy's last transaction ends a moment after its record.
    async fn transactions(mut self) {
        let sql = format!(
            "SELECT pid || ' ' || xact_start, extract(epoch FROM clock_timestamp() - xact_start)::int, \
             application_name || ', ' || state || ': ' || left(query, 200) \
             FROM pg_stat_activity WHERE application_name LIKE 'sync-agent%' \
             AND backend_type = 'client backend' \
             AND xact_start < clock_timestamp() - interval '{} s'",
            TRANSACTION_MAX.as_secs()
        );
        let copying = "SELECT count(*) FROM sync_agent.tables WHERE state <> 'copied'";
        let mut before = Vec::new();
        loop {
            wait::pace(LOOK * 6).await;
            if !self.record.is_ready() {
                continue;
            }
            let Some(rows) = self.source.rows(&sql).await else { continue };
            let Some(copying) = self.destination.first(copying).await else { continue };
            self.record.sample("I7 no long transaction");
            let mut now = Vec::new();
            for row in rows {
                let mut values = row.into_iter().map(Option::unwrap_or_default);
                let (id, age) = (values.next().expect("three"), values.next().expect("three"));
                let age = Duration::from_secs(age.parse().expect("seconds"));
                let is_old = self.record.undisturbed_for() > age;
                if is_old && copying[0] == "0" && before.contains(&id) {
                    let text = format!("{age:?}: {}", values.next().expect("three"));
                    self.record.breach("I7 no long transaction", text);
                }
                now.push(id);
            }
            before = now;
        }
    }
}

/// Over all five tables, in one snapshot.
pub(super) fn sequence_query(columns: &str) -> String {
    let all = (0..5).map(|i| format!("SELECT n FROM seq_{i}")).collect::<Vec<_>>();
    format!("SELECT {columns} FROM ({}) AS s", all.join(" UNION ALL "))
}

fn numbers<const N: usize>(row: &[String]) -> [u64; N] {
    std::array::from_fn(|i| row[i].parse().expect("a number"))
}

fn rss_mib(pid: i32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// The first series of the name.
fn value_of(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics
        .lines()
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))?;
    line.rsplit(' ').next()?.parse().ok()
}
