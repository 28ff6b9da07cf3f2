//! Two-phase commit: what was prepared arrives when it is committed, and not before.

use crate::support::agent::Agent;
use crate::support::cluster::Stop;
use crate::support::thrice::{Thrice, tables};

const TABLES: &str = "
    CREATE TABLE t (id int PRIMARY KEY, v text, big text);
    ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE u (a int, v text); ALTER TABLE u REPLICA IDENTITY FULL;
    INSERT INTO t SELECT g, 'v', repeat('b', 3000) FROM generate_series(1, 20) g;
    INSERT INTO u VALUES (1, 'x'), (1, 'x')";

/// The destination has no prepared transactions, and needs none.
#[tokio::test]
async fn a_prepared_transaction_arrives_once_when_it_is_committed_whatever_restarts_between() {
    // Several batches long, whatever their rows.
    let in_parts = |agent: Agent| agent.text("apply.max_batch_bytes", "1MiB");
    let mut thrice = Thrice::start_with(TABLES, "", in_parts).await;
    let prepared = [
        "BEGIN; UPDATE t SET v = 'a' WHERE id = 1; INSERT INTO t VALUES (30, 'a', NULL);
         DELETE FROM u WHERE ctid = '(0,1)'; PREPARE TRANSACTION 'it''s \"quoted\" %s $1 ü'",
        "BEGIN; SAVEPOINT s; INSERT INTO t VALUES (31, 'never', NULL); ROLLBACK TO s;
         INSERT INTO t VALUES (31, 'second', NULL); UPDATE t SET id = 40 WHERE id = 2;
         PREPARE TRANSACTION 'second'",
        "BEGIN; UPDATE t SET v = 'never' WHERE id = 3; INSERT INTO u VALUES (9, 'never');
         PREPARE TRANSACTION 'back'",
        "BEGIN; INSERT INTO t SELECT g, 'huge', repeat(md5(g::text), 1500)
           FROM generate_series(1000, 1064) g; PREPARE TRANSACTION 'huge'",
    ];
    for transaction in prepared {
        thrice.source.exec(transaction).await;
    }
    thrice.source.exec("UPDATE t SET v = 'meanwhile' WHERE id = 4").await;
    thrice.caught_up().await;
    assert_eq!(thrice.whole.count("t").await, 20, "nothing of it before its commit");
    assert_eq!(thrice.whole.agent.terminate().await, Some(0));
    thrice.singly.agent.kill9();
    thrice.source.restart(Stop::Immediate).await;
    thrice.whole.agent.start();
    thrice.singly.agent.start();
    thrice
        .play(&[
            "COMMIT PREPARED 'second'",
            "UPDATE t SET v = 'between' WHERE id = 31",
            "ROLLBACK PREPARED 'back'",
            "COMMIT PREPARED 'it''s \"quoted\" %s $1 ü'",
            "COMMIT PREPARED 'huge'",
            "UPDATE t SET v = 'after' WHERE id = 3",
        ])
        .await;
    thrice.assert_same(&tables(&["t", "u"])).await;
    assert_eq!(thrice.whole.count("u").await, 1);
    assert_eq!(thrice.whole.scalar("SHOW max_prepared_transactions").await, "0");
}
