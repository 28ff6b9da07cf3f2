//! Copies of tables with filters, expressions, masks and hashed keys that are cut off, and go on or start
//! over: every row is there once, as the expressions make it of what the source has.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};
use crate::support::wait;

/// Some 650 kB each, in chunks of 128 KiB; large values in every tenth row.
const COLUMNS: &str = "(id int, part text, region text, n int, mail text, pad text, body text, \
     PRIMARY KEY (part, id))";

const TABLES: [&str; 5] = ["sent", "masks", "pushed", "whole", "hashed"];

fn create(table: &str) -> String {
    format!(
        "CREATE TABLE {table} {COLUMNS}; ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL; \
         INSERT INTO {table} SELECT g, 'p' || g % 3, CASE g % 4 WHEN 0 THEN 'us' WHEN 1 THEN NULL ELSE 'eu' END, \
         g % 10, 'user' || g || '@example.org', repeat(md5(g::text), 7), \
         CASE WHEN g % 10 = 0 THEN repeat(md5(g::text), 80) END FROM generate_series(1, 2000) g; "
    )
}

/// Read wherever it has to be: neither is part of a key.
const OPEN: &str = "region = 'eu' OR n > 7 -- or both";

/// Needs the large value at every change. Without it a change may pass by a row that is not loaded, and
/// its key is remembered.
const MIXED: &str =
    "mixed = { sql = \"coalesce(region, '-') || coalesce(left(body, 3), '?') || n\" }\n";

fn has_mixed(table: &str) -> bool {
    matches!(table, "masks" | "whole" | "hashed")
}

const STEPS: &str = r#"
    n     = { sql = "n * 2 + id" }
    size  = { sql = "length(body)" }
    mail  = { mask = "email" }
"#;

fn section(table: &str) -> String {
    let (condition, more) = match table {
        "sent" => (OPEN, String::new()),
        // Reads what only the agent makes: the copy computes its expressions apart.
        "masks" => (OPEN, "who = { sql = \"left(mail, 4) || n\" }\nbody = { drop = true }".into()),
        "pushed" => ("id % 3 <> 1", String::new()),
        "whole" => (OPEN, "body = { drop = true }".into()),
        _ => (OPEN, "part = { hash = \"sha256\" }".into()),
    };
    let mixed = if has_mixed(table) { MIXED } else { "" };
    format!(
        "[[table]]\nname = \"public.{table}\"\nwhere = \"{condition}\"\n[table.columns]\n{STEPS}{mixed}{more}\n"
    )
}

const MASKED: &str = "left(mail, 1) || repeat('*', position('@' in mail) - 2) \
     || substr(mail, position('@' in mail))";

fn expected(table: &str) -> Pair {
    let condition = if table == "pushed" { "id % 3 <> 1" } else { OPEN };
    let part = if table == "hashed" { "encode(sha256(part::bytea), 'hex')" } else { "part" };
    let (body, there) = match table {
        "masks" | "whole" => ("", ""),
        _ => (", body", ", body"),
    };
    let who = format!(", left({MASKED}, 4) || n");
    let (who, who_there) = if table == "masks" { (who.as_str(), ", who") } else { ("", "") };
    let here = format!(
        "id, {part}, region, n * 2 + id, length(body), {MASKED}, pad{body}{who}{}",
        if has_mixed(table) {
            ", coalesce(region, '-') || coalesce(left(body, 3), '?') || n"
        } else {
            ""
        }
    );
    let mixed = if has_mixed(table) { ", mixed" } else { "" };
    let there = format!("id, part, region, n, size, mail, pad{there}{who_there}{mixed}");
    Pair::renamed(&format!("(SELECT * FROM {table} WHERE {condition}\n) AS s"), table)
        .columns(&here, &there)
}

/// Rows of all blocks: in, out and within the filter, with and without their large value, under other
/// keys, gone, new, and moved into blocks that are loaded already.
async fn change(source: &Cluster, round: i32) {
    for table in TABLES {
        source
            .exec(&format!(
                "UPDATE {table} SET n = 9 - n WHERE id % 20 = 10 * {round} % 20;
                 UPDATE {table} SET region = 'eu' WHERE id % 40 = 20;
                 UPDATE {table} SET region = 'us', n = 1 WHERE id % 50 = 30;
                 UPDATE {table} SET region = 'us', n = 1 WHERE id % 100 = 50 AND {round} = 2;
                 UPDATE {table} SET id = id WHERE id % 100 = 60;
                 UPDATE {table} SET id = id + 10000 * {round} WHERE id % 100 = 10;
                 UPDATE {table} SET part = 'q', region = 'eu' WHERE id % 100 = 70 + {round};
                 UPDATE {table} SET n = n + 1 WHERE id % 100 = 10;
                 UPDATE {table} SET body = repeat('new', 900) WHERE id % 200 = 90;
                 UPDATE {table} SET body = NULL WHERE id % 200 = 110 + 10 * {round};
                 DELETE FROM {table} WHERE id % 60 = {round} OR id BETWEEN {round} * 300 AND {round} * 300 + 90;
                 INSERT INTO {table} SELECT g, 'p1', 'eu', g % 10, 'new' || g || '@x.org', 'new', repeat('x', 3000)
                     FROM generate_series({round} * 100000, {round} * 100000 + 50) g"
            ))
            .await;
        source.exec(&format!("VACUUM {table}")).await;
        source.exec(&format!("UPDATE {table} SET n = n WHERE id > 1500 AND id % 10 = 0")).await;
    }
}

async fn assert_all(source: &Cluster, destination: &Cluster) {
    for table in TABLES {
        assert_pair(source, destination, expected(table)).await;
    }
}

#[tokio::test]
async fn filtered_and_computed_tables_go_on_where_their_copy_was_cut_off() {
    let (source, destination) = pair().await;
    for table in TABLES {
        source.exec(&create(table)).await;
    }
    source.exec("ALTER TABLE whole REPLICA IDENTITY FULL").await;
    let agent = Agent::between(&source, &destination).text("snapshot.chunk", "128KiB");
    let mut agent = TABLES.iter().fold(agent, |agent, table| agent.section(&section(table)));
    for (round, death) in (1..).zip(["chunk-committed:9=kill", "point-reached=kill"]) {
        agent.arm(death);
        agent.start();
        agent.wait_for_exit().await;
        let point = death.split([':', '=']).next().expect("a name");
        let log = agent.log();
        let last = format!("failpoint {point}: the process ends here");
        assert_eq!(log.lines().last(), Some(last.as_str()), "it did not die there:\n{log}");
        change(&source, round).await;
    }
    // And once the servers end the sessions of an agent that lives.
    agent.arm("chunk-committed:2=park");
    agent.start();
    agent.wait_for("it stands still", async |agent| agent.log().contains(": parked")).await;
    change(&source, 3).await;
    for side in [&source, &destination] {
        side.exec(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name LIKE 'sync-agent/%'",
        )
        .await;
    }
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_all(&source, &destination).await;
    // Those that can go on did, and nothing is left of it.
    let went_on = agent.log().matches("a copy that was cut off goes on").count();
    assert!(went_on >= 2, "{}", agent.log());
    let left = "SELECT (SELECT count(*) FROM sync_agent.chunks) || ' ' \
         || (SELECT count(*) FROM sync_agent.missing)";
    assert_eq!(destination.scalar(left).await, "0 0");
    wait::until("one slot is left", wait::PROCESS, async || {
        source.scalar("SELECT count(*) FROM pg_replication_slots").await == "1"
    })
    .await;
    assert_eq!(agent.terminate().await, Some(0));
}
