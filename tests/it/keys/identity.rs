//! The replica identity changes, while changes are followed and while nobody follows them.

use crate::support::agent::Agent;
use crate::support::both_ways::Case;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

const CREATE: &str = "
    CREATE TABLE ri (id int PRIMARY KEY, code text NOT NULL, v int, big text);
    CREATE UNIQUE INDEX ri_code ON ri (code); CREATE UNIQUE INDEX ri_both ON ri (code, id);
    ALTER TABLE ri ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE poor (LIKE ri INCLUDING ALL);";
const ROWS: &str = "
    INSERT INTO ri SELECT g, 'c' || g, g, repeat('b', 4000) FROM generate_series(1, 40) g;
    INSERT INTO poor SELECT * FROM ri";

/// Every kind of change under every identity, key changes between them.
fn changes() -> Vec<String> {
    let identities =
        ["USING INDEX code", "FULL", "USING INDEX both", "DEFAULT", "FULL", "USING INDEX code"];
    let mut changes = Vec::new();
    for (table, code, both) in
        [("ri", "ri_code", "ri_both"), ("poor", "poor_code_idx", "poor_code_id_idx")]
    {
        for (round, identity) in (1..).zip(identities) {
            let identity = identity.replace("code", code).replace("both", both);
            changes.push(format!("ALTER TABLE {table} REPLICA IDENTITY {identity}"));
            changes.push(format!("UPDATE {table} SET v = v + 1"));
            changes.push(format!(
                "UPDATE {table} SET code = code || 'x' WHERE v % 7 = {round};
                 UPDATE {table} SET id = id + 1000 WHERE v % 7 = {round} + 1 AND id < 1000;
                 DELETE FROM {table} WHERE v % 40 = {round};
                 INSERT INTO {table} VALUES ({round}000 + 777, 'n{round}', 0)"
            ));
        }
    }
    changes
}

#[tokio::test]
async fn an_identity_that_changes_while_running_is_followed() {
    let changes = changes();
    let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    let source = format!("{CREATE} {ROWS}");
    // Where nothing but the primary key makes rows unique.
    let destination = "CREATE TABLE poor (id int PRIMARY KEY, code text NOT NULL, v int, big text)";
    let tables = ["ri", "poor"];
    let case = Case {
        source: &source,
        destination,
        changes: &changes,
        tables: &tables,
        ..Case::default()
    };
    case.arrives().await;
}

#[tokio::test]
async fn an_identity_that_changed_while_stopped_is_followed() {
    let (source, destination) = pair().await;
    source.exec(&format!("{CREATE} {ROWS}")).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    for sql in changes() {
        source.exec(&sql).await;
    }
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["ri", "poor"]).await;
}
