//! Expressions beside columns whose text names objects (regclass): those are found by a search path, and
//! arrive as the objects that they are.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair};

/// Two tables of one name; the role's path finds the first of them without its schema.
const OBJECTS: &str = "CREATE SCHEMA app; CREATE TABLE app.thing (); CREATE TABLE public.thing ();";

const ROWS: &str =
    "CREATE FUNCTION app.doubled(n int) RETURNS int LANGUAGE sql STABLE AS 'SELECT n * 2';
     CREATE TABLE notes (id int PRIMARY KEY, about regclass, n int, secret text);
     INSERT INTO notes SELECT g, CASE g % 3 WHEN 0 THEN 'app.thing' WHEN 1 THEN 'public.thing'
                                 ELSE 'pg_catalog.pg_class' END::regclass, g, 'CANARY' || g
       FROM generate_series(1, 3000) g;";

const SECTION: &str = r#"
[[table]]
name = "public.notes"
where = "n % 5 <> 0"
[table.columns]
n      = { sql = "doubled(n)" }
hidden = { sql = "secret" }
secret = { mask = { keep_last = 1 } }
"#;

/// By its schema, whatever the session's search path is.
const ABOUT: &str = "(pg_identify_object('pg_class'::regclass, about, 0)).identity";

fn notes() -> Pair {
    let masked = "repeat('*', length(secret) - 1) || right(secret, 1)";
    Pair::renamed("(SELECT * FROM notes WHERE n % 5 <> 0) AS notes", "notes").columns(
        &format!("id, {ABOUT}, n * 2, {masked}, {masked}"),
        &format!("id, {ABOUT}, n, hidden, secret"),
    )
}

#[tokio::test]
async fn named_objects_arrive_as_they_are_beside_expressions() {
    let (source, destination) = pair().await;
    for server in [&source, &destination] {
        server.exec(OBJECTS).await;
    }
    source.exec(ROWS).await;
    let role = "ALTER ROLE postgres SET search_path = app, public";
    source.exec(role).await;
    let mut agent =
        Agent::between(&source, &destination).set("include", "['public.notes']").section(SECTION);
    let snapshot = agent.verb(&["snapshot", "--output", "json"]).await;
    assert_eq!(snapshot.code, 0, "{}", snapshot.stderr);
    assert!(snapshot.stdout.contains("\"rows\": 2400"), "{}", snapshot.stdout);
    assert_pair(&source, &destination, notes()).await;
    destination.exec("DROP TABLE notes; DROP SCHEMA sync_agent CASCADE").await;
    agent.start_and_stream().await;
    assert_pair(&source, &destination, notes()).await;
    source
        .exec(
            "INSERT INTO notes SELECT id + 10000, about, n + 1, secret FROM notes WHERE id < 50;
             UPDATE notes SET n = n + 1, about = 'app.thing' WHERE id < 20;
             UPDATE notes SET about = 'public.thing' WHERE id BETWEEN 20 AND 30;
             DELETE FROM notes WHERE id > 2990 AND id < 5000",
        )
        .await;
    agent.caught_up().await;
    assert_pair(&source, &destination, notes()).await;
}
