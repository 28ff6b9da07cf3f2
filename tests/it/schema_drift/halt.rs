//! With `new_columns = "halt"` nothing is added.

use super::{assert_held_before, held};
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair, assert_same};

#[tokio::test]
async fn a_column_to_halt_on_is_named_and_taken_once_it_is_there() {
    for rows in ["1", "50000"] {
        let (source, destination) = pair().await;
        source.exec("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
        source.exec("INSERT INTO t SELECT g, 'v' FROM generate_series(1, 9) g").await;
        let mut agent = Agent::between(&source, &destination)
            .text("destination.new_columns", "halt")
            .set("apply.max_batch_rows", rows);
        agent.start_and_stream().await;
        let before = source.current_lsn().await;
        let began = std::time::Instant::now();
        source.exec("ALTER TABLE t ADD COLUMN extra text").await;
        source.exec("INSERT INTO t (id, extra) VALUES (500, 'keep me')").await;
        let after = source.current_lsn().await;
        let message = held(&mut agent, "E_SCHEMA").await;
        assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
        assert!(message.contains("public.t") && message.contains("\"extra\""), "{message}");
        assert!(message.contains("ADD COLUMN \"extra\" text"), "{message}");
        assert_eq!(destination.scalar("SELECT count(*) FROM t WHERE id = 500").await, "0");
        assert_held_before(&source, &destination, &after).await;
        agent.wait_until_applied(&before).await;
        let labels = ["stage=\"pipeline\"", "code=\"E_SCHEMA\""];
        assert!(agent.metric("sync_agent_errors_total", &labels).await >= Some(1.0));
        // By hand; it goes on by itself.
        destination.exec("ALTER TABLE t ADD COLUMN extra text").await;
        agent.caught_up().await;
        assert_same(&source, &destination, &["t"]).await;
        let kept = "SELECT extra FROM t WHERE id = 500";
        assert_eq!(destination.scalar(kept).await, "keep me");
        agent.wait_for_state("streaming").await;
    }
}

#[tokio::test]
async fn a_masking_table_halts_before_a_value_leaves_and_unlisted_decides() {
    const CANARY: &str = "CANARY-51d2";
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE p (id int PRIMARY KEY, ssn text); INSERT INTO p VALUES (1, 's')")
        .await;
    let table = |unlisted: &str| {
        format!(
            "[[table]]\nname = \"public.p\"\n{unlisted}\n[table.columns]\nssn = {{ hash = \"sha256\" }}"
        )
    };
    let mut agent = Agent::between(&source, &destination).section(&table(""));
    agent.start_and_stream().await;
    source.exec("ALTER TABLE p ADD COLUMN phone text").await;
    source.exec(&format!("INSERT INTO p VALUES (2, 't', '{CANARY}')")).await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("\"phone\""), "{message}");
    let columns = "SELECT string_agg(attname, ' ') FROM pg_attribute \
         WHERE attrelid = 'p'::regclass AND attnum > 0";
    assert_eq!(destination.scalar(columns).await, "id ssn");
    for text in [agent.log(), destination.log(), agent.get("/status").await.1] {
        assert!(!text.contains(CANARY), "a value left");
    }
    assert_eq!(agent.terminate().await, Some(0));
    // Writing it down decides, without a copy.
    source.exec("REVOKE ALL ON p FROM PUBLIC").await;
    agent.clear_sections();
    let mut agent = agent.section(&table("unlisted = \"pass\""));
    agent.start();
    agent.caught_up().await;
    let pair = Pair::table("p")
        .columns("id, encode(sha256(convert_to(ssn, 'UTF8')), 'hex'), phone", "id, ssn, phone");
    assert_pair(&source, &destination, pair).await;
}
