//! Verbs and refusals that need no server.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Output, Stdio};

fn agent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_completions_are_scripts_that_their_shells_can_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (shell, flag) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let output = agent().args(["completions", shell]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        for word in ["sync-agent", "snapshot", "caught-up", "config-schema"] {
            assert!(text(&output).contains(word), "{shell}: {word} is missing");
        }
        let path = folder.path().join(shell);
        std::fs::write(&path, &output.stdout).expect("our own folder");
        // bash is everywhere; the others are asked where they are installed.
        match Command::new(shell).arg(flag).arg(&path).output() {
            Ok(read) => assert!(read.status.success(), "{shell}: {}", text(&read)),
            Err(error) => assert!(shell != "bash", "bash: {error}"),
        }
    }
    // What it offers, asked as bash asks it.
    let script = folder.path().join("bash");
    let ask = format!(
        "source {}; COMP_WORDS=(sync-agent wa); COMP_CWORD=1; \
         $(complete -p sync-agent | sed 's/.*-F \\([^ ]*\\).*/\\1/') sync-agent wa sync-agent; \
         echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let offered = Command::new("bash").args(["--norc", "-c", &ask]).output().expect("bash");
    assert_eq!(text(&offered).trim(), "wait");
}

#[test]
fn there_is_a_man_page_for_every_verb() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("share/man1");
    let output = agent().args(["man", "--dir"]).arg(&dir).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let help = text(&agent().arg("--help").output().expect("it runs"));
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty());
    let names: Vec<&str> = verbs
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 18, "{names:?}");
    for name in names {
        let page = std::fs::read_to_string(dir.join(format!("sync-agent-{name}.1")));
        let page = page.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains(".TH") && page.contains(".SH"), "{name}:\n{page}");
    }
    let page = agent().arg("man").output().expect("it runs");
    assert!(text(&page).contains(".TH sync-agent 1"), "{}", text(&page));
    let output = agent().args(["man", "--dir", "/dev/null/x"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("E_IO") && text(&output).contains("/dev/null/x"));
}

#[test]
fn what_cannot_be_written_is_said_and_a_reader_that_left_is_no_failure() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("linux has it");
    let output = agent().arg("config-schema").stdout(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("E_IO: cannot write to stdout"), "{}", text(&output));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = agent().arg("config-schema").stdout(writer).output().expect("it runs");
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), ""));
}

#[test]
fn arguments_that_cannot_be_read_are_2_and_say_what_can() {
    let cases: &[(&[&str], &str)] = &[
        (&["chekc"], "check"),
        (&["run", "--confg", "x"], "--config"),
        (&["snapshot", "--table", "public.*"], "is a pattern"),
        (&["snapshot", "--table", "orders"], "public.orders"),
        (&["wait", "--for", "16/"], "an LSN such as"),
        (&["wait", "--for", "streaming", "--timeout", "5"], "duration"),
        (&["check", "--output", "xml"], "json"),
        (&["check", "--log-level", "loud"], "trace"),
        (&["status", "--watch", "--probe"], "cannot be used with"),
        (&["completions", "tcsh"], "zsh"),
        (&[], "Usage"),
    ];
    for (arguments, word) in cases {
        let output = agent().args(*arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(word), "{arguments:?}: {word}: {}", text(&output));
    }
    let output = agent().arg(OsStr::from_bytes(b"\xff\xfe")).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let odd = OsStr::from_bytes(b"--source=\xff");
    let output = agent().arg(odd).arg("check").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

#[test]
fn no_color_is_wanted_and_none_comes() {
    let output = agent()
        .args(["--set", "x=1", "check"])
        .env("NO_COLOR", "1")
        .env("CLICOLOR_FORCE", "1")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(!text(&output).contains('\u{1b}'), "{}", text(&output));
}
