//! Labels that the destination lacks.

use super::{assert_held_before, held};
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

#[tokio::test]
async fn a_value_that_the_destinations_enum_lacks_is_named_and_taken_later() {
    for as_text in [false, true] {
        let (source, destination) = pair().await;
        let types = "CREATE SCHEMA s; CREATE TYPE s.\"E n\" AS ENUM ('a', 'b'); \
             CREATE TYPE \"E n\" AS ENUM ('b', 'a')";
        for side in [&source, &destination] {
            side.exec(types).await;
        }
        // A reg* column makes the stream run in text.
        let further = if as_text { ", r regtype" } else { "" };
        source
            .exec(&format!(
                "CREATE TABLE t (id int PRIMARY KEY, e s.\"E n\", o \"E n\"{further}); \
                 INSERT INTO t (id, e, o) VALUES (1, 'a', 'a')"
            ))
            .await;
        let mut agent = Agent::between(&source, &destination);
        agent.start_and_stream().await;
        source.exec("ALTER TYPE s.\"E n\" ADD VALUE 'mid' BEFORE 'b'").await;
        source.exec("INSERT INTO t (id, e, o) VALUES (2, 'mid', 'b')").await;
        let lsn = source.current_lsn().await;
        let message = held(&mut agent, "E_SCHEMA").await;
        assert!(message.contains("\"s\".\"E n\"") && message.contains("'mid'"), "{message}");
        assert_held_before(&source, &destination, &lsn).await;
        destination.exec("ALTER TYPE s.\"E n\" ADD VALUE 'mid' BEFORE 'b'").await;
        agent.caught_up().await;
        assert_same(&source, &destination, &["t"]).await;
        assert_eq!(agent.terminate().await, Some(0));
    }
}
