//! Holds the agent in the middle of a batch, so that what follows at the source lands in one.

use tokio_postgres::Client;

use super::database::Database;
use super::wait;

/// The table that is locked; create it on the source before the agent starts.
pub(crate) const GATE: &str = "CREATE TABLE gate (id int PRIMARY KEY)";

const PASS: &str = "INSERT INTO gate SELECT coalesce(max(id), 0) + 1 FROM gate";

/// While it lives, the agent waits for a lock at the destination.
#[derive(Debug)]
pub(crate) struct Hold {
    session: Client,
    source: Database,
}

impl Hold {
    /// Locks the gate at the destination and sends the agent there.
    pub(crate) async fn place(source: &Database, destination: &Database) -> Self {
        // The agent looks at a table when it first reads of it: that shall not be what is held, or it
        // would read nothing of what follows.
        source.exec(PASS).await;
        let passed = source.count("gate").await;
        wait::until("the agent knows the gate", wait::CATCH_UP, async || {
            destination.count("gate").await == passed
        })
        .await;
        let session = destination.session().await.expect("the destination answers");
        session.batch_execute("BEGIN; LOCK TABLE gate").await.expect("the gate is there");
        source.exec(PASS).await;
        wait::until("the agent waits at the gate", wait::CATCH_UP, async || {
            destination.scalar("SELECT count(*) FROM pg_locks WHERE NOT granted").await != "0"
        })
        .await;
        Self { session, source: source.clone() }
    }

    /// Lets the agent go once the source has sent it everything committed so far.
    pub(crate) async fn release(self) {
        let lsn = self.source.current_lsn().await;
        wait::until("the source has sent everything", wait::CATCH_UP, async || {
            let sql = format!(
                "SELECT bool_and(sent_lsn >= '{lsn}') FROM pg_stat_replication \
                 WHERE application_name LIKE 'sync-agent%'"
            );
            self.source.scalar(&sql).await == "t"
        })
        .await;
        self.session.batch_execute("COMMIT").await.expect("the session lives");
    }
}
