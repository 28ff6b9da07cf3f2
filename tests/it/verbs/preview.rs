//! `preview`: what is shown is what the copy writes, and nothing is written.

use serde_json::Value;

use super::json;
use crate::support::agent::{Agent, Output};
use crate::support::cluster::{Cluster, pair};

const PEOPLE: &str = r#"
[[table]]
name = "public.people"
destination = "hr.staff"
where = "active -- only those"
[table.columns]
name   = { rename = "full_name" }
email  = { hash = "sha256" }
login  = { sql = "upper(email)" }
age    = { sql = "age + 1" }
notes  = { drop = true }
secret = { "null" = true }
region = { value = "eu-1" }
"#;

async fn people() -> (Cluster, Cluster, Agent) {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE people (id int PRIMARY KEY, name text, email text, login text, age int, \
               active boolean, notes text, secret text, region text, at timestamptz); \
             INSERT INTO people VALUES \
               (1, 'Ada', 'CANARY-1@x', 'a', 36, true, 'CANARY', 'CANARY', 'us', '2026-01-01'), \
               (2, '', NULL, 'b', NULL, true, NULL, NULL, NULL, NULL), \
               (3, E'bell\\x07 \\x1b[2J tab\\t', 'CANARY-3@x', 'c', 1, true, 'n', 's', 'r', 'infinity'), \
               (4, 'gone', 'CANARY-4@x', 'd', 1, false, 'n', 's', 'r', NULL), \
               (5, 'unknown', 'CANARY-5@x', 'e', 1, NULL, 'n', 's', 'r', NULL); \
             CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); \
             CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (100); \
             INSERT INTO parts SELECT g, 'v' || g FROM generate_series(1, 20) g; \
             CREATE TABLE empty (id int PRIMARY KEY)",
        )
        .await;
    let agent = Agent::between(&source, &destination).section(PEOPLE);
    (source, destination, agent)
}

async fn shown(agent: &Agent, arguments: &[&str]) -> Output {
    let output = agent.verb(&[&["preview"], arguments].concat()).await;
    assert_eq!(output.code, 0, "{arguments:?}: {output:?}");
    output
}

/// The rows of one table as the preview shows them, sorted.
fn rows(table: &Value) -> Vec<String> {
    let list = table["rows"].as_array().expect("a list").iter();
    let mut rows: Vec<String> = list.map(|row| row["destination"].to_string()).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn what_is_shown_is_what_the_copy_writes() {
    let (source, destination, agent) = people().await;
    let output = shown(&agent, &["--output", "json", "--limit", "100"]).await;
    assert!(!output.stdout.contains("CANARY") && !output.stderr.contains("CANARY"), "{output:?}");
    let printed = json(&output);
    assert_eq!(agent.traces().await, Vec::<String>::new(), "nothing was made");
    let tables = printed["tables"].as_array().expect("a list");
    let names: Vec<&Value> = tables.iter().map(|table| &table["name"]).collect();
    assert_eq!(names, ["public.empty", "public.parts", "public.people"]);
    let people = &tables[2];
    assert_eq!(people["destination"], "hr.staff");
    assert_eq!(people["filtered"], serde_json::json!({ "looked_at": 5, "left_out": 2 }));
    assert_eq!(people["dropped"], serde_json::json!(["notes"]));
    assert_eq!(people["rows"][0]["source"], Value::Null);
    let name =
        people["columns"].as_array().expect("a list").iter().find(|c| c["name"] == "full_name");
    assert_eq!(name.expect("it is there")["source"], "name");

    let copied = agent.verb(&["snapshot"]).await;
    assert_eq!(copied.code, 0, "{copied:?}");
    for table in tables {
        let columns = table["columns"].as_array().expect("a list").iter();
        let columns: Vec<String> = columns
            .map(|column| column["name"].as_str().expect("a name"))
            .map(|name| format!("CASE WHEN {name} IS NOT NULL THEN format('%s', {name}) END"))
            .collect();
        let sql = format!(
            "SET timezone = 'UTC'; SELECT jsonb_build_array({})::text FROM {}",
            columns.join(", "),
            table["destination"].as_str().expect("a name")
        );
        let found = destination.query(&sql).await.into_iter();
        let mut found: Vec<String> = found
            .map(|row| row.into_iter().next().flatten().unwrap_or_default())
            .map(|row| serde_json::from_str::<Value>(&row).expect("JSON").to_string())
            .collect();
        found.sort();
        assert_eq!(rows(table), found, "{}", table["name"]);
    }
    drop(source);
}

#[tokio::test]
async fn source_values_are_shown_when_asked_for_and_people_can_read_both() {
    let (source, destination, agent) = people().await;
    let one = ["--table", "public.people", "--limit", "3"];
    let hidden = shown(&agent, &one).await.stdout;
    assert!(!hidden.contains("CANARY"), "{hidden}");
    for line in [
        "table public.people -> hr.staff",
        "left out: notes",
        "where: 2 of the first 5 rows stay out",
        "full_name <- name  Ada",
        "full_name <- name  \"\"",
        "full_name <- name  \"bell\\u{7} \\u{1b}[2J tab\\t\"",
        "secret             NULL",
        "age                37",
        "region             eu-1",
    ] {
        assert!(hidden.contains(line), "{line} is missing in\n{hidden}");
    }
    assert!(hidden.lines().all(|line| line.chars().count() <= 80), "{hidden}");
    assert!(!hidden.contains(|c: char| c.is_control() && c != '\n'), "{hidden:?}");
    let both = shown(&agent, &[&one[..], &["--show-source"]].concat()).await.stdout;
    for line in ["secret             CANARY => NULL", "notes              CANARY => left out"] {
        assert!(both.contains(line), "{line} is missing in\n{both}");
    }
    let printed =
        json(&shown(&agent, &[&one[..], &["--show-source", "--output", "json"]].concat()).await);
    let people = &printed["tables"][0];
    assert_eq!(people["source_columns"][2], "email");
    assert_eq!(people["rows"][0]["source"][2], "CANARY-1@x");
    let limited =
        shown(&agent, &["--table", "public.parts", "--table", "public.empty"]).await.stdout;
    assert_eq!(limited.matches("\nrow ").count(), 10, "{limited}");
    assert!(limited.contains("no rows"), "{limited}");

    for (arguments, code, expected) in [
        (&["--table", "public.gone"][..], 3, "select no such table"),
        (&["--limit", "0"], 2, "0 is not in 1..=10000"),
        (&["--table", "people"], 2, "people"),
    ] {
        let output = agent.verb(&[&["preview"], arguments].concat()).await;
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stderr.contains(expected), "{output:?}");
    }
    source.exec("CREATE ROLE reader LOGIN").await;
    let closed = Agent::between(&source, &destination).text("source.url", &source.url_as("reader"));
    let closed = closed.verb(&["preview", "--table", "public.parts"]).await;
    assert_eq!(closed.code, 4, "{closed:?}");
    assert!(closed.stderr.contains("GRANT SELECT ON"), "{closed:?}");
    let raising =
        "CREATE TABLE bad (id int PRIMARY KEY, t text); INSERT INTO bad VALUES (1, 'CANARY');
         CREATE FUNCTION raise(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
         $$ BEGIN RAISE EXCEPTION 'not %', $1; END $$";
    source.exec(raising).await;
    for setting in ["where = \"raise(t) = ''\"\n", "[table.columns]\nt = { sql = \"raise(t)\" }\n"]
    {
        let section = format!("[[table]]\nname = \"public.bad\"\n{setting}");
        let failing = Agent::between(&source, &destination).section(&section);
        let output = failing.verb(&["preview", "--table", "public.bad"]).await;
        assert_eq!(output.code, 6, "{output:?}");
        assert!(output.stderr.contains("P0001") && !output.stderr.contains("CANARY"), "{output:?}");
    }
    // Whatever a row does to an expression or a filter, its values are not in the words.
    for (changed, said) in [
        ("age = { sql = \"age + email::regclass::oid::int\" }", "42P01"),
        ("age = { sql = \"notes::int\" }", "22P02"),
    ] {
        let section = PEOPLE.replace("age    = { sql = \"age + 1\" }", changed);
        let failing = Agent::between(&source, &destination).section(&section);
        let output = failing.verb(&[&["preview"], &one[..]].concat()).await;
        assert_eq!(output.code, 6, "{output:?}");
        let is_shown = output.stderr.to_lowercase().contains("canary");
        assert!(output.stderr.contains(said) && !is_shown, "{output:?}");
    }
    let alone = agent.text("destination.url", "postgresql://postgres@127.0.0.1:1/gone");
    let output = shown(&alone, &one).await;
    assert!(output.stdout.contains("region             eu-1"), "{output:?}");
    assert!(output.stderr.contains("are taken to be like the source's"), "{output:?}");
}
