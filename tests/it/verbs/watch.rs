//! `status --watch`, on a terminal and elsewhere.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::with_table;
use crate::support::agent::Agent;
use crate::support::cluster::Stop;
use crate::support::wait;

/// The lines that are complete.
fn looks(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("our own file");
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

async fn sees(path: &Path, after: usize, what: &str, is_it: impl Fn(&Value) -> bool) -> usize {
    let mut count = 0;
    wait::until(what, wait::CATCH_UP, async || {
        let looks = looks(path);
        count = looks.len();
        looks.iter().skip(after).any(&is_it)
    })
    .await;
    count
}

#[tokio::test]
async fn a_watch_outlives_the_agent_and_the_servers_and_ends_with_its_signal() {
    let (mut source, mut destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("looks");
    let file = File::create(&path).expect("our own folder");
    let mut watch = agent.spawn_verb(&["status", "--watch", "--output", "json"], file);
    let from = |who: &'static str| move |look: &Value| look["seen_from"] == who;
    sees(&path, 1, "a second look at the agent", from("agent")).await;
    assert_eq!(agent.terminate().await, Some(0));
    let seen = sees(&path, 0, "a look at the servers", from("servers")).await;
    source.stop(Stop::Fast).await;
    destination.stop(Stop::Fast).await;
    let failed = |look: &Value| look["ok"] == false && look["code"] == "E_CONNECT";
    let seen = sees(&path, seen, "a look that failed", failed).await;
    source.launch_again().await;
    destination.launch_again().await;
    agent.start_and_stream().await;
    sees(&path, seen, "the agent is back", |look| look["state"] == "streaming").await;
    watch.signal(Signal::SIGTERM);
    assert_eq!(watch.wait("the watch ends", wait::PROCESS).await, Some(143));
}

#[tokio::test]
async fn a_watch_whose_first_look_fails_ends_like_status() {
    let (mut source, mut destination) = with_table().await;
    source.stop(Stop::Fast).await;
    destination.stop(Stop::Fast).await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["status", "--watch", "--output", "json"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(super::json(&output)["code"], "E_CONNECT");
}

#[tokio::test]
async fn a_watch_without_a_reader_ends_with_0() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut watch = agent.spawn_verb(&["status", "--watch"], writer);
    drop(reader);
    assert_eq!(watch.wait("the watch ends", wait::PROCESS).await, Some(0));
}

/// What was written to a terminal, read as it comes.
fn collect(master: OwnedFd) -> Arc<Mutex<Vec<u8>>> {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&bytes);
    std::thread::spawn(move || {
        let mut master = File::from(master);
        let mut buffer = [0; 4096];
        // The end is an error (EIO): the terminal's other side is closed.
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            collected.lock().expect("no panic").extend_from_slice(&buffer[..count]);
        }
    });
    bytes
}

fn text_of(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().expect("no panic")).into_owned()
}

#[tokio::test]
async fn a_terminal_is_redrawn_within_its_size_and_given_back() {
    const ENTER: &str = "\u{1b}[?1049h";
    const LEAVE: &str = "\u{1b}[?1049l";
    let (source, destination) = with_table().await;
    source.exec("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination).variable("TERM", "xterm");
    agent.start_and_stream().await;
    let size = Winsize { ws_row: 9, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).expect("a terminal");
    let bytes = collect(pty.master);
    let mut watch = agent.spawn_verb(&["status", "--watch"], pty.slave);
    wait::until("three pictures", wait::CATCH_UP, async || {
        text_of(&bytes).matches("\u{1b}[H").count() >= 3
    })
    .await;
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.wait("the watch ends", wait::PROCESS).await, Some(130));
    wait::until("the terminal is given back", wait::PROCESS, async || {
        text_of(&bytes).contains(LEAVE) && text_of(&bytes).ends_with('\n')
    })
    .await;
    let text = text_of(&bytes);
    let (before, pictures) = text.split_once(ENTER).expect("the other screen");
    assert_eq!(before, "");
    let (pictures, last) = pictures.split_once(LEAVE).expect("the terminal is given back");
    for picture in pictures.split("\u{1b}[H").skip(1) {
        let lines: Vec<&str> = picture.split("\u{1b}[K").collect();
        assert!(lines.len() <= 10, "nine lines and what ends the last:\n{picture}");
        for line in lines {
            assert!(line.trim().chars().count() <= 40, "{line:?} is too wide");
        }
        assert!(picture.contains("more lines"), "{picture}");
    }
    assert!(last.contains("public.t"), "the last picture stays, whole: {last}");

    // A terminal that cannot move its cursor gets blocks.
    let dumb = Agent::between(&source, &destination).variable("TERM", "dumb");
    let pty = openpty(&size, None).expect("a terminal");
    let bytes = collect(pty.master);
    let mut watch = dumb.spawn_verb(&["status", "--watch"], pty.slave);
    wait::until("two blocks", wait::CATCH_UP, async || {
        text_of(&bytes).matches("seen from").count() >= 2
    })
    .await;
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.wait("the watch ends", wait::PROCESS).await, Some(130));
    assert!(!text_of(&bytes).contains('\u{1b}'), "{}", text_of(&bytes));
}
