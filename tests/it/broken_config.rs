//! Broken configurations against servers that are there: refused at once, with file, line and key,
//! and nothing is created on either side or on disk.

use std::time::{Duration, Instant};

use crate::support::agent::{Agent, Output};
use crate::support::cluster::{Cluster, Stop, pair};

/// From the start of the process to its end, whatever the servers do.
const LIMIT: Duration = Duration::from_secs(2);

/// A broken file, where `‸` stands before the place that is named; the key; the message.
const BROKEN: &[(&str, &str, &str)] = &[
    // What is no configuration.
    ("‸pipelin = \"shop\"", "pipelin", "unknown key"),
    ("pipeline = ‸5", "pipeline", "expected a string"),
    ("pipeline = ‸shop", "", "not TOML"),
    ("limits.memory = \"64MiB\"\n‸limits.memory = \"64MiB\"", "", "duplicate key"),
    ("include = ‸\"public.*\"", "include", "expected a list"),
    ("apply.‸max_batch_row = 5", "apply.max_batch_row", "unknown key"),
    ("‸sorce.url = \"x\"", "sorce", "unknown key"),
    // Values out of their range.
    ("apply.max_batch_rows = ‸0", "apply.max_batch_rows", "at least 1"),
    ("apply.max_batch_rows = ‸-1", "apply.max_batch_rows", "negative"),
    ("apply.max_batch_rows = ‸\"many\"", "apply.max_batch_rows", "expected an integer"),
    ("apply.max_batch_bytes = ‸0", "apply.max_batch_bytes", "zero"),
    ("apply.max_batch_delay = ‸\"soon\"", "apply.max_batch_delay", "not a duration"),
    ("limits.memory = ‸\"-64MiB\"", "limits.memory", "negative"),
    ("limits.memory = ‸\"1MiB\"", "limits.memory", "at least"),
    ("limits.max_value = ‸\"0\"", "limits.max_value", "zero"),
    ("snapshot.workers = ‸0", "snapshot.workers", "at least 1"),
    ("snapshot.chunk = ‸\"big\"", "snapshot.chunk", "not a size"),
    ("snapshot.copy_data = ‸\"yes\"", "snapshot.copy_data", "true or false"),
    ("shutdown_grace = ‸\"-1s\"", "shutdown_grace", "negative"),
    ("source.max_retained_wal = ‸\"-1GiB\"", "source.max_retained_wal", "negative"),
    ("destination.on_truncate = ‸\"trunkate\"", "destination.on_truncate", "expected one of"),
    // Names.
    ("pipeline = ‸\"my shop\"", "pipeline", "not a pipeline name"),
    ("source.slot = ‸\"Slot-1\"", "source.slot", "not a slot name"),
    ("source.publication = ‸[]", "source.publication", "no publication"),
    ("destination.state_schema = ‸\"pg_sync\"", "destination.state_schema", "the server"),
    ("include = [\"public.*\", ‸\"orders\"]", "include[1]", "no schema part"),
    ("include = [‸\"public.*\"]\nexclude = [\"public.*\"]", "include[0]", "also excluded"),
    // Secrets, files, addresses.
    ("source.password = ‸\"${NOT_SET_9}\"", "source.password", "NOT_SET_9 is not set"),
    ("source.password = ‸\"${file:/does/not/exist}\"", "source.password", "cannot read file"),
    ("source.password_command = ‸[]", "source.password_command", "no program"),
    ("http.listen = ‸\"everywhere\"", "http.listen", "not an address"),
    ("source.url = ‸\"not a url\"", "source.url", "connection string"),
    ("source.url = ‸\"postgresql://u@h/db?nonsense=1\"", "source.url", "nonsense"),
    ("source.url = ‸\"postgresql://u@h/db?sslmode=very\"", "source.url", "sslmode"),
    // Tables, by the file alone.
    ("[[table]]\nname = ‸\"public.*\"", "table[0].name", "pattern"),
    ("[[table]]\nname = ‸\"hr.staff\"", "table[0].name", "not covered by include"),
    (
        "[[table]]\nname = \"public.t\"\n[[table]]\nname = ‸'\"public\".t'",
        "table[1].name",
        "has an entry already",
    ),
    (
        "[[table]]\nname = \"public.t\"\n[table.columns]\nv = { ‸dorp = true }",
        "table[0].columns.v.dorp",
        "unknown key",
    ),
    (
        "[[table]]\nname = \"public.t\"\n[table.columns]\nv = { hash = ‸\"md5\" }",
        "table[0].columns.v.hash",
        "expected one of",
    ),
    (
        "[[table]]\nname = \"public.t\"\n[table.columns]\nv = { hash = ‸\"hmac-sha256\" }",
        "table[0].columns.v.hash",
        "needs a key",
    ),
    // What only the servers know.
    ("include = [\"public.*\", ‸\"shop.*\"]", "include[1]", "matches no table"),
    ("[[table]]\nname = ‸\"public.gone\"", "table[0].name", "no table"),
    (
        "[[table]]\nname = \"public.t\"\n[table.columns]\nw = ‸{ null = true }",
        "table[0].columns.w",
        "does not exist at the source",
    ),
    (
        "[[table]]\nname = \"public.t\"\n[table.columns]\nid = ‸{ drop = true }",
        "table[0].columns.id",
        "cannot be dropped",
    ),
    ("destination.url = ‸\"{same}\"", "destination.url", "same database"),
];

/// How many of them, at the end, are not seen in the file.
const KNOWN_BY_SERVERS: usize = 5;

/// The verb's end and the time it took: the best of a few, because the machine may be busy.
async fn timed(agent: &Agent, verb: &str) -> (Output, Duration) {
    let mut best = Duration::MAX;
    let mut output = None;
    for _ in 0..3 {
        let started = Instant::now();
        output = Some(agent.verb(&[verb]).await);
        best = best.min(started.elapsed());
        if best < LIMIT {
            break;
        }
    }
    (output.expect("it ran"), best)
}

/// The text without its mark, and the mark's line and column.
fn unmark(marked: &str) -> (String, usize, usize) {
    let (before, after) = marked.split_once('‸').expect("every case has a mark");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (format!("{before}{after}"), line, column)
}

/// The case with all it needs besides.
fn file(case: &str, agent: &Agent, source: &Cluster, destination: &Cluster) -> String {
    let mut lines = Vec::new();
    let mut add = |key: &str, value: String| {
        if !case.contains(key) {
            lines.push(format!("{key} = {value}"));
        }
    };
    add("source.url", format!("{:?}", source.url()));
    add("destination.url", format!("{:?}", destination.url()));
    add("http.listen", format!("{:?}", agent.status_address()));
    add("state.dir", format!("{:?}", agent.state_dir().display().to_string()));
    // By the socket, so that only the servers know.
    let same = format!(
        "host={} port={} user=postgres dbname={}",
        source.socket.display(),
        source.port,
        source.name
    );
    format!("{}\n{}\n", lines.join("\n"), case.replace("{same}", &same))
}

#[tokio::test]
async fn every_broken_configuration_names_file_line_and_key_and_has_no_side_effects() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    assert!(BROKEN.len() >= 40);
    for (index, (case, key, message)) in BROKEN.iter().enumerate() {
        let agent = Agent::between(&source, &destination);
        let (text, line, column) = unmark(&file(case, &agent, &source, &destination));
        let agent = agent.configured_by(&text);
        let name = agent.config_file().display().to_string();
        let place = match key {
            // A syntax error's column is the parser's.
            &"" => format!("{name}:{line}:"),
            key => format!("{name}:{line}:{column}: {key}: "),
        };
        for verb in ["check", "run"] {
            let (output, elapsed) = timed(&agent, verb).await;
            let said = format!("{}{}", output.stdout, output.stderr);
            assert_eq!(output.code, 3, "{verb}:\n{text}\n{said}");
            for word in [&place, *message, "E_CONFIG"] {
                assert!(said.contains(word), "{word:?} is missing: {verb}:\n{text}\n{said}");
            }
            assert!(elapsed < LIMIT, "{verb} took {elapsed:?}:\n{text}");
        }
        assert_eq!(agent.traces().await, Vec::<String>::new(), "{text}");
        // What only the servers know is looked at with the local store open.
        let is_ours = index + KNOWN_BY_SERVERS < BROKEN.len();
        assert!(!is_ours || !agent.state_dir().exists(), "{text}");
    }
    assert_eq!(destination.scalar("SELECT to_regclass('t')").await, "");
}

#[tokio::test]
async fn a_broken_configuration_is_told_without_any_server() {
    let (mut source, mut destination) = pair().await;
    source.stop(Stop::Fast).await;
    destination.stop(Stop::Fast).await;
    let agent = Agent::between(&source, &destination).set("apply.lanes", "0").set("x", "1");
    for verb in ["check", "run", "status", "snapshot", "init"] {
        let (output, elapsed) = timed(&agent, verb).await;
        assert_eq!(output.code, 3, "{output:?}");
        assert!(elapsed < LIMIT, "{verb} took {elapsed:?}");
        for word in ["apply.lanes", "unknown key"] {
            assert!(output.stderr.contains(word), "all at once: {output:?}");
        }
    }
    // As an object, too, where the result would have been one.
    let output = agent.verb(&["check", "--output", "json"]).await;
    let failure: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON on stdout");
    assert_eq!(
        (failure["ok"].as_bool(), failure["code"].as_str()),
        (Some(false), Some("E_CONFIG"))
    );
    assert_eq!(failure["errors"].as_array().expect("a list").len(), 2, "{failure}");
    assert_eq!(failure["errors"][0]["line"].as_u64().map(|line| line > 0), Some(true));
}

#[tokio::test]
async fn a_configuration_that_is_no_readable_file_is_refused_by_name() {
    let (source, destination) = pair().await;
    let agent = Agent::between(&source, &destination);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("latin1"), b"pipeline = \"sh\xf6p\"\n").expect("our own folder");
    std::fs::write(path("nul"), b"pipeline = \"a\0b\"\n").expect("our own folder");
    let cases = [
        (path("absent"), "No such file"),
        (path(""), "directory"),
        (path("latin1"), "not UTF-8"),
        (path("nul"), "not TOML"),
    ];
    for (path, word) in cases {
        let output = agent.verb_without_file(&["--config", &path, "check"]).await;
        assert_eq!(output.code, 3, "{output:?}");
        for word in [word, path.trim_end_matches('/')] {
            assert!(output.stderr.contains(word), "{word:?} is missing in {output:?}");
        }
    }
}
