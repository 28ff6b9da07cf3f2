//! The three changes in the tail: alone, together in one transaction, and taken back.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;
use crate::support::wait;
use crate::support::workload::Workload;

const ITEMS: &str = "CREATE TABLE items (id int PRIMARY KEY, name text, price numeric(12,2), \
     tags text[], at timestamptz DEFAULT '2024-02-29 12:00:00.123456+00')";

#[tokio::test]
async fn changes_arrive_in_the_order_of_their_commits() {
    let (source, destination) = pair().await;
    source.exec(ITEMS).await;
    source
        .exec("INSERT INTO items SELECT g, 'item ' || g, g, '{a,b}' FROM generate_series(1, 100) g")
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    for sql in [
        "INSERT INTO items (id, name) VALUES (101, 'new'), (102, NULL)",
        "UPDATE items SET price = price * 1.10 WHERE id % 2 = 0",
        "UPDATE items SET name = NULL, tags = '{}' WHERE id = 3",
        "DELETE FROM items WHERE id BETWEEN 10 AND 20",
        "BEGIN; INSERT INTO items (id) VALUES (200); UPDATE items SET name = 'x' WHERE id = 200; \
         DELETE FROM items WHERE id = 200; COMMIT",
        "BEGIN; DELETE FROM items WHERE id = 5; INSERT INTO items (id, name) VALUES (5, 'again'); COMMIT",
        "UPDATE items SET id = id + 1000 WHERE id BETWEEN 30 AND 40",
    ] {
        source.exec(sql).await;
    }
    agent.caught_up().await;
    assert_same(&source, &destination, &["items"]).await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn what_was_rolled_back_never_arrives() {
    let (source, destination) = pair().await;
    source.exec(ITEMS).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("BEGIN; INSERT INTO items (id) VALUES (1); ROLLBACK").await;
    source
        .exec(
            "BEGIN; INSERT INTO items (id) VALUES (2); SAVEPOINT s; INSERT INTO items (id) VALUES (3); \
             ROLLBACK TO s; INSERT INTO items (id) VALUES (4); COMMIT",
        )
        .await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["items"]).await;
    assert_eq!(destination.count("items").await, 2);
}

#[tokio::test]
async fn tables_without_a_key_keep_every_duplicate() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE log (at int, what text)").await;
    source.exec("INSERT INTO log SELECT g / 3, 'same' FROM generate_series(1, 300) g").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("INSERT INTO log SELECT g / 3, 'same' FROM generate_series(1, 300) g").await;
    source.exec("INSERT INTO log VALUES (NULL, NULL), (NULL, NULL)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["log"]).await;
    assert_eq!(destination.count("log").await, 602);
}

#[tokio::test]
async fn identity_full_without_a_key_changes_one_row_per_change() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE f (a int, b text); ALTER TABLE f REPLICA IDENTITY FULL").await;
    source.exec("INSERT INTO f VALUES (1, 'x'), (1, 'x'), (1, 'x'), (2, NULL), (3, 'z')").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("DELETE FROM f WHERE ctid = (SELECT min(ctid) FROM f WHERE a = 1)").await;
    source.exec("UPDATE f SET b = 'was null' WHERE a = 2").await;
    source.exec("UPDATE f SET a = 4 WHERE ctid = (SELECT max(ctid) FROM f WHERE a = 1)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["f"]).await;
}

#[tokio::test]
async fn names_that_need_quotes_are_quoted() {
    let (source, destination) = pair().await;
    source
        .exec(
            r#"CREATE SCHEMA "Odd ""S"; CREATE TABLE "Odd ""S"."a.b; DROP" ("select" int PRIMARY KEY, "ü '$1" text);
             INSERT INTO "Odd ""S"."a.b; DROP" VALUES (1, 'one')"#,
        )
        .await;
    let mut agent = Agent::between(&source, &destination).set("include", r#"['"Odd ""S".*']"#);
    agent.start_and_stream().await;
    source.exec(r#"INSERT INTO "Odd ""S"."a.b; DROP" VALUES (2, 'two')"#).await;
    source.exec(r#"UPDATE "Odd ""S"."a.b; DROP" SET "ü '$1" = 'uno' WHERE "select" = 1"#).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &[r#""Odd ""S"."a.b; DROP""#]).await;
    assert_eq!(destination.count(r#""Odd ""S"."a.b; DROP""#).await, 2);
}

#[tokio::test]
async fn every_look_at_the_destination_sees_whole_transactions() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE bank (id int PRIMARY KEY, balance bigint)").await;
    source.exec("INSERT INTO bank SELECT g, 1000 FROM generate_series(1, 50) g").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let transfer = "\\set a random(1, 50)\n\\set b random(1, 50)\n\\set n random(1, 90)\nBEGIN;\n\
         UPDATE bank SET balance = balance - :n WHERE id = least(:a, :b);\n\
         UPDATE bank SET balance = balance + :n WHERE id = greatest(:a, :b);\nCOMMIT;\n";
    let load = Workload::script(&source, 3, transfer);
    let mut moved = 0;
    wait::until("a hundred looks at a bank that moves", wait::CATCH_UP, async || {
        let sum = destination.scalar("SELECT sum(balance) FROM bank").await;
        assert_eq!(sum, "50000", "money was made or lost");
        let changed = destination.scalar("SELECT count(*) FROM bank WHERE balance <> 1000").await;
        moved += usize::from(changed != "0");
        moved >= 100
    })
    .await;
    load.stop(&source).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["bank"]).await;
}

/// A transaction larger than the memory that the agent is given.
#[tokio::test]
async fn one_large_transaction_arrives_whole() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE hg (id int PRIMARY KEY, pad text)").await;
    let mut agent = Agent::between(&source, &destination).text("limits.memory", "16MiB");
    agent.start_and_stream().await;
    source
        .exec(
            "BEGIN; INSERT INTO hg SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 150000) g; \
             UPDATE hg SET pad = pad || 'x' WHERE id % 2 = 0; DELETE FROM hg WHERE id % 3 = 0; COMMIT",
        )
        .await;
    source.exec("INSERT INTO hg VALUES (-1, 'after')").await;
    let lsn = source.current_lsn().await;
    agent
        .wait_for("the large transaction", async |_| {
            let sql = format!("SELECT applied_lsn >= '{lsn}' FROM sync_agent.checkpoint");
            let seen = destination.count("hg").await;
            assert!([0, 100_000, 100_001].contains(&seen), "{seen} rows: a part was visible");
            destination.scalar(&sql).await == "t"
        })
        .await;
    assert_same(&source, &destination, &["hg"]).await;
}
