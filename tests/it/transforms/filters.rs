//! `where = "…"`: rows that stay out, come in and leave.

use crate::support::agent::Agent;
use crate::support::compare::Pair;
use crate::support::thrice::Thrice;

const ROWS: &str = "CREATE TABLE f (id int PRIMARY KEY, region text, note text, body text);
    ALTER TABLE f ALTER body SET STORAGE EXTERNAL;
    INSERT INTO f SELECT g, CASE g % 3 WHEN 0 THEN 'us' WHEN 1 THEN 'eu' END, 'n' || g,
        repeat(md5(g::text), 100) FROM generate_series(1, 30) g";

const CHANGES: &[&str] = &[
    "INSERT INTO f SELECT g, CASE g % 2 WHEN 0 THEN 'eu' ELSE 'us' END, 'new', repeat('b', 3000) \
         FROM generate_series(100, 120) g",
    // Out, in, and within, with a large value that is not sent.
    "UPDATE f SET region = 'us' WHERE id % 6 = 1",
    "UPDATE f SET region = 'eu' WHERE id % 6 = 3",
    "UPDATE f SET note = note || '!' WHERE id % 4 = 0",
    // Keys that move, in and out at once.
    "UPDATE f SET id = id + 1000 WHERE id % 5 = 0",
    "UPDATE f SET id = id + 2000, region = 'eu' WHERE id % 9 = 0",
    "UPDATE f SET id = id + 4000, region = 'us' WHERE id % 11 = 0",
    "DELETE FROM f WHERE id % 7 = 0",
    // There and back in one transaction.
    "BEGIN; UPDATE f SET region = 'us' WHERE id = 4; UPDATE f SET region = 'eu' WHERE id = 4; \
     DELETE FROM f WHERE id = 16; INSERT INTO f VALUES (16, 'eu', 'again', 'short'); COMMIT",
];

/// `is_pushed`: rows that stay out are not even sent.
async fn filtered(condition: &str, identity: &str, is_pushed: bool) {
    let section = format!("[[table]]\nname = \"public.f\"\nwhere = \"{condition}\"\n");
    let configure = |agent: Agent| agent.section(&section);
    let setup = format!("{ROWS}; ALTER TABLE f REPLICA IDENTITY {identity}");
    let mut thrice = Thrice::start_with(&setup, "", configure).await;
    let columns = "id, region, note, body";
    let pair = Pair::renamed(&format!("(SELECT * FROM f WHERE {condition}\n) AS f"), "f");
    let pair = pair.columns(columns, columns);
    thrice.assert_followed(std::slice::from_ref(&pair)).await;
    let pushed = "SELECT count(*) FROM pg_publication_rel WHERE prqual IS NOT NULL";
    let expected = if is_pushed { "2" } else { "0" };
    assert_eq!(thrice.source.scalar(pushed).await, expected, "one for each pipeline");
    thrice.play(CHANGES).await;
    thrice.assert_followed(std::slice::from_ref(&pair)).await;
    thrice.assert_copied(&[pair], configure).await;
}

#[tokio::test]
async fn rows_enter_and_leave_a_filter_whole() {
    filtered("region = 'eu'", "DEFAULT", false).await;
}

#[tokio::test]
async fn rows_enter_and_leave_a_filter_under_full_identity() {
    filtered("region = 'eu' AND length(body) > 10", "FULL", true).await;
}

#[tokio::test]
async fn a_filter_over_a_large_value_reads_it_where_it_was_not_sent() {
    filtered("length(body) > 3100 OR region = 'us'", "DEFAULT", false).await;
}

/// An expression sees no row that its table's filter leaves out.
#[tokio::test]
async fn what_a_filter_leaves_out_is_not_computed() {
    let setup = "CREATE TABLE v (id int PRIMARY KEY, kind text, v text);
        INSERT INTO v VALUES (1, 'int', '5'), (2, 'text', 'five')";
    let section = "[[table]]\nname = \"public.v\"\nwhere = \"kind = 'int'\"\n\
        [table.columns]\nv = { sql = \"v::int\" }";
    let configure = |agent: Agent| agent.section(section);
    let mut thrice = Thrice::start_with(setup, "", configure).await;
    thrice
        .play(&[
            "INSERT INTO v VALUES (3, 'text', 'six')",
            "INSERT INTO v VALUES (4, 'int', '6'), (5, 'text', 'seven'), (6, 'int', '8')",
            "UPDATE v SET kind = 'text', v = 'nine' WHERE id = 6",
            "UPDATE v SET kind = 'int', v = '10' WHERE id = 5",
        ])
        .await;
    let pair = Pair::renamed("(SELECT * FROM v WHERE kind = 'int') AS v", "v");
    let pair = pair.columns("id, kind, v::int", "id, kind, v");
    thrice.assert_followed(std::slice::from_ref(&pair)).await;
    thrice.assert_copied(&[pair], configure).await;
}

#[tokio::test]
async fn a_filter_over_the_key_is_one() {
    filtered("id % 2 = 0 -- even", "DEFAULT", true).await;
}

/// What passed when it was copied does not when it is deleted: it goes all the same.
#[tokio::test]
async fn rows_that_a_filter_has_let_pass_go_when_it_would_not_any_more() {
    let setup = "CREATE TABLE season (id int PRIMARY KEY, is_open bool);
         INSERT INTO season VALUES (1, true);
         CREATE FUNCTION in_season(text) RETURNS bool LANGUAGE sql STABLE AS
         'SELECT is_open AND $1 = ''eu'' FROM public.season'";
    let setup = format!("{setup}; {ROWS}; ALTER TABLE f REPLICA IDENTITY FULL");
    let section = "[[table]]\nname = \"public.f\"\nwhere = \"in_season(region)\"\n";
    let mut thrice = Thrice::start_with(&setup, "", |agent: Agent| agent.section(section)).await;
    thrice
        .play(&[
            "UPDATE season SET is_open = false",
            "DELETE FROM f WHERE id < 4",
            "UPDATE f SET note = 'late' WHERE id = 4",
        ])
        .await;
    let left = "SELECT string_agg(id::text, ',' ORDER BY id) FROM f";
    for followed in [&thrice.singly, &thrice.whole] {
        assert_eq!(followed.scalar(left).await, "7,10,13,16,19,22,25,28");
    }
}

#[tokio::test]
async fn a_filter_that_no_publication_takes_stays_with_the_agent() {
    let setup = "CREATE FUNCTION is_ours(text) RETURNS bool LANGUAGE sql IMMUTABLE AS \
         'SELECT $1 IN (''eu'', ''uk'')'";
    let setup = format!("{setup}; {ROWS}; ALTER TABLE f REPLICA IDENTITY FULL");
    let section = "[[table]]\nname = \"public.f\"\nwhere = \"is_ours(region)\"\n";
    let configure = |agent: Agent| agent.section(section);
    let mut thrice = Thrice::start_with(&setup, "", configure).await;
    let pair = Pair::renamed("(SELECT * FROM f WHERE public.is_ours(region)) AS f", "f");
    let pair = pair.columns("id, region, note, body", "id, region, note, body");
    thrice.play(CHANGES).await;
    thrice.assert_followed(std::slice::from_ref(&pair)).await;
    thrice.assert_copied(&[pair], configure).await;
    let checked = thrice.singly.agent.verb(&["check"]).await;
    assert!(checked.stdout.contains("its where runs at the agent"), "{}", checked.stdout);
}
