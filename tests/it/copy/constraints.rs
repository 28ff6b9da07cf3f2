//! What stands at the destination's tables while they are loaded: foreign keys, triggers.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;

/// Each table is larger than the one it refers to, so that size alone would load it first.
const CHAIN: &str = "CREATE TABLE parent (id int PRIMARY KEY); \
     CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL REFERENCES parent); \
     CREATE TABLE leaf (id int PRIMARY KEY, child int REFERENCES child, \
       before int REFERENCES leaf, v text)";
const ROWS: &str = "INSERT INTO parent SELECT generate_series(1, 20); \
     INSERT INTO child SELECT g, 1 + g % 20 FROM generate_series(1, 2000) g; \
     INSERT INTO leaf SELECT g, 1 + g % 2000, 20001 - g, repeat('x', 100) \
       FROM generate_series(1, 20000) g";
const VALID: &str = "SELECT bool_and(convalidated) FROM pg_constraint WHERE contype = 'f'";

async fn chain(grants: &str) -> (Cluster, Cluster, Agent) {
    let (source, destination) = pair().await;
    source.exec(&format!("{CHAIN}; {ROWS}")).await;
    destination
        .exec(&format!(
            "{CHAIN}; CREATE ROLE writer LOGIN; GRANT CREATE ON DATABASE postgres TO writer; \
             ALTER TABLE parent OWNER TO writer; ALTER TABLE child OWNER TO writer; \
             ALTER TABLE leaf OWNER TO writer; {grants}"
        ))
        .await;
    let agent = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_as("writer"))
        .text("snapshot.chunk", "1MiB")
        // More of them might happen to load a parent before its child's COPY ends.
        .set("snapshot.workers", "1");
    (source, destination, agent)
}

#[tokio::test]
async fn foreign_keys_are_satisfied_by_the_copy_with_and_without_the_replica_role() {
    let replica = "GRANT SET ON PARAMETER session_replication_role TO writer";
    for grants in ["", replica] {
        let (source, destination, mut agent) = chain(grants).await;
        agent.start_and_stream().await;
        assert_same(&source, &destination, &["parent", "child", "leaf"]).await;
        assert_eq!(destination.scalar(VALID).await, "t");
        source.exec("INSERT INTO parent VALUES (21); INSERT INTO child VALUES (2001, 21)").await;
        agent.caught_up().await;
        assert_same(&source, &destination, &["parent", "child", "leaf"]).await;

        let (source, destination, agent) = chain(grants).await;
        let output = agent.verb(&["snapshot"]).await;
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_same(&source, &destination, &["parent", "child", "leaf"]).await;
    }
}

/// Merging keeps the order, too: a child's parent may be a row that is not there yet.
#[tokio::test]
async fn merged_tables_keep_the_order_of_their_foreign_keys() {
    let (source, destination, agent) = chain("").await;
    destination
        .exec("INSERT INTO parent VALUES (-1), (1); INSERT INTO child VALUES (-1, -1)")
        .await;
    destination.exec("INSERT INTO leaf VALUES (5, -1, NULL, 'stale')").await;
    let agent = agent.text("destination.on_existing", "merge");
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["leaf"]).await;
    assert_eq!((destination.count("parent").await, destination.count("child").await), (21, 2001));
}

#[tokio::test]
async fn foreign_keys_in_a_circle_are_refused_to_a_role_that_checks_them() {
    let (source, destination, agent) = chain("").await;
    destination.exec("ALTER TABLE parent ADD first int REFERENCES leaf").await;
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("form a circle"), "{}", output.stderr);
    destination.exec("GRANT SET ON PARAMETER session_replication_role TO writer").await;
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["parent", "child", "leaf"]).await;
}

const TRIGGERS: &str = "CREATE TABLE audit (who text, op text, id int); \
     CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
       INSERT INTO public.audit VALUES (TG_ARGV[0], TG_OP, NEW.id); RETURN NULL; END $$; \
     CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
       INSERT INTO public.audit VALUES ('swallow', TG_OP, NEW.id); \
       BEGIN RAISE EXCEPTION 'oh'; EXCEPTION WHEN raise_exception THEN NULL; END; \
       RETURN NULL; END $$; \
     CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
       IF NEW.id % 10 = 5 THEN RETURN NULL; END IF; RETURN NEW; END $$; \
     CREATE TRIGGER origin AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note('origin'); \
     CREATE TRIGGER replica AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note('replica'); \
     CREATE TRIGGER always AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note('always'); \
     CREATE TRIGGER swallow AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION swallow(); \
     CREATE TRIGGER suppress BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION suppress(); \
     ALTER TABLE t ENABLE REPLICA TRIGGER replica; ALTER TABLE t ENABLE ALWAYS TRIGGER always; \
     ALTER TABLE t ENABLE ALWAYS TRIGGER swallow; ALTER TABLE t ENABLE REPLICA TRIGGER suppress";

/// Under the replica role those that are ENABLE REPLICA and ENABLE ALWAYS; without it those that are
/// ordinary and ENABLE ALWAYS. The same in the copy and in the stream.
#[tokio::test]
async fn the_same_triggers_fire_in_the_copy_and_in_the_tail() {
    for (is_replica, who) in [(true, "always,replica,swallow"), (false, "always,origin,swallow")] {
        let (source, destination) = pair().await;
        let create = "CREATE TABLE t (id int PRIMARY KEY, v text)";
        source.exec(create).await;
        source.exec("INSERT INTO t SELECT g, 'copied' FROM generate_series(1, 10) g").await;
        destination.exec(&format!("{create}; {TRIGGERS}")).await;
        destination
            .exec(
                "CREATE ROLE writer LOGIN; GRANT CREATE ON DATABASE postgres TO writer; \
                 ALTER TABLE t OWNER TO writer; ALTER TABLE audit OWNER TO writer",
            )
            .await;
        if is_replica {
            let grant = "GRANT SET ON PARAMETER session_replication_role TO writer";
            destination.exec(grant).await;
        }
        let mut agent = Agent::between(&source, &destination)
            .text("destination.url", &destination.url_as("writer"));
        agent.start_and_stream().await;
        let fired = |op: &str, first: u32| {
            format!(
                "SELECT string_agg(DISTINCT who, ',' ORDER BY who) || ' ' || count(*) FROM audit \
                 WHERE op = '{op}' AND id BETWEEN {first} AND {first} + 9"
            )
        };
        // One of ten is suppressed, where that trigger fires.
        let kept = if is_replica { 9 } else { 10 };
        let expected = format!("{who} {}", 3 * kept);
        assert_eq!(destination.scalar(&fired("INSERT", 1)).await, expected, "the copy");
        assert_eq!(agent.log().contains("kept fewer rows"), is_replica, "{}", agent.log());
        source.exec("INSERT INTO t SELECT g, 'sent' FROM generate_series(11, 20) g").await;
        source.exec("UPDATE t SET v = 'changed' WHERE id IN (1, 2, 3, 4, 6)").await;
        agent.caught_up().await;
        assert_eq!(destination.scalar(&fired("INSERT", 11)).await, expected, "the tail");
        assert_eq!(destination.scalar(&fired("UPDATE", 1)).await, format!("{who} 15"));
        assert_eq!(destination.count("t").await, 2 * kept);
    }
}
