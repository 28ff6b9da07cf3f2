//! pgbench as a child process: what keeps a source busy.

use std::io::Write as _;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::database::Database;
use super::installation::client;
use super::process::Guarded;
use super::wait;

/// The four tables of pgbench; the history has no key.
pub(crate) const TABLES: [&str; 4] =
    ["pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history"];

/// A running pgbench.
#[derive(Debug)]
pub(crate) struct Workload {
    child: Guarded,
    files: tempfile::TempDir,
}

/// pgbench's own tables and rows, keys included.
pub(crate) async fn initialize(database: &Database, scale: u32) {
    let scale = scale.to_string();
    let mut run = Workload::start(database, &["-i", "-q", "-s", &scale], None);
    run.finish().await;
}

impl Workload {
    /// pgbench's own transactions, until stopped.
    pub(crate) fn tpcb(database: &Database, clients: u32) -> Self {
        let clients = clients.to_string();
        Self::start(database, &["-n", "-c", &clients, "-T", "3600"], None)
    }

    /// Your own script, until stopped; it may use pgbench's `\set`.
    pub(crate) fn script(database: &Database, clients: u32, script: &str) -> Self {
        let clients = clients.to_string();
        Self::start(database, &["-n", "-c", &clients, "-T", "3600"], Some(script))
    }

    pub(crate) fn start(database: &Database, options: &[&str], script: Option<&str>) -> Self {
        let files = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(client("pgbench"));
        if let Some(script) = script {
            let path = files.path().join("script.sql");
            let mut file = std::fs::File::create(&path).expect("our own folder");
            file.write_all(script.as_bytes()).expect("our own folder");
            command.arg("-f").arg(path);
        }
        let log = std::fs::File::create(files.path().join("log")).expect("our own folder");
        command.args(options).arg("-h").arg(&database.socket).arg("-p");
        command.arg(database.port.to_string()).args(["-U", "postgres", &database.name]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { child: Guarded::spawn(&mut command), files }
    }

    /// Waits for its own end.
    pub(crate) async fn finish(&mut self) {
        let code = self.child.wait("pgbench ends", wait::CATCH_UP).await;
        assert_eq!(code, Some(0), "pgbench: {}", self.log());
    }

    /// Ends it; transactions in flight are rolled back by the server.
    pub(crate) async fn stop(mut self, database: &Database) {
        assert!(self.child.ended().is_none(), "pgbench ended by itself: {}", self.log());
        self.child.signal(Signal::SIGTERM);
        self.child.wait("pgbench ends", wait::PROCESS).await;
        // Its backends notice a little later; until then a commit may still be on its way.
        wait::until("pgbench's sessions end", wait::PROCESS, async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'";
            database.scalar(sql).await == "0"
        })
        .await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }
}
