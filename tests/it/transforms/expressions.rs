//! `sql = "…"`: computed by PostgreSQL, the same for copy and stream.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::Pair;
use crate::support::thrice::Thrice;

/// Values of many kinds; the destination's are of the expressions' types.
const KINDS: &str = "CREATE TYPE mood AS ENUM ('calm', 'Cross');
    CREATE TABLE kinds (id int PRIMARY KEY, n numeric, f float8, t text, v varchar(20), d date,
        ts timestamptz, j jsonb, a int[], m mood, b bytea, i interval, secret text, name text);
    INSERT INTO kinds SELECT g, g * 1.25, g / 3.0, repeat('t', g), 'v' || g, date '2024-02-28' + g,
        timestamptz '2024-03-31 00:30+00' + g * interval '1 h', jsonb_build_object('k', g, 'l', null),
        ARRAY[g, NULL, g + 1], CASE WHEN g % 2 = 0 THEN 'calm' ELSE 'Cross' END::mood,
        decode(md5(g::text), 'hex'), g * interval '1 day 3 h', 'secret ' || g, 'Name ' || g
        FROM generate_series(1, 40) g;
    INSERT INTO kinds (id) VALUES (1000)";

const EXPRESSIONS: &str = r#"
    n      = { sql = "round(n * 1.10, 2) -- with tax" }
    f      = { sql = "f * f", rename = "squared" }
    t      = { sql = "upper(t) || coalesce('/' || v, '')" }
    d      = { sql = "d + 1" }
    ts     = { sql = "ts AT TIME ZONE 'Europe/Berlin'" }
    j      = { sql = "j - 'l' || jsonb_build_object('id', id)" }
    a      = { sql = "a[1:2]" }
    m      = { sql = "CASE m WHEN 'calm' THEN 'Cross' ELSE m END" }
    b      = { sql = "encode(b, 'base64')" }
    i      = { sql = "i * 2" }
    secret = { drop = true }
    hidden = { sql = "length(secret)" }
    name   = { hash = "sha256" }
    initial = { sql = "left(name, 8)" }
    always = { sql = "'x' || 1" }
"#;

/// What they come to, said over the source.
fn kinds() -> Pair {
    Pair::table("kinds").columns(
        "id, round(n * 1.10, 2), f * f, upper(t) || coalesce('/' || v, ''), v, d + 1, \
         ts AT TIME ZONE 'Europe/Berlin', j - 'l' || jsonb_build_object('id', id), a[1:2], \
         CASE m WHEN 'calm' THEN 'Cross' ELSE m END, encode(b, 'base64'), i * 2, length(secret), \
         encode(sha256(name::bytea), 'hex'), left(encode(sha256(name::bytea), 'hex'), 8), 'x1'::text",
        "id, n, squared, t, v, d, ts, j, a, m, b, i, hidden, name, initial, always",
    )
}

#[tokio::test]
async fn expressions_give_the_same_by_copy_by_insert_and_by_update() {
    let section = format!("[[table]]\nname = \"public.kinds\"\n[table.columns]\n{EXPRESSIONS}");
    let configure = |agent: Agent| agent.section(&section);
    let mut thrice = Thrice::start_with(KINDS, "", configure).await;
    thrice.assert_followed(&[kinds()]).await;
    thrice
        .play(&[
            "INSERT INTO kinds SELECT g + 100, g, g, repeat('é', g), NULL, date '1999-12-31', \
                 '2024-10-27 00:30+00', jsonb_build_object('k', g), NULL, 'calm', NULL, '-1 mon', \
                 's', 'n' FROM generate_series(1, 600) g",
            "UPDATE kinds SET n = n + 0.005, t = 'u' || id, m = 'Cross', secret = 'longer secret' \
                 WHERE id % 3 = 0",
            "UPDATE kinds SET id = id + 10000 WHERE id % 7 = 0",
            "DELETE FROM kinds WHERE id % 5 = 0",
            "INSERT INTO kinds (id, name) VALUES (-1, 'only a name')",
        ])
        .await;
    thrice.assert_followed(&[kinds()]).await;
    thrice.assert_copied(&[kinds()], configure).await;
    let stored = "SELECT count(*) FROM information_schema.columns \
         WHERE table_name = 'kinds' AND column_name IN ('secret', 'f')";
    assert_eq!(thrice.singly.scalar(stored).await, "0", "what is dropped or renamed is not stored");
}

/// What an expression compares and folds goes by the columns' collations, in the stream as in the copy.
#[tokio::test]
async fn expressions_go_by_the_collations_of_what_they_read() {
    let setup = "CREATE COLLATION turkish (provider = icu, locale = 'tr-TR');
        CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE DOMAIN place AS text COLLATE turkish;
        CREATE TABLE c (id int PRIMARY KEY, t text COLLATE turkish, p place, l text COLLATE loose,
            a text[] COLLATE loose, m text COLLATE turkish);
        INSERT INTO c VALUES (1, 'ipek', 'iznik', 'EU', '{X}', 'is'), (2, 'ipek', 'iznik', 'us', '{y}', 'is')";
    let section = r#"
        [[table]]
        name = "public.c"
        where = "l = 'eu'"
        [table.columns]
        t     = { sql = "upper(t)" }
        p     = { sql = "upper(p)" }
        same  = { sql = "a = ARRAY['x']" }
        m     = { mask = { keep_first = 1 } }
        upper = { sql = "upper(m)" }
    "#;
    let configure = |agent: Agent| agent.section(section);
    let mut thrice = Thrice::start_with(setup, "", configure).await;
    let collated = || {
        Pair::renamed("(SELECT * FROM c WHERE l = 'eu') AS c", "c").columns(
            "id, upper(t), upper(p), l, a = ARRAY['x'], upper(left(m, 1) || '*')",
            "id, t, p, l, same, upper",
        )
    };
    thrice.assert_followed(&[collated()]).await;
    thrice
        .play(&[
            "INSERT INTO c VALUES (3, 'dil', 'diyarbakir', 'Eu', '{X}', 'is'), (4, 'i', 'i', 'us', '{x}', 'is')",
            "UPDATE c SET l = 'EU', t = 'isim' WHERE id = 2",
            "UPDATE c SET p = 'izmir' WHERE id = 1",
        ])
        .await;
    thrice.assert_followed(&[collated()]).await;
    thrice.assert_copied(&[collated()], configure).await;
}

/// Values that are kept apart and not sent with an update.
const LARGE: &str = "CREATE TABLE large (id int PRIMARY KEY, title text, body text, n int);
    ALTER TABLE large ALTER body SET STORAGE EXTERNAL;
    ALTER TABLE large ALTER title SET STORAGE EXTERNAL;
    CREATE FUNCTION measured(t text) RETURNS int LANGUAGE plpgsql STABLE AS $$
        BEGIN IF t IS NULL THEN RAISE 'not from NULL'; END IF; RETURN length(t); END $$;
    INSERT INTO large SELECT g, 'title ' || g, repeat(md5(g::text), 200), g
        FROM generate_series(1, 20) g;
    CREATE TABLE measured (id int PRIMARY KEY, body text, n int);
    ALTER TABLE measured ALTER body SET STORAGE EXTERNAL;
    INSERT INTO measured SELECT id, body, n FROM large";

#[tokio::test]
async fn an_expression_is_never_computed_from_a_value_that_was_not_sent() {
    let section = r#"
        [[table]]
        name = "public.large"
        [table.columns]
        size  = { sql = "length(body)" }
        mixed = { sql = "title || ' ' || left(body, 5)" }
        twice = { sql = "n * 2" }
        body  = { drop = true }
        [[table]]
        name = "public.measured"
        [table.columns]
        size = { sql = "measured(body)" }
    "#;
    let configure = |agent: Agent| agent.section(section);
    let mut thrice = Thrice::start_with(LARGE, "", configure).await;
    let large = || {
        Pair::table("large").columns(
            "id, title, n, length(body), title || ' ' || left(body, 5), n * 2",
            "id, title, n, size, mixed, twice",
        )
    };
    thrice
        .play(&[
            "UPDATE large SET n = n + 1; UPDATE measured SET n = n + 1",
            "UPDATE large SET title = 'other ' || id WHERE id % 2 = 0",
            "UPDATE large SET id = id + 100 WHERE id % 3 = 0",
            "UPDATE large SET body = repeat('new', 2000) WHERE id % 5 = 0",
            "UPDATE large SET title = 'gone' WHERE id = 7; DELETE FROM large WHERE id = 7",
            "BEGIN; UPDATE large SET title = 'moved' WHERE id = 8; \
             UPDATE large SET id = 808 WHERE id = 8; COMMIT",
        ])
        .await;
    let measured =
        || Pair::table("measured").columns("id, body, n, length(body)", "id, body, n, size");
    thrice.assert_followed(&[large(), measured()]).await;
    // With the whole old row nothing has to be read.
    thrice.source.exec("ALTER TABLE large REPLICA IDENTITY FULL").await;
    thrice.play(&["UPDATE large SET title = title || '!', n = n + 1"]).await;
    thrice.assert_followed(&[large()]).await;
    thrice.assert_copied(&[large()], configure).await;
}

#[tokio::test]
async fn rows_without_a_key_are_found_by_what_was_computed() {
    let setup = "CREATE TABLE pay (who text, gross numeric);
        ALTER TABLE pay REPLICA IDENTITY FULL;
        INSERT INTO pay VALUES ('a', 100), ('a', 200), ('a', 200), ('b', NULL)";
    let section = r#"
        [[table]]
        name = "public.pay"
        [table.columns]
        net   = { sql = "gross * 0.8" }
        gross = { drop = true }
    "#;
    let configure = |agent: Agent| agent.section(section);
    let mut thrice = Thrice::start_with(setup, "", configure).await;
    let pay = || Pair::table("pay").columns("who, gross * 0.8", "who, net");
    thrice
        .play(&[
            "DELETE FROM pay WHERE ctid = (SELECT ctid FROM pay WHERE gross = 200 LIMIT 1)",
            "UPDATE pay SET gross = 150 WHERE gross = 100",
            "UPDATE pay SET gross = 1 WHERE gross IS NULL",
        ])
        .await;
    thrice.assert_followed(&[pay()]).await;
    thrice.assert_copied(&[pay()], configure).await;
    let checked = thrice.singly.agent.verb(&["check"]).await;
    assert!(checked.stdout.contains("found by all of their values"), "{}", checked.stdout);
}

/// The names that our own statements use are any table's to have.
#[tokio::test]
async fn names_of_ours_and_of_every_kind_are_the_tables_own() {
    let setup =
        "CREATE TABLE \"Ünï \"\"q\"\" x\" (v int PRIMARY KEY, i0 text, n int, q text, x text,
            \"sync_agent row\" text, \"select\" text, \"user\" text);
        INSERT INTO \"Ünï \"\"q\"\" x\" VALUES (1, 'i', 1, 'q', 'x', 'row', 'select', 'user')";
    let section = r#"
        [[table]]
        name = 'public."Ünï ""q"" x"'
        where = "v > 0 /* a /* nested */ -- */ -- comment"
        [table.columns]
        n  = { sql = "n + v -- comment" }
        e1 = { sql = "x || i0 || q" }
        e2 = { sql = '"sync_agent row" || "select" || "user"' }
        e3 = { sql = '$t$ ) ; -- $t$ || x' }
        e4 = { sql = "'a' || user::text" }
    "#;
    let configure = |agent: Agent| agent.section(section);
    let mut thrice = Thrice::start_with(setup, "", configure).await;
    let named = || {
        Pair::table("\"Ünï \"\"q\"\" x\"").columns(
            "v, n + v, x || i0 || q, \"sync_agent row\" || \"select\" || \"user\", \
             ' ) ; -- ' || x, 'a' || user",
            "v, n, e1, e2, e3, e4",
        )
    };
    thrice
        .play(&["INSERT INTO \"Ünï \"\"q\"\" x\" VALUES (2, 'j', 2, 'r', 'y', 'rows', 's', 'u')"])
        .await;
    thrice.assert_followed(&[named()]).await;
    thrice.assert_copied(&[named()], configure).await;
}

#[tokio::test]
async fn a_row_that_cannot_be_computed_holds_its_transaction_and_says_no_value() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE d (id int PRIMARY KEY, a int, t text)").await;
    source.exec("INSERT INTO d VALUES (1, 1, '1')").await;
    let section = r#"
        [[table]]
        name = "public.d"
        [table.columns]
        share = { sql = "100 / a" }
        t     = { sql = "t::int" }
    "#;
    let mut agent = Agent::between(&source, &destination).section(section);
    agent.start_and_stream().await;
    source.exec("INSERT INTO d VALUES (2, 2, '2')").await;
    source.exec("INSERT INTO d VALUES (3, 0, '3'), (4, 4, '4')").await;
    agent.wait_for_state("degraded").await;
    assert_eq!(
        destination.scalar("SELECT string_agg(id::text, ',' ORDER BY id) FROM d").await,
        "1,2"
    );
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("E_DATA")).expect("it is said");
    assert!(line.contains("public.d") && line.contains("22012"), "{line}");
    // What the transaction holds is as it was: the function is what can be mended.
    source.exec("INSERT INTO d VALUES (5, 1, 'CANARY')").await;
    drop(agent);
    destination.exec("CREATE DATABASE other").await;
    let other = destination.database("other");
    let agent = Agent::between(&source, &other).named("other").section(section);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 6, "{}", output.stderr);
    assert!(
        output.stderr.contains("E_DATA") && !output.stderr.contains("CANARY"),
        "{}",
        output.stderr
    );
}

#[tokio::test]
async fn a_wrong_expression_is_refused_before_anything_is_made() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE e (id int PRIMARY KEY, a int, u int UNIQUE, secret text, g int GENERATED ALWAYS AS (a + 1) STORED);
             CREATE FUNCTION noisy(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1'",
        )
        .await;
    for (column, said) in [
        ("a = { sql = \"a +\" }", "syntax error"),
        ("a = { sql = \"b + 1\" }", "b\\\" does not exist"),
        ("a = { sql = \"g + 1\" }", "g\\\" does not exist"),
        ("a = { sql = \"a + random()\" }", "volatile"),
        ("a = { sql = \"public.noisy(a)\" }", "volatile"),
        ("a = { sql = \"sum(a)\" }", "aggregate"),
        ("a = { sql = \"row_number() OVER ()\" }", "window"),
        ("a = { sql = \"generate_series(1, a)\" }", "set-returning"),
        ("a = { sql = \"(SELECT max(a) FROM e)\" }", "query of its own"),
        ("a = { sql = \"a; DROP TABLE e\" }", "has a "),
        ("a = { sql = \"a) FROM public.e --\" }", "brackets"),
        ("a = { sql = \"$1\" }", "parameter"),
        ("a = { sql = \"e.a\" }", "missing FROM-clause"),
        ("a = { sql = \"to_jsonb(e)\" }", "e\\\" does not exist"),
        ("a = { sql = \"\" }", "empty"),
        ("u = { sql = \"u + 1\" }", "unique"),
        ("id = { sql = \"id + 1\" }", "identifies"),
        (
            "secret = [{ sql = \"upper(secret)\" }, { hash = \"sha256\" }]\na = { sql = \"length(secret)\" }",
            "masked",
        ),
    ] {
        let section = format!("[[table]]\nname = \"public.e\"\n[table.columns]\n{column}\n");
        let agent = Agent::between(&source, &destination).section(&section);
        let output = agent.verb(&["run", "--until", "caught-up"]).await;
        assert_eq!(output.code, 3, "{column}: {}", output.stderr);
        assert!(output.stderr.contains(said), "{column}: {}", output.stderr);
        assert!(output.stderr.contains("table[0].columns"), "{column}: {}", output.stderr);
    }
    let made = "SELECT count(*) FROM pg_class WHERE relname = 'e'";
    assert_eq!(destination.scalar(made).await, "0");
    assert_eq!(source.scalar("SELECT count(*) FROM pg_replication_slots").await, "0");
}
