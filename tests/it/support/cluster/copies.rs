//! Servers that go on from another one's files: saved copies, standbys, promotions.
//!
//! A copy is taken of a stopped server, so that it needs no backup protocol and works with every
//! version, whatever its packages contain. It has the replication slots too, as they were.

use std::fs;
use std::sync::atomic::Ordering;

use super::{Cluster, Database, NEXT, Stop, base_folder, free_port, run, server_command, wait};

impl Cluster {
    /// All files as they are now, at an address of their own. This server runs again, that one not
    /// yet.
    pub(crate) async fn saved(&mut self) -> Self {
        self.stop(Stop::Fast).await;
        let saved = self.copied();
        self.launch_again().await;
        saved
    }

    fn copied(&self) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = base_folder().join(format!("{}-{number}", std::process::id()));
        drop(fs::remove_dir_all(&dir));
        run(server_command("cp").args(["-Rp"]).arg(&self.dir).arg(&dir));
        let database =
            Database { socket: dir.clone(), port: free_port(), name: self.database.name.clone() };
        Self { database, dir, bin: self.bin.clone(), major: self.major, supervisor: None }
    }

    /// These files instead of its own, as from a backup; it runs again, at its own address.
    pub(crate) async fn put_back(&mut self, saved: &Self) {
        self.replace_files(saved).await;
        self.launch_again().await;
    }

    /// The same, recovered up to the end of the WAL that the copy has: on a timeline of its own.
    pub(crate) async fn recover(&mut self, saved: &Self) {
        self.replace_files(saved).await;
        self.append("data/postgresql.conf", "restore_command = 'false'");
        run(server_command("touch").arg(self.dir.join("data/recovery.signal")));
        self.launch_again().await;
        self.is_writable().await;
    }

    async fn replace_files(&mut self, saved: &Self) {
        assert!(saved.supervisor.is_none(), "a copy of a running server is none");
        if self.supervisor.is_some() {
            self.stop(Stop::Immediate).await;
        }
        run(server_command("rm").arg("-rf").arg(self.dir.join("data")));
        let from = saved.dir.join("data");
        run(server_command("cp").args(["-Rp"]).arg(from).arg(self.dir.join("data")));
    }

    /// A standby that follows this server.
    pub(crate) async fn standby(&mut self, settings: &str) -> Self {
        let mut standby = self.saved().await;
        standby.append(
            "data/postgresql.conf",
            &format!(
                "primary_conninfo = 'host={} port={} user=postgres dbname=postgres'\n{settings}",
                self.dir.display(),
                self.database.port
            ),
        );
        run(server_command("touch").arg(standby.dir.join("data/standby.signal")));
        standby.launch_again().await;
        standby
    }

    /// Waits until this standby has replayed what `primary` has written so far.
    pub(crate) async fn follows(&self, primary: &Database) {
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", primary.current_lsn().await);
        wait::until("the standby follows", wait::PROCESS, async || self.scalar(&sql).await == "t")
            .await;
    }

    /// What the primary writes from now on does not arrive at this standby.
    pub(crate) async fn stay_behind(&self) {
        self.exec("ALTER SYSTEM SET primary_conninfo = ''").await;
        self.exec("SELECT pg_reload_conf()").await;
        let receiving = "SELECT count(*) FROM pg_stat_wal_receiver";
        wait::until("the standby receives no more", wait::PROCESS, async || {
            self.scalar(receiving).await == "0"
        })
        .await;
    }

    /// Makes a primary of this standby.
    pub(crate) async fn promote(&self) {
        self.exec("SELECT pg_promote(false)").await;
        self.is_writable().await;
    }

    async fn is_writable(&self) {
        wait::until("recovery ends", wait::PROCESS, async || {
            self.scalar("SELECT pg_is_in_recovery()").await == "f"
        })
        .await;
    }
}
