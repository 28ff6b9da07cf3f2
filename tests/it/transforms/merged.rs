//! Several source tables in one destination table, told apart by a constant column that is part of the key.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};
use crate::support::hold::{GATE, Hold};

const TABLES: &str = "
    CREATE TABLE oa (id int PRIMARY KEY, v text UNIQUE, n int);
    CREATE TABLE ob (id int PRIMARY KEY, v text UNIQUE, n int);
    CREATE TABLE pa (email text PRIMARY KEY, n int); CREATE TABLE pb (email text PRIMARY KEY, n int);
    CREATE TABLE la (id int PRIMARY KEY, o int REFERENCES oa);
    INSERT INTO oa SELECT g, 'v' || g, g FROM generate_series(1, 100) g;
    INSERT INTO ob SELECT g, 'v' || g, -g FROM generate_series(1, 100) g;
    INSERT INTO pa VALUES ('x', 1), ('y', 2); INSERT INTO pb VALUES ('x', 10), ('z', 20);
    INSERT INTO la VALUES (1, 50)";

fn section(table: &str) -> String {
    let (kind, tenant) = table.split_at(1);
    let columns = match kind {
        "o" => "v = { rename = \"value\" }",
        _ => "email = { hash = \"sha256\", rename = \"email_hash\" }",
    };
    let destination = if kind == "o" { "orders" } else { "people" };
    format!(
        "[[table]]\nname = \"public.{table}\"\ndestination = \"public.{destination}\"\n[table.columns]\n\
         tenant = {{ value = \"{tenant}\" }}\n{columns}"
    )
}

fn agent(source: &Cluster, destination: &Cluster) -> Agent {
    let agent = Agent::between(source, destination);
    ["oa", "ob", "pa", "pb"].iter().fold(agent, |agent, table| agent.section(&section(table)))
}

async fn assert_merged(source: &Cluster, destination: &Cluster) {
    let orders = "(SELECT 'a' AS tenant, * FROM oa UNION ALL SELECT 'b', * FROM ob) AS s";
    let people = "(SELECT 'a' AS tenant, * FROM pa UNION ALL SELECT 'b', * FROM pb) AS s";
    let hash = "tenant, encode(sha256(convert_to(email, 'UTF8')), 'hex'), n";
    let pair = Pair::renamed(orders, "orders").columns("tenant, id, v, n", "tenant, id, value, n");
    assert_pair(source, destination, pair).await;
    let pair = Pair::renamed(people, "people").columns(hash, "tenant, email_hash, n");
    assert_pair(source, destination, pair).await;
}

async fn tables_merge(max_batch_rows: &str) {
    let (source, destination) = pair().await;
    source.exec(GATE).await;
    source.exec(TABLES).await;
    let mut agent = agent(&source, &destination).set("apply.max_batch_rows", max_batch_rows);
    agent.start_and_stream().await;
    assert_merged(&source, &destination).await;
    let hold = Hold::place(&source, &destination).await;
    for sql in [
        // The same keys in both; what happens to one is nothing to the other.
        "DELETE FROM oa WHERE id = 1",
        "UPDATE ob SET v = 'moved', id = 1000 WHERE id = 2",
        "INSERT INTO oa VALUES (1000, 'new', 0)",
        "BEGIN; DELETE FROM ob WHERE id = 3; INSERT INTO ob VALUES (3, 'again', 0); COMMIT",
        "UPDATE oa SET n = 7 WHERE id BETWEEN 10 AND 60",
        "DELETE FROM ob WHERE id BETWEEN 40 AND 90",
        "UPDATE pa SET email = 'z' WHERE email = 'x'",
        "DELETE FROM pb WHERE email = 'x'",
        "INSERT INTO pb VALUES ('y', 30)",
        // In its place among the others.
        "BEGIN; INSERT INTO pa VALUES ('gone', 0); TRUNCATE pa; INSERT INTO pa VALUES ('after', 5); COMMIT",
        "INSERT INTO ob VALUES (2000, 'stays', 0)",
        "TRUNCATE pb",
        "INSERT INTO pb VALUES ('x', 40)",
    ] {
        source.exec(sql).await;
    }
    hold.release().await;
    agent.caught_up().await;
    assert_merged(&source, &destination).await;
    agent.kill9();
    source.exec("UPDATE oa SET n = 8; DELETE FROM ob WHERE id < 20").await;
    // A column of one, then of the other.
    source.exec("ALTER TABLE oa ADD COLUMN extra int; UPDATE oa SET extra = id").await;
    agent.start_and_stream().await;
    agent.caught_up().await;
    source
        .exec("ALTER TABLE ob ADD COLUMN extra int; UPDATE ob SET extra = -id WHERE id > 95")
        .await;
    agent.caught_up().await;
    assert_merged(&source, &destination).await;
    let extra = "SELECT sum(extra) FROM (SELECT extra FROM oa UNION ALL SELECT extra FROM ob) x";
    let there = destination.scalar("SELECT sum(extra) FROM orders").await;
    assert_eq!(source.scalar(extra).await, there);
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn tables_merge_with_one_row_a_batch() {
    tables_merge("1").await;
}

#[tokio::test]
async fn tables_merge_with_everything_in_one_batch() {
    tables_merge("1000000").await;
}

#[tokio::test]
async fn each_table_is_copied_emptied_and_left_for_itself() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = agent(&source, &destination);
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    for said in [
        "PRIMARY KEY (\\\"tenant\\\", id)",
        "UNIQUE (\\\"tenant\\\", \\\"value\\\")",
        "several source tables share",
    ] {
        assert!(output.stdout.contains(&said.replace('\\', "")), "{said}\n{}", output.stdout);
    }
    agent.start_and_stream().await;
    // Somebody has spoilt the rows of one and added some of nobody's.
    destination
        .exec(
            "UPDATE orders SET n = 999 WHERE tenant = 'a'; \
             INSERT INTO orders (tenant, id, value, n) VALUES ('a', 555, 'x', 0), ('other', 1, 'x', 0)",
        )
        .await;
    let spoilt = "SELECT count(*) FROM orders WHERE n = 999 AND tenant = 'a'";
    let output = agent.verb(&["resync", "--table", "public.ob", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    agent.wait_for_state("streaming").await;
    assert_eq!(destination.scalar(spoilt).await, "100", "they are not its rows");
    let output = agent.verb(&["resync", "--table", "public.oa", "--truncate", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    destination.exec("DELETE FROM orders WHERE tenant = 'other' AND id = 1").await;
    assert_merged(&source, &destination).await;
    // One is left: the other's rows stay, and its key is what it was.
    assert_eq!(agent.terminate().await, Some(0));
    agent.clear_sections();
    let mut agent = agent.set("exclude", "[\"public.ob\", \"public.p*\"]").section(&section("oa"));
    agent.start_and_stream().await;
    source.exec("DELETE FROM oa WHERE id = 2; UPDATE oa SET n = 3 WHERE id = 3").await;
    agent.caught_up().await;
    assert_merged(&source, &destination).await;
    // It comes back, and finds rows of its own there that nobody answers for.
    assert_eq!(agent.terminate().await, Some(0));
    let mut agent = agent.set("exclude", "[\"public.p*\"]").section(&section("ob"));
    let output = agent.verb(&["run"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("holds rows"), "{}", output.stderr);
    agent = agent.text("destination.on_existing", "truncate");
    source.exec("DELETE FROM ob WHERE id = 4").await;
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_merged(&source, &destination).await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn what_cannot_be_merged_is_refused() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE oa (id int PRIMARY KEY, v text); \
             CREATE TABLE ob (id bigint PRIMARY KEY, v text, more int); CREATE TABLE orders (id int PRIMARY KEY)",
        )
        .await;
    let columns = |tenant: &str| format!("[table.columns]\ntenant = {{ value = \"{tenant}\" }}");
    let table = |name: &str, more: &str| {
        format!("[[table]]\nname = \"public.{name}\"\ndestination = \"public.all\"\n{more}")
    };
    let between = || Agent::between(&source, &destination).set("exclude", "[\"public.orders\"]");
    let agent = between().section(&table("oa", "")).section(&table("ob", ""));
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
    let agent = between().section(&table("oa", &columns("a"))).section(&table("ob", &columns("b")));
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{}{}", output.stdout, output.stderr);
    for finding in ["has type integer and not bigint", "which has no column \"more\""] {
        assert!(output.stdout.contains(finding), "{finding}\n{}", output.stdout);
    }
    // An existing table without the key.
    destination
        .exec("CREATE TABLE \"all\" (tenant text, id bigint PRIMARY KEY, v text, more int)")
        .await;
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{}{}", output.stdout, output.stderr);
    let create = "CREATE UNIQUE INDEX ON \"public\".\"all\" (\"tenant\", \"id\")";
    assert!(output.stdout.contains(create), "{}", output.stdout);
    let index = "DROP CONSTRAINT \"all_pkey\"; CREATE UNIQUE INDEX ON \"public\".\"all\" (\"tenant\", \"id\")";
    assert!(output.stdout.contains(index), "{}", output.stdout);
    let shared = "table \"public\".\"all\": no unique index";
    assert_eq!(output.stdout.matches(shared).count(), 1, "{}", output.stdout);
    // Values that only their spelling tells apart, and some that are none of the type.
    for (type_name, values, finding) in [
        ("char(3)", ["a", "a "], "are equal in its type character(3)"),
        ("int", ["1", "01"], "are equal in its type integer"),
        ("int", ["1", "b"], "does not take the value that [table.columns] of \"public\".\"ob\""),
    ] {
        destination
            .exec(&format!(
                "DROP TABLE \"all\"; CREATE TABLE \"all\" (tenant {type_name}, id bigint, v text, more int, \
                 PRIMARY KEY (tenant, id))"
            ))
            .await;
        let [one, other] = values.map(columns);
        let agent = between().section(&table("oa", &one)).section(&table("ob", &other));
        let output = agent.verb(&["check"]).await;
        assert_eq!(output.code, 4, "{}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains(finding), "{finding}\n{}", output.stdout);
    }
    // Onto a table that is selected itself.
    let agent = Agent::between(&source, &destination)
        .section("[[table]]\nname = \"public.oa\"\ndestination = \"public.orders\"");
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("nothing tells their rows apart"), "{said}");
}
