//! The house rules that can be read off the sources; the rest is for reviewers.
//!
//! In: the files of the repository. Out: one line per breach, `file:line: rule, use X instead`.
//! Nothing here parses Rust: comments and literals are blanked out by a small lexer, then lines are
//! searched. That is enough for rules about words, and quick enough to run first.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/blank.rs"]
mod blank;

use blank::blank;
use sync_agent::config::load::{Inputs, Purpose, load};

/// Every top-level module in reading order, and what it may import besides itself. An entry with a
/// path allows that path only. A module may import only from above: the order is checked, too.
const IMPORTS: &[(&str, &[&str])] = &[
    ("failpoint", &[]),
    ("pace", &[]),
    ("pg", &[]),
    ("model", &["pg"]),
    ("config", &["pg", "model"]),
    ("metrics", &[]),
    ("wire", &["pg"]),
    ("pgoutput", &["pg"]),
    ("source", &["failpoint", "pg", "model", "wire", "pgoutput", "metrics"]),
    ("snapshot", &["pg", "model", "wire", "metrics"]),
    ("transform", &["pg", "model", "config"]),
    ("structure", &["pg"]),
    ("batch", &["pg", "model"]),
    ("checkpoint", &["pg", "model"]),
    (
        "apply",
        &[
            "failpoint",
            "pg",
            "model",
            "wire",
            "batch",
            "checkpoint::row",
            "checkpoint::CheckpointError",
            "metrics",
        ],
    ),
    (
        "pipeline",
        &[
            "failpoint",
            "pace",
            "pg",
            "model",
            "config",
            "metrics",
            "wire",
            "pgoutput",
            "source",
            "snapshot",
            "transform",
            "structure",
            "batch",
            "checkpoint",
            "apply",
        ],
    ),
    ("http", &["metrics", "pipeline::status"]),
    (
        "cli",
        &["failpoint", "pace", "pg", "model", "config", "metrics", "snapshot", "pipeline", "http"],
    ),
];

/// Text, where it is banned (all of `src` when empty), and what to use instead.
const BANNED: &[(&str, &[&str], &str)] = &[
    (".unwrap()", &[], "expect(\"the invariant\") or an error"),
    ("panic!(", &[], "an error, or assert! where going on would corrupt data"),
    ("println!(", &[], "tracing, or a writer that the verb is given"),
    ("dbg!(", &[], "tracing"),
    ("todo!(", &[], "an E_CONFIG refusal: not yet"),
    ("unimplemented!(", &[], "an E_CONFIG refusal: not yet"),
    ("Box<dyn Error", &[], "the module's own error enum"),
    ("Box<dyn std::error::Error", &[], "the module's own error enum"),
    ("anyhow", &[], "the module's own error enum"),
    ("use crate::{", &[], "one `use crate::module` line per module"),
    (" as u8", &["wire", "pgoutput", "checkpoint"], "u8::try_from or u8::from"),
    (" as u16", &["wire", "pgoutput", "checkpoint"], "u16::try_from or u16::from"),
    (" as u32", &["wire", "pgoutput", "checkpoint"], "u32::try_from or u32::from"),
    (" as i16", &["wire", "pgoutput", "checkpoint"], "i16::try_from or i16::from"),
    (" as i32", &["wire", "pgoutput", "checkpoint"], "i32::try_from or i32::from"),
    (
        "Instant::now(",
        &["batch", "transform", "pgoutput", "model"],
        "a parameter: time is injected",
    ),
    (
        "SystemTime::now(",
        &["batch", "transform", "pgoutput", "model"],
        "a parameter: time is injected",
    ),
    ("tracing::", &["pgoutput", "batch", "transform"], "a returned value: pure modules do not log"),
];

/// Words of the vocabulary's right-hand column that have no innocent use in an identifier.
const BANNED_WORDS: &[(&str, &str)] = &[
    ("txn", "transaction"),
    ("dst", "destination"),
    ("tgt", "destination"),
    ("upstream", "source"),
    ("downstream", "destination"),
];

const BANNED_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// A breach: where, and what to do.
type Breaches = Vec<String>;

/// One Rust file: its path from the root, its text, and its text without comments and literals.
struct Source {
    path: String,
    text: String,
    code: String,
    /// The first line (counted from 0) of its test module; the end of the file when it has none.
    tests_from: usize,
}

impl Source {
    /// `wire` for `src/wire/frame.rs` and `src/wire.rs`; `None` for `lib.rs` and `main.rs`.
    fn module(&self) -> Option<&str> {
        let path = self.path.strip_prefix("src/")?.trim_end_matches(".rs");
        let first = path.split('/').next()?;
        (first != "lib" && first != "main").then_some(first)
    }

    /// Lines that ship, with their number as an editor shows it.
    fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().take(self.tests_from).enumerate().map(|(i, line)| (i + 1, line))
    }
}

#[test]
fn modules_import_only_what_their_row_allows() {
    let mut breaches = Breaches::new();
    for source in sources("src") {
        let Some(module) = source.module() else { continue };
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
            breaches.push(format!(
                "{}:1: module `{module}` has no row, add one to IMPORTS in tests/tidy.rs instead",
                source.path
            ));
            continue;
        };
        for (number, line) in source.product_lines() {
            for path in crate_paths(line) {
                let is_allowed = path.starts_with("{")
                    || begins_with(path, module)
                    || allowed.iter().any(|allowed| begins_with(path, allowed));
                if !is_allowed {
                    breaches.push(format!(
                        "{}:{number}: `{module}` may not import crate::{path}, use {} instead",
                        source.path,
                        if allowed.is_empty() {
                            "nothing of ours".to_owned()
                        } else {
                            allowed.join(", ")
                        }
                    ));
                }
            }
        }
    }
    report(breaches);
}

#[test]
fn modules_stand_in_reading_order() {
    let order: Vec<&str> = IMPORTS.iter().map(|(name, _)| *name).collect();
    let mut breaches = Breaches::new();
    for (i, (name, allowed)) in IMPORTS.iter().enumerate() {
        for import in *allowed {
            let import = import.split("::").next().expect("a name");
            if order.iter().position(|other| *other == import).is_none_or(|at| at >= i) {
                breaches.push(format!("tests/tidy.rs: `{name}` imports `{import}` from below"));
            }
        }
    }
    let library = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let declared: Vec<&str> = library.lines().filter_map(declared_module).collect();
    if declared != order {
        breaches.push(format!(
            "src/lib.rs:1: modules stand as {declared:?}, use the reading order instead: {order:?}"
        ));
    }
    report(breaches);
}

#[test]
fn banned_text_is_absent() {
    let mut breaches = Breaches::new();
    for source in sources("src") {
        let module = source.module().unwrap_or_default();
        for (number, line) in source.product_lines() {
            for (text, modules, instead) in BANNED {
                // The one boxed error that a foreign trait (`ToSql`) demands of us.
                let is_foreign = line.contains("Box<dyn Error + Sync + Send>");
                let applies = (modules.is_empty() || modules.contains(&module)) && !is_foreign;
                if applies && contains_token(line, text) {
                    breaches.push(format!(
                        "{}:{number}: `{}` is banned here, use {instead} instead",
                        source.path,
                        text.trim()
                    ));
                }
            }
            if is_pub_use(line) && line.ends_with("::*;") {
                breaches.push(format!(
                    "{}:{number}: everything is re-exported, use a chosen list of names instead",
                    source.path
                ));
            }
            for (word, instead) in BANNED_WORDS {
                if identifier_words(line).any(|found| found == *word) {
                    breaches.push(format!(
                        "{}:{number}: the word `{word}` is banned, use {instead} instead",
                        source.path
                    ));
                }
            }
        }
    }
    for source in sources("tests") {
        if source.path.starts_with("tests/it/support/") || source.path.starts_with("tests/tidy") {
            continue;
        }
        for (i, line) in source.code.lines().enumerate() {
            if line.contains("sleep(") {
                breaches.push(format!(
                    "{}:{}: tests do not sleep, use support::wait or a state, LSN or metric instead",
                    source.path,
                    i + 1
                ));
            }
        }
    }
    report(breaches);
}

#[test]
fn a_todo_carries_the_link_of_its_issue() {
    let mut breaches = Breaches::new();
    for folder in ["src", "tests/it", "scripts", "docker", "docs", "grafana"] {
        for path in files(folder, &["rs", "sql", "sh", "md", "toml", "yaml", "yml"]) {
            let text = fs::read_to_string(root().join(&path)).unwrap_or_default();
            for (i, line) in text.lines().enumerate() {
                let has_mark = ["TODO", "FIXME"].iter().any(|mark| contains_token(line, mark));
                if has_mark && !line.contains("http") {
                    breaches.push(format!(
                        "{path}:{}: a TODO without an issue, use a link on the same line instead",
                        i + 1
                    ));
                }
            }
        }
    }
    report(breaches);
}

#[test]
fn files_open_with_a_module_doc_and_have_names_that_say_something() {
    let mut breaches = Breaches::new();
    let all = sources("src");
    for source in all.iter().chain(&sources("tests")) {
        let says_it_by_its_name = source.path.ends_with("/tests.rs");
        if !source.text.starts_with("//!") && !says_it_by_its_name {
            breaches.push(format!(
                "{}:1: no module doc, use `//!` on the first line instead",
                source.path
            ));
        }
        for part in source.path.trim_end_matches(".rs").split('/') {
            if BANNED_NAMES.contains(&part) {
                breaches.push(format!(
                    "{}:1: `{part}` says nothing, use a name for the idea instead",
                    source.path
                ));
            }
        }
    }
    let declared: BTreeSet<&str> =
        all.iter().flat_map(|source| source.text.lines().filter_map(declared_module)).collect();
    for source in &all {
        let path = source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        let name = path.rsplit('/').next().expect("a name");
        if !["lib", "main"].contains(&name) && !declared.contains(name) {
            breaches.push(format!("{}:1: nobody declares it, use `mod {name};`", source.path));
        }
    }
    report(breaches);
}

#[test]
fn every_sql_file_is_used() {
    let all: String = sources("src").into_iter().map(|source| source.text).collect();
    let unused = files("src", &["sql"]).into_iter().filter(|path| {
        let name = path.rsplit('/').next().expect("a name");
        !all.contains(&format!("{name}\")"))
    });
    report(
        unused
            .map(|path| format!("{path}:1: no include_str! names it, use it or delete it instead"))
            .collect(),
    );
}

/// A database in LATIN1 or EUC_JP refuses a statement with a character that it lacks, in a comment too.
#[test]
fn sql_files_are_ascii() {
    let mut breaches = Breaches::new();
    for path in files("src", &["sql"]) {
        let text = fs::read_to_string(root().join(&path)).expect("a file of ours");
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.is_ascii()) {
            breaches.push(format!("{path}:{}: {line} is not ASCII, say it in ASCII", i + 1));
        }
    }
    report(breaches);
}

#[test]
fn every_metric_on_a_dashboard_or_in_a_rule_exists() {
    let metrics: String = sources("src")
        .into_iter()
        .filter(|source| source.module() == Some("metrics"))
        .map(|source| source.text)
        .collect();
    let exists = |name: &str| {
        let plain = name.trim_start_matches("sync_agent_");
        metrics.contains(&format!("\"{name}\"")) || metrics.contains(&format!("\"{plain}\""))
    };
    let mut breaches = Breaches::new();
    for path in files("grafana", &["json", "yaml", "yml"]) {
        let text = fs::read_to_string(root().join(&path)).expect("a dashboard");
        for (i, line) in text.lines().enumerate() {
            for name in metric_names(line) {
                let histogram = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| name.strip_suffix(suffix))
                    .unwrap_or(&name);
                if !exists(&name) && !exists(histogram) {
                    breaches.push(format!(
                        "{path}:{}: `{name}` is not exported, use a name from src/metrics instead",
                        i + 1
                    ));
                }
            }
        }
    }
    report(breaches);
}

/// By the library's own reader, so that an unknown key, a bad value and a rule all show.
#[test]
fn every_shipped_configuration_is_accepted() {
    let mut breaches = Breaches::new();
    let shipped = files("config", &["toml"]).into_iter().chain(files("docker", &["toml"]));
    for path in shipped {
        let text = fs::read_to_string(root().join(&path)).expect("a configuration");
        // What a file leaves to the environment is an address in one place, a secret elsewhere.
        let environment = |name: &str| {
            let is_url = name.ends_with("URL");
            let value = if is_url { "postgresql://user@host/db" } else { "secret" };
            text.contains(&format!("${{{name}")).then(|| value.to_owned())
        };
        let mut inputs = Inputs::new(&environment, Purpose::Snapshot);
        inputs.config = Some(root().join(&path));
        if let Err(errors) = load(&inputs) {
            breaches.push(format!("{path}: {}", errors.render(false)));
        }
    }
    report(breaches);
}

/// No limit: judgement. Run with `--no-capture` to look at them.
#[test]
#[allow(clippy::print_stdout, reason = "this list is for whoever runs the test by hand")]
fn the_longest_files_and_functions_are_listed() {
    let all = sources("src");
    let mut lengths: Vec<(usize, String)> =
        all.iter().map(|s| (s.product_lines().count(), s.path.clone())).collect();
    lengths.sort_by(|a, b| b.cmp(a));
    println!("longest files (look up at 400):");
    for (length, path) in lengths.iter().take(8) {
        println!("  {length:5} {path}");
    }
    let mut functions: Vec<(usize, String)> = all.iter().flat_map(functions).collect();
    functions.sort_by(|a, b| b.cmp(a));
    println!("longest functions (a screen is 70):");
    for (length, place) in functions.iter().take(8) {
        println!("  {length:5} {place}");
    }
    assert!(!lengths.is_empty());
}

// === reading ===

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn report(mut breaches: Breaches) {
    breaches.sort();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// Paths from the root, with `/`, sorted; an absent folder has none.
fn files(folder: &str, extensions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) {
                let path = path.strip_prefix(root()).expect("below the root");
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<Source> {
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).expect("a source file");
        let code = blank(&text);
        let is_test = path.split('/').any(|part| part == "tests" || part == "tests.rs");
        let marker = test_module(&code);
        let end = code.lines().count();
        let tests_from = if is_test { 0 } else { marker.unwrap_or(end) };
        Source { path, text, code, tests_from }
    };
    files(folder, &["rs"]).into_iter().map(read).collect()
}

/// The line of a file's test module. It stands last: that is what makes one number enough.
fn test_module(code: &str) -> Option<usize> {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    (0..lines.len()).find(|at| {
        let mut after = lines[*at + 1..].iter().filter(|line| !line.starts_with("#["));
        lines[*at] == "#[cfg(test)]" && after.next().is_some_and(|line| line.starts_with("mod "))
    })
}

/// What follows each `crate::` in a line, up to the end of the path.
fn crate_paths(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").filter_map(|(at, found)| {
        let before = line[..at].chars().next_back();
        // `$crate::` in a macro and `my_crate::` are not ours.
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            return None;
        }
        let rest = &line[at + found.len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "_:{".contains(c)));
        Some(&rest[..end.unwrap_or(rest.len())])
    })
}

/// Whether a path is the prefix or lies below it.
fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether the text stands in the line as a whole, not as the end or start of a longer word.
fn contains_token(line: &str, text: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(text).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + text.len()..].chars().next();
        let starts_inside = text.starts_with(is_word) && before.is_some_and(is_word);
        let ends_inside = text.ends_with(is_word) && after.is_some_and(is_word);
        !starts_inside && !ends_inside
    })
}

fn is_pub_use(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("pub use ") || (line.starts_with("pub(") && line.contains(") use "))
}

/// The parts of snake_case identifiers.
fn identifier_words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// `x` of `mod x;`, `pub mod x;`, `pub(crate) mod x;`.
fn declared_module(line: &str) -> Option<&str> {
    let line = line.trim();
    let rest = line
        .strip_prefix("pub(crate) mod ")
        .or_else(|| line.strip_prefix("pub(super) mod "))
        .or_else(|| line.strip_prefix("pub mod "))
        .or_else(|| line.strip_prefix("mod "))?;
    rest.strip_suffix(';')
}

fn metric_names(line: &str) -> Vec<String> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| word.starts_with("sync_agent_") && !word.contains(':'))
        .map(str::to_owned)
        .collect()
}

/// Length and place of each function, by matching the indentation of its closing brace.
fn functions(source: &Source) -> Vec<(usize, String)> {
    let lines: Vec<&str> = source.code.lines().take(source.tests_from).collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if !contains_token(line, "fn") || !line.contains("fn ") {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| **line == closing);
        if let Some(length) = length {
            found.push((length + 1, format!("{}:{}", source.path, start + 1)));
        }
    }
    found
}
