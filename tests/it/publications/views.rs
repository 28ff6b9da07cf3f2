//! What the destination holds is what the publications show of the source, at every moment of rest.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair, assert_same};
use crate::support::hold::{GATE, Hold};

/// xorshift64*, to draw changes that come again with the same seed.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    /// A value that is NULL, in the filter, or out of it.
    fn ten(&mut self) -> &'static str {
        ["NULL", "1", "2", "1"][usize::try_from(self.below(4)).expect("below 4")]
    }

    /// One transaction over `r`; never fails on a duplicate.
    fn transaction(&mut self) -> String {
        let mut sql = "BEGIN; ".to_owned();
        for _ in 0..=self.below(3) {
            let (a, b, ten) = (self.below(60), self.below(60), self.ten());
            sql.push_str(&match self.below(9) {
                0 | 1 => format!(
                    "INSERT INTO r VALUES ({a}, {ten}, 'i', repeat('x', 3000)) ON CONFLICT DO NOTHING; "
                ),
                2 => format!("DELETE FROM r WHERE id = {a}; "),
                3 | 4 => format!("UPDATE r SET ten = {ten} WHERE id = {a}; "),
                5 => format!("UPDATE r SET ten = {ten} WHERE id BETWEEN {a} AND {a} + 9; "),
                6 => format!("UPDATE r SET v = v || '+' WHERE id = {a}; "),
                7 => format!("UPDATE r SET big = repeat('y', 3000), ten = {ten} WHERE id = {a}; "),
                _ => format!(
                    "UPDATE r SET id = {b}, ten = {ten} WHERE id = {a} \
                     AND NOT EXISTS (SELECT FROM r WHERE id = {b}); "
                ),
            });
        }
        if self.below(40) == 0 {
            sql.push_str(
                "TRUNCATE r; INSERT INTO r VALUES (1, 1, 't', 'x'), (2, NULL, 't', 'x'); ",
            );
        }
        sql + "COMMIT"
    }
}

/// The rows that one of the publications would send.
const SHOWN: &str = "(SELECT * FROM r WHERE ten = 1 OR id > 40) AS r";

#[allow(clippy::print_stderr, reason = "a failure shows the seed, which brings the same again")]
#[tokio::test]
async fn rows_that_enter_and_leave_filters_at_random_are_there_exactly_while_they_are_shown() {
    let (source, destination) = pair().await;
    source.exec(GATE).await;
    source
        .exec(
            "CREATE TABLE r (id int PRIMARY KEY, ten int, v text, big text);
             ALTER TABLE r REPLICA IDENTITY FULL; ALTER TABLE r ALTER big SET STORAGE EXTERNAL;
             INSERT INTO r SELECT g, NULLIF(g % 4, 3), 'v', repeat('b', 3000) FROM generate_series(1, 60) g;
             CREATE PUBLICATION p FOR TABLE r WHERE (ten = 1), gate;
             CREATE PUBLICATION q FOR TABLE r WHERE (id > 40)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination)
        .set("source.publication", "[\"p\", \"q\"]")
        .set("apply.max_batch_rows", "1");
    agent.start_and_stream().await;
    let seed = u64::from(std::process::id()) | 1;
    eprintln!("seed {seed}");
    let mut noise = Noise(seed);
    for _ in 0..2 {
        let session = source.session().await.expect("the source answers");
        // Rests on the way while every batch is a transaction; then all of it at once.
        for _ in 0..4 {
            let hold = Hold::place(&source, &destination).await;
            for _ in 0..30 {
                session.batch_execute(&noise.transaction()).await.expect("it is made not to fail");
            }
            hold.release().await;
            agent.caught_up().await;
            assert_pair(&source, &destination, Pair::renamed(SHOWN, "r").columns("r", "r")).await;
        }
        assert_eq!(agent.terminate().await, Some(0));
        agent.change("apply.max_batch_rows", "50000");
        agent.start_and_stream().await;
    }
}

async fn has(agent: &mut Agent, destination: &Cluster, table: &str, rows: u64) {
    agent
        .wait_for(&format!("{table} with {rows} rows"), async |_| {
            let sql = format!("SELECT count(*) FROM {table}");
            let found = destination.try_query(&sql).await.unwrap_or_default();
            found.first().and_then(|row| row[0].clone()) == Some(rows.to_string())
        })
        .await;
}

/// A publication that takes in tables by itself: none is streamed without its earlier rows.
async fn takes_in(publication: &str) {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'a');
             CREATE SCHEMA other; CREATE TABLE other.moved (id int PRIMARY KEY, v text);
             INSERT INTO other.moved SELECT g, 'before' FROM generate_series(1, 50) g",
        )
        .await;
    source.exec(publication).await;
    let mut agent =
        Agent::between(&source, &destination).text("source.publication", "p").looking_often();
    agent.start_and_stream().await;
    source
        .exec(
            "BEGIN; CREATE TABLE born (id int PRIMARY KEY, v text);
             INSERT INTO born SELECT g, 'before' FROM generate_series(1, 50) g;
             INSERT INTO a VALUES (2, 'b'); COMMIT",
        )
        .await;
    source.exec("INSERT INTO born VALUES (51, 'after')").await;
    source
        .exec(
            "BEGIN; INSERT INTO other.moved VALUES (51, 'before');
             ALTER TABLE other.moved SET SCHEMA public; INSERT INTO moved VALUES (52, 'after'); COMMIT",
        )
        .await;
    source
        .exec("UPDATE moved SET v = 'changed' WHERE id = 3; DELETE FROM moved WHERE id = 4")
        .await;
    has(&mut agent, &destination, "born", 51).await;
    has(&mut agent, &destination, "moved", 51).await;
    // Until the stream has taken them over, what is applied up to says nothing of them.
    agent.wait_for_state("streaming").await;
    source.exec("UPDATE born SET v = v || '!'; INSERT INTO moved VALUES (60, 'later')").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["a", "born", "moved"]).await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn for_tables_in_schema_takes_in_new_and_moved_tables_whole() {
    takes_in("CREATE PUBLICATION p FOR TABLES IN SCHEMA public").await;
}

#[tokio::test]
async fn a_list_without_the_key_is_found_and_the_statement_mends_it() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'v');
             CREATE PUBLICATION p FOR TABLE a (v)",
        )
        .await;
    assert!(source.try_exec("UPDATE a SET v = 'w'").await.is_err(), "the server refuses it");
    let agent = Agent::between(&source, &destination).text("source.publication", "p");
    let checked = agent.verb(&["check", "--output", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("a list");
    let found = findings
        .iter()
        .find(|finding| finding["message"].as_str().is_some_and(|text| text.contains("lists only")))
        .unwrap_or_else(|| panic!("{findings:?}"));
    source.exec(found["remedy"].as_str().expect("a statement")).await;
    source.exec("UPDATE a SET v = 'w'").await;
}

mod long {
    #[ignore = "long: make test-long"]
    #[tokio::test]
    async fn for_all_tables_takes_in_new_and_moved_tables_whole() {
        super::takes_in("CREATE PUBLICATION p FOR ALL TABLES").await;
    }
}
