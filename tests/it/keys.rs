//! Keys that are deleted, inserted again, moved and swapped, also within one batch.

mod chosen;
mod constraints;
mod equal;
mod identity;
mod whole;

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;
use crate::support::hold::{GATE, Hold};

/// Reproducible noise: a linear congruential generator (the constants are Knuth's MMIX).
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// One transaction that inserts, deletes or moves keys; never fails on a duplicate.
    fn transaction(&mut self) -> String {
        let mut sql = "BEGIN; ".to_owned();
        for _ in 0..=self.below(3) {
            let (a, b, v) = (1 + self.below(10), 1 + self.below(10), self.below(1000));
            sql.push_str(&match self.below(4) {
                0 => format!("INSERT INTO k VALUES ({a}, 'i{v}') ON CONFLICT DO NOTHING; "),
                1 => format!("DELETE FROM k WHERE id = {a}; "),
                2 => format!("UPDATE k SET v = 'u{v}' WHERE id = {a}; "),
                _ => format!(
                    "UPDATE k SET id = {b}, v = 'm{v}' WHERE id = {a} \
                     AND NOT EXISTS (SELECT FROM k WHERE id = {b}); "
                ),
            });
        }
        sql + "COMMIT"
    }
}

#[allow(clippy::print_stderr, reason = "a failure shows the seed, which brings the same again")]
async fn keys_churn(max_batch_rows: &str) {
    let (source, destination) = pair().await;
    source.exec(GATE).await;
    source.exec("CREATE TABLE k (id int PRIMARY KEY, v text)").await;
    source.exec("INSERT INTO k VALUES (1, 'one'), (2, 'two'), (3, 'three')").await;
    let mut agent =
        Agent::between(&source, &destination).set("apply.max_batch_rows", max_batch_rows);
    agent.start_and_stream().await;
    let hold = Hold::place(&source, &destination).await;
    source
        .exec(
            "BEGIN; DELETE FROM k WHERE id = 1; INSERT INTO k VALUES (1, 'one-b'); \
             UPDATE k SET id = 99 WHERE id = 2; UPDATE k SET id = 2 WHERE id = 3; \
             UPDATE k SET id = 3 WHERE id = 99; INSERT INTO k VALUES (4, 'x'); \
             UPDATE k SET id = 5 WHERE id = 4; DELETE FROM k WHERE id = 5; \
             INSERT INTO k VALUES (6, 'a'); UPDATE k SET v = 'b' WHERE id = 6; COMMIT",
        )
        .await;
    hold.release().await;
    agent.caught_up().await;
    let rows = destination.scalar("SELECT string_agg(id || v, ' ' ORDER BY id) FROM k").await;
    assert_eq!(rows, "1one-b 2three 3two 6b");

    let hold = Hold::place(&source, &destination).await;
    let seed = std::process::id().into();
    let mut noise = Noise(seed);
    let session = source.session().await.expect("the source answers");
    for _ in 0..200 {
        session.batch_execute(&noise.transaction()).await.expect("it is made not to fail");
    }
    hold.release().await;
    agent.caught_up().await;
    eprintln!("seed {seed}");
    assert_same(&source, &destination, &["k"]).await;
    for code in [" 21000 ", " 23505 "] {
        assert!(!destination.log().contains(code), "SQLSTATE{code}:\n{}", destination.log());
    }
}

#[tokio::test]
async fn keys_churn_with_one_row_a_batch() {
    keys_churn("1").await;
}

#[tokio::test]
async fn keys_churn_with_default_batches() {
    keys_churn("50000").await;
}

#[tokio::test]
async fn keys_churn_with_everything_in_one_batch() {
    keys_churn("1000000").await;
}

#[tokio::test]
async fn a_composite_key_in_odd_order_moves_and_swaps() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE ck (a int, b text, c int, PRIMARY KEY (c, a))").await;
    source
        .exec("INSERT INTO ck VALUES (1, 'x', 10), (2, 'y', 20), (3, 'z', 30), (4, 'w', 40)")
        .await;
    // The destination has the columns in another order.
    destination.exec("CREATE TABLE ck (b text, c int, a int, PRIMARY KEY (c, a))").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("UPDATE ck SET a = 11 WHERE a = 1").await;
    source.exec("UPDATE ck SET c = 21 WHERE a = 2").await;
    source.exec("UPDATE ck SET a = c, c = a WHERE a = 3").await;
    source.exec("UPDATE ck SET b = NULL WHERE a = 2").await;
    source.exec("DELETE FROM ck WHERE a = 4").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["ck"]).await;
    assert_eq!(destination.count("ck").await, 3);
}

#[tokio::test]
async fn a_second_unique_index_never_collides() {
    let (source, destination) = pair().await;
    source.exec(GATE).await;
    source.exec("CREATE TABLE u (id int PRIMARY KEY, email text UNIQUE)").await;
    source.exec("INSERT INTO u VALUES (1, 'a'), (2, 'b'), (3, 'c')").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let hold = Hold::place(&source, &destination).await;
    // The value travels from row to row; only the end state is free of collisions in any order.
    source.exec("UPDATE u SET email = 'tmp' WHERE id = 1").await;
    source.exec("UPDATE u SET email = 'a' WHERE id = 2").await;
    source.exec("UPDATE u SET email = 'b' WHERE id = 1").await;
    source.exec("BEGIN; DELETE FROM u WHERE id = 3; INSERT INTO u VALUES (4, 'c'); COMMIT").await;
    source.exec("BEGIN; UPDATE u SET email = 'free' WHERE id = 4; INSERT INTO u VALUES (0, 'c'); COMMIT").await;
    hold.release().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["u"]).await;
    assert!(!destination.log().contains(" 23505 "), "{}", destination.log());
}

#[tokio::test]
async fn a_replica_identity_by_index_is_the_key() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE ri (code text NOT NULL, v int); CREATE UNIQUE INDEX ri_code ON ri (code); \
             ALTER TABLE ri REPLICA IDENTITY USING INDEX ri_code; \
             INSERT INTO ri VALUES ('a', 1), ('b', 2)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("UPDATE ri SET v = 3 WHERE code = 'a'").await;
    source.exec("UPDATE ri SET code = 'c' WHERE code = 'b'").await;
    source.exec("INSERT INTO ri VALUES ('d', 4); DELETE FROM ri WHERE code = 'a'").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["ri"]).await;
}
