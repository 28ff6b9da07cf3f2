//! Every function, operator, type and relation of the server, shadowed by one that springs a trap.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;

/// A schema whose everything is called like something of `pg_catalog`. What is called leaves a mark
/// that no rollback takes away (a sequence), and fails; relations are empty.
const EVIL: &str = r#"
CREATE SCHEMA evil; CREATE SEQUENCE evil.trap;
CREATE FUNCTION evil.spring() RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_catalog.nextval('evil.trap');
       RAISE EXCEPTION 'the trap has sprung'; END $$;
DO $do$
DECLARE r record;
BEGIN
    FOR r IN SELECT p.oid, p.proname, p.proretset, p.prorettype::regtype AS result,
                    pg_get_function_identity_arguments(p.oid) AS arguments
               FROM pg_proc p
              WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
                AND p.prorettype <> 'internal'::regtype AND NOT p.proargtypes::oid[] && ARRAY[
                    'internal'::regtype, 'trigger'::regtype, '"any"'::regtype]::oid[]
    LOOP BEGIN
        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS
            ''BEGIN PERFORM evil.spring(); END''', r.proname, r.arguments,
            CASE WHEN r.proretset THEN 'SETOF' ELSE '' END, r.result);
    EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP;
    FOR r IN SELECT o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r,
                    o.oprresult::regtype AS result, o.oid
               FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace
                AND o.oprkind = 'b'
    LOOP BEGIN
        EXECUTE format('CREATE FUNCTION evil.op_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS
            ''BEGIN PERFORM evil.spring(); END''', r.oid, r.l, r.r, r.result);
        EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.op_%s)',
            r.oprname, r.l, r.r, r.oid);
    EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP;
    FOR r IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace
                AND relkind IN ('r', 'v')
    LOOP BEGIN
        EXECUTE format('CREATE TABLE evil.%I (LIKE pg_catalog.%1$I)', r.relname);
    EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP;
    FOR r IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace
                AND typtype = 'b' AND typname NOT LIKE '\_%'
    LOOP BEGIN
        EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.%1$I CHECK (evil.spring())', r.typname);
    EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP;
END $do$;
CREATE FUNCTION evil.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT evil.spring()::int::bigint';
GRANT USAGE ON SCHEMA evil TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA evil TO PUBLIC;
GRANT ALL ON SEQUENCE evil.trap TO PUBLIC;
"#;

const TABLES: &str = r#"
CREATE TABLE t (id bigint PRIMARY KEY, v text, n numeric, at timestamptz DEFAULT pg_catalog.now());
CREATE TABLE u (id int PRIMARY KEY, email text UNIQUE);
CREATE TABLE f (a int, b text); ALTER TABLE f REPLICA IDENTITY FULL;
CREATE TYPE public.text AS ENUM ('one', 'two'); CREATE DOMAIN public.int4 AS pg_catalog.int8;
CREATE TABLE p (id int, k int, kind public.text, big public.int4, PRIMARY KEY (id, k))
    PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p DEFAULT;
INSERT INTO t SELECT g, 'v', g FROM generate_series(1, 300) g;
INSERT INTO u SELECT g, g FROM generate_series(1, 50) g;
INSERT INTO f SELECT g % 5, 'x' FROM generate_series(1, 50) g;
INSERT INTO p SELECT g, g % 3, 'one', g FROM generate_series(1, 50) g;
"#;

/// As evil as a role, and a database, can be made for whoever logs in.
async fn hostile(cluster: &Cluster, role: &str) {
    cluster.exec("ALTER ROLE postgres SET search_path = public").await;
    cluster
        .exec(&format!(
            "{EVIL} CREATE ROLE {role} SUPERUSER LOGIN;
             ALTER ROLE {role} SET search_path = evil, public, pg_catalog;
             ALTER DATABASE postgres SET search_path = evil, public, pg_catalog"
        ))
        .await;
}

#[tokio::test]
async fn a_schema_that_comes_first_is_never_looked_into() {
    let (source, destination) = pair().await;
    hostile(&source, "rep").await;
    hostile(&destination, "rep").await;
    source.exec(TABLES).await;
    let url =
        |cluster: &Cluster| format!("{}?target_session_attrs=read-write", cluster.url_as("rep"));
    let mut agent = Agent::between(&source, &destination)
        .text("source.url", &url(&source))
        .text("destination.url", &url(&destination));
    let shadowed = "SELECT count(*) > 1500 FROM pg_proc WHERE pronamespace = 'evil'::regnamespace";
    assert_eq!(source.scalar(shadowed).await, "t", "the trap is armed");
    assert_eq!(agent.verb(&["check"]).await.code, 0);
    agent.start_and_stream().await;
    let tables = ["t", "u", "f", "p"];
    assert_same(&source, &destination, &tables).await;
    source
        .exec(
            "INSERT INTO t SELECT g, 'w', g FROM generate_series(1000, 1100) g;
             UPDATE t SET v = 'x' WHERE id % 2 = 0; DELETE FROM t WHERE id % 7 = 0;
             UPDATE t SET id = -id WHERE id < 10; UPDATE u SET email = 'a' WHERE id = 1;
             UPDATE f SET b = 'y' WHERE a = 2; DELETE FROM f WHERE a = 3;
             UPDATE p SET k = k + 1, kind = 'two' WHERE id < 20; DELETE FROM p WHERE id > 40",
        )
        .await;
    source.exec("ALTER TABLE u ADD COLUMN c int NOT NULL DEFAULT 3, ADD COLUMN k text").await;
    source.exec("UPDATE u SET k = 'two' WHERE id = 3; TRUNCATE f; INSERT INTO f VALUES (1)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &tables).await;
    for verb in [
        &["status", "--output", "json"][..],
        &["wait", "--for", "caught-up"],
        &["resync", "--table", "public.t", "--yes"],
    ] {
        let output = agent.verb(verb).await;
        assert_eq!(output.code, 0, "{output:?}");
    }
    agent.caught_up().await;
    assert_same(&source, &destination, &tables).await;
    assert_eq!(agent.terminate().await, Some(0));
    assert_eq!(agent.verb(&["status"]).await.code, 0, "from the servers");
    let reset = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(reset.code, 0, "{reset:?}");
    for side in [&source, &destination] {
        let sprung = "SELECT is_called FROM evil.trap";
        assert_eq!(side.scalar(sprung).await, "f", "{}", side.log());
    }
    assert!(!agent.log().contains("the trap has sprung"), "{}", agent.log());
}
