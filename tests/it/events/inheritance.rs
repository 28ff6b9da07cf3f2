//! Classic inheritance: parents and children are tables of their own, with keys of their own.

use crate::support::compare::Pair;
use crate::support::thrice::{Thrice, own_rows, tables};

/// The same keys in parent and child, with a key, without one, and with an identity column that no
/// UPDATE may set; enough rows to be written by whole sets.
const FAMILIES: &str = "
    CREATE TABLE par (id int PRIMARY KEY, v text, big text);
    ALTER TABLE par ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE chi (extra int, PRIMARY KEY (id)) INHERITS (par);
    CREATE TABLE grandchi (PRIMARY KEY (id)) INHERITS (chi);
    CREATE TABLE bag (a int, v text);
    CREATE TABLE bag_chi () INHERITS (bag);
    ALTER TABLE bag REPLICA IDENTITY FULL; ALTER TABLE bag_chi REPLICA IDENTITY FULL;
    CREATE TABLE num (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v text);
    CREATE TABLE num_chi (PRIMARY KEY (id)) INHERITS (num);
    CREATE TABLE emptied (id int PRIMARY KEY);
    CREATE TABLE emptied_chi (PRIMARY KEY (id)) INHERITS (emptied);
    CREATE TABLE spared (id int PRIMARY KEY);
    CREATE TABLE spared_chi (PRIMARY KEY (id)) INHERITS (spared);
    INSERT INTO par SELECT g, 'p' || g, repeat('p', 3000) FROM generate_series(1, 300) g;
    INSERT INTO chi SELECT g, 'c' || g, repeat('c', 3000), g FROM generate_series(1, 300) g;
    INSERT INTO grandchi SELECT g, 'g' || g, NULL, g FROM generate_series(1, 300) g;
    INSERT INTO bag SELECT g % 3, 'x' FROM generate_series(1, 9) g;
    INSERT INTO bag_chi SELECT g % 3, 'x' FROM generate_series(1, 9) g;
    INSERT INTO num (id, v) SELECT g, 'p' FROM generate_series(1, 9) g;
    INSERT INTO num_chi (id, n, v) SELECT g, g, 'c' FROM generate_series(1, 9) g;
    INSERT INTO emptied VALUES (1), (2); INSERT INTO emptied_chi VALUES (1), (2);
    INSERT INTO spared VALUES (1), (2); INSERT INTO spared_chi VALUES (1), (2);";

const CHANGES: [&str; 5] = [
    "UPDATE par SET v = v || '+' WHERE id <= 20; UPDATE ONLY par SET v = 'only' WHERE id = 21",
    "DELETE FROM ONLY par WHERE id BETWEEN 30 AND 99; DELETE FROM ONLY chi WHERE id = 100;
     DELETE FROM par WHERE id = 101; UPDATE ONLY par SET v = 'set' WHERE id BETWEEN 110 AND 190;
     UPDATE ONLY chi SET extra = -extra WHERE id BETWEEN 150 AND 250",
    "UPDATE ONLY par SET id = id + 1000 WHERE id IN (22, 23); DELETE FROM ONLY par WHERE id = 24;
     INSERT INTO par VALUES (24, 'again', NULL); UPDATE par SET big = big || 'x' WHERE id = 25;
     INSERT INTO chi VALUES (1000, 'new', NULL, 1) ON CONFLICT (id) DO NOTHING",
    "DELETE FROM ONLY bag WHERE ctid = '(0,1)'; UPDATE ONLY bag_chi SET v = 'y' WHERE ctid = '(0,2)';
     UPDATE bag SET v = 'z' WHERE a = 2; UPDATE ONLY num SET n = DEFAULT WHERE id = 3;
     UPDATE ONLY num SET v = 'q' WHERE id = 4; UPDATE num_chi SET id = 50 WHERE id = 5",
    "TRUNCATE emptied; INSERT INTO emptied_chi VALUES (7); TRUNCATE ONLY spared;
     INSERT INTO spared VALUES (7)",
];

fn pairs() -> Vec<Pair> {
    let mut pairs = vec![
        own_rows("par", "id, v, big"),
        own_rows("chi", "id, v, big, extra"),
        own_rows("bag", "a, v"),
        own_rows("num", "id, n, v"),
        own_rows("emptied", "id"),
        own_rows("spared", "id"),
    ];
    pairs.extend(tables(&["grandchi", "bag_chi", "num_chi", "emptied_chi", "spared_chi"]));
    pairs
}

#[tokio::test]
async fn parents_and_children_with_the_same_keys_keep_their_own_rows() {
    let mut thrice = Thrice::start_with(FAMILIES, "", |agent| {
        agent.text("snapshot.chunk", "64KiB").set("snapshot.workers", "2")
    })
    .await;
    thrice.assert_followed(&pairs()).await;
    // A lost row is read again at the source, where others have its key.
    for followed in [&thrice.singly, &thrice.whole] {
        followed.exec("DELETE FROM ONLY par WHERE id = 200").await;
    }
    thrice.play(&["UPDATE ONLY par SET v = 'lost' WHERE id = 200"]).await;
    thrice.play(&CHANGES).await;
    thrice.assert_same(&pairs()).await;
    assert_eq!(thrice.whole.scalar("SELECT count(*) FROM spared_chi").await, "2");
    // A publication that names a parent has its children, too.
    let members = "SELECT count(*) FROM pg_publication_tables WHERE pubname = 'sync_agent_whole'";
    let before = thrice.source.scalar(members).await;
    assert_eq!(before, "12", "eleven and the gate");
}
