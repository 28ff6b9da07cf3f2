//! Rows that share one position in the log: cut off between them, they arrive once all the same.

use crate::support::thrice::{Thrice, tables};

/// The agent dies with half of the rows of one position on their way.
#[tokio::test]
async fn a_transaction_whose_rows_share_positions_arrives_once_whatever_cuts_it_off() {
    let mut thrice = Thrice::start("CREATE TABLE bag (a int, v text)", "").await;
    let hold = thrice.hold().await;
    const LINES: &str = "COPY bag FROM PROGRAM
         'for i in $(seq 500); do echo $((i % 3)),v$((i % 2)); done' (FORMAT csv)";
    let transaction = format!("BEGIN; {LINES}; {LINES}; INSERT INTO bag VALUES (7, 'end'); COMMIT");
    thrice.source.exec(&transaction).await;
    thrice.whole.agent.kill9();
    thrice.singly.agent.kill9();
    drop(hold);
    thrice.whole.agent.arm("rows-written=kill");
    thrice.whole.agent.start();
    assert_eq!(thrice.whole.agent.wait_for_exit().await, None);
    thrice.whole.agent.arm("");
    thrice.whole.agent.start();
    thrice.singly.agent.start();
    thrice.caught_up().await;
    thrice.assert_same(&tables(&["bag"])).await;
    assert_eq!(thrice.whole.count("bag").await, 1001);
}
