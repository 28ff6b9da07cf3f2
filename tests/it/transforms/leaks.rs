//! No value of a masked column is anywhere but at the source: everything that the agent and the destination
//! write is searched for it, after copies, changes and failures of every kind.

use std::path::Path;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::{Pair, assert_pair};
use crate::support::database::Database;

/// Stands in every value that must not leave the source. Never part of a statement of ours over there,
/// which logs all of them.
const CANARY: &str = "CANARY-";

/// What a server says at most of statements and errors.
const TALKATIVE: &str = "log_statement = all\nlog_parameter_max_length = -1\n\
     log_parameter_max_length_on_error = -1\nlog_min_error_statement = debug5\n\
     log_error_verbosity = verbose\n";

/// A function that says its argument in every field, under a code of its own.
const REFUSING: &str = "CREATE OR REPLACE FUNCTION judged(t text) RETURNS int LANGUAGE plpgsql STABLE AS $$
    BEGIN
      RAISE WARNING 'saw %', t;
      IF t LIKE '%bad%' THEN
        RAISE EXCEPTION 'no % here', t USING DETAIL = t, HINT = t, ERRCODE = 'ABCDE', TABLE = t, COLUMN = t;
      END IF;
      RETURN length(t);
    END $$";

const MENDED: &str = "CREATE OR REPLACE FUNCTION judged(t text) RETURNS int LANGUAGE sql STABLE AS
    'SELECT length(t)'";

const TABLES: &str = "
    CREATE TABLE people (id text PRIMARY KEY, ssn text, mail text, note text, swapped text, doc jsonb,
        gone text, big text, kept text, n int);
    ALTER TABLE people ALTER big SET STORAGE EXTERNAL, ALTER kept SET STORAGE EXTERNAL;
    CREATE TABLE plain (id int PRIMARY KEY, gone text);";

/// Rows of `people`, with a canary in every column but one.
fn rows(first: u32, last: u32) -> String {
    format!(
        "INSERT INTO people SELECT c || g, c || g, c || g, c || g, c || g,
            jsonb_build_object('secret', c || g, 'open', g), c || g, c || repeat(md5(g::text), 99),
            c || repeat(md5(g::text), 99), g
           FROM generate_series({first}, {last}) g, (VALUES ('{CANARY}')) AS v (c);"
    )
}

const SECTIONS: &str = r#"
    [[table]]
    name = "public.people"
    [table.columns]
    id      = { hash = "hmac-sha256", key = "pepper" }
    ssn     = { mask = "full" }
    seen    = { sql = "left(ssn, 3)" }
    mail    = { fake = "email", key = "pepper" }
    note    = { "null" = true }
    swapped = { replace = { pattern = "CAN[A-Z]+-", with = "-" } }
    doc     = { json_drop = ["secret"] }
    gone    = { drop = true }
    verdict = { sql = "judged(gone)" }
    big     = { drop = true }
    size    = { sql = "length(big) + n" }
    kept    = { mask = "full" }
    [[table]]
    name = "public.plain"
    [table.columns]
    gone    = { drop = true }
    verdict = { sql = "judged(gone)" }
"#;

fn contains(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

/// The files below a folder with a canary in them.
fn found_in(folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found_in(&path, found),
            // A file that is gone by now, or a socket.
            false if std::fs::read(&path).is_ok_and(|bytes| contains(&bytes)) => {
                found.push(path.display().to_string());
            }
            false => {}
        }
    }
}

/// Every table as text, and what is running.
const DUMP: &str = "SELECT query_to_xml(format('SELECT * FROM %s', oid::regclass), true, false, '')
      FROM pg_class WHERE relkind IN ('r', 'p')
       AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    UNION ALL SELECT query_to_xml('SELECT * FROM pg_stat_activity', true, false, '')";

/// Looks everywhere: what the agent shows and keeps, what the server shows, its log and all of its files.
async fn assert_clean(agent: &Agent, destination: &Cluster, after: &str) {
    for path in ["/metrics", "/status"] {
        let shown = agent.get(path).await.1;
        assert!(!contains(shown.as_bytes()), "{after}: {path}: {shown}");
    }
    let log = agent.log();
    let said = log.lines().find(|line| contains(line.as_bytes()));
    assert!(said.is_none(), "{after}: the agent's log: {said:?}");
    for row in destination.query(DUMP).await {
        assert!(!row.iter().flatten().any(|text| contains(text.as_bytes())), "{after}: {row:?}");
    }
    destination.exec("CHECKPOINT").await;
    let mut found = Vec::new();
    found_in(&agent.state_dir(), &mut found);
    found_in(&destination.socket, &mut found);
    assert!(found.is_empty(), "{after}: {found:?}");
}

/// Waits until it holds for such a reason, and gives what it says of it.
async fn held(agent: &mut Agent, code: &str, about: &str) -> serde_json::Value {
    let mut line = serde_json::Value::Null;
    agent
        .wait_for(&format!("{code} of {about}"), async |agent| {
            let log = agent.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
            let mut said = lines.filter(|line: &serde_json::Value| line["code"] == code);
            line = said.find(|line| line.to_string().contains(about)).unwrap_or_default();
            !line.is_null()
        })
        .await;
    agent.wait_for_state("degraded").await;
    line
}

fn people() -> Pair {
    Pair::table("people").columns(
        "encode(hmac(id, 'pepper', 'sha256'), 'hex'), repeat('*', length(ssn)), '***'::text, NULL::text, \
         regexp_replace(swapped, 'CAN[A-Z]+-', '-'), doc - 'secret', length(gone), length(big) + n, \
         repeat('*', length(kept)), n",
        "id, ssn, seen, note, swapped, doc, verdict, size, kept, n",
    )
}

async fn assert_arrived(source: &Database, destination: &Database) {
    assert_pair(source, destination, people()).await;
    let plain = Pair::table("plain").columns("id, length(gone)", "id, verdict");
    assert_pair(source, destination, plain).await;
}

#[tokio::test]
async fn no_masked_value_is_anywhere_but_at_the_source() {
    let spec = Spec { identity: 1, settings: TALKATIVE.to_owned(), ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::source(), Cluster::start(spec));
    source.exec(&format!("CREATE EXTENSION pgcrypto; {TABLES} {} {REFUSING}", rows(1, 50))).await;
    source.exec(&format!("INSERT INTO plain VALUES (1, '{CANARY}1'), (2, '{CANARY}bad')")).await;
    let mut agent = Agent::between(&source, &destination).section(SECTIONS);
    agent.start_with(&["--log-level", "sync_agent=trace,tokio_postgres=trace"]);
    // The copy: its own SELECT is refused.
    let line = held(&mut agent, "E_DATA", "public.plain").await;
    assert!(line["message"].as_str().is_some_and(|text| text.contains("ABCDE")), "{line}");
    assert_eq!(line["key"], "id", "{line}");
    assert_clean(&agent, &destination, "a copy that failed").await;
    // As if something did not exist: a cast to regclass says such a thing of a value.
    source.exec(&REFUSING.replace("ABCDE", "42P01")).await;
    let line = held(&mut agent, "E_SCHEMA", "public.plain").await;
    assert!(line["message"].as_str().is_some_and(|text| text.contains("42P01")), "{line}");
    source.exec(MENDED).await;
    agent.wait_for_state("streaming").await;
    assert_clean(&agent, &destination, "the copy").await;
    // Keys, and large values that are not sent: some have to be read again.
    source.exec(&rows(51, 60)).await;
    source.exec("UPDATE people SET n = -n WHERE n % 3 = 0").await;
    source.exec("UPDATE people SET id = id || 'x' WHERE n % 5 = 0").await;
    source.exec("DELETE FROM people WHERE n = 7").await;
    // A row that the destination has lost is read again as a whole.
    agent.caught_up().await;
    destination.exec("DELETE FROM people WHERE n = 8").await;
    source.exec("UPDATE people SET n = 800 WHERE n = 8").await;
    agent.caught_up().await;
    assert_arrived(&source, &destination).await;
    // An expression that fails for a row of the stream.
    source.exec(REFUSING).await;
    source.exec("UPDATE people SET gone = gone || 'bad' WHERE n = 10").await;
    let line = held(&mut agent, "E_DATA", "public.people").await;
    assert!(line["message"].as_str().is_some_and(|text| text.contains("ABCDE")), "{line}");
    assert_eq!(line["key"], "id", "{line}");
    assert!(line["lsn"].is_string(), "{line}");
    assert_clean(&agent, &destination, "a row that was refused").await;
    source.exec(MENDED).await;
    agent.caught_up().await;
    // What the destination refuses.
    for (refuse, accept, change) in [
        (
            "ALTER TABLE people ADD CONSTRAINT small CHECK (n < 900)",
            "ALTER TABLE people DROP CONSTRAINT small",
            "UPDATE people SET n = 900 WHERE n = 11",
        ),
        (
            "CREATE UNIQUE INDEX apart ON people (n)",
            "DROP INDEX apart",
            "UPDATE people SET n = 13 WHERE n = 14",
        ),
        (
            "ALTER TABLE people ALTER note SET NOT NULL",
            "ALTER TABLE people ALTER note DROP NOT NULL",
            "UPDATE people SET n = 16 WHERE n = 17",
        ),
    ] {
        if refuse.contains("NOT NULL") {
            destination.exec("UPDATE people SET note = ''").await;
        }
        destination.exec(refuse).await;
        source.exec(change).await;
        agent.wait_for_state("degraded").await;
        assert_clean(&agent, &destination, refuse).await;
        destination.exec(accept).await;
        if refuse.contains("NOT NULL") {
            destination.exec("UPDATE people SET note = NULL").await;
        }
        agent.caught_up().await;
    }
    assert_arrived(&source, &destination).await;
    assert!(agent.log().contains("E_CONFLICT"), "something was refused");
    assert_clean(&agent, &destination, "everything").await;
    // Whoever looks finds what is there.
    let mut there = Vec::new();
    source.exec("CHECKPOINT").await;
    found_in(&source.socket, &mut there);
    assert!(there.len() > 2, "{there:?}");
}
