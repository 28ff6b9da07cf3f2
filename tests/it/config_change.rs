//! Settings that change between two runs: noticed by fingerprint, never half applied.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair, assert_same};

const TABLES: &str = "CREATE TABLE people (id int PRIMARY KEY, name text, ssn text); \
     INSERT INTO people SELECT g, 'n' || g, 's' || g FROM generate_series(1, 50) g; \
     CREATE TABLE other (id int PRIMARY KEY)";
const MASKED: &str = "[[table]]\nname = \"public.people\"\nunlisted = \"pass\"\n\
     [table.columns]\nssn = { hash = \"sha256\" }";
const HASHED: &str = "encode(sha256(ssn::bytea), 'hex')";

/// Two servers, and an agent that has copied and stopped.
async fn stopped_agent() -> (Cluster, Cluster, Agent) {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    (source, destination, agent)
}

async fn hashed_rows(destination: &Cluster) -> u64 {
    destination.count("people WHERE length(ssn) = 64").await
}

#[tokio::test]
async fn a_changed_transform_is_refused_by_table_and_key_until_it_is_undone() {
    let (source, destination, agent) = stopped_agent().await;
    let mut agent = agent.section(MASKED);
    source.exec("INSERT INTO people VALUES (51, 'new', 'secret')").await;
    for verb in ["check", "run"] {
        let refused = agent.verb(&[verb]).await;
        let said = format!("{}{}", refused.stdout, refused.stderr).replace('\\', "");
        assert_eq!(refused.code, 3, "{said}");
        for part in
            ["\"public\".\"people\": columns.\"ssn\" changed", "resync --table public.people"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert_eq!(destination.count("people").await, 50, "nothing was written");
    agent.clear_sections();
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["people"]).await;
}

#[tokio::test]
async fn keep_old_rows_accepts_the_change_once_and_for_all() {
    let (source, destination, agent) = stopped_agent().await;
    let mut agent = agent.section(MASKED);
    source.exec("INSERT INTO people VALUES (51, 'new', 'secret')").await;
    agent.start_with(&["--keep-old-rows"]);
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_eq!(destination.count("people").await, 51);
    assert_eq!(hashed_rows(&destination).await, 1, "rows copied before stay as they are");
    assert_eq!(agent.terminate().await, Some(0));
    source.exec("UPDATE people SET name = 'x' WHERE id = 1").await;
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_eq!(hashed_rows(&destination).await, 2, "the next start needs no flag");
}

#[tokio::test]
async fn a_resync_makes_all_rows_as_the_settings_say_now() {
    let (source, destination, agent) = stopped_agent().await;
    let mut agent = agent.section(MASKED);
    let asked = agent.verb(&["resync", "--table", "public.people", "--yes"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    assert!(asked.stdout.contains("no agent is at work"), "{}", asked.stdout);
    source.exec("DELETE FROM people WHERE id = 7").await;
    agent.start_and_stream().await;
    source.exec("UPDATE people SET ssn = 'again' WHERE id = 8").await;
    agent.caught_up().await;
    let columns = format!("id, name, {HASHED}");
    let rows = Pair::table("people").columns(&columns, "id, name, ssn");
    assert_pair(&source, &destination, rows).await;
}

#[tokio::test]
async fn a_new_destination_is_a_changed_key_too() {
    let (source, destination, agent) = stopped_agent().await;
    let section = "[[table]]\nname = \"public.people\"\ndestination = \"public.staff\"";
    let mut agent = agent.section(section);
    let refused = agent.verb(&["run"]).await;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains(": destination changed"), "{}", refused.stderr);
    let asked = agent.verb(&["resync", "--table", "public.people", "--yes"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    agent.start_and_stream().await;
    source.exec("INSERT INTO people VALUES (51, 'new', 'x')").await;
    agent.caught_up().await;
    assert_pair(&source, &destination, Pair::renamed("people", "staff")).await;
    assert_eq!(destination.count("people").await, 50, "the old table keeps its rows");
}

#[tokio::test]
async fn a_table_that_is_left_out_keeps_its_rows_and_is_copied_anew_when_it_comes_back() {
    let (source, destination, mut agent) = stopped_agent().await;
    agent.change("exclude", "[\"public.people\"]");
    agent.start_and_stream().await;
    source
        .exec("INSERT INTO people VALUES (51, 'unseen', 'x'); INSERT INTO other VALUES (1)")
        .await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["other"]).await;
    assert_eq!(destination.count("people").await, 50);
    let published = "SELECT count(*) FROM pg_publication_tables WHERE tablename = 'people'";
    assert_eq!(source.scalar(published).await, "0");
    let known = "SELECT count(*) FROM sync_agent.tables WHERE source_table = 'people'";
    assert_eq!(destination.scalar(known).await, "0");
    assert_eq!(agent.terminate().await, Some(0));

    agent.change("exclude", "[]");
    let refused = agent.verb(&["run"]).await;
    assert_eq!(refused.code, 4, "rows that nobody answers for: {}", refused.stderr);
    agent.change("destination.on_existing", "\"truncate\"");
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["people", "other"]).await;
}
