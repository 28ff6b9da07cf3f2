//! Very many small transactions: batched, and the lag drains.

mod long {
    use crate::support::agent::Agent;
    use crate::support::cluster::pair;
    use crate::support::compare::assert_same;
    use crate::support::workload::Workload;

    const COMMITS: &str = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'";

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_hundred_thousand_transactions_are_batched() {
        let (source, destination) = pair().await;
        source.exec("CREATE TABLE t (id bigserial PRIMARY KEY, v int)").await;
        let mut agent = Agent::between(&source, &destination);
        agent.start_and_stream().await;
        let commits = async || destination.scalar(COMMITS).await.parse::<u64>().expect("a count");
        let before = commits().await;
        let script = "INSERT INTO t (v) VALUES (:client_id)";
        let options = ["-n", "-c", "16", "-t", "6250"];
        let mut run = Workload::start(&source, &options, Some(script));
        run.finish().await;
        agent.caught_up().await;
        assert_same(&source, &destination, &["t"]).await;
        let applied = commits().await - before;
        crate::bounds::say(&format!("100000 source transactions in {applied} at the destination"));
        assert!(applied < 20_000, "{applied} destination transactions");
        agent
            .wait_for("no lag", async |agent| {
                agent.metric("sync_agent_replication_lag_seconds", &[]).await == Some(0.0)
            })
            .await;
        super::super::assert_bounded(&agent, 0);
    }
}
