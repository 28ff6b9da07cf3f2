//! Filters, expressions, masks and hashed keys on partitioned tables: rows move between partitions, and in
//! and out of the filter, under the root's name and under their own.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair};
use crate::support::thrice::Thrice;

/// Partitions of partitions, a default one, and one with other columns in another order. `moved` has its
/// partition key hashed; of `half` the root alone is FULL, of `total` everything; `evens` has a filter over
/// its key.
fn create(root: &str) -> String {
    format!(
        "CREATE TABLE {root} (id int, k int, region text, mail text, body text, PRIMARY KEY (id, k)) \
             PARTITION BY LIST (k);
         CREATE TABLE {root}_1 PARTITION OF {root} FOR VALUES IN (1);
         CREATE TABLE {root}_2 PARTITION OF {root} FOR VALUES IN (2) PARTITION BY HASH (id);
         CREATE TABLE {root}_2a PARTITION OF {root}_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE {root}_2b PARTITION OF {root}_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         CREATE TABLE {root}_rest PARTITION OF {root} DEFAULT;
         CREATE TABLE {root}_3 (x int, mail text, body text, k int NOT NULL, y int, id int NOT NULL, region text);
         ALTER TABLE {root}_3 DROP COLUMN x; ALTER TABLE {root}_3 DROP COLUMN y;
         ALTER TABLE {root} ATTACH PARTITION {root}_3 FOR VALUES IN (3);
         ALTER TABLE {root} ALTER body SET STORAGE EXTERNAL;
         ALTER TABLE {root}_1 ALTER body SET STORAGE EXTERNAL; ALTER TABLE {root}_3 ALTER body SET STORAGE EXTERNAL;
         ALTER TABLE {root}_2a ALTER body SET STORAGE EXTERNAL; ALTER TABLE {root}_2b ALTER body SET STORAGE EXTERNAL;
         INSERT INTO {root} SELECT g, 1 + g % 4, CASE g % 3 WHEN 0 THEN 'us' WHEN 1 THEN 'eu' END,
             'user' || g || '@x.org', repeat(md5(g::text), 90) FROM generate_series(1, 60) g; "
    )
}

const ROOTS: [&str; 5] = ["eu", "evens", "half", "total", "moved"];

fn condition(root: &str) -> &'static str {
    match root {
        "evens" => "id % 2 = 0 AND k <> 3",
        "total" => "region = 'eu'",
        _ => "region = 'eu' OR length(body) < 100",
    }
}

fn columns(root: &str) -> &'static str {
    match root {
        "eu" => "id = { hash = \"sha256\" }",
        "moved" => "k = { hash = \"sha256\" }",
        "half" => "",
        _ => "body = { drop = true }",
    }
}

const STEPS: &str = r#"
    mail  = { mask = "email" }
    size  = { sql = "length(body) + length(id::text)" }
    where = { sql = "k || coalesce(region, '-') || left(body, 2)" }
    half  = { sql = "length(body) / 2" }
"#;

fn section(table: &str, root: &str) -> String {
    format!(
        "[[table]]\nname = \"public.{table}\"\nwhere = \"{}\"\n[table.columns]\n{STEPS}{}\n",
        condition(root),
        columns(root)
    )
}

fn expected(table: &str, root: &str) -> Pair {
    let hash = |column: &str| format!("encode(sha256({column}::text::bytea), 'hex')");
    let (id, k) = match root {
        "eu" => (hash("id"), "k".to_owned()),
        "moved" => ("id".to_owned(), hash("k")),
        _ => ("id".to_owned(), "k".to_owned()),
    };
    let body = if matches!(root, "eu" | "moved" | "half") { ", body" } else { "" };
    let here = format!(
        "{id}, {k}, region, left(mail, 1) || repeat('*', position('@' in mail) - 2) || '@x.org', \
         length(body) + length({id}::text), {k} || coalesce(region, '-') || left(body, 2), length(body) / 2{body}"
    );
    let there = format!("id, k, region, mail, size, \"where\", half{body}");
    let rows = format!("(SELECT * FROM {table} WHERE {}) AS s", condition(root));
    Pair::renamed(&rows, table).columns(&here, &there)
}

fn changes(root: &str) -> String {
    format!(
        "INSERT INTO {root} SELECT g, g % 6, CASE g % 2 WHEN 0 THEN 'eu' END, 'n' || g || '@x.org', repeat('b', 50 * (g % 90))
             FROM generate_series(200, 220) g;
         -- From one to the other, in and out of the filter with it or not, large values unchanged.
         UPDATE {root} SET k = 2 WHERE id % 10 = 0;
         UPDATE {root} SET k = 3, region = 'eu' WHERE id % 10 = 1;
         UPDATE {root} SET k = 1, region = 'us' WHERE id % 10 = 2;
         UPDATE {root} SET k = 7, region = NULL, mail = 'other@x.org' WHERE id % 10 = 3;
         UPDATE {root} SET region = 'eu' WHERE id % 7 = 0; UPDATE {root} SET region = 'us' WHERE id % 7 = 1;
         UPDATE {root}_3 SET mail = 'three' || id || '@x.org' WHERE id % 2 = 0;
         UPDATE {root} SET body = 'short' WHERE id % 13 = 0;
         UPDATE {root} SET id = id + 1000 WHERE id % 6 = 0;
         UPDATE {root} SET id = id + 3000, k = k % 4 + 1 WHERE id % 9 = 5;
         DELETE FROM {root} WHERE id % 8 = 0; DELETE FROM {root}_rest WHERE id % 3 = 0;
         BEGIN; UPDATE {root} SET region = 'us' WHERE id = 7; UPDATE {root} SET k = 9 WHERE id = 7;
         UPDATE {root} SET region = 'eu', k = 3 WHERE id = 7; DELETE FROM {root} WHERE id = 11;
         INSERT INTO {root} VALUES (11, 2, 'eu', 'again@x.org', 'short'); UPDATE {root} SET k = 1 WHERE id = 11; COMMIT"
    )
}

#[tokio::test]
async fn rows_move_between_partitions_and_in_and_out_of_the_filter() {
    let whole = ["half", "total", "total_1", "total_2a", "total_2b", "total_rest", "total_3"];
    let whole = whole.map(|table| format!("ALTER TABLE {table} REPLICA IDENTITY FULL; "));
    let setup = [ROOTS.map(create).concat(), whole.concat()].concat();
    let sections: String = ROOTS.map(|root| section(root, root)).concat();
    let configure = |agent: Agent| agent.section(&sections);
    let mut thrice = Thrice::start_with(&setup, "", configure).await;
    let pairs = ROOTS.map(|root| expected(root, root));
    thrice.assert_followed(&pairs).await;
    let pushed = "SELECT string_agg(DISTINCT prrelid::regclass::text, ' ') FROM pg_publication_rel \
         WHERE prqual IS NOT NULL";
    // Partitions that come later are not FULL because the others are.
    assert_eq!(thrice.source.scalar(pushed).await, "evens");
    let changes = ROOTS.map(changes);
    let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    thrice.play(&changes).await;
    thrice.assert_followed(&pairs).await;
    thrice.play(&["TRUNCATE evens; INSERT INTO evens VALUES (2, 1, NULL, 'aa@x.org', 'b'), (4, 3, 'eu', 'bb@x.org', 'b')"]).await;
    thrice.assert_followed(&pairs).await;
    thrice.assert_copied(&pairs, configure).await;
}

#[tokio::test]
async fn each_leaf_has_steps_of_its_own() {
    let leaves = ["eu_1", "eu_2a", "eu_2b", "eu_3", "eu_rest"];
    let sections: String = leaves
        .iter()
        .map(|leaf| section(leaf, if *leaf == "eu_3" { "evens" } else { "eu" }))
        .collect();
    let sections = sections.replace(" AND k <> 3", "");
    let (source, destination) = pair().await;
    source.exec(&create("eu")).await;
    let mut agent =
        Agent::between(&source, &destination).text("source.partitions", "leaf").section(&sections);
    agent.start_and_stream().await;
    let pairs = leaves.map(|leaf| {
        let mut pair = expected(leaf, if leaf == "eu_3" { "evens" } else { "eu" });
        pair.source = pair.source.replace(" AND k <> 3", "");
        pair
    });
    for pair in &pairs {
        assert_pair(&source, &destination, pair.clone()).await;
    }
    source.exec(&changes("eu")).await;
    agent.caught_up().await;
    for pair in &pairs {
        assert_pair(&source, &destination, pair.clone()).await;
    }
}
