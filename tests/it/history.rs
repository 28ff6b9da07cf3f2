//! History that does not continue what was applied is refused: by name, at every connect, with both
//! positions, and without a trace. What does continue it goes on.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::proxy::{Behavior, Proxy};
use crate::support::wait;

mod destination;
mod failover;
mod invalidated;
mod restored;
mod slots;
mod timelines;

/// The contract: a broken history is refused within this.
const LIMIT: Duration = Duration::from_secs(10);

/// One with a key and one that shows every row which is applied twice.
const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, v text);
     INSERT INTO t SELECT g, 'copied' FROM generate_series(1, 100) g;
     CREATE TABLE journal (n bigint)";

/// A pipeline that streams, from its source by way of a proxy.
struct Scene {
    source: Cluster,
    destination: Cluster,
    near: Proxy,
    agent: Agent,
}

/// All that a refusal must leave as it was.
#[derive(Debug, PartialEq, Eq)]
struct Untouched {
    rows: String,
    /// The checkpoint row, but for whose turn it was.
    position: String,
    slots: String,
}

impl Scene {
    async fn streaming() -> Self {
        Self::between(pair().await).await
    }

    async fn between((source, destination): (Cluster, Cluster)) -> Self {
        source.exec(TABLES).await;
        let near = Proxy::to(source.port).await;
        let mut agent = Agent::between(&source, &destination)
            .text("source.url", &source.url_by_way_of(near.port));
        agent.start_and_stream().await;
        let mut scene = Self { source, destination, near, agent };
        scene.write().await;
        scene.agent.caught_up().await;
        scene
    }

    /// The same with the agent stopped in order.
    async fn stopped() -> Self {
        let mut scene = Self::streaming().await;
        assert_eq!(scene.agent.terminate().await, Some(0));
        scene
    }

    /// Two transactions.
    async fn write(&self) {
        write(&self.source).await;
    }

    /// The destination's position.
    async fn applied(&self) -> String {
        self.destination.scalar("SELECT applied_lsn FROM sync_agent.checkpoint").await
    }

    /// The slot's position.
    async fn confirmed(&self) -> String {
        self.source.scalar("SELECT confirmed_flush_lsn FROM pg_replication_slots").await
    }

    async fn untouched(&self) -> Untouched {
        self.untouched_beside(&self.source).await
    }

    /// `source`: the server that the agent finds now.
    async fn untouched_beside(&self, source: &Cluster) -> Untouched {
        let rows = "SELECT (SELECT md5(string_agg(id || v, ' ' ORDER BY id)) FROM t) || ' ' || \
             (SELECT count(*) || ' ' || sum(n) FROM journal)";
        let position = "SELECT concat_ws(' ', applied_lsn, commit_lsn, commit_xid, commit_time, \
             slot, source_system_identifier, timeline, owned_publications) \
             FROM sync_agent.checkpoint";
        let slots = "SELECT coalesce(string_agg(concat_ws(' ', slot_name, plugin, database, \
             confirmed_flush_lsn), '; ' ORDER BY slot_name), '') FROM pg_replication_slots";
        Untouched {
            rows: self.destination.scalar(rows).await,
            position: self.destination.scalar(position).await,
            slots: source.scalar(slots).await,
        }
    }

    /// A start is refused with this code, in these words.
    async fn is_refused(&mut self, code: &str, words: &[&str]) {
        let before = self.untouched().await;
        self.agent.start();
        self.ends(before, code, words).await;
    }

    /// The agent, as it runs or has just been started, ends with this code.
    async fn ends(&mut self, before: Untouched, code: &str, words: &[&str]) {
        let begun = Instant::now();
        let exit = self.agent.wait_for_exit().await;
        let log = self.agent.log();
        assert!(begun.elapsed() < LIMIT, "{:?}\n{log}", begun.elapsed());
        let (said_code, said) = last_error(&self.agent);
        assert_eq!((exit, said_code.as_str()), (Some(5), code), "{said}\n{log}");
        for word in words {
            assert!(said.contains(word), "\"{word}\" is not in: {said}");
        }
        assert_eq!(self.untouched().await, before, "{said}");
    }

    /// Asks for everything anew, and it goes on from there.
    async fn goes_on_after_resync(&mut self) {
        let asked = self.agent.verb(&["resync", "--all", "--yes"]).await;
        assert_eq!(asked.code, 0, "{}", asked.stderr);
        self.agent.start_and_stream().await;
        self.is_exact().await;
    }

    /// What is written now arrives, and everything is the same on both sides.
    async fn is_exact(&mut self) {
        self.write().await;
        self.agent.caught_up().await;
        assert_same(&self.source, &self.destination, &["t", "journal"]).await;
    }

    /// The source's leg is cut and the slot free; nothing gets through until [`Scene::let_through`].
    async fn cut_off_source(&self) {
        self.near.set(Behavior::Cut);
        wait::until("the slot is free", wait::PROCESS, async || {
            let active = "SELECT count(*) FROM pg_replication_slots WHERE active";
            self.source.scalar(active).await == "0"
        })
        .await;
    }

    fn let_through(&self) {
        self.near.set(Behavior::Forward);
    }
}

/// Two transactions.
async fn write(source: &Cluster) {
    source.exec("INSERT INTO t SELECT max(id) + 1, 'written' FROM t").await;
    source.exec("INSERT INTO journal SELECT max(id) FROM t").await;
}

/// Code and message of the last line at ERROR.
fn last_error(agent: &Agent) -> (String, String) {
    let log = agent.log();
    let mut lines = log.lines().map(|line| serde_json::from_str(line).expect("the log is JSON"));
    let last = lines.rfind(|line: &Value| line["level"] == "ERROR");
    let last = last.unwrap_or_else(|| panic!("no error was logged:\n{log}"));
    let field = |name: &str| {
        let value = if last[name].is_null() { &last["fields"][name] } else { &last[name] };
        value.as_str().unwrap_or_default().to_owned()
    };
    (field("code"), field("message"))
}
