//! Steps that cannot work are found before a row is copied, each with its place and a way out.

use crate::support::agent::Agent;
use crate::support::cluster::pair;

const TABLES: &str = "CREATE TYPE mood AS ENUM ('ok');
    CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE, code text, born date, short varchar(10), \
      feeling mood, doc jsonb, tags text[], n int NOT NULL);
    CREATE UNIQUE INDEX by_code ON t (lower(code));
    CREATE TABLE pair (a text, b text, n int UNIQUE NOT NULL, PRIMARY KEY (a, b), UNIQUE (n, b));
    INSERT INTO t VALUES (1, 'a@x.org', 'c', '2000-01-01', 's', 'ok', '{}', '{}', 1);
    INSERT INTO pair VALUES ('a', 'b', 1)";

#[tokio::test]
async fn what_cannot_work_is_found_by_check_with_its_place() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let cases: &[(&str, &str, &str, &str)] = &[
        ("t", "email", r#"{ mask = "full" }"#, "is in a unique key (email), and its step mask"),
        ("t", "email", "{ value = \"x\" }", "its step value"),
        ("t", "code", "{ lower = true }", "is in a unique key (code), and its step lower"),
        ("t", "id", r#"{ mask = "full" }"#, "has type integer, and its step mask takes text"),
        ("t", "born", "{ trim = true }", "has type date"),
        (
            "t",
            "feeling",
            r#"{ replace = { pattern = "o", with = "a" } }"#,
            "its step replace takes text",
        ),
        ("t", "tags", r#"{ json_drop = ["0"] }"#, "its step json_drop takes json"),
        ("t", "doc", r#"{ mask = "full" }"#, "has type jsonb"),
        ("t", "short", r#"{ fake = "name", key = "k" }"#, "has room for 10 characters"),
        ("t", "gone", r#"{ mask = "full" }"#, "does not exist at the source"),
        (
            "pair",
            "a",
            r#"{ mask = { keep_first = 1 } }"#,
            "is in a unique key (a, b), and its step mask",
        ),
    ];
    for (table, column, step, reason) in cases {
        let section =
            format!("[[table]]\nname = \"public.{table}\"\n[table.columns]\n{column} = {step}");
        let agent = Agent::between(&source, &destination).section(&section);
        let output = agent.verb(&["check"]).await;
        let text = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.code, 3, "{column}: {text}");
        assert!(text.contains(reason) && text.contains("sync-agent.toml:"), "{column}: {text}");
        assert!(text.contains(&format!("\"{column}\"")), "{column}: {text}");
    }
}

#[tokio::test]
async fn a_key_that_others_keep_apart_and_a_table_without_the_key_are_no_hindrance() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    // Its email is not unique, so that a mask is welcome.
    destination
        .exec("CREATE TABLE t (id int PRIMARY KEY, email text, code text, n int); CREATE INDEX ON t (email)")
        .await;
    let agent = |section: &str| Agent::between(&source, &destination).section(section);
    let sections = "[[table]]\nname = \"public.t\"\nunlisted = \"drop\"\n[table.columns]\nid = { rename = \"id\" }\n\
         email = { mask = \"full\" }\ncode = [{ lower = true }]\nn = { \"null\" = true }\n\
         [[table]]\nname = \"public.pair\"\nkey = [\"n\"]\n[table.columns]\nb = { mask = \"full\" }\n";
    source
        .exec("ALTER TABLE pair DROP CONSTRAINT pair_pkey; ALTER TABLE pair REPLICA IDENTITY FULL")
        .await;
    let mut agent = agent(sections);
    agent.start_and_stream().await;
    source
        .exec("INSERT INTO t (id, email, code, n) VALUES (2, 'b@x.org', 'D', 2); UPDATE pair SET b = 'longer'")
        .await;
    agent.caught_up().await;
    assert_eq!(
        destination.scalar("SELECT string_agg(email || code, ' ' ORDER BY id) FROM t").await,
        "*******c *******d"
    );
    assert_eq!(destination.scalar("SELECT string_agg(b, ' ') FROM pair").await, "******");
    destination.exec("CREATE UNIQUE INDEX late ON t (email, code)").await;
    agent.terminate().await;
    agent.start();
    assert_eq!(agent.wait_for_exit().await, Some(3));
    assert!(agent.log().contains("is in a unique key (email, code)"), "{}", agent.log());
}

#[tokio::test]
async fn a_column_that_cannot_hold_what_is_made_is_found_with_its_statement() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE t (id int PRIMARY KEY, a text, b varchar(20), c text, d text, e jsonb)")
        .await;
    destination
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, a varchar(32), b varchar(10), c date, d uuid, e text); \
             CREATE TABLE fits (id int PRIMARY KEY, a char(64), b text, c varchar(53), d uuid, e text); \
             CREATE DOMAIN small AS int CHECK (VALUE < 9); \
             CREATE TABLE fixed (id int PRIMARY KEY, a text NOT NULL, b varchar(2), c int, d small, e jsonb, \
               f jsonb, g int[], h int GENERATED ALWAYS AS (id + 1) STORED)",
        )
        .await;
    let steps = "[table.columns]\na = { hash = \"sha256\" }\nb = { mask = \"full\" }\n\
         c = { fake = \"email\", key = \"k\" }\nd = { fake = \"uuid\", key = \"k\" }\ne = { json_drop = [\"x\"] }";
    let agent = |to: &str| {
        let table =
            format!("[[table]]\nname = \"public.t\"\ndestination = \"public.{to}\"\n{steps}");
        Agent::between(&source, &destination).section(&table)
    };
    let output = agent("t").verb(&["check"]).await;
    let text = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, 4, "{text}");
    for (column, type_name, made) in [
        ("a", "text", "text of up to 64"),
        ("b", "character varying", "text of up to 20"),
        ("c", "text", "text of up to 53"),
    ] {
        let statement = format!("ALTER COLUMN \"{column}\" TYPE {type_name};");
        assert!(text.contains(&statement), "{text}");
        assert!(text.contains(made), "{text}");
    }
    assert!(!text.contains("ALTER COLUMN \"d\"") && !text.contains("ALTER COLUMN \"e\""), "{text}");
    // Constants are read by the column's type, as the copy would: nothing is cut off.
    let constants = "[[table]]\nname = \"public.t\"\ndestination = \"public.fixed\"\n[table.columns]\n\
         a = { \"null\" = true }\nb = { value = \"CANARY\" }\nc = { value = \"CANARY\" }\nd = { value = 9 }\n\
         e = { value = \"{CANARY\" }\nf = { value = \"{}\" }\ng = { value = \"{1}\" }\nh = { value = 1 }";
    let output = Agent::between(&source, &destination).section(constants).verb(&["check"]).await;
    let text = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, 4, "{text}");
    assert!(text.contains("ALTER COLUMN \"a\" DROP NOT NULL"), "{text}");
    assert!(text.contains("ALTER COLUMN \"h\" DROP EXPRESSION"), "{text}");
    let mut refused: Vec<&str> = text.split(": it does not take the value").collect();
    refused.pop();
    let refused: Vec<&str> =
        refused.iter().filter_map(|part| part.rsplit("column ").next()).collect();
    let column = |name: &str| format!("\"{name}\" of table \"public\".\"fixed\"");
    assert_eq!(refused, ["b", "c", "d", "e"].map(column), "{text}");
    assert!(!text.contains("CANARY"), "{text}");
    let mut agent = agent("fits");
    source.exec(r#"INSERT INTO t VALUES (1, 'a', 'b', 'c', 'd', '{"x": 1, "y": 2}')"#).await;
    agent.start_and_stream().await;
    source.exec(r#"INSERT INTO t VALUES (2, 'a', 'b', 'c', 'd', '{"x": 1, "y": 2}')"#).await;
    agent.caught_up().await;
    let same =
        "SELECT count(*) || ' ' || count(DISTINCT (a, b, c, d, e)) || ' ' || min(e) FROM fits";
    assert_eq!(destination.scalar(same).await, r#"2 1 {"y": 2}"#);
}

#[tokio::test]
async fn a_replacement_that_does_not_fit_stops_the_pipeline_and_shows_no_value() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, short varchar(12))").await;
    let section = "[[table]]\nname = \"public.t\"\n[table.columns]\n\
         short = { replace = { pattern = \"x\", with = \"    \" } }";
    let mut agent = Agent::between(&source, &destination).section(section);
    agent.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (1, 'canaryxx'), (2, 'canary9xxx')").await;
    agent
        .wait_for("the error", async |agent| agent.log().contains("longer than the 12 characters"))
        .await;
    assert!(agent.log().contains(r#"\"short\""#), "{}", agent.log());
    assert!(!agent.log().contains("canary9"), "{}", agent.log());
    assert_eq!(destination.count("t").await, 0, "blanks are not cut off either");
}
