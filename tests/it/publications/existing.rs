//! Publications of others.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;

const TABLES: &str =
    "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY);
     CREATE TABLE m (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
     CREATE TABLE m_1 PARTITION OF m FOR VALUES IN (1);
     CREATE TABLE other (id int PRIMARY KEY);
     INSERT INTO a SELECT g, 'v' || g FROM generate_series(1, 20) g;
     INSERT INTO b SELECT generate_series(1, 20); INSERT INTO m SELECT generate_series(1, 20), 1;
     INSERT INTO other SELECT generate_series(1, 20);";

async fn replicates(source: &Cluster, destination: &Cluster, agent: &mut Agent, tables: &[&str]) {
    agent.start_and_stream().await;
    source
        .exec(
            "INSERT INTO a VALUES (100, 'new'); UPDATE a SET v = 'x' WHERE id = 3;
             DELETE FROM b WHERE id = 4; INSERT INTO m VALUES (100, 1); DELETE FROM m WHERE id = 2;
             INSERT INTO other VALUES (100)",
        )
        .await;
    agent.caught_up().await;
    assert_same(source, destination, tables).await;
    let publications = "SELECT string_agg(pubname, ',') FROM pg_publication";
    assert_eq!(source.scalar(publications).await, "p", "nothing of our own was made");
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn for_all_tables_is_used_as_it_is_and_what_is_not_included_is_left_aside() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source
        .exec("CREATE PUBLICATION p FOR ALL TABLES WITH (publish_via_partition_root = true)")
        .await;
    let mut agent = Agent::between(&source, &destination)
        .text("source.publication", "p")
        .set("exclude", "[\"public.other\"]");
    replicates(&source, &destination, &mut agent, &["a", "b", "m"]).await;
    let exists = "SELECT to_regclass('other') IS NOT NULL";
    assert_eq!(destination.scalar(exists).await, "f", "not included");
}

#[tokio::test]
async fn for_tables_in_schema_is_used_as_it_is() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source
        .exec(
            "CREATE PUBLICATION p FOR TABLES IN SCHEMA public
                    WITH (publish_via_partition_root = true)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).text("source.publication", "p");
    replicates(&source, &destination, &mut agent, &["a", "b", "m", "other"]).await;
}

#[tokio::test]
async fn what_an_existing_publication_lacks_is_named_with_the_statement_that_mends_it() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source.exec("CREATE PUBLICATION p FOR TABLE a, m").await;
    let agent = Agent::between(&source, &destination)
        .text("source.publication", "p")
        .set("exclude", "[\"public.other\"]");
    let refused = agent.verb(&["run"]).await;
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert_eq!(agent.traces().await, ["publication p"], "nothing was made");
    let checked = agent.verb(&["check", "--output", "json"]).await;
    assert_eq!(checked.code, 4);
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).expect("JSON");
    let remedies: Vec<&str> = report["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .filter_map(|finding| finding["remedy"].as_str())
        .collect();
    assert_eq!(
        remedies,
        [
            "ALTER PUBLICATION \"p\" ADD TABLE \"public\".\"b\"",
            "ALTER PUBLICATION \"p\" SET (publish_via_partition_root = true)",
        ]
    );
    for remedy in remedies {
        source.exec(remedy).await;
    }
    let mut agent = agent;
    replicates(&source, &destination, &mut agent, &["a", "b", "m"]).await;
}

#[tokio::test]
async fn our_own_publication_stands_beside_an_existing_one_and_sends_the_rest() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source.exec("CREATE PUBLICATION theirs FOR TABLE a WHERE (id > 10)").await;
    let mut agent =
        Agent::between(&source, &destination).set("source.publication", "[\"ours\", \"theirs\"]");
    agent.start_and_stream().await;
    assert_eq!(destination.count("a").await, 10, "their filter stands");
    source.exec("INSERT INTO a VALUES (5000, 'in'), (-1, 'out'); INSERT INTO b VALUES (77)").await;
    agent.caught_up().await;
    assert_eq!(destination.count("a").await, 11);
    assert_same(&source, &destination, &["b", "m", "other"]).await;
    let sql = "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_publication_tables
                WHERE pubname = 'ours'";
    assert_eq!(source.scalar(sql).await, "b,m,other");
}

#[tokio::test]
async fn different_column_lists_are_refused_at_the_start_and_when_they_come_later() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source
        .exec(
            "CREATE PUBLICATION p FOR TABLE a (id); CREATE PUBLICATION q FOR TABLE a;
             CREATE PUBLICATION r FOR TABLE a",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).set("include", "[\"public.a\"]");
    agent.change("source.publication", "[\"p\", \"q\"]");
    let refused = agent.verb(&["run"]).await;
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("list different columns"), "{}", refused.stderr);
    assert!(refused.stderr.contains("public"), "{}", refused.stderr);
    agent.change("source.publication", "[\"q\", \"r\"]");
    agent.start_and_stream().await;
    source.exec("ALTER PUBLICATION r SET TABLE a (id); INSERT INTO a VALUES (300, 'x')").await;
    assert_eq!(agent.wait_for_exit().await, Some(4), "{}", agent.log());
    assert!(agent.log().contains("list different columns"));
}
