//! A schema with every kind of object is created equal, replicates, and is not created twice.

use std::fmt::Write as _;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::installation::{client, server_command};

pub(super) const SCHEMA: &str = include_str!("everything.sql");

/// The tables that hold rows.
pub(super) const TABLES: [&str; 8] = [
    "shop.customers",
    "shop.addresses",
    "shop.events",
    "shop.animals",
    "shop.dogs",
    "shop.orders",
    "shop.\"Odd \"\"Names\"",
    "shop.whole",
];

/// What pg_dump says of the schemas, in lines.
pub(super) fn dump(database: &Database, schemas: &[&str]) -> String {
    let mut command = server_command(client("pg_dump"));
    command.args(["--schema-only", "--no-owner", "--no-privileges", "--no-publications"]);
    for schema in schemas {
        command.args(["--schema", schema]);
    }
    command.arg("-h").arg(&database.socket).args(["-p", &database.port.to_string()]);
    let output = command.args(["-U", "postgres", &database.name]).output().expect("pg_dump runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_stable = |line: &&str| {
        !line.is_empty()
            && !line.starts_with("--")
            && !line.starts_with("\\")
            && !line.starts_with("SET ")
            && !line.starts_with("SELECT pg_catalog.set_config")
    };
    text.lines().filter(is_stable).collect::<Vec<_>>().join("\n")
}

/// The lines of one that the other has not.
pub(super) fn difference(source: &str, destination: &str) -> String {
    let mut text = String::new();
    let (here, there): (Vec<&str>, Vec<&str>) =
        (source.lines().collect(), destination.lines().collect());
    for line in here.iter().filter(|line| !there.contains(line)) {
        writeln!(text, "source:      {line}").expect("a String takes text");
    }
    for line in there.iter().filter(|line| !here.contains(line)) {
        writeln!(text, "destination: {line}").expect("a String takes text");
    }
    text
}

pub(super) fn assert_same_dump(source: &Database, destination: &Database, schemas: &[&str]) {
    let (here, there) = (dump(source, schemas), dump(destination, schemas));
    assert!(
        here == there,
        "{}\n{}",
        difference(&here, &there),
        if here.len() == there.len() { "the order differs" } else { "" }
    );
}

pub(super) async fn with_everything(source: &Cluster) {
    source.exec(SCHEMA).await;
}

#[tokio::test]
async fn a_schema_with_every_kind_of_object_is_created_equal() {
    let (source, destination) = pair().await;
    with_everything(&source).await;
    let mut agent = Agent::between(&source, &destination).set("include", "[\"shop.*\"]");
    agent.start_and_stream().await;
    assert_same(&source, &destination, &TABLES).await;
    assert_same_dump(&source, &destination, &["shop", "kit"]);
    assert_eq!(agent.terminate().await, Some(0));
}
