//! Claims about the arguments.

use std::time::Duration;

use clap::{CommandFactory, Parser};

use crate::cli::args::{Cli, OnHalt, Until, Verb, WaitFor};
use crate::cli::logging::LogFormat;

fn parse(text: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(text.split(' '))
}

fn verb(text: &str) -> Verb {
    parse(text).expect(text).verb
}

/// Compares with `tests/golden/cli/<name>`; writes it where `UPDATE_GOLDEN` is set.
fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cli").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("directory");
        std::fs::write(&path, text).expect("write");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{} (UPDATE_GOLDEN=1 rewrites it)", path.display());
}

#[test]
fn clap_finds_no_fault_with_the_arguments() {
    Cli::command().debug_assert();
}

#[test]
fn help_reads_as_it_was_reviewed() {
    let mut text = String::new();
    let mut command = Cli::command().term_width(100);
    command.build();
    text.push_str(&command.render_help().to_string());
    for name in ["run", "snapshot", "check", "status", "wait", "preview", "resync", "reset"] {
        let verb = command.find_subcommand_mut(name).expect(name);
        text.push_str(&format!("\n----- {name}\n\n{}", verb.render_help()));
    }
    golden("help.txt", &text);
}

#[test]
fn every_verb_of_the_contract_is_listed() {
    let command = Cli::command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let contract = [
        "run",
        "snapshot",
        "check",
        "status",
        "wait",
        "verify",
        "resync",
        "pause",
        "resume",
        "preview",
        "dead-letters",
        "schema",
        "cutover",
        "init",
        "reset",
        "config-schema",
        "completions",
        "man",
    ];
    assert_eq!(names, contract);
}

#[test]
fn global_flags_stand_before_or_after_the_verb() {
    let before = parse("x --config a.toml --set a=1 --set b=2 run").expect("before").global;
    let after = parse("x run --config a.toml --set a=1 --set b=2").expect("after").global;
    assert_eq!((before.config, before.set), (after.config, after.set));
    let global =
        parse("x run --log-format json --include a.b --include c.d").expect("flags").global;
    assert_eq!(global.log_format, LogFormat::Json);
    assert_eq!(global.include, ["a.b", "c.d"]);
}

#[test]
fn verbs_read_their_arguments() {
    match verb("x run --until caught-up --on-halt stay") {
        Verb::Run(args) => {
            assert_eq!((args.until, args.on_halt), (Some(Until::CaughtUp), OnHalt::Stay))
        }
        other => unreachable!("{other:?}"),
    }
    match verb("x wait --for 16/B374D848 --timeout 1m30s") {
        Verb::Wait(args) => {
            assert_eq!(args.wait_for, WaitFor::Lsn("16/B374D848".parse().expect("lsn")));
            assert_eq!(args.timeout, Some(Duration::from_secs(90)));
        }
        other => unreachable!("{other:?}"),
    }
    match verb("x snapshot --table public.a --table public.b --restart --yes") {
        Verb::Snapshot(args) => {
            assert_eq!(args.tables.tables.len(), 2);
            assert!(args.restart && args.yes.yes);
        }
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_read_is_a_usage_error() {
    for text in [
        "x",
        "x fly",
        "x run --fast",
        "x wait",
        "x wait --for sunrise",
        "x run --log-level loud",
        "x snapshot --table orders",
        "x snapshot --wait soon",
        "x status --watch --probe",
        "x check --output xml",
    ] {
        assert_eq!(parse(text).expect_err(text).exit_code(), 2, "{text}");
    }
}
