//! Columns that one side generates and the other does not.

use crate::support::agent::Agent;
use crate::support::both_ways::Case;
use crate::support::cluster::{Cluster, Spec, pair};
use crate::support::compare::{Pair, assert_pair, assert_same};
use crate::support::installation::installation;

/// Its values are not in the stream, so that the destination has to make them.
#[tokio::test]
async fn a_column_that_only_the_source_generates_is_refused_with_the_statement() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE g (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED);
             INSERT INTO g VALUES (1, 1), (2, 2); CREATE TABLE h (id int PRIMARY KEY, a int, b int);
             INSERT INTO h VALUES (1, 1, 2)",
        )
        .await;
    destination
        .exec(
            "CREATE TABLE g (id int PRIMARY KEY, a int, b int);
             CREATE TABLE h (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination);
    assert_eq!(agent.verb(&["run"]).await.code, 4);
    let checked = agent.verb(&["check", "--output", "json"]).await;
    assert_eq!(checked.code, 4, "{checked:?}");
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("a list");
    let of = |severity: &str, object: &str| {
        let found = findings.iter().find(|finding| {
            finding["severity"] == severity
                && finding["object"] == format!("column \"b\" of table \"public\".\"{object}\"")
        });
        found.unwrap_or_else(|| panic!("{severity} {object}: {report}")).clone()
    };
    of("warning", "h");
    destination.exec(of("error", "g")["remedy"].as_str().expect("a statement")).await;
    agent.start_and_stream().await;
    source.exec("UPDATE g SET a = 5 WHERE id = 1; INSERT INTO g VALUES (3, 3); UPDATE h SET a = 7, b = 14").await;
    agent.caught_up().await;
    for table in ["g", "h"] {
        let pair = Pair::table(table).columns("id, a, b", "id, a, b");
        assert_pair(&source, &destination, pair).await;
    }
}

#[tokio::test]
async fn virtual_and_stored_columns_are_made_at_the_destination_on_18() {
    let source = "
        CREATE TABLE v (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL,
          c int GENERATED ALWAYS AS (a + 1) STORED, d text);
        INSERT INTO v (id, a) SELECT g, g FROM generate_series(1, 40) g;
        CREATE TABLE w (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL);
        INSERT INTO w (id, a) VALUES (1, 1), (2, 2);
        CREATE TABLE temporal (id int4range, v daterange, x text, PRIMARY KEY (id, v WITHOUT OVERLAPS));
        INSERT INTO temporal SELECT '[1,2)', daterange('2020-01-01'::date + g * 10, '2020-01-11'::date + g * 10), 'x'
          FROM generate_series(1, 40) g";
    let destination = "
        CREATE TABLE w (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED)";
    let changes = [
        "UPDATE v SET a = a + 1; DELETE FROM v WHERE id = 3; INSERT INTO v (id, a) SELECT g, g FROM generate_series(100, 150) g",
        "UPDATE v SET id = -id WHERE id < 5; UPDATE v SET d = 'x' WHERE b > 20",
        "UPDATE w SET a = 9 WHERE id = 1; DELETE FROM w WHERE id = 2; INSERT INTO w (id, a) VALUES (3, 3)",
        "INSERT INTO temporal VALUES ('[2,3)', '[2020-01-01,2020-02-01)', 'new')",
        "UPDATE temporal SET x = 'u' WHERE lower(v) > '2020-06-01'; DELETE FROM temporal WHERE v @> '2020-03-01'::date",
        "UPDATE temporal SET v = '[2020-02-01,2020-03-01)' WHERE id = '[2,3)'",
        "BEGIN; DELETE FROM temporal WHERE v @> '2020-04-01'::date; INSERT INTO temporal VALUES ('[1,2)', '[2020-04-01,2020-04-02)', 'again'); COMMIT",
    ];
    let tables = ["v", "w", "temporal"];
    let case = Case {
        source,
        destination,
        changes: &changes,
        tables: &tables,
        major: Some(18),
        ..Case::default()
    };
    case.arrives().await;
}

/// The server refuses updates of rows whose FULL identity has a generated column that is not published.
#[tokio::test]
async fn a_generated_column_under_full_identity_never_fails_the_application_on_18() {
    let spec = |identity| Spec { installation: installation(18), identity, ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec(0)), Cluster::start(spec(1)));
    source
        .exec(
            "CREATE TABLE f (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED);
             ALTER TABLE f REPLICA IDENTITY FULL; INSERT INTO f VALUES (1, 1), (2, 2)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination);
    let checked = agent.verb(&["check"]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.stdout.contains("REPLICA IDENTITY DEFAULT"), "{}", checked.stdout);
    agent.start_and_stream().await;
    source.exec("INSERT INTO f VALUES (3, 3)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["f"]).await;
    source.exec("UPDATE f SET a = 5 WHERE id = 1; DELETE FROM f WHERE id = 2").await;
}
