//! `on_truncate`, for all tables and for one, and a publication that leaves TRUNCATE out.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

const TABLES: &str = "
    CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
    CREATE TABLE c (id int PRIMARY KEY);
    INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)";

#[tokio::test]
async fn one_statement_empties_some_spares_others_and_holds_for_one() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination)
        .text("destination.on_truncate", "ignore")
        .section("[[table]]\nname = \"public.a\"\non_truncate = \"truncate\"")
        .section("[[table]]\nname = \"public.c\"\non_truncate = \"halt\"");
    agent.start_and_stream().await;
    source
        .exec("TRUNCATE a, b; INSERT INTO a VALUES (2); INSERT INTO b VALUES (1), (2) ON CONFLICT DO NOTHING")
        .await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["a", "b"]).await;
    source.exec("TRUNCATE b; INSERT INTO b VALUES (3)").await;
    agent.caught_up().await;
    assert_eq!(destination.scalar("SELECT array_agg(id ORDER BY id) FROM b").await, "{1,2,3}");
    let ignored = agent.metric("sync_agent_rows_total", &["table=\"public.b\"", "truncate"]).await;
    // Both a TRUNCATE of `a` and of `b` were in the stream; what is ignored is counted, too.
    assert_eq!(ignored, Some(2.0));
    source.exec("BEGIN; TRUNCATE a, c; INSERT INTO c VALUES (4); COMMIT").await;
    source.exec("INSERT INTO a VALUES (5)").await;
    agent.wait_for_state("degraded").await;
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("E_SCHEMA")).expect("it says why");
    assert!(line.contains("was truncated at the source"), "{line}");
    assert!(line.contains("resync --table public.c"), "{line}");
    assert_eq!(destination.scalar("SELECT array_agg(id) FROM c").await, "{1}");
    assert_eq!(destination.scalar("SELECT array_agg(id) FROM a").await, "{2}", "all of it waits");
    // The way on that keeps the setting.
    let output = agent.verb(&["resync", "--table", "public.c", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["a", "c"]).await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_publication_without_truncate_sends_none_and_check_says_so() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source
        .exec(
            "CREATE PUBLICATION most FOR TABLE a, b WITH (publish = 'insert, update, delete');
             CREATE PUBLICATION whole FOR TABLE c",
        )
        .await;
    let mut agent =
        Agent::between(&source, &destination).set("source.publication", "[\"most\", \"whole\"]");
    agent.start_and_stream().await;
    source.exec("TRUNCATE a, b, c; INSERT INTO a VALUES (7); INSERT INTO c VALUES (7)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["c"]).await;
    assert_eq!(destination.scalar("SELECT array_agg(id ORDER BY id) FROM a").await, "{1,7}");
    assert_eq!(destination.count("b").await, 1);
    let output = agent.verb(&["check"]).await;
    for table in ["a", "b"] {
        let finding = format!("table \"public\".\"{table}\": its truncates are not published");
        assert!(output.stdout.contains(&finding), "{}", output.stdout);
    }
}
