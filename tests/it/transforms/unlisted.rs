//! `unlisted = "fail"`: what nobody has decided about does not travel.

use std::path::Path;

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair};

/// Stands in every value of the column that appears.
const CANARY: &str = "CANARY-7c1e";

fn section(more: &str) -> String {
    format!(
        "[[table]]\nname = \"public.p\"\nwhere = \"n > 0\"\nunlisted = \"fail\"\n[table.columns]\n\
         id = {{ rename = \"id\" }}\nssn = {{ mask = \"full\" }}\nn = {{ sql = \"n * 2\" }}\n\
         size = {{ sql = \"length(ssn) + length(gone)\" }}\ngone = {{ drop = true }}\n{more}\n"
    )
}

/// Whether any file below the folder has it.
fn holds(folder: &Path, text: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn a_column_that_appears_halts_before_its_values_leave_and_an_entry_decides() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE p (id int PRIMARY KEY, ssn text, n int, gone text); \
             INSERT INTO p SELECT g, 's' || g, g, 'g' FROM generate_series(1, 5) g; \
             ALTER TABLE p REPLICA IDENTITY FULL",
        )
        .await;
    // One that is there already and is not named.
    source.exec("ALTER TABLE p ADD COLUMN early text").await;
    let agent = Agent::between(&source, &destination).section(&section(""));
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
    assert!(
        format!("{}{}", output.stdout, output.stderr).contains("\"early\""),
        "{}",
        output.stderr
    );
    source.exec("ALTER TABLE p DROP COLUMN early").await;
    let mut agent = agent;
    agent.start_and_stream().await;
    source.exec("INSERT INTO p VALUES (6, 's6', 6, 'g6')").await;
    source.exec("ALTER TABLE p ADD COLUMN phone text").await;
    source
        .exec(&format!(
            "INSERT INTO p VALUES (7, 's7', 7, 'g7', '{CANARY}1'); \
             UPDATE p SET phone = '{CANARY}2', n = 9 WHERE id = 1; DELETE FROM p WHERE phone IS NOT NULL AND id = 7"
        ))
        .await;
    agent.wait_for_state("degraded").await;
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("\"code\":\"E_SCHEMA\"")).expect("it is said");
    assert!(line.contains("public.p") && line.contains("\\\"phone\\\""), "{line}");
    assert_eq!(
        destination.scalar("SELECT string_agg(id || ':' || n, ' ' ORDER BY id) FROM p").await,
        "1:2 2:4 3:6 4:8 5:10 6:12"
    );
    assert!(!holds(&agent.state_dir(), CANARY), "a value is in the local store");
    for text in
        [log, destination.log(), agent.get("/status").await.1, agent.get("/metrics").await.1]
    {
        assert!(!text.contains(CANARY), "a value left");
    }
    // What to do with it is written down. Nothing has to be copied for it: old rows have nothing of it.
    assert_eq!(agent.terminate().await, Some(0));
    agent.clear_sections();
    let mut agent = agent.section(&section("phone = { drop = true }"));
    agent.start_with(&["--keep-old-rows"]);
    agent.caught_up().await;
    let pair = Pair::renamed("(SELECT * FROM p WHERE n > 0) AS s", "p").columns(
        "id, repeat('*', length(ssn)), n * 2, length(ssn) + length(gone)",
        "id, ssn, n, size",
    );
    assert_pair(&source, &destination, pair).await;
    assert!(!agent.log().contains("is copied again"), "{}", agent.log());
    // Nor was it there in between: the WAL has everything.
    destination.exec("CHECKPOINT").await;
    let data = destination.scalar("SHOW data_directory").await;
    assert!(holds(Path::new(&data), "sync_agent"), "the search finds what is there");
    assert!(!holds(Path::new(&data), CANARY), "a value is at the destination");
}
