//! Throwaway servers: a data directory copied from a template, and `postgres` started on it.
//!
//! `initdb` runs once per version and identity, under a lock file; a test copies the result (tens
//! of milliseconds) and starts the server itself. The server's parent is a small `sh` that reads a
//! pipe of ours: when the pipe closes, because the cluster is dropped or because the test process
//! was killed, it stops the server at once and removes the directory.
//!
//! Copies of one template share its system identifier, which the agent compares. So a source and a
//! destination come from two templates; [`Spec::identity`] chooses.

mod copies;

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::database::Database;
use super::installation::{self, Installation, default_installation, server_command};
use super::wait;

/// Small and quick: nothing here has to survive a power cut. Commits stay synchronous, because
/// `pg_current_wal_lsn()` is how far WAL is written: with asynchronous ones it may lie before a
/// commit that has returned, and "caught up to there" would mean nothing.
const SETTINGS: &str = "
fsync = off
full_page_writes = off
wal_level = logical
shared_buffers = 16MB
max_connections = 60
max_wal_senders = 12
max_replication_slots = 12
max_prepared_transactions = 4
listen_addresses = '127.0.0.1'
log_line_prefix = '%m [%p] %e %a '
";

/// What the server's parent does; `$1` is the directory, the rest starts the server.
const SUPERVISOR: &str = r#"
exec 3<&0
dir=$1; shift
"$@" </dev/null 3<&- &
server=$!
( read -r line <&3; touch "$dir/orphan"; kill -QUIT $server 2>/dev/null ) &
watch=$!
wait $server
kill $watch 2>/dev/null
if [ -e "$dir/orphan" ]; then rm -rf "$dir"; fi
"#;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// How to start one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spec {
    pub(crate) installation: Option<Installation>,
    /// Clusters of the same identity have the same system identifier.
    pub(crate) identity: u8,
    /// Lines of postgresql.conf.
    pub(crate) settings: String,
}

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Fast,
    Immediate,
    Kill,
}

/// A running (or stopped) server. Dropped: stopped and removed.
#[derive(Debug)]
pub(crate) struct Cluster {
    database: Database,
    dir: PathBuf,
    bin: PathBuf,
    pub(crate) major: u32,
    supervisor: Option<Child>,
}

/// A source and a destination of the default version.
pub(crate) async fn pair() -> (Cluster, Cluster) {
    tokio::join!(Cluster::source(), Cluster::destination())
}

impl Cluster {
    pub(crate) async fn source() -> Self {
        Self::start(Spec::default()).await
    }

    pub(crate) async fn destination() -> Self {
        Self::start(Spec { identity: 1, ..Spec::default() }).await
    }

    pub(crate) async fn start(spec: Spec) -> Self {
        let installation = spec.installation.clone().unwrap_or_else(default_installation);
        let base = base_folder();
        let template = template(&base, &installation, spec.identity);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = base.join(format!("{}-{number}", std::process::id()));
        // A process with our pid may have been here before a power cut.
        drop(fs::remove_dir_all(&dir));
        run(server_command("cp").args(["-Rp"]).arg(&template).arg(&dir));
        let database = Database { socket: dir.clone(), port: 0, name: "postgres".to_owned() };
        let bin = installation.bin;
        let mut cluster = Self { database, dir, bin, major: installation.major, supervisor: None };
        cluster.append("data/postgresql.conf", &format!("{SETTINGS}{}", spec.settings));
        for attempt in 1.. {
            cluster.database.port = free_port();
            if cluster.launch().await {
                break;
            }
            // Somebody took the port between our look and the server's.
            assert!(attempt < 5, "the server does not start:\n{}", cluster.log());
        }
        cluster
    }

    /// Another database of the same server.
    pub(crate) fn database(&self, name: &str) -> Database {
        Database { name: name.to_owned(), ..self.database.clone() }
    }

    /// The server's log; as long as the server has said nothing it is empty.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }

    /// Over TCP everybody needs a password from now on; the harness goes by the socket.
    pub(crate) async fn require_password(&self, role: &str, password: &str) {
        self.exec(&format!("ALTER ROLE {role} PASSWORD '{password}'")).await;
        let rules = "local all all trust\nhost all all all scram-sha-256\n\
                     host replication all all scram-sha-256\n";
        self.rules(rules).await;
    }

    /// Another pg_hba.conf, in force when this returns.
    pub(crate) async fn rules(&self, rules: &str) {
        self.replace("data/pg_hba.conf", rules);
        self.exec("SELECT pg_reload_conf()").await;
        // The postmaster reads it when the signal arrives, which is not at once.
        let loaded = "SELECT pg_conf_load_time()";
        let before = self.scalar(loaded).await;
        self.exec("SELECT pg_reload_conf()").await;
        wait::until("the rules are read", wait::PROCESS, async || {
            self.scalar(loaded).await != before
        })
        .await;
    }

    pub(crate) async fn stop(&mut self, mode: Stop) {
        let supervisor = self.supervisor.as_mut().expect("the server runs");
        let pid_file = fs::read_to_string(self.dir.join("data/postmaster.pid"));
        let first = pid_file.expect("a running server has a pid file");
        let pid: i32 = first.lines().next().and_then(|line| line.parse().ok()).expect("a pid");
        let signal = match mode {
            Stop::Fast => Signal::SIGINT,
            Stop::Immediate => Signal::SIGQUIT,
            Stop::Kill => Signal::SIGKILL,
        };
        kill(Pid::from_raw(pid), signal).expect("the server is there");
        wait::until("the server stops", wait::PROCESS, async || {
            supervisor.try_wait().expect("our child").is_some()
        })
        .await;
        self.supervisor = None;
    }

    /// Starts a stopped server again, on its port.
    pub(crate) async fn launch_again(&mut self) {
        assert!(self.supervisor.is_none(), "stop it first");
        for _ in 0..5 {
            if self.launch().await {
                return;
            }
        }
        panic!("the server does not start again:\n{}", self.log());
    }

    pub(crate) async fn restart(&mut self, mode: Stop) {
        self.stop(mode).await;
        self.launch_again().await;
    }

    /// Closes the pipe and does nothing else: what happens when the test process is killed.
    pub(crate) fn abandon(&mut self) {
        drop(self.supervisor.as_mut().expect("the server runs").stdin.take());
    }

    /// False when the server ended before it answered.
    async fn launch(&mut self) -> bool {
        let log = fs::File::options().append(true).create(true).open(self.dir.join("server.log"));
        let log = log.expect("the log opens");
        let mut command = server_command("sh");
        command.args(["-c", SUPERVISOR, "supervisor"]).arg(&self.dir);
        command.arg(self.bin.join("postgres")).arg("-D").arg(self.dir.join("data"));
        command.arg("-c").arg(format!("unix_socket_directories={}", self.dir.display()));
        command.arg("-p").arg(self.database.port.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).process_group(0);
        let mut supervisor = command.spawn().expect("sh starts");
        let mut answered = false;
        let database = &self.database;
        wait::until("the server answers", wait::PROCESS, async || {
            let ended = supervisor.try_wait().expect("our child").is_some();
            answered = !ended && database.try_query("SELECT 1").await.is_ok();
            answered || ended
        })
        .await;
        self.supervisor = answered.then_some(supervisor);
        answered
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.dir.join(file);
        let present = fs::read_to_string(&path).expect("the template has it");
        self.replace(file, &format!("{present}{text}\n"));
    }

    fn replace(&self, file: &str, text: &str) {
        // Written in place, so that the owner stays.
        fs::write(self.dir.join(file), text).expect("our own directory");
    }
}

impl Deref for Cluster {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl Drop for Cluster {
    #[allow(clippy::print_stderr, reason = "a failed test shows what its servers said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(20)..].join("\n");
            eprintln!("the server on port {} said at last:\n{end}\n", self.port);
        }
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            wait::until_blocking(wait::PROCESS, || !matches!(supervisor.try_wait(), Ok(None)));
        }
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a port");
    listener.local_addr().expect("bound").port()
}

/// Private to the servers' user, and short: a socket's path must stay below 107 bytes.
fn base_folder() -> PathBuf {
    let user = installation::server_user();
    let uid = user.map_or_else(nix::unistd::Uid::effective, |(uid, _)| uid);
    let base = PathBuf::from(format!("/tmp/sync-agent-it-{uid}"));
    if fs::create_dir(&base).is_ok() {
        fs::set_permissions(&base, fs::Permissions::from_mode(0o700)).expect("our own");
        if let Some((uid, gid)) = user {
            nix::unistd::chown(&base, Some(uid), Some(gid)).expect("root may");
        }
    }
    wait::until_blocking(wait::PROCESS, || owner(&base) == uid.as_raw());
    assert_eq!(owner(&base), uid.as_raw(), "{} belongs to somebody else", base.display());
    base
}

fn owner(path: &Path) -> u32 {
    fs::metadata(path).expect("the base folder is there").uid()
}

/// The template's folder, with `data` in it as `initdb` left it.
fn template(base: &Path, installation: &Installation, identity: u8) -> PathBuf {
    let version = binary_version(installation);
    let template = base.join(format!("template-{version}-{identity}"));
    let lock = fs::File::create(base.join("lock")).expect("the lock file opens");
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).expect("the lock is given");
    if template.exists() {
        return template;
    }
    let unfinished = base.join("unfinished");
    drop(fs::remove_dir_all(&unfinished));
    run(server_command("mkdir").arg(&unfinished));
    run(server_command(installation.bin.join("initdb"))
        .args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "--auth=trust", "-D"])
        .arg(unfinished.join("data")));
    fs::rename(&unfinished, &template).expect("one file system");
    template
}

/// The whole version, so that an upgrade of the packages makes a new template.
fn binary_version(installation: &Installation) -> String {
    let output = server_command(installation.bin.join("postgres")).arg("--version").output();
    let text = String::from_utf8_lossy(&output.expect("it ran before").stdout).into_owned();
    text.split_whitespace().nth(2).expect("postgres (PostgreSQL) version").to_owned()
}

fn run(command: &mut std::process::Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
