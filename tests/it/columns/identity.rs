//! `GENERATED ALWAYS AS IDENTITY`: no UPDATE of ours may set it, and yet it changes at the source.

use crate::support::agent::Agent;
use crate::support::both_ways::Case;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

/// As the key and beside it, with large values that are not sent and a column of the destination's own.
#[tokio::test]
async fn identities_that_change_keep_what_is_not_sent() {
    let source = "
        CREATE TABLE keyed (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, big text);
        CREATE TABLE beside (k text PRIMARY KEY, id bigint GENERATED ALWAYS AS IDENTITY, v text, big text);
        ALTER TABLE keyed ALTER big SET STORAGE EXTERNAL; ALTER TABLE beside ALTER big SET STORAGE EXTERNAL;
        INSERT INTO keyed (v, big) SELECT 'v' || g, repeat('b', 5000) FROM generate_series(1, 10) g;
        INSERT INTO beside (k, v, big)
          SELECT 'k' || g, 'v' || g, repeat('b', 5000) FROM generate_series(1, 50) g";
    let destination = "
        CREATE TABLE keyed (own int DEFAULT 7, v text, big text,
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          number int GENERATED ALWAYS AS IDENTITY (START 100));
        CREATE TABLE beside (own int DEFAULT 7, k text PRIMARY KEY,
          id bigint GENERATED ALWAYS AS IDENTITY, v text, big text)";
    let changes = [
        "UPDATE beside SET v = v || '!' WHERE k = 'k1'",
        "UPDATE beside SET id = DEFAULT WHERE k = 'k2'",
        "UPDATE beside SET k = 'kk3', id = DEFAULT WHERE k = 'k3'",
        "UPDATE beside SET v = v || '?' WHERE k > 'k2'; DELETE FROM beside WHERE k = 'k5'",
        "INSERT INTO beside (k) SELECT 'n' || g FROM generate_series(1, 40) g",
        "UPDATE keyed SET id = DEFAULT WHERE id = 3; UPDATE keyed SET v = 'x' WHERE id < 3",
        "UPDATE keyed SET id = DEFAULT; UPDATE keyed SET v = v || 'y' WHERE id % 2 = 0",
        "INSERT INTO keyed (v) SELECT 'n' || g FROM generate_series(1, 40) g",
        "UPDATE keyed SET id = DEFAULT, big = 'short' WHERE v = 'n3'; DELETE FROM keyed WHERE v = 'n4'",
    ];
    let case = Case {
        source,
        destination,
        changes: &changes,
        tables: &["keyed", "beside"],
        ..Case::default()
    };
    for arrived in case.arrives().await {
        let numbers = "SELECT min(number) || ' ' || count(*) FROM keyed WHERE number < 110";
        assert_eq!(arrived.destination.scalar(numbers).await, "100 10", "its own values stay");
    }
}

/// A row that is deleted and inserted again would take the rows along that refer to it, where foreign
/// keys are checked: one whose identity stays is updated.
#[tokio::test]
async fn an_update_beside_an_identity_deletes_nothing() {
    let (source, destination) = pair().await;
    let tables = "
        CREATE TABLE parent (k int PRIMARY KEY, id int GENERATED ALWAYS AS IDENTITY, v int);
        CREATE TABLE child (k int PRIMARY KEY REFERENCES parent ON DELETE CASCADE)";
    source.exec(tables).await;
    source
        .exec("INSERT INTO parent (k, v) SELECT g, g FROM generate_series(1, 5) g; INSERT INTO child SELECT generate_series(1, 5)")
        .await;
    destination
        .exec(&format!(
            "CREATE ROLE writer LOGIN; GRANT CREATE ON DATABASE postgres TO writer;
             GRANT ALL ON SCHEMA public TO writer; SET ROLE writer; {tables}"
        ))
        .await;
    let mut agent = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_as("writer"));
    agent.start_and_stream().await;
    source.exec("UPDATE parent SET v = v + 1").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["parent", "child"]).await;
    assert_eq!(destination.count("child").await, 5);
}
