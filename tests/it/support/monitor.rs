//! Watches the promises that hold at every moment, while something else goes wrong.
//!
//! The source is read before the destination: the checkpoint only grows, so what was confirmed
//! must be covered by what is read later. A server that does not answer is passed over.

use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

use super::database::Database;
use super::wait;

/// Looks until it is asked for its verdict.
#[derive(Debug)]
pub(crate) struct Monitor {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    looks: usize,
    breaches: Vec<String>,
}

impl Monitor {
    pub(crate) fn watch(source: &Database, destination: &Database, pipeline: &str) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (source, destination) = (source.clone(), destination.clone());
        let pipeline = pipeline.to_owned();
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut last_applied = 0;
            loop {
                look(&source, &destination, &pipeline, &mut last_applied, &shared).await;
                wait::between_looks().await;
            }
        });
        Self { task, seen }
    }

    /// Ends it; fails the test on any breach, and when it saw nothing at all.
    pub(crate) fn verdict(self) {
        self.task.abort();
        let seen = self.seen.lock().expect("no panic inside");
        assert!(seen.looks > 0, "the monitor never saw both servers");
        assert!(seen.breaches.is_empty(), "{:#?}", seen.breaches);
    }
}

async fn look(
    source: &Database,
    destination: &Database,
    pipeline: &str,
    last_applied: &mut u64,
    seen: &Mutex<Seen>,
) {
    let confirmed = number(
        source,
        &format!(
            "SELECT confirmed_flush_lsn - '0/0', pg_current_wal_lsn() - '0/0' \
             FROM pg_replication_slots WHERE slot_name = 'sync_agent_{pipeline}'"
        ),
    )
    .await;
    let applied = number(
        destination,
        &format!(
            "SELECT applied_lsn - '0/0' FROM sync_agent.checkpoint WHERE pipeline = '{pipeline}'"
        ),
    )
    .await;
    let (Some(confirmed), Some(applied)) = (confirmed, applied) else { return };
    let (confirmed, wal_end, applied) = (confirmed[0], confirmed[1], applied[0]);
    let mut seen = seen.lock().expect("no panic inside");
    seen.looks += 1;
    if confirmed > applied {
        seen.breaches.push(format!("confirmed {confirmed} but applied only {applied}"));
    }
    if applied < *last_applied {
        seen.breaches.push(format!("the checkpoint went back from {last_applied} to {applied}"));
    }
    if confirmed > wal_end {
        seen.breaches.push(format!("confirmed {confirmed} beyond the end of WAL {wal_end}"));
    }
    *last_applied = applied;
}

/// The first row, when there is one without NULLs.
async fn number(database: &Database, sql: &str) -> Option<Vec<u64>> {
    let rows = database.try_query(sql).await.ok()?;
    rows.into_iter().next()?.into_iter().map(|value| value?.parse().ok()).collect()
}
