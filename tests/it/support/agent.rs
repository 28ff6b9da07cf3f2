//! The agent as a user starts it: the binary, a configuration file, signals, HTTP.
//!
//! What it wrote to stderr is in a file and at the end of every panic of the harness. How far it
//! is comes from the destination's checkpoint row, not from what the agent says of itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::cluster::free_port;
use super::database::Database;
use super::process::Guarded;
use super::wait;

/// The agent between two databases; configured first, then started as often as you like.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) pipeline: String,
    source: Database,
    destination: Database,
    settings: Vec<(String, String)>,
    sections: String,
    variables: Vec<(String, String)>,
    files: tempfile::TempDir,
    pub(crate) http_port: u16,
    running: Option<Guarded>,
    starts: usize,
    /// How long it may take to get anywhere.
    patience: Duration,
}

/// What a verb that ends has left.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

// === impl Agent: configuration ===

impl Agent {
    pub(crate) fn between(source: &Database, destination: &Database) -> Self {
        let files = tempfile::tempdir().expect("a temporary folder");
        let http_port = free_port();
        let quoted = |text: &str| format!("{text:?}");
        let settings = [
            ("pipeline", quoted("it")),
            ("source.url", quoted(&source.url())),
            ("destination.url", quoted(&destination.url())),
            ("state.dir", quoted(&files.path().join("state").display().to_string())),
            ("http.listen", quoted(&format!("127.0.0.1:{http_port}"))),
        ];
        Self {
            pipeline: "it".to_owned(),
            source: source.clone(),
            destination: destination.clone(),
            settings: settings.map(|(key, value)| (key.to_owned(), value)).to_vec(),
            sections: String::new(),
            variables: Vec::new(),
            files,
            http_port,
            running: None,
            starts: 0,
            patience: wait::CATCH_UP,
        }
    }

    /// One key, dotted, and its value as TOML; replaces what was there.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.change(key, value);
        self
    }

    /// One key whose value is a text.
    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.set(key, &format!("{value:?}"))
    }

    /// The pipeline's name, and with it the slot's and the publication's.
    pub(crate) fn named(mut self, pipeline: &str) -> Self {
        pipeline.clone_into(&mut self.pipeline);
        self.text("pipeline", pipeline)
    }

    /// The same as [`Agent::set`], between two starts.
    pub(crate) fn change(&mut self, key: &str, value: &str) {
        self.settings.retain(|(present, _)| present != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// `[[table]]` and what else cannot be a dotted key.
    pub(crate) fn section(mut self, text: &str) -> Self {
        self.sections.push_str(text);
        self.sections.push('\n');
        self
    }

    /// Without any section, between two starts.
    pub(crate) fn clear_sections(&mut self) {
        self.sections.clear();
    }

    /// For what takes long: the deadlines of its waits.
    pub(crate) fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// A whole configuration file instead of all that was set.
    pub(crate) fn configured_by(mut self, text: &str) -> Self {
        self.settings.clear();
        self.sections = format!("{text}\n");
        self
    }

    /// Found at the other one's address: its configuration is in use here.
    pub(crate) fn listening_as(mut self, other: &Agent) -> Self {
        self.http_port = other.http_port;
        self
    }

    /// An environment variable of the agent.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// It looks at what nobody announces (publications, tables that are gone) several times a second: for
    /// tests of what it finds there. That it looks by itself in time is shown in `publications::gaps` and
    /// `schema_drift::gone`.
    pub(crate) fn looking_often(self) -> Self {
        self.variable("SYNC_AGENT_LOOKS_MS", "300")
    }

    /// Where its next starts end by themselves: `<point>[:<nth>]=kill|park`; empty for nowhere.
    pub(crate) fn arm(&mut self, failpoint: &str) {
        const VARIABLE: &str = "SYNC_AGENT_FAILPOINT";
        self.variables.retain(|(name, _)| name != VARIABLE);
        if !failpoint.is_empty() {
            self.variables.push((VARIABLE.to_owned(), failpoint.to_owned()));
        }
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.files.path().join("sync-agent.toml")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.files.path().join("state")
    }

    /// Everything of its own: configuration, log, local store.
    pub(crate) fn folder(&self) -> &Path {
        self.files.path()
    }

    fn log_file(&self) -> PathBuf {
        self.files.path().join("agent.log")
    }

    fn command(&self) -> Command {
        let mut command = self.bare_command();
        command.arg("--config").arg(self.config_file()).args(["--log-format", "json"]);
        command
    }

    fn bare_command(&self) -> Command {
        let mut text = String::new();
        for (key, value) in &self.settings {
            writeln!(text, "{key} = {value}").expect("a String takes text");
        }
        text.push_str(&self.sections);
        std::fs::write(self.config_file(), text).expect("our own folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
        // Nothing of the caller's environment may decide a test.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("PG") || name.starts_with("SYNC_AGENT_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").stdin(Stdio::null());
        command
    }
}

// === impl Agent: life ===

impl Agent {
    /// `run`, in the background.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    pub(crate) fn start_with(&mut self, flags: &[&str]) {
        self.start_verb("run", flags);
    }

    /// Any verb that takes its time.
    pub(crate) fn start_verb(&mut self, verb: &str, flags: &[&str]) {
        assert!(self.running.is_none(), "it runs already");
        self.starts += 1;
        let log = std::fs::File::options().append(true).create(true).open(self.log_file());
        let mut command = self.command();
        command.arg(verb).args(flags).stdout(Stdio::null()).stderr(log.expect("our own folder"));
        self.running = Some(Guarded::spawn(&mut command));
    }

    /// Started, and past the copy.
    pub(crate) async fn start_and_stream(&mut self) {
        self.start();
        self.wait_for_state("streaming").await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.as_ref().expect("it runs").signal(signal);
    }

    /// A line of the running process' `/proc/<pid>/status` that is an amount of memory, in bytes:
    /// `VmHWM` is the most that was ever resident.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let pid = self.running.as_ref().expect("it runs").pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.expect("a line of kB") * 1024
    }

    pub(crate) fn pid(&self) -> Option<i32> {
        self.running.as_ref().map(|running| running.pid().as_raw())
    }

    /// The exit code of one that has ended by itself, once; `None` within is "by a signal".
    pub(crate) fn ended(&mut self) -> Option<Option<i32>> {
        let code = self.running.as_mut()?.ended()?;
        self.running = None;
        Some(code)
    }

    /// No signal handler, no goodbye.
    pub(crate) fn kill9(&mut self) {
        drop(self.running.take().expect("it runs"));
    }

    /// SIGTERM; the exit code, `None` when a signal ended it.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.wait_for_exit().await
    }

    /// Waits until it ends by itself.
    pub(crate) async fn wait_for_exit(&mut self) -> Option<i32> {
        let mut running = self.running.take().expect("it runs");
        let mut code = None;
        wait::until("the agent ends", wait::CATCH_UP, async || {
            code = running.ended();
            code.is_some()
        })
        .await;
        code.flatten()
    }

    /// The local store, as a lost volume leaves it.
    pub(crate) fn delete_state(&self) {
        assert!(self.running.is_none(), "stop it first");
        drop(std::fs::remove_dir_all(self.state_dir()));
    }

    /// Whether there is a local store.
    pub(crate) fn has_state(&self) -> bool {
        self.state_dir().join(&self.pipeline).exists()
    }

    /// A verb that ends by itself.
    pub(crate) async fn verb(&self, arguments: &[&str]) -> Output {
        self.run_to_the_end(self.command(), arguments).await
    }

    /// The same, with everything in the arguments.
    pub(crate) async fn verb_without_file(&self, arguments: &[&str]) -> Output {
        self.run_to_the_end(self.bare_command(), arguments).await
    }

    /// A verb that goes on until it is told to stop; what it says on stderr is not kept.
    pub(crate) fn spawn_verb(&self, arguments: &[&str], stdout: impl Into<Stdio>) -> Guarded {
        let mut command = self.command();
        Guarded::spawn(command.args(arguments).stdout(stdout).stderr(Stdio::null()))
    }

    async fn run_to_the_end(&self, mut command: Command, arguments: &[&str]) -> Output {
        let (stdout, stderr) = (self.files.path().join("stdout"), self.files.path().join("stderr"));
        let create = |path| std::fs::File::create(path).expect("our own folder");
        command.args(arguments).stdout(create(&stdout)).stderr(create(&stderr));
        let mut child = Guarded::spawn(&mut command);
        let code = child.wait(&format!("{arguments:?} ends"), wait::CATCH_UP).await;
        let read = |path| std::fs::read_to_string(path).expect("text");
        let code = code.unwrap_or(-1);
        Output { code, stdout: read(&stdout), stderr: read(&stderr) }
    }
}

// === impl Agent: waiting ===

impl Agent {
    /// Waits for `/status` to name the state; the agent's end is a failure.
    pub(crate) async fn wait_for_state(&mut self, state: &str) {
        self.wait_for(&format!("state {state}"), async |agent| {
            let status = agent.try_get("/status").await;
            status.is_some_and(|(_, body)| state_of(&body).as_deref() == Some(state))
        })
        .await;
    }

    /// Waits until the destination's checkpoint row has passed the position.
    pub(crate) async fn wait_until_applied(&mut self, lsn: &str) {
        let sql = format!(
            "SELECT applied_lsn >= '{lsn}' FROM sync_agent.checkpoint WHERE pipeline = '{}'",
            self.pipeline
        );
        self.wait_for(&format!("applied_lsn {lsn}"), async |agent| {
            let rows = agent.destination.try_query(&sql).await.unwrap_or_default();
            rows.first().and_then(|row| row[0].as_deref()) == Some("t")
        })
        .await;
    }

    /// Waits until everything that the source has committed so far is applied.
    pub(crate) async fn caught_up(&mut self) {
        let lsn = self.source.current_lsn().await;
        self.wait_until_applied(&lsn).await;
    }

    pub(crate) async fn wait_for(&mut self, what: &str, mut ready: impl AsyncFnMut(&Self) -> bool) {
        let mut ended = None;
        let start = std::time::Instant::now();
        let patience = self.patience;
        wait::until(what, patience + wait::PROCESS, async || {
            if ready(self).await {
                return true;
            }
            // Ours ends first, because it can show the log.
            assert!(
                start.elapsed() < patience,
                "{what}: not within {patience:?}; the agent said:\n{}",
                self.log_end()
            );
            ended = self.running.as_mut().expect("it runs").ended();
            ended.is_some()
        })
        .await;
        if let Some(code) = ended {
            panic!("the agent ended with {code:?} before {what}:\n{}", self.log_end());
        }
    }
}

// === impl Agent: what it shows ===

impl Agent {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Where it listens, for another one's configuration.
    pub(crate) fn status_address(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// The HTTP status code and the body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path).await.unwrap_or_else(|| panic!("{path}: no answer\n{}", self.log_end()))
    }

    pub(crate) async fn try_get(&self, path: &str) -> Option<(u16, String)> {
        try_get(self.http_port, path).await
    }

    pub(crate) async fn status(&self) -> serde_json::Value {
        let (_, body) = self.get("/status").await;
        serde_json::from_str(&body).expect("/status is JSON")
    }

    /// The value of one series, written as Prometheus writes it: `name{label="value",…}`, with
    /// any further labels; `None` when it is not exported.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let (_, body) = self.get("/metrics").await;
        let line = body.lines().find(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Slots, publications and our schema: what a refused start must not leave behind.
    pub(crate) async fn traces(&self) -> Vec<String> {
        let source = "SELECT 'slot ' || slot_name FROM pg_replication_slots UNION ALL \
             SELECT 'publication ' || pubname FROM pg_publication";
        let destination =
            "SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'sync_agent'";
        let mut rows = self.source.query(source).await;
        rows.extend(self.destination.query(destination).await);
        let mut traces: Vec<String> = rows.into_iter().flatten().flatten().collect();
        traces.sort();
        traces
    }
}

/// What is answered on a port of this machine: the HTTP status code and the body.
pub(crate) async fn try_get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((code, body.to_owned()))
}

fn state_of(body: &str) -> Option<String> {
    let status: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(status["state"].as_str()?.to_owned())
}
