//! The tour of the README, followed word for word.
//!
//! The fenced blocks of its section are taken in order: `toml` is the configuration file, `sh` is
//! what is typed into one shell. Nothing in a block is skipped and nothing is added to it. What is
//! replaced is what a reader replaces, the places and secrets of [`Tour::as_here`]: two hosts, the
//! TLS options (throwaway servers have no certificate; `tls` is about those), two passwords, and a
//! port that another test may have.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::cluster::{Cluster, free_port, pair};
use crate::support::compare::assert_same;
use crate::support::wait;

const SECTION: &str = "## Five minutes on your own two databases";

/// A reader's passwords need no care: they are in single quotes and in the environment.
const PASSWORD: &str = r#"p@ss:/%" \ wörd"#;

#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    text: String,
}

/// The fenced blocks of the section, in order.
fn blocks(readme: &str) -> Vec<Block> {
    let start = readme.find(SECTION).expect("the README has the section");
    let section = &readme[start + SECTION.len()..];
    let section = &section[..section.find("\n## ").unwrap_or(section.len())];
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in section.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { language: language.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block is not closed");
    blocks
}

/// One shell, in a process group of its own, in which a failing command ends everything.
struct Shell {
    child: Child,
    /// Ends the shell's group when the test process is killed: its pipe closes then.
    guard: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: PathBuf,
    block_count: usize,
}

/// What the shell says when a command has failed.
const FAILED: &str = "-- the shell has ended --";

impl Shell {
    fn start(folder: &Path) -> Shell {
        let binary = Path::new(env!("CARGO_BIN_EXE_sync-agent"));
        let path = std::env::var("PATH").expect("there is a PATH");
        let with_ours = format!("{}:{path}", binary.parent().expect("a folder").display());
        let mut command = Command::new("sh");
        command.arg("-e").current_dir(folder).env_clear();
        command.env("PATH", with_ours).env("HOME", folder).process_group(0);
        let stderr = std::fs::File::create(folder.join("stderr")).expect("our own folder");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("sh starts");
        let guard = Command::new("sh")
            .args(["-c", r#"read -r line; kill -9 -- "-$1" 2>/dev/null"#, "guard"])
            .arg(child.id().to_string())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        let mut stdin = child.stdin.take().expect("piped");
        writeln!(stdin, "trap \"echo '{FAILED}'\" EXIT").expect("the shell reads");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stderr = folder.join("stderr");
        Shell { child, guard, stdin, stdout, stderr, block_count: 0 }
    }

    /// Types the block and gives what it says on stdout.
    fn types(&mut self, text: &str) -> String {
        self.block_count += 1;
        let mark = format!("-- block {} is done --", self.block_count);
        write!(self.stdin, "{text}\necho '{mark}'\n").expect("the shell reads");
        let mut said = String::new();
        loop {
            let mut line = String::new();
            self.stdout.read_line(&mut line).expect("text");
            // The agent in the background holds the pipe open, so its end would not come.
            if line.is_empty() || line.trim_end() == FAILED {
                let stderr = std::fs::read_to_string(&self.stderr).unwrap_or_default();
                panic!("a command of this block failed:\n{text}\nsaid:\n{said}\n{stderr}");
            }
            if line.trim_end() == mark {
                return said;
            }
            said.push_str(&line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        // The agent, if the tour broke off before it stopped it.
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        drop(self.child.wait());
        drop(self.guard.kill());
        drop(self.guard.wait());
    }
}

struct Tour {
    source: Cluster,
    destination: Cluster,
    port: u16,
}

impl Tour {
    async fn prepare() -> Tour {
        let (source, destination) = pair().await;
        let secret = format!("'{PASSWORD}'");
        for server in [&source, &destination] {
            server.exec("CREATE DATABASE shop").await;
        }
        // The roles of docs/privileges.md, with the agent keeping the publication itself.
        source.exec(&format!("CREATE ROLE repl LOGIN REPLICATION PASSWORD {secret}")).await;
        destination.exec(&format!("CREATE ROLE writer LOGIN PASSWORD {secret}")).await;
        let (from, to) = (source.database("shop"), destination.database("shop"));
        from.exec(
            "CREATE ROLE app_owner; GRANT app_owner TO repl; GRANT CREATE ON DATABASE shop TO repl;
             CREATE TABLE orders (id int PRIMARY KEY, note text);
             INSERT INTO orders SELECT i, 'note ' || i FROM generate_series(1, 100) i;
             ALTER TABLE orders OWNER TO app_owner",
        )
        .await;
        to.exec(
            "GRANT CREATE ON DATABASE shop TO writer; GRANT USAGE, CREATE ON SCHEMA public TO writer",
        )
        .await;
        source.require_password("postgres", "unused").await;
        destination.require_password("postgres", "unused").await;
        Tour { source, destination, port: free_port() }
    }

    /// The text with what differs between the reader's place and this one, and nothing else.
    fn as_here(&self, text: &str) -> String {
        let quoted = format!("'{PASSWORD}'");
        text.replace("db1:5432", &format!("127.0.0.1:{}", self.source.port))
            .replace("db2:5432", &format!("127.0.0.1:{}", self.destination.port))
            .replace("sslmode=verify-full&sslrootcert=system", "sslmode=disable")
            .replace("'the password of repl'", &quoted)
            .replace("'the password of writer'", &quoted)
            .replace("127.0.0.1:9847", &format!("127.0.0.1:{}", self.port))
    }

    async fn assert_row_arrives(&self, id: u32) {
        let (from, to) = (self.source.database("shop"), self.destination.database("shop"));
        from.exec(&format!("INSERT INTO orders VALUES ({id}, 'new')")).await;
        let sql = format!("SELECT note FROM orders WHERE id = {id}");
        wait::until("the row is at the destination", wait::CATCH_UP, async || {
            to.scalar(&sql).await == "new"
        })
        .await;
        assert_same(&from, &to, &["orders"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_of_the_readme_works_word_for_word() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let blocks = blocks(&std::fs::read_to_string(readme).expect("the README"));
    let tour = Tour::prepare().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut shell = Shell::start(folder.path());
    let mut done = Vec::new();
    for Block { language, text } in &blocks {
        let here = tour.as_here(text);
        match language.as_str() {
            "toml" => {
                let file = folder.path().join("sync-agent.toml");
                std::fs::write(file, &here).expect("our own folder");
                continue;
            }
            "sh" => {}
            other => panic!("the tour has a block in {other:?}, which nobody follows:\n{text}"),
        }
        let said = tokio::task::block_in_place(|| shell.types(&here));
        let has = |command: &str| text.lines().any(|line| line.starts_with(command));
        for command in ["export", "check", "run", "wait", "status", "kill", "reset"] {
            if has(command) || has(&format!("sync-agent {command}")) {
                done.push(command);
            }
        }
        if has("sync-agent check") {
            assert!(said.contains("ready: `run` would copy 1 table, then stream"), "{said}");
        }
        if has("sync-agent status") {
            assert!(said.contains("public.orders") && said.contains("\"state\""), "{said}");
            tour.assert_row_arrives(1001).await;
        }
        if has("kill") && has("sync-agent run") {
            tour.assert_row_arrives(1002).await;
        }
        if has("sync-agent reset") {
            assert!(said.contains("pipeline \"shop\" is forgotten"), "{said}");
        }
    }
    let expected = ["export", "check", "run", "wait", "status", "run", "kill", "kill", "reset"];
    assert_eq!(done, expected, "the tour's steps");
    assert_eq!(tour.source.scalar("SELECT count(*) FROM pg_replication_slots").await, "0");
    let (from, to) = (tour.source.database("shop"), tour.destination.database("shop"));
    assert_eq!(from.count("pg_publication").await, 0);
    assert_eq!(to.count("sync_agent.checkpoint").await, 0);
    assert!(!folder.path().join("sync-agent-state/shop").exists(), "the local state is gone");
    assert_same(&from, &to, &["orders"]).await;
    assert_eq!(to.count("orders").await, 102, "never your tables");
}
