//! Names that are nearly the same, and names that the agent uses itself.

use std::collections::BTreeSet;

use super::exposition;
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair, assert_same};

/// Tables that an inattentive eye takes for one another; those of the agent's state; names that mean
/// something inside its statements.
const TABLES: [&str; 20] = [
    "public.t",
    "public.\"T\"",
    "public.\"t \"",
    "public.\" t\"",
    "\"Public\".t",
    "\"public \".t",
    "a.\"b.c\"",
    "\"a.b\".c",
    "\"a\"\"\".b",
    "public.checkpoint",
    "public.tables",
    "public.requests",
    "public.excluded",
    "public.updated",
    "public.gone",
    "public.written",
    "public.s",
    "public.sync_agent",
    "public._other",
    "public.sync_agent_merge",
];

/// Their columns: what statements call things.
const COLUMNS: &str = "excluded int PRIMARY KEY, s text, t text, updated text, gone text, d text, \
     fresh bool, one int, i int GENERATED ALWAYS AS IDENTITY, sync_agent text";

#[tokio::test]
async fn nothing_is_taken_for_anything_else() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE SCHEMA \"Public\"; CREATE SCHEMA \"public \"; CREATE SCHEMA a; CREATE SCHEMA \"a.b\";
               CREATE SCHEMA \"a\"\"\"; CREATE SCHEMA sync_agent;
               CREATE TABLE sync_agent.checkpoint (id int PRIMARY KEY);
               INSERT INTO sync_agent.checkpoint VALUES (1)")
        .await;
    for (number, table) in TABLES.iter().enumerate() {
        source
            .exec(&format!(
                "CREATE TABLE {table} ({COLUMNS});
                 INSERT INTO {table} (excluded, s) SELECT g, '{number} ' || g
                    FROM generate_series(1, {number} + 1) g"
            ))
            .await;
    }
    let mut agent = Agent::between(&source, &destination)
        .set("include", "[\"*.*\"]")
        .set("apply.max_batch_rows", "1");
    for round in 0..2 {
        agent.start_and_stream().await;
        assert_same(&source, &destination, &TABLES).await;
        for (number, table) in TABLES.iter().enumerate() {
            // Few rows of each and, in the next round, many.
            let (first, last) = (1000 * (round + 1), 1000 * (round + 1) + 5 + 90 * round);
            source
                .exec(&format!(
                    "BEGIN; INSERT INTO {table} (excluded, s) SELECT g, 'new' FROM generate_series({first}, {last}) g;
                     UPDATE {table} SET t = '{number}', fresh = true WHERE excluded >= {first} - 500;
                     UPDATE {table} SET excluded = -excluded - {round}, d = 'moved' WHERE excluded = {first} + 3;
                     DELETE FROM {table} WHERE excluded IN (1, {first}); COMMIT"
                ))
                .await;
        }
        agent.caught_up().await;
        assert_same(&source, &destination, &TABLES).await;
        assert_eq!(agent.terminate().await, Some(0));
        agent.change("apply.max_batch_rows", "50000");
    }
    agent.start_and_stream().await;
    let checkpoint = "SELECT count(*) FROM sync_agent.checkpoint WHERE pipeline = 'it'";
    assert_eq!(destination.scalar(checkpoint).await, "1", "ours");
    let (_, text) = agent.get("/metrics").await;
    let labels: BTreeSet<String> = exposition(&text)
        .into_iter()
        .flatten()
        .filter(|(name, value)| name == "table" && value != "_other")
        .map(|(_, value)| value)
        .collect();
    assert_eq!(labels.len(), TABLES.len(), "a label for each: {labels:?}");

    // One of a pair that looks the same is copied again; its neighbors keep what they have.
    for table in TABLES {
        destination.exec(&format!("DELETE FROM {table} WHERE excluded > 1000")).await;
    }
    let wanted = ["public.\"t \"", "\"a.b\".c", "public.excluded"];
    for table in wanted {
        let asked = agent.verb(&["resync", "--yes", "--table", table]).await;
        assert_eq!(asked.code, 0, "{asked:?}");
    }
    agent.caught_up().await;
    agent
        .wait_for("they are copied", async |_| {
            let left = "SELECT count(*) FROM sync_agent.tables WHERE state <> 'copied' OR rows = 0";
            destination.scalar(left).await == "0"
        })
        .await;
    for table in TABLES {
        let kept = format!("(SELECT * FROM {table} WHERE excluded <= 1000) AS kept");
        let pair = if wanted.contains(&table) { table } else { &kept };
        assert_pair(
            &source,
            &destination,
            Pair::renamed(pair, table).columns("excluded, s, t, d", "excluded, s, t, d"),
        )
        .await;
    }
}
