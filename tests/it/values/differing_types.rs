//! Columns whose types differ: what fits arrives as the same value, what may not is refused by `check`.

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};

/// Source type, destination type, a value, and how the source's server says the destination's value.
type Wide = (&'static str, &'static str, &'static str, &'static str);

/// Pairs that hold every value.
const WIDE: &[Wide] = &[
    ("int", "bigint", "-2147483648", "$::bigint"),
    ("smallint", "double precision", "-32768", "$::float8"),
    ("bigint", "numeric", "9007199254740993", "$::numeric"),
    ("int", "numeric(12,2)", "-2147483648", "$::numeric(12,2)"),
    ("int", "text", "-7", "$::text"),
    ("bigint", "varchar(20)", "-9223372036854775808", "$::text"),
    ("numeric(9)", "int", "-999999999", "$::int"),
    ("varchar(5)", "text", "'a  '", "$::text"),
    ("varchar(5)", "varchar(6)", "'äöü€😀'", "$::text"),
    // With its blanks, as the source shows it.
    ("char(5)", "text", "'ab'", "rpad($::text, 5)"),
    ("char(3)", "char(6)", "'ab'", "$::char(6)"),
    ("name", "text", "'Ünï \"x'", "$::text"),
    ("real", "double precision", "0.1", "$::text::float8"),
    ("double precision", "numeric", "0.1", "$::text::numeric"),
    ("numeric(5,2)", "numeric", "1.10", "$::numeric"),
    ("numeric(5,2)", "numeric(9,4)", "1.10", "$::numeric(9,4)"),
    ("timestamp", "timestamptz", "'2024-03-31 02:30:00.123456'", "$ AT TIME ZONE 'UTC'"),
    ("timestamp(3)", "timestamp", "'4713-01-01 00:00:00.5 BC'", "$::timestamp"),
    ("date", "timestamp", "'-infinity'", "$::timestamp"),
    ("date", "timestamptz", "'2024-02-29'", "$::timestamp AT TIME ZONE 'UTC'"),
    ("time", "timetz", "'24:00:00'", "($::text || '+00')::timetz"),
    ("json", "jsonb", "'{\"b\" : 1,  \"a\":[]}'", "$::jsonb"),
    ("jsonb", "json", "'{\"b\":1}'", "$::text"),
    ("uuid", "text", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "$::text"),
    ("bool", "text", "true", "left($::text, 1)"),
    ("cidr", "inet", "'10.0.0.0/8'", "$::inet"),
    ("inet", "text", "'10.0.0.1'", "host($)"),
    ("bit(3)", "varbit", "B'101'", "$::varbit"),
    ("bytea", "text", "'\\x00ff5c'", "$::text"),
    ("int[]", "bigint[]", "'[0:1]={1,NULL}'", "$::bigint[]"),
    ("varchar(5)[]", "text[]", "ARRAY['a\"', NULL, '{,}', '']", "$::text[]"),
    ("int4range", "int8range", "'[1,5]'", "$::text"),
    ("mood", "text", "'it''s \"ok\", (so)'", "$::text"),
    ("short", "int", "5", "$::int"),
    ("text", "mood", "'sad'", "$::text"),
    ("text", "uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "$::uuid"),
    ("serial", "int GENERATED ALWAYS AS IDENTITY", "7", "$"),
];

const TYPES: &str = "CREATE TYPE mood AS ENUM ('it''s \"ok\", (so)', 'sad'); CREATE DOMAIN short AS int2; \
     CREATE DOMAIN cents AS numeric(9,2); CREATE TYPE two AS (a int, b int)";

/// Source type, destination type.
const REFUSED: &[(&str, &str)] = &[
    ("bigint", "integer"),
    ("numeric", "numeric(5,2)"),
    ("numeric(6,3)", "numeric(5,2)"),
    ("numeric(10,2)", "numeric(8,2)"),
    ("numeric", "cents"),
    ("numeric[]", "numeric(5,2)[]"),
    ("numeric", "double precision"),
    ("double precision", "real"),
    ("text", "character varying(3)"),
    ("character varying(5)", "character varying(3)"),
    ("text", "character(10)"),
    ("text", "name"),
    ("text", "\"char\""),
    ("character(5)", "character(3)"),
    ("timestamp(6) without time zone", "timestamp(3) without time zone"),
    ("timestamp with time zone", "timestamp without time zone"),
    ("timestamp without time zone", "date"),
    ("time with time zone", "time without time zone"),
    ("interval", "interval(0)"),
    ("text", "date"),
    ("text", "numeric(5,2)"),
    ("smallint", "boolean"),
    ("boolean", "integer"),
    ("bit(3)", "bit(4)"),
    ("integer[]", "integer"),
    ("money", "numeric"),
    ("two", "other.two"),
];

/// One table a pair: `w0`, `w1`, …
async fn create(source: &Cluster, destination: &Cluster, pairs: &[(&str, &str)]) {
    let tables = |side: usize| {
        let table = |(number, pair): (usize, &(&str, &str))| {
            let type_name = if side == 0 { pair.0 } else { pair.1 };
            format!("CREATE TABLE w{number} (id int PRIMARY KEY, v {type_name});")
        };
        pairs.iter().enumerate().map(table).collect::<String>()
    };
    source.exec(&format!("{TYPES}; {}", tables(0))).await;
    // A type of one name, made otherwise.
    let other = "CREATE SCHEMA other; CREATE TYPE other.two AS (b int, a int)";
    destination.exec(&format!("{TYPES}; {other}; {}", tables(1))).await;
}

#[tokio::test]
async fn pairs_of_types_that_hold_every_value_arrive_as_the_same_value() {
    let (source, destination) = pair().await;
    let pairs: Vec<(&str, &str)> = WIDE.iter().map(|wide| (wide.0, wide.1)).collect();
    create(&source, &destination, &pairs).await;
    let rows = |ids: std::ops::Range<u32>| {
        let mut sql = String::new();
        for (number, (.., value, _)) in WIDE.iter().enumerate() {
            for id in ids.clone() {
                sql.push_str(&format!("INSERT INTO w{number} VALUES ({id}, {value});"));
            }
        }
        sql
    };
    source.exec(&rows(0..2)).await;
    let mut agent = Agent::between(&source, &destination);
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    agent.start_and_stream().await;
    // Row by row, and then so many that they are staged.
    source.exec(&rows(10..12)).await;
    agent.caught_up().await;
    source.exec(&format!("BEGIN; {}; COMMIT", rows(20..60))).await;
    let mut changes = String::new();
    for (number, (from, ..)) in WIDE.iter().enumerate() {
        let null = if *from == "serial" { "8" } else { "NULL" };
        changes.push_str(&format!(
            "UPDATE w{number} SET v = {null} WHERE id = 0; UPDATE w{number} SET v = v WHERE id >= 20; \
             UPDATE w{number} SET id = -1 WHERE id = 10;"
        ));
    }
    source.exec(&changes).await;
    agent.caught_up().await;
    for (number, (from, to, _, said)) in WIDE.iter().enumerate() {
        let table = format!("w{number}");
        let said = said.replace('$', "v");
        let pair = Pair::table(&table).columns(&format!("id, ({said})::text"), "id, v::text");
        assert_eq!(destination.count(&table).await, 44, "{from} to {to}");
        assert_pair(&source, &destination, pair).await;
    }
    assert_eq!(agent.terminate().await, Some(0));
}

fn errors(report: &Value) -> Vec<&Value> {
    let findings = report["findings"].as_array().expect("a list");
    findings.iter().filter(|finding| finding["severity"] == "error").collect()
}

#[tokio::test]
async fn pairs_of_types_that_do_not_are_refused_with_the_statement_that_mends_it() {
    let (source, destination) = pair().await;
    create(&source, &destination, REFUSED).await;
    let mut agent = Agent::between(&source, &destination);
    let output = agent.verb(&["check", "--output", "json"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(errors(&report).len(), REFUSED.len(), "{}", output.stdout);
    for (number, (from, to)) in REFUSED.iter().enumerate() {
        let table = format!("\"public\".\"w{number}\"");
        let of = |finding: &&&Value| {
            let said = format!("{} {}", finding["object"], finding["message"]);
            said.replace('\\', "").contains(&table)
        };
        let found = errors(&report);
        let Some(finding) = found.iter().find(of) else { panic!("{from} to {to}: {report:#}") };
        let message = finding["message"].as_str().unwrap_or_default();
        for type_name in [from, to] {
            let name = type_name.rsplit('.').next().expect("a name");
            assert!(message.contains(name), "{from} to {to}: {message}");
        }
        let said = format!("{} {message}", finding["object"]);
        assert!(said.contains("column"), "{said}");
        let remedy = finding["remedy"].as_str().expect("a statement");
        assert!(remedy.starts_with("ALTER TABLE") && remedy.contains("TYPE"), "{remedy}");
        // Nothing casts these.
        let is_castless = matches!(*to, "boolean" | "integer" | "other.two");
        let using = if is_castless { format!("{remedy} USING NULL") } else { remedy.to_owned() };
        destination.exec(&using).await;
    }
    assert_eq!(agent.traces().await, Vec::<String>::new());
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn run_and_snapshot_refuse_a_type_that_would_round() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE t (id int PRIMARY KEY, v numeric); INSERT INTO t VALUES (1, 1.005)")
        .await;
    destination.exec("CREATE TABLE t (id int PRIMARY KEY, v numeric(5,2))").await;
    let agent = Agent::between(&source, &destination);
    for verb in ["run", "snapshot"] {
        let output = agent.verb(&[verb]).await;
        assert_eq!(output.code, 4, "{verb}: {output:?}");
        for word in ["E_PREFLIGHT", "numeric(5,2)", "rounded"] {
            assert!(output.stderr.contains(word), "{verb}: {word} is missing in {}", output.stderr);
        }
    }
    assert_eq!(destination.count("t").await, 0);
}

/// A destination that is made narrower under a running agent rounds nothing either.
#[tokio::test]
async fn a_type_that_is_narrowed_later_holds_the_position() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE t (id int PRIMARY KEY, v numeric); INSERT INTO t VALUES (1, 1.005)")
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    destination.exec("ALTER TABLE t ALTER v TYPE numeric(5,2)").await;
    source.exec("INSERT INTO t VALUES (2, 2.005)").await;
    agent.start();
    agent.wait_for_state("degraded").await;
    let status = agent.status().await.to_string();
    assert!(status.contains("E_SCHEMA") && status.contains("numeric(5,2)"), "{status}");
    assert_eq!(destination.count("t").await, 1);
    // What was rounded at the destination is the operator's to mend.
    destination.exec("ALTER TABLE t ALTER v TYPE numeric; UPDATE t SET v = 1.005").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_pair(&source, &destination, Pair::table("t")).await;
}

/// The same number of cents is another amount where a currency has no cents.
#[tokio::test]
async fn money_is_refused_where_the_locales_differ() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE DOMAIN price AS money; CREATE TABLE t (id int PRIMARY KEY, v money, a price[], n int); \
             INSERT INTO t VALUES (1, '1234.56', '{7.89,NULL}', 1)",
        )
        .await;
    // The only two that every system has.
    destination.exec("ALTER ROLE postgres SET lc_monetary = 'POSIX'").await;
    let agent = Agent::between(&source, &destination);
    for verb in ["check", "run"] {
        let output = agent.verb(&[verb]).await;
        assert_eq!(output.code, 4, "{verb}: {output:?}");
        let said = format!("{}{}", output.stdout, output.stderr).replace('\\', "");
        for word in ["lc_monetary", "column \"v\"", "column \"a\"", "SET lc_monetary = 'C'"] {
            assert!(said.contains(word), "{verb}: {word} is missing in {said}");
        }
    }
    destination.exec("ALTER ROLE postgres SET lc_monetary = 'C'").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (2, '-92233720368547758.08', '{}', 2)").await;
    agent.caught_up().await;
    assert_pair(&source, &destination, Pair::table("t")).await;
}
