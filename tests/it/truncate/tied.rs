//! TRUNCATE of tables that foreign keys tie together, on one side or both.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;
use crate::support::thrice::{Thrice, tables};

const TIED: &str = "
    CREATE TABLE par (id serial PRIMARY KEY, v text);
    CREATE TABLE chi (id serial PRIMARY KEY, p int REFERENCES par);
    CREATE TABLE grandchi (id int PRIMARY KEY, c int REFERENCES chi);
    CREATE TABLE apart (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
    INSERT INTO par (v) SELECT 'v' FROM generate_series(1, 50);
    INSERT INTO chi (p) SELECT g FROM generate_series(1, 50) g;
    INSERT INTO grandchi SELECT g, g FROM generate_series(1, 50) g;
    INSERT INTO apart (v) SELECT 'v' FROM generate_series(1, 50)";

const CHANGES: [&str; 5] = [
    "BEGIN; UPDATE par SET v = 'w' WHERE id = 1; INSERT INTO grandchi VALUES (60, 1);
     TRUNCATE chi CASCADE; INSERT INTO chi (p) VALUES (1); COMMIT",
    "BEGIN; INSERT INTO par (v) VALUES ('never'); TRUNCATE par CASCADE; ROLLBACK",
    "BEGIN; TRUNCATE apart; INSERT INTO apart (v) VALUES ('a'); TRUNCATE apart, par, chi, grandchi;
     INSERT INTO par (v) VALUES ('b'); INSERT INTO chi (p) SELECT max(id) FROM par;
     INSERT INTO apart (v) VALUES ('c'); COMMIT",
    "BEGIN; DELETE FROM chi; SAVEPOINT s; TRUNCATE par CASCADE; ROLLBACK TO s;
     INSERT INTO chi (p) SELECT max(id) FROM par; COMMIT",
    "TRUNCATE apart RESTART IDENTITY; INSERT INTO apart (v) VALUES ('first'), ('second')",
];

#[tokio::test]
async fn truncates_of_tied_tables_keep_their_place_and_reach_what_the_source_reached() {
    let mut thrice = Thrice::start(TIED, "").await;
    let stands = "SELECT last_value, is_called FROM apart_id_seq";
    let row = thrice.whole.query(stands).await.remove(0);
    assert_eq!(row, [Some("50".to_owned()), Some("t".to_owned())], "as at the source");
    thrice.play(&CHANGES).await;
    thrice.assert_same(&tables(&["par", "chi", "grandchi", "apart"])).await;
    // RESTART IDENTITY is the destination's, too; CONTINUE IDENTITY leaves its sequences alone.
    let next = "SELECT nextval(pg_get_serial_sequence('apart', 'id')), nextval('par_id_seq')";
    let row = thrice.whole.query(next).await.remove(0);
    assert_eq!(row, [Some("1".to_owned()), Some("51".to_owned())]);
}

/// Nobody has told us to empty what is the destination's alone.
#[tokio::test]
async fn rows_of_the_destinations_own_that_refer_to_a_table_hold_its_truncate() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE par (id int PRIMARY KEY); INSERT INTO par VALUES (1), (2);
             CREATE TABLE left_out (id int PRIMARY KEY REFERENCES par);
             CREATE TABLE u (id int PRIMARY KEY)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).set("exclude", "[\"public.left_out\"]");
    agent.start_and_stream().await;
    destination.exec("CREATE TABLE own (id int REFERENCES par); INSERT INTO own VALUES (1)").await;
    source
        .exec("BEGIN; INSERT INTO u VALUES (1); TRUNCATE par CASCADE; INSERT INTO par VALUES (3); COMMIT")
        .await;
    agent.wait_for_state("degraded").await;
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("E_CONFLICT")).expect("it says why");
    assert!(line.contains("public.par") && line.contains("own"), "{line}");
    assert_eq!(destination.count("own").await, 1, "never CASCADE");
    assert_eq!(destination.count("u").await, 0, "the whole transaction waits");
    destination.exec("DROP TABLE own").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["par", "u"]).await;
    assert_eq!(agent.terminate().await, Some(0));
}
