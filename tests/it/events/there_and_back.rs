//! Two pipelines that lead the same table there and back would never come to an end.

use crate::support::agent::Agent;
use crate::support::cluster::pair;

#[tokio::test]
async fn a_pipeline_that_leads_the_other_way_is_named_before_anything_goes_round() {
    let (one, other) = pair().await;
    one.exec("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)").await;
    let mut there = Agent::between(&one, &other).named("there");
    there.start_and_stream().await;
    let back = Agent::between(&other, &one).named("back").text("destination.on_existing", "merge");
    let output = back.verb(&["check"]).await;
    for table in ["t", "u"] {
        let finding = format!("table \"public\".\"{table}\": pipeline \"there\" fills it from");
        assert!(output.stdout.contains(&finding), "{}", output.stdout);
    }
    // Another table, or another way round, is nobody's loop.
    let back = back.set("destination.schemas", "{ public = \"elsewhere\" }");
    let output = back.verb(&["check"]).await;
    assert_eq!(output.code, 0, "{}", output.stdout);
    assert!(!output.stdout.contains("goes round"), "{}", output.stdout);
    assert_eq!(there.terminate().await, Some(0));
}
