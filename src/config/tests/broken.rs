//! Broken configurations: each says what is wrong, and where.

use crate::config::diagnostics::ErrorPlace;
use crate::config::tests::{Case, URLS};

/// A broken file, where `‸` stands before the place of its one error; the key; the message.
const BROKEN: &[(&str, &str, &str)] = &[
    // Shape.
    ("‸pipelin = \"shop\"", "pipelin", "unknown key \"pipelin\""),
    ("pipeline = ‸5", "pipeline", "expected a string, found an integer"),
    ("include = ‸\"public.*\"", "include", "expected a list, found a string"),
    ("include = [\"public.*\", ‸7]", "include[1]", "expected a string, found an integer"),
    ("[apply]\nmax_batch_rows = ‸\"many\"", "apply.max_batch_rows", "expected an integer"),
    ("[apply]\nmax_batch_rows = ‸0", "apply.max_batch_rows", "must be at least 1"),
    ("[apply]\nmax_batch_rows = ‸-1", "apply.max_batch_rows", "must not be negative"),
    ("[apply]\nmax_batch_rows = ‸99999999999", "apply.max_batch_rows", "must be at most 42949"),
    ("[apply]\nlanes = ‸99999999999999999999", "apply.lanes", "is out of range"),
    ("[apply]\nlanes = ‸1979-05-27", "apply.lanes", "expected an integer, found a date"),
    ("[snapshot]\nworkers = ‸0", "snapshot.workers", "must be at least 1"),
    ("[snapshot]\ncopy_data = ‸\"yes\"", "snapshot.copy_data", "expected true or false"),
    ("[[table]]\nname = \"public.a\"\n‸wher = \"x\"", "table[0].wher", "unknown key \"wher\""),
    ("‸[[table]]\nunlisted = \"pass\"", "table[0].name", "is missing"),
    (
        "[[table]]\nname = \"public.a\"\ncolumns = { a = { ‸dorp = true } }",
        "table[0].columns.a.dorp",
        "unknown key \"dorp\"",
    ),
    (
        "[[table]]\nname = \"public.a\"\ncolumns = { a = ‸true }",
        "table[0].columns.a",
        "expected a table or a list, found true or false",
    ),
    (
        "[destination]\non_truncate = ‸\"trunkate\"",
        "destination.on_truncate",
        "expected one of \"truncate\", \"ignore\", \"halt\"",
    ),
    ("[http]\nmax_tables = ‸0", "http.max_tables", "must be at least 1"),
    // Not TOML.
    ("pipeline = ‸shop", "", "not TOML"),
    ("pipeline = \"a\"\n‸pipeline = \"b\"", "", "not TOML: duplicate key"),
    // Units.
    ("shutdown_grace = ‸\"ten\"", "shutdown_grace", "\"ten\" is not a duration"),
    ("shutdown_grace = ‸\"-1s\"", "shutdown_grace", "must not be negative"),
    ("[apply]\nmax_batch_delay = ‸\"5\"", "apply.max_batch_delay", "\"5\" is not a duration"),
    ("[apply]\nmax_batch_bytes = ‸0", "apply.max_batch_bytes", "must not be zero"),
    ("[snapshot]\nchunk = ‸\"0\"", "snapshot.chunk", "must not be zero"),
    ("[snapshot]\nchunk = ‸\"big\"", "snapshot.chunk", "\"big\" is not a size"),
    ("[snapshot]\nchunk = ‸-5", "snapshot.chunk", "must not be negative"),
    ("[limits]\nmemory = ‸\"15MiB\"", "limits.memory", "must be at least \"16MiB\""),
    ("[limits]\nmax_value = ‸\"0\"", "limits.max_value", "must not be zero"),
    ("[source]\nmax_retained_wal = ‸\"-1GiB\"", "source.max_retained_wal", "not be negative"),
    // Names and patterns.
    ("pipeline = ‸\"my shop\"", "pipeline", "is not a pipeline name"),
    ("pipeline = ‸\"a2345678901234567890123456789012345678901\"", "pipeline", "at most 40"),
    ("[source]\nslot = ‸\"Slot-1\"", "source.slot", "is not a slot name"),
    ("[source]\npublication = ‸[]", "source.publication", "names no publication"),
    ("[source]\npublication = ‸\"\"", "source.publication", "a publication needs a name"),
    ("[destination]\nstate_schema = ‸\"pg_sync\"", "destination.state_schema", "the server"),
    ("[destination]\nschemas = { public = ‸\"\" }", "destination.schemas.public", "needs a name"),
    ("include = ‸[]", "include", "selects no table"),
    ("include = [\"public.*\", ‸\"orders\"]", "include[1]", "has no schema part"),
    ("exclude = [‸\"a.b.c\"]", "exclude[0]", "has more than two parts"),
    ("include = [\"a.*\", ‸\"b.*\"]\nexclude = [\"b.*\"]", "include[1]", "is also excluded"),
    // Tables.
    ("[[table]]\nname = ‸\"public.*\"", "table[0].name", "is a pattern; one table is wanted"),
    ("[[table]]\nname = ‸\"hr.staff\"", "table[0].name", "is not covered by include"),
    (
        "exclude = [\"public.a*\"]\n[[table]]\nname = ‸\"public.ab\"",
        "table[0].name",
        "is excluded by \"public.a*\"",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[[table]]\nname = ‸'public.\"a\"'",
        "table[1].name",
        "has an entry already",
    ),
    ("[[table]]\nname = \"public.a\"\non_delete = ‸\"mark:\"", "table[0].on_delete", "not a way"),
    // Columns.
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = ‸{ drop = true, null = true }",
        "table[0].columns.x",
        "has several steps in one table: drop, null",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = ‸[{ drop = true }, { null = true }]",
        "table[0].columns.x",
        "drop stands alone",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { drop = ‸false }",
        "table[0].columns.x.drop",
        "takes true only",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = [‸{ }]",
        "table[0].columns.x[0]",
        "the table has no step",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = ‸{ rename = \"ctid\" }",
        "table[0].columns.x",
        "no table's column can be called \"ctid\"",
    ),
    (
        "[[table]]\nname = \"public.a\"\non_delete = ‸\"mark:xmin\"",
        "table[0].on_delete",
        "no table's column can be called \"xmin\"",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = ‸[]",
        "table[0].columns.x",
        "the list has no step",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { hash = ‸\"hmac-sha256\" }",
        "table[0].columns.x.hash",
        "needs a key beside it",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { hash = \"sha256\", ‸key = \"k\" }",
        "table[0].columns.x.key",
        "takes no key",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { hash = ‸\"md5\" }",
        "table[0].columns.x.hash",
        "expected one of \"sha256\", \"hmac-sha256\"",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { rename = \"z\" }\ny = ‸{ rename = \"z\" }",
        "table[0].columns.y",
        "another column is stored as \"z\" already",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = [{ rename = \"a\" }, { rename = ‸\"b\" }]",
        "table[0].columns.x[1].rename",
        "the column is renamed twice",
    ),
    // Steps that make values.
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = [{ lower = ‸false }]",
        "table[0].columns.x[0].lower",
        "takes true only",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { trim = ‸false }",
        "table[0].columns.x.trim",
        "takes true only",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { mask = ‸\"half\" }",
        "table[0].columns.x.mask",
        "expected one of \"full\", \"email\"",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { mask = ‸true }",
        "table[0].columns.x.mask",
        "expected a string or a table",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { mask = ‸{ } }",
        "table[0].columns.x.mask",
        "the table says nothing",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { mask = { keep_first = 1, with = ‸\"**\" } }",
        "table[0].columns.x.mask.with",
        "takes one character",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { mask = { with = ‸\"\" } }",
        "table[0].columns.x.mask.with",
        "takes one character",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { mask = { keep_first = ‸-1 } }",
        "table[0].columns.x.mask.keep_first",
        "must not be negative",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { mask = \"full\", ‸key = \"k\" }",
        "table[0].columns.x.key",
        "belongs to no hash or fake",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = ‸{ mask = \"full\", lower = true }",
        "table[0].columns.x",
        "has several steps in one table: mask, lower",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = ‸[{ mask = \"full\" }, { drop = true }]",
        "table[0].columns.x",
        "drop stands alone",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { replace = { pattern = ‸\"(\", with = \"\" } }",
        "table[0].columns.x.replace.pattern",
        "is not a pattern that can be used: unclosed group",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { replace = { pattern = ‸'(\\w{100}){100}', with = \"\" } }",
        "table[0].columns.x.replace.pattern",
        "would take more than 1024 KiB",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { replace = { pattern = \"a\", with = ‸\"$1\" } }",
        "table[0].columns.x.replace.with",
        "names the group \"1\"",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { replace = ‸{ pattern = \"a\" } }",
        "table[0].columns.x.replace.with",
        "is missing",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { json_drop = ‸[] }",
        "table[0].columns.x.json_drop",
        "the list names no path",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { json_drop = ‸\"a\" }",
        "table[0].columns.x.json_drop",
        "expected a list, found a string",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { json_drop = [\"a\", ‸\"a..b\"] }",
        "table[0].columns.x.json_drop[1]",
        "has an empty part",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { fake = ‸\"iban\", key = \"k\" }",
        "table[0].columns.x.fake",
        "expected one of \"name\", \"first_name\"",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { fake = ‸\"name\" }",
        "table[0].columns.x.fake",
        "needs a key beside it",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { fake = \"name\", key = ‸\"\" }",
        "table[0].columns.x.key",
        "the key of a fake must not be empty",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { hash = \"hmac-sha256\", key = ‸\"\" }",
        "table[0].columns.x.key",
        "the key of a hash must not be empty",
    ),
    // Addresses, secrets, files.
    ("[http]\nlisten = ‸\"everywhere\"", "http.listen", "is not an address and port"),
    ("[source]\nslot = ‸\"${NOT_SET}\"", "source.slot", "variable NOT_SET is not set"),
    ("[source]\npassword = ‸\"${file:/does/not/exist}\"", "source.password", "cannot read file"),
    (
        "[source]\npassword = \"a\"\n‸password_command = [\"b\"]",
        "source.password_command",
        "stands beside a password",
    ),
    ("[source]\npassword_command = ‸[]", "source.password_command", "names no program"),
    ("[state]\ndir = ‸\"\"", "state.dir", "a directory needs a name"),
    (
        "[source]\nurl = ‸\"postgresql://u@h/db?nonsense=1\"",
        "source.url",
        "unknown key \"nonsense\"",
    ),
    (
        "[source]\nurl = \"postgresql://a@localhost:1/x\"\n[destination]\nurl = ‸\"host=127.0.0.1 port=1 user=b dbname=x\"",
        "destination.url",
        "is the same database as source.url",
    ),
    // Not built.
    ("[destination]\non_error = ‸\"dead-letter\"", "destination.on_error", "not yet: "),
    ("[snapshot]\nmax_rate = ‸\"1MiB\"", "snapshot.max_rate", "not yet: "),
    ("[apply]\nlanes = ‸2", "apply.lanes", "not yet: "),
    ("[[table]]\nname = \"public.a\"\nwhere = ‸\" \"", "table[0].where", "the expression is empty"),
    ("[[table]]\nname = \"public.a\"\nkey = ‸[]", "table[0].key", "a key without columns"),
    (
        "[[table]]\nname = \"public.a\"\nkey = [\"x\", ‸\"x\"]",
        "table[0].key[1]",
        "column \"x\" is in the key already",
    ),
    (
        "[[table]]\nname = \"public.a\"\non_delete = ‸\"mark:gone\"\n[table.columns]\ngone = { value = \"x\" }",
        "table[0].on_delete",
        "column \"gone\" is also in [table.columns] (table[0].columns.gone)",
    ),
    (
        "[[table]]\nname = \"public.a\"\non_delete = ‸\"mark:gone\"\n[table.columns]\nx = { rename = \"gone\" }",
        "table[0].on_delete",
        "column \"gone\" is also in [table.columns] (table[0].columns.x)",
    ),
    (
        "[[table]]\nname = \"public.a\"\non_error = ‸\"dead-letter\"",
        "table[0].on_error",
        "not yet: ",
    ),
    (
        "[[table]]\nname = \"public.a\"\n[table.columns]\nx = { sql = ‸\"\" }",
        "table[0].columns.x.sql",
        "the expression is empty",
    ),
    (
        "[[table]]\nname = \"public.a\"\ndestination = \"x.y\"\n[table.columns]\nof = { value = \"a\" }\n[[table]]\nname = \"public.b\"\ndestination = ‸\"x.y\"\n[table.columns]\nof = { value = \"a\" }",
        "table[1].destination",
        "nothing tells their rows apart",
    ),
    (
        "[[table]]\nname = \"public.a\"\ndestination = \"x.y\"\n[[table]]\nname = \"public.b\"\ndestination = ‸\"x.y\"",
        "table[1].destination",
        "\"x.y\" is the destination of \"public.a\", too (table[0]), and nothing tells their rows apart",
    ),
];

/// The text without its mark, and the mark's line and column.
fn unmark(marked: &str) -> (String, usize, usize) {
    let (before, after) = marked.split_once('‸').expect("every case has a mark");
    let line = before.lines().count().max(1) + usize::from(before.ends_with('\n'));
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (format!("{before}{after}"), line, column)
}

#[test]
fn every_broken_file_names_place_key_and_reason() {
    for (marked, key, message) in BROKEN {
        let (text, line, column) = unmark(marked);
        let case = Case::new(&text);
        let errors = case
            .load_with(|inputs| {
                // Where a case is not about them, the connections are given and good.
                if !text.contains("[source]\nurl") {
                    inputs.source = Some("postgresql://u@db1/shop".to_owned());
                }
                if !text.contains("[destination]\nurl") {
                    inputs.destination = Some("postgresql://u@db2/shop".to_owned());
                }
            })
            .expect_err(&text);
        let found: Vec<_> = errors.iter().collect();
        assert_eq!(found.len(), 1, "{text}\n{errors}");
        let name = case.path("sync-agent.toml").display().to_string();
        assert_eq!(found[0].place, ErrorPlace::Line { name, line, column }, "{text}\n{errors}");
        assert_eq!(found[0].key, *key, "{text}\n{errors}");
        assert!(found[0].message.contains(message), "{text}\n{errors}");
    }
}

#[test]
fn all_errors_come_at_once_and_in_order() {
    let text = "pipeline = \"a b\"\ninclude = [\"x\"]\nextra = 1\n[source]\nslot = \"A\"\n\
                [apply]\nlanes = 0\n[[table]]\nname = \"public.a\"\nwhere = \"\"\n";
    let errors = Case::new(text).load().expect_err("broken");
    let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
    let expected = [
        "destination.url",
        "pipeline",
        "include[0]",
        "extra",
        "source.url",
        "source.slot",
        "apply.lanes",
        "table[0].where",
    ];
    assert_eq!(keys, expected, "{errors}");
}

#[test]
fn the_first_line_of_each_error_is_made_for_scripts() {
    let case = Case::new(&format!("{URLS}\n[apply]\nlanes = 2\nmax_batch_rowz = 3\n"));
    let errors = case.load().expect_err("broken").to_string();
    let name = case.path("sync-agent.toml").display().to_string();
    let expected = format!(
        "E_CONFIG: {name}:7:9: apply.lanes: not yet: more than one lane is not built\n\
         \x20 |\n\
         7 | lanes = 2\n\
         \x20 |         ^\n\
         E_CONFIG: {name}:8:1: apply.max_batch_rowz: unknown key \"max_batch_rowz\"\n\
         \x20 |\n\
         8 | max_batch_rowz = \"…\"\n\
         \x20 | ^^^^^^^^^^^^^^\n\
         \x20 |\n\
         \x20 = help: Did you mean \"max_batch_rows\"?\n"
    );
    assert_eq!(errors, expected);
}

#[test]
fn no_secret_is_ever_printed() {
    let secret = "hunter2canary";
    let texts = [
        format!("[source]\nurl = \"postgresql://u:{secret}@h/db?nonsense=1\"\n"),
        format!("[source]\nurl = \"postgresql://u:{secret}\nslot = 1\n"),
        format!("[source]\npassword = {secret}\n"),
        format!("[source]\npassword = [\"{secret}\"]\n"),
        format!("[source]\npasword = \"{secret}\"\n"),
        format!("[sorce]\npassword = \"{secret}\"\nx = [\"{secret}\"]\n"),
        format!("source = \"postgresql://u:{secret}@h/db\"\n"),
        format!("source = {{ url = \"postgresql://u:{secret}@h/db\", slto = 1, slot = 5 }}\n"),
        format!("source = {{ url = \"x\", password = \"{secret}\", password_command = [] }}\n"),
        format!("[source]\nurl = \"\"\"\npostgresql://u:{secret}@h/db?nonsense=1\"\"\"\n"),
        format!("[source]\npassword_command = [\n  \"prog\", \"{secret}\", 5]\n"),
        format!("[source]\npassword_command = [\n  \"prog\",\n \"{secret}\n]\n"),
        format!("[source]\npassword = \"${{{secret}\"\n[apply]\nlanes = 0"),
        format!(
            "[[table]]\nname = \"public.a\"\ncolumns.x = {{ hash = \"sha256\", key = \"{secret}\" }}"
        ),
        format!("[[table]]\nname = \"public.a\"\ncolumns.x = {{ hash = 1, key = \"{secret}\" }}"),
        format!(
            "[[table]]\nname = \"public.a\"\ncolumns.x = {{ fake = \"x\", key = \"{secret}\" }}"
        ),
        format!(
            "[[table]]\nname = \"public.a\"\ncolumns.x = {{ mask = \"full\", key = \"{secret}\" }}"
        ),
        format!("[[table]]\nname = \"public.a\"\ncolumns.x = [{{ hash = 1, key = \"{secret}\" }}]"),
        format!("[http]\nlisten = {{ password = \"{secret}\" }}"),
        format!("include = {{ password = \"{secret}\" }}"),
    ];
    for text in texts {
        let errors = Case::new(&text).load().expect_err(&text);
        for shown in [errors.render(true), errors.render(false), errors.render_json()] {
            assert!(!shown.contains("canary"), "{text}\n{shown}");
        }
        assert!(!format!("{errors:?}").contains("canary"), "{text}\n{errors:?}");
    }
    let set = format!("source.password={secret}");
    let errors = Case::new(URLS).load_with(|inputs| inputs.set = vec![set]).expect_err("not TOML");
    assert!(!format!("{errors} {errors:?}").contains("canary"), "{errors}");
}
