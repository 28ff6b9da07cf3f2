//! pgbouncer in front of a throwaway server.

use std::process::Stdio;

use super::cluster::free_port;
use super::database::Database;
use super::installation::{server_command, server_user};
use super::process::Guarded;
use super::wait;

/// A running pgbouncer. Dropped: killed.
#[derive(Debug)]
pub(crate) struct Pooler {
    pub(crate) port: u16,
    _child: Guarded,
    _files: tempfile::TempDir,
}

impl Pooler {
    /// `mode` is its `pool_mode`.
    pub(crate) async fn before(database: &Database, mode: &str) -> Self {
        let files = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let text = format!(
            "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
             default_pool_size = 20\n",
            database.socket.display(),
            database.port
        );
        let path = files.path().join("pgbouncer.ini");
        std::fs::write(&path, text).expect("our own folder");
        if let Some((uid, gid)) = server_user() {
            for path in [files.path(), &path] {
                nix::unistd::chown(path, Some(uid), Some(gid)).expect("root may");
            }
        }
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"]
            .into_iter()
            .find(|path| std::path::Path::new(path).is_file());
        let program = program.expect("pgbouncer is not installed: run scripts/install-pooler.sh");
        let log = std::fs::File::create(files.path().join("log")).expect("our own folder");
        let mut command = server_command(program);
        command.arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = Guarded::spawn(&mut command);
        wait::until("pgbouncer listens", wait::PROCESS, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Self { port, _child: child, _files: files }
    }
}
