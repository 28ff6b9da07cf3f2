//! Random changes over random small tables leave the same rows everywhere: applied one transaction at a
//! time, folded into one batch, and by the servers' own logical replication; and, with transforms at random,
//! what the source's SQL says. `SYNC_AGENT_SEED` repeats the tables and the changes of a run.

mod changes;
mod tables;
mod transforms;

use tokio_postgres::Client;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::{assert_pair, assert_same};
use crate::support::database::Database;
use crate::support::hold::{GATE, Hold};
use crate::support::random::Random;
use crate::support::wait;
use changes::transaction;
use tables::{KINDS, Table};
use transforms::Transformed;

const TRANSACTIONS_A_ROUND: usize = 300;

/// More transactions fail than this (one in so many), and the changes are not worth much.
const FAILED_ONE_IN: usize = 3;

/// Every way to get there.
struct Ways {
    source: Cluster,
    one_by_one: (Database, Agent),
    at_once: (Database, Agent),
    built_in: Database,
    // The destinations end with it.
    _destination: Cluster,
}

impl Ways {
    async fn open(tables: &[Table], random: &mut Random, source: Spec) -> Self {
        let (source, destination) = tokio::join!(Cluster::start(source), Cluster::destination());
        for name in ["one_by_one", "at_once", "built_in"] {
            destination.exec(&format!("CREATE DATABASE {name}")).await;
        }
        let built_in = destination.database("built_in");
        let mut create = GATE.to_owned();
        for table in tables {
            create = format!("{create}; {}", table.create());
        }
        source.exec(&create).await;
        built_in.exec(&create).await;
        for table in tables {
            source.exec(&table.fill(random)).await;
        }
        source.exec("CREATE PUBLICATION theirs FOR ALL TABLES").await;
        let subscribe = format!(
            "CREATE SUBSCRIPTION theirs CONNECTION 'host={} port={} user=postgres dbname=postgres' \
             PUBLICATION theirs",
            source.socket.display(),
            source.port
        );
        built_in.exec(&subscribe).await;
        let mut one_by_one = one_by_one(&source, &destination);
        let mut at_once = at_once(&source, &destination);
        tokio::join!(one_by_one.1.start_and_stream(), at_once.1.start_and_stream());
        Ways { source, one_by_one, at_once, built_in, _destination: destination }
    }

    async fn assert_same(&mut self, tables: &[Table]) {
        let lsn = self.source.current_lsn().await;
        tokio::join!(self.one_by_one.1.caught_up(), self.at_once.1.caught_up());
        wait::until("the servers' own replication is there", wait::CATCH_UP, async || {
            let sql = format!(
                "SELECT count(*) FROM pg_stat_replication \
                 WHERE application_name = 'theirs' AND replay_lsn >= '{lsn}'"
            );
            self.source.scalar(&sql).await == "1"
        })
        .await;
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        // First what nobody doubts: a difference there is one of the test.
        for database in [&self.built_in, &self.one_by_one.0, &self.at_once.0] {
            assert_same(&self.source, database, &names).await;
        }
    }
}

fn one_by_one(source: &Cluster, destination: &Cluster) -> (Database, Agent) {
    let database = destination.database("one_by_one");
    let agent = Agent::between(source, &database).named("one_by_one");
    (database, agent.set("apply.max_batch_rows", "1"))
}

/// All of a round is read while the agent is held, and becomes one batch.
fn at_once(source: &Cluster, destination: &Cluster) -> (Database, Agent) {
    let database = destination.database("at_once");
    let agent = Agent::between(source, &database).named("at_once");
    let agent = agent.set("apply.max_batch_rows", "1000000").text("limits.memory", "1GiB");
    (database, agent.text("apply.max_batch_bytes", "256MiB"))
}

/// Returns how many of them failed.
async fn change(session: &Client, random: &mut Random, tables: &[Table]) -> usize {
    let mut failed = 0;
    for _ in 0..TRANSACTIONS_A_ROUND {
        let sql = transaction(random, tables);
        if session.batch_execute(&sql).await.is_err() {
            failed += 1;
            session.batch_execute("ROLLBACK").await.expect("the session lives");
        }
    }
    failed
}

#[allow(clippy::print_stderr, reason = "a failure shows what the tables were")]
async fn rounds(count: usize) {
    let mut random = Random::seeded("random changes");
    let mut tables: Vec<Table> = KINDS.iter().map(|&kind| Table::draw(&mut random, kind)).collect();
    for table in &tables {
        eprintln!("{}", table.create());
    }
    let mut ways = Ways::open(&tables, &mut random, Spec::default()).await;
    ways.assert_same(&tables).await;
    for _ in 0..count {
        let hold = Hold::place(&ways.source, &ways.at_once.0).await;
        let session = ways.source.session().await.expect("the source answers");
        let failed = change(&session, &mut random, &tables).await;
        hold.release().await;
        assert!(failed * FAILED_ONE_IN < TRANSACTIONS_A_ROUND, "{failed} transactions failed");
        ways.assert_same(&tables).await;
    }
    tables.clear();
    for (_, agent) in [&ways.one_by_one, &ways.at_once] {
        let log = agent.log();
        assert!(!log.contains("rows were not as the stream said"), "{log}");
        assert!(!log.contains("ERROR"), "{log}");
    }
}

#[tokio::test]
async fn every_way_leaves_the_same_rows() {
    rounds(3).await;
}

/// The same with transforms, beside what the source's SQL makes of its rows.
#[allow(clippy::print_stderr, reason = "a failure shows what the tables were")]
async fn transformed_rounds(count: usize) {
    let mut random = Random::seeded("random transforms");
    let tables: Vec<Table> = KINDS.iter().map(|&kind| Table::draw(&mut random, kind)).collect();
    let (source, destination) = tokio::join!(Cluster::source(), Cluster::destination());
    source.exec(GATE).await;
    let mut transformed = Vec::new();
    for table in &tables {
        let made = Transformed::draw(&mut random, table);
        eprintln!("{};\n{}", table.create(), made.section());
        source.exec(&format!("{}; {}", table.create(), table.fill(&mut random))).await;
        transformed.push(made);
    }
    let sections: String = transformed.iter().map(Transformed::section).collect();
    for name in ["one_by_one", "at_once"] {
        destination.exec(&format!("CREATE DATABASE {name}")).await;
    }
    let (slow, one_by_one) = one_by_one(&source, &destination);
    let (quick, at_once) = at_once(&source, &destination);
    let mut one_by_one = one_by_one.section(&sections);
    let mut at_once = at_once.section(&sections);
    tokio::join!(one_by_one.start_and_stream(), at_once.start_and_stream());
    for round in 0..=count {
        if round > 0 {
            let hold = Hold::place(&source, &quick).await;
            let session = source.session().await.expect("the source answers");
            let failed = change(&session, &mut random, &tables).await;
            hold.release().await;
            assert!(failed * FAILED_ONE_IN < TRANSACTIONS_A_ROUND, "{failed} transactions failed");
        }
        tokio::join!(one_by_one.caught_up(), at_once.caught_up());
        for made in &transformed {
            assert_pair(&source, &slow, made.pair()).await;
            assert_pair(&source, &quick, made.pair()).await;
        }
    }
    for agent in [&one_by_one, &at_once] {
        let log = agent.log();
        assert!(!log.contains("ERROR"), "{log}");
    }
}

#[tokio::test]
async fn transforms_leave_what_their_sql_says() {
    transformed_rounds(2).await;
}

/// More of it.
mod long {
    use super::{rounds, transformed_rounds};

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn transforms_leave_what_their_sql_says_again_and_again() {
        for _ in 0..8 {
            transformed_rounds(8).await;
        }
    }

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn every_way_leaves_the_same_rows_again_and_again() {
        for _ in 0..8 {
            rounds(12).await;
        }
    }
}
