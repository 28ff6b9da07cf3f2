//! One source that arrives three times over: followed in batches of one change, followed with
//! everything that happened in one batch, and copied as it is in the end.
//!
//! The three destinations are databases of one server.

use std::ops::Deref;

use super::agent::Agent;
use super::cluster::{Cluster, Spec};
use super::compare::{Pair, assert_pair};
use super::database::Database;
use super::hold::{GATE, Hold};

/// The databases of the destination, and the pipelines that lead to them.
const SINGLY: &str = "singly";
const WHOLE: &str = "whole";
const COPIED: &str = "copied";

/// Three destinations of one source.
#[derive(Debug)]
pub(crate) struct Thrice {
    pub(crate) source: Cluster,
    _destination: Cluster,
    pub(crate) singly: Followed,
    pub(crate) whole: Followed,
    copied: Database,
}

/// One of the two that follow.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) agent: Agent,
    pub(crate) database: Database,
}

impl Thrice {
    /// `setup` runs at the source, `there` in each of the destinations.
    pub(crate) async fn start(setup: &str, there: &str) -> Self {
        Self::start_with(setup, there, |agent| agent).await
    }

    pub(crate) async fn start_with(
        setup: &str,
        there: &str,
        configure: impl Fn(Agent) -> Agent,
    ) -> Self {
        // Whoever follows needs no prepared transactions.
        let settings = "max_prepared_transactions = 0\n".to_owned();
        let spec = Spec { identity: 1, settings, ..Spec::default() };
        let (source, destination) = tokio::join!(Cluster::source(), Cluster::start(spec));
        source.exec(GATE).await;
        source.exec(setup).await;
        for name in [SINGLY, WHOLE, COPIED] {
            destination.exec(&format!("CREATE DATABASE {name}")).await;
            if !there.is_empty() {
                destination.database(name).exec(there).await;
            }
        }
        let followed = |name: &str, max_batch_rows: &str| {
            let database = destination.database(name);
            let agent = Agent::between(&source, &database).named(name);
            let agent = configure(agent.set("apply.max_batch_rows", max_batch_rows));
            Followed { agent, database }
        };
        let (mut singly, mut whole) = (followed(SINGLY, "1"), followed(WHOLE, "1000000"));
        tokio::join!(singly.agent.start_and_stream(), whole.agent.start_and_stream());
        let copied = destination.database(COPIED);
        Self { source, _destination: destination, singly, whole, copied }
    }

    /// What happens while this is held is one batch for the one that takes everything at once.
    pub(crate) async fn hold(&self) -> Hold {
        Hold::place(&self.source, &self.whole.database).await
    }

    /// Runs each of `changes`, a transaction or several, with everything in one batch.
    pub(crate) async fn play(&mut self, changes: &[&str]) {
        let hold = self.hold().await;
        for change in changes {
            self.source.exec(change).await;
        }
        hold.release().await;
        self.caught_up().await;
    }

    pub(crate) async fn caught_up(&mut self) {
        tokio::join!(self.singly.agent.caught_up(), self.whole.agent.caught_up());
    }

    /// Each of `pairs` is the same at all that follow.
    pub(crate) async fn assert_followed(&self, pairs: &[Pair]) {
        for pair in pairs {
            assert_pair(&self.source, &self.singly.database, pair.clone()).await;
            assert_pair(&self.source, &self.whole.database, pair.clone()).await;
        }
    }

    /// Each of `pairs` is the same at all three, the last being copied now.
    pub(crate) async fn assert_same(&self, pairs: &[Pair]) {
        self.assert_followed(pairs).await;
        self.assert_copied(pairs, |agent| agent).await;
    }

    pub(crate) async fn assert_copied(&self, pairs: &[Pair], configure: impl Fn(Agent) -> Agent) {
        let agent = configure(Agent::between(&self.source, &self.copied).named(COPIED));
        let output = agent.verb(&["snapshot"]).await;
        assert_eq!(output.code, 0, "{}", output.stderr);
        for pair in pairs {
            assert_pair(&self.source, &self.copied, pair.clone()).await;
        }
    }
}

impl Deref for Followed {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// Whole tables under the same name.
pub(crate) fn tables(names: &[&str]) -> Vec<Pair> {
    names.iter().map(|name| Pair::table(name)).collect()
}

/// The rows of a table's own, without those of its children.
pub(crate) fn own_rows(name: &str, columns: &str) -> Pair {
    let only = format!("ONLY {name}");
    Pair::renamed(&only, &only).columns(columns, columns)
}
