//! Column steps give the same in the copy and in the tail; what they should give is said in SQL.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};

const PEOPLE: &str = "CREATE TABLE people (id int PRIMARY KEY, name text, email text, ssn text, \
     salary numeric, notes text, region text)";

const STEPS: &str = r#"
[[table]]
name = "public.people"
destination = "public.staff"
[table.columns]
name   = { rename = "full_name" }
email  = { hash = "sha256" }
ssn    = { hash = "hmac-sha256", key = "${PII_KEY}" }
salary = { "null" = true }
notes  = { drop = true }
region = { value = "eu-1" }
"#;

const CANARY: &str = "CANARY-7c1f";

fn row(id: u32, suffix: &str) -> String {
    format!("({id}, 'n {suffix}', 'E{id}@x.org', '{CANARY}-{id}', {id}.50, '{CANARY} note', 'us')")
}

/// What the destination should hold, computed by the source's server.
async fn assert_transformed(source: &Cluster, destination: &Cluster) {
    let expected = "id, name, encode(sha256(convert_to(email, 'UTF8')), 'hex'), \
         encode(hmac(ssn, 'pepper', 'sha256'), 'hex'), NULL::numeric, 'eu-1'::text";
    let pair = Pair::renamed("people", "staff")
        .columns(expected, "id, full_name, email, ssn, salary, region");
    assert_pair(source, destination, pair).await;
}

#[tokio::test]
async fn copy_and_tail_give_what_sql_gives() {
    let (source, destination) = pair().await;
    source.exec("CREATE EXTENSION pgcrypto").await;
    source.exec(PEOPLE).await;
    source.exec(&format!("INSERT INTO people VALUES {}, {}", row(1, "a"), row(2, "b"))).await;
    source.exec("INSERT INTO people VALUES (3, NULL, NULL, NULL, NULL, NULL, NULL)").await;
    let mut agent =
        Agent::between(&source, &destination).section(STEPS).variable("PII_KEY", "pepper");
    agent.start_and_stream().await;
    assert_transformed(&source, &destination).await;
    source.exec(&format!("INSERT INTO people VALUES {}", row(4, "d"))).await;
    source.exec("UPDATE people SET email = 'new@x.org', ssn = NULL WHERE id = 1").await;
    source.exec("UPDATE people SET id = 20, name = 'moved' WHERE id = 2").await;
    source.exec("DELETE FROM people WHERE id = 3").await;
    agent.caught_up().await;
    assert_transformed(&source, &destination).await;
    let columns = "SELECT string_agg(attname, ' ' ORDER BY attname) FROM pg_attribute \
         WHERE attrelid = 'staff'::regclass AND attnum > 0";
    assert_eq!(destination.scalar(columns).await, "email full_name id region salary ssn");
    // No raw value anywhere outside the source.
    let (_, metrics) = agent.get("/metrics").await;
    let (_, status) = agent.get("/status").await;
    for (place, text) in [
        ("log", agent.log()),
        ("server log", destination.log()),
        ("metrics", metrics),
        ("status", status),
    ] {
        assert!(!text.contains(CANARY), "a raw value in the {place}");
    }
}

#[tokio::test]
async fn a_hashed_key_follows_updates_deletes_and_moves() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE users (email text PRIMARY KEY, n int); \
             INSERT INTO users SELECT 'u' || g, g FROM generate_series(1, 10) g",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).section(
        "[[table]]\nname = \"public.users\"\n[table.columns]\n\
         email = { hash = \"sha256\", rename = \"email_hash\" }",
    );
    agent.start_and_stream().await;
    source.exec("UPDATE users SET n = n * 10 WHERE n <= 3").await;
    source.exec("DELETE FROM users WHERE email = 'u4'").await;
    source.exec("UPDATE users SET email = 'moved' WHERE email = 'u5'").await;
    agent.caught_up().await;
    let pair = Pair::table("users")
        .columns("encode(sha256(convert_to(email, 'UTF8')), 'hex'), n", "email_hash, n");
    assert_pair(&source, &destination, pair).await;
}

#[tokio::test]
async fn unlisted_columns_are_dropped_or_refused_when_told_so() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, keep text, secret text)").await;
    source.exec("INSERT INTO t VALUES (1, 'k', 's')").await;
    let table = |unlisted: &str| {
        format!(
            "[[table]]\nname = \"public.t\"\nunlisted = \"{unlisted}\"\n[table.columns]\n\
             id = {{ rename = \"id\" }}\nkeep = {{ rename = \"kept\" }}"
        )
    };
    let refused = Agent::between(&source, &destination).section(&table("fail"));
    let output = refused.verb(&["check"]).await;
    assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
    assert!(format!("{}{}", output.stdout, output.stderr).contains("secret"));
    let mut agent = Agent::between(&source, &destination).section(&table("drop"));
    agent.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (2, 'k2', 's2')").await;
    agent.caught_up().await;
    let pair = Pair::table("t").columns("id, keep", "id, kept");
    assert_pair(&source, &destination, pair).await;
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0";
    assert_eq!(destination.scalar(columns).await, "2");
}

#[tokio::test]
async fn schemas_and_tables_are_mapped() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1)")
        .await;
    let mut agent = Agent::between(&source, &destination)
        .set("destination.schemas", "{ public = \"shop\" }")
        .section("[[table]]\nname = \"public.b\"\ndestination = \"hr.bee\"");
    agent.start_and_stream().await;
    source.exec("INSERT INTO a VALUES (2); INSERT INTO b VALUES (3)").await;
    agent.caught_up().await;
    assert_pair(&source, &destination, Pair::renamed("a", "shop.a")).await;
    assert_pair(&source, &destination, Pair::renamed("b", "hr.bee")).await;
}
