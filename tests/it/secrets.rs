//! No password anywhere but where it is needed: not in logs at any level, not in what is served,
//! stored or told to a server, not in an argument of a process.

use std::fs;
use std::path::Path;

use crate::support::agent::Agent;
use crate::support::cluster::{Stop, pair};
use crate::support::database::Database;
use crate::support::wait;

/// Whatever encodes it, the word in it stays.
const WORD: &str = "CANARY";
const PASSWORD: &str = "CANARY@:/%'\"\\ €";
const ENCODED: &str = "CANARY%40%3A%2F%25%27%22%5C%20%E2%82%AC";

fn assert_clean(what: &str, text: &str) {
    assert!(!text.contains(WORD), "{what} shows a password:\n{text}");
}

/// Every file below, as text.
fn files(dir: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text.push_str(&files(&path));
        } else {
            text.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()));
        }
    }
    text
}

/// Every row of the schema's tables, as text.
async fn rows(database: &Database, schema: &str) -> String {
    let sql = format!("SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'");
    let mut text = String::new();
    for table in database.query(&sql).await.into_iter().flatten().flatten() {
        let sql = format!("SELECT t::text FROM {schema}.\"{table}\" t");
        text.push_str(&format!("{:?}", database.query(&sql).await));
    }
    text
}

async fn sessions(database: &Database) -> String {
    let sql = "SELECT a::text FROM pg_stat_activity a WHERE application_name <> 'harness'";
    format!("{:?}", database.query(sql).await)
}

#[tokio::test]
async fn no_password_is_shown_whatever_goes_wrong() {
    let (mut source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let quoted = PASSWORD.replace('\'', "''");
    destination.exec("CREATE ROLE writer LOGIN SUPERUSER").await;
    source.require_password("postgres", &quoted).await;
    destination.require_password("writer", &quoted).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (secret, seen) = (folder.path().join("secret"), folder.path().join("seen"));
    fs::write(&secret, PASSWORD).expect("our own folder");
    // The command writes down how it was called, and by whom.
    let script = format!(
        "tr '\\0' ' ' </proc/$$/cmdline >>{seen}; tr '\\0' ' ' </proc/$PPID/cmdline >>{seen}; \
         cat {secret}",
        seen = seen.display(),
        secret = secret.display()
    );
    let in_url = destination.url_as(&format!("writer:{ENCODED}"));
    let mut agent = Agent::between(&source, &destination)
        .set("source.password_command", &format!("[\"sh\", \"-c\", {script:?}]"))
        .text("destination.url", &in_url);
    agent.start_with(&["--log-level", "trace,sync_agent=trace,tokio_postgres=trace,rustls=trace"]);
    agent.wait_for_state("streaming").await;
    source.exec("INSERT INTO t VALUES (1, 'a')").await;
    agent.caught_up().await;
    assert_clean("a session at the source", &sessions(&source).await);
    assert_clean("a session at the destination", &sessions(&destination).await);

    // Held by the data, then by a lost privilege of the role, then without its servers.
    destination.exec("ALTER TABLE t ADD CHECK (id <> 2)").await;
    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    agent.wait_for_state("degraded").await;
    for path in ["/metrics", "/status", "/", "/ready", "/live"] {
        assert_clean(path, &agent.get(path).await.1);
    }
    destination.exec("ALTER TABLE t DROP CONSTRAINT t_id_check").await;
    agent.wait_for_state("streaming").await;
    source.restart(Stop::Fast).await;
    // A rotation: the old password is refused until the command gives the new one.
    source.exec(&format!("ALTER ROLE postgres PASSWORD 'new {quoted}'")).await;
    source
        .exec(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name LIKE 'sync-agent%'",
        )
        .await;
    agent.wait_for_state("backoff").await;
    fs::write(&secret, format!("new {PASSWORD}")).expect("our own folder");
    agent.wait_for_state("streaming").await;
    wait::until("the command was seen", wait::PROCESS, async || seen.exists()).await;

    for verb in [&["check"][..], &["status"], &["status", "--output", "json"], &["init"]] {
        let output = agent.verb(verb).await;
        assert_eq!(output.code, 0, "{output:?}");
        assert_clean(verb[0], &format!("{}{}", output.stdout, output.stderr));
    }
    let status = agent.status().await.to_string();
    assert_clean("/status", &status);
    assert_eq!(agent.terminate().await, Some(0));
    let called = fs::read_to_string(&seen).expect("our own folder");
    assert!(called.contains("sync-agent") && called.contains("sh -c"), "{called}");
    assert_clean("a process's arguments", &called);
    assert_clean("the log", &agent.log());
    assert!(agent.log().contains("\"DEBUG\""), "the log was at its loudest");
    assert_clean("the state directory", &files(&agent.state_dir()));
    assert_clean("the destination's state", &rows(&destination, "sync_agent").await);
    for server in [&source, &destination] {
        assert_clean("the server's log", &server.log());
    }
}
