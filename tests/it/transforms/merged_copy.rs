//! Several tables with one destination whose rows stay when they are deleted: copied in chunks, cut off,
//! copied again one by one.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};

/// Some 800 kB each; two are marked, two are kept.
const TABLES: [&str; 4] = ["ma", "mb", "ka", "kb"];

fn create(table: &str) -> String {
    format!(
        "CREATE TABLE {table} (id int PRIMARY KEY, v text, n int, pad text); \
         INSERT INTO {table} SELECT g, '{table} ' || g, g % 10, repeat(md5(g::text), 9) \
             FROM generate_series(1, 2000) g; "
    )
}

fn section(table: &str) -> String {
    let (kind, tenant) = table.split_at(1);
    let (destination, on_delete) =
        if kind == "m" { ("marked", "mark:gone") } else { ("kept", "keep") };
    format!(
        "[[table]]\nname = \"public.{table}\"\ndestination = \"public.{destination}\"\n\
         on_delete = \"{on_delete}\"\nwhere = \"n <> 3\"\n[table.columns]\ntenant = {{ value = \"{tenant}\" }}\n\
         v = [{{ sql = \"v || '/' || n\" }}, {{ replace = {{ pattern = \"^[mk]\", with = \"t\" }} }}]\n"
    )
}

/// What the source has now is there, live, once.
async fn assert_live(source: &Cluster, destination: &Cluster) {
    for (kind, table, live) in [
        ("m", "marked", "(SELECT * FROM marked WHERE gone IS NULL) AS s"),
        (
            "k",
            "kept",
            "(SELECT * FROM kept WHERE (tenant, id) NOT IN (SELECT * FROM known_gone)) AS s",
        ),
    ] {
        let rows = format!(
            "(SELECT 'a' AS tenant, * FROM {kind}a UNION ALL SELECT 'b', * FROM {kind}b) AS s WHERE n <> 3"
        );
        let here = "tenant, id, regexp_replace(v || '/' || n, '^[mk]', 't'), n, pad";
        let pair = Pair::renamed(&rows, live).columns(here, "tenant, id, v, n, pad");
        assert_pair(source, destination, pair).await;
        let twice = format!("SELECT count(*) - count(DISTINCT (tenant, id)) FROM {table}");
        assert_eq!(destination.scalar(&twice).await, "0", "{table}");
    }
}

/// All of one tenant's rows in both, marks and their times included.
async fn rows_of(destination: &Cluster, tenant: &str) -> String {
    let sum = format!(
        "SELECT md5(string_agg(r::text, '|' ORDER BY r::text)) FROM \
         (SELECT row(m.*) AS r FROM marked m WHERE tenant = '{tenant}' \
          UNION ALL SELECT row(k.*) FROM kept k WHERE tenant = '{tenant}') AS rows"
    );
    destination.scalar(&sum).await
}

async fn gone(destination: &Cluster, tenant: &str) -> String {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE gone IS NOT NULL) FROM marked WHERE tenant = '{tenant}'"
    );
    destination.scalar(&sql).await
}

#[tokio::test]
async fn tables_that_share_a_destination_and_keep_their_rows_survive_a_cut_off_copy_and_a_resync() {
    let (source, destination) = pair().await;
    source.exec(&TABLES.map(create).concat()).await;
    // Rows of kept tables that the source has no more; nothing else says so.
    destination.exec("CREATE TABLE known_gone (tenant text, id int)").await;
    let agent = Agent::between(&source, &destination).text("snapshot.chunk", "128KiB");
    let mut agent = TABLES.iter().fold(agent, |agent, table| agent.section(&section(table)));
    for (round, death) in (1..).zip(["chunk-committed:7=kill", "last-chunk-committed:2=kill"]) {
        agent.arm(death);
        agent.start();
        agent.wait_for_exit().await;
        assert!(agent.log().ends_with("the process ends here\n"), "{}", agent.log());
        for table in TABLES {
            source
                .exec(&format!(
                    "UPDATE {table} SET n = {round}, id = id + {round}0000 WHERE id % 100 = {round};
                     UPDATE {table} SET n = 9 - n WHERE id % 50 = {round};
                     INSERT INTO {table} SELECT g, 'new', 1, 'p' FROM generate_series({round}00000, {round}00020) g"
                ))
                .await;
        }
    }
    agent.arm("");
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_live(&source, &destination).await;
    // Two that go, by a DELETE and out of the filter, in each tenant's place alone.
    source
        .exec(
            "DELETE FROM ma WHERE id IN (5, 6); UPDATE ma SET n = 3 WHERE id = 7; \
             DELETE FROM ka WHERE id IN (5, 6); UPDATE ka SET n = 3 WHERE id = 7; \
             DELETE FROM mb WHERE id = 8; INSERT INTO ma VALUES (6, 'back', 1, 'p')",
        )
        .await;
    destination.exec("INSERT INTO known_gone VALUES ('a', 5), ('a', 6), ('a', 7)").await;
    agent.caught_up().await;
    assert_live(&source, &destination).await;
    assert_eq!(
        (gone(&destination, "a").await, gone(&destination, "b").await),
        ("2".into(), "1".into())
    );
    // One of each is copied again, and the agent dies in it; the other one's rows are not touched.
    assert_eq!(agent.terminate().await, Some(0));
    destination.exec("UPDATE marked SET v = 'spoilt' WHERE n = 5 AND tenant = 'a'").await;
    destination.exec("UPDATE kept SET v = 'spoilt' WHERE n = 6 AND tenant = 'a'").await;
    destination.exec("DELETE FROM marked WHERE n = 4 AND tenant = 'a'").await;
    let (others, marks) = (rows_of(&destination, "b").await, gone(&destination, "a").await);
    agent.arm("chunk-loaded:2=kill");
    agent.start_and_stream().await;
    let resync = ["resync", "--table", "public.ma", "--table", "public.ka", "--yes"];
    let output = agent.verb(&resync).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    agent.wait_for_exit().await;
    assert!(agent.log().ends_with("the process ends here\n"), "{}", agent.log());
    source.exec("UPDATE ma SET n = 8 WHERE id = 9; UPDATE ka SET n = 8 WHERE id = 9").await;
    agent.arm("");
    agent.start_and_stream().await;
    agent
        .wait_for("both are copied", async |_| {
            let sql =
                "SELECT count(*) FROM sync_agent.tables WHERE state = 'copied' AND NOT beside";
            destination.scalar(sql).await == "4"
        })
        .await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_eq!(gone(&destination, "a").await, marks, "deleted rows stay deleted");
    assert_eq!(rows_of(&destination, "b").await, others, "they are not its rows");
    assert_live(&source, &destination).await;
    assert_eq!(destination.count("kept JOIN known_gone USING (tenant, id)").await, 3, "and kept");
    assert_eq!(agent.terminate().await, Some(0));
}
