//! A file system of a few megabytes, to run out of.
//!
//! A small `sh` reads a pipe that closes when we end, however we end, and then unmounts it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::installation::server_user;

/// A mounted tmpfs that belongs to the servers' user. Dropped: unmounted.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    folder: tempfile::TempDir,
    guard: Child,
}

impl SmallDisk {
    /// Where this process may not mount the test fails; `None`, said on stderr, where it is told to leave
    /// it out.
    #[allow(clippy::print_stderr, reason = "what is left out is said")]
    pub(crate) fn of(megabytes: u32) -> Option<SmallDisk> {
        // In the system's temporary folder, short enough and open enough for a server's user.
        let folder =
            tempfile::Builder::new().prefix("sync-agent-disk-").tempdir().expect("a folder");
        let options = format!("size={megabytes}m,mode=0777");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"], folder.path());
        if !mounted {
            assert!(
                std::env::var("SYNC_AGENT_SKIP_MOUNT").is_ok_and(|value| value == "1"),
                "a file system that fills needs the right to mount (root); SYNC_AGENT_SKIP_MOUNT=1 \
                 leaves these tests out"
            );
            eprintln!("\nSKIPPED, not passed: a file system that fills needs the right to mount");
            return None;
        }
        let guard = Command::new("sh")
            // Lazily: a server that is about to stop may still have a file open.
            .args(["-c", r#"read -r line; umount -l "$1""#, "guard"])
            .arg(folder.path())
            .current_dir("/")
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn();
        let disk = SmallDisk { folder, guard: guard.expect("sh starts") };
        if let Some((uid, gid)) = server_user() {
            nix::unistd::chown(disk.path(), Some(uid), Some(gid)).expect("root may");
        }
        Some(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file takes all that is left, to the last byte.
    pub(crate) fn fill(&self) {
        let path = self.ballast();
        let mut file = std::fs::File::create(path).expect("the disk takes a name");
        let piece = vec![1_u8; 64 * 1024];
        for length in [piece.len(), 4096, 1] {
            while std::io::Write::write_all(&mut file, &piece[..length]).is_ok() {}
        }
    }

    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    /// Another size, in place.
    pub(crate) fn resize(&self, megabytes: u32) {
        let options = format!("remount,size={megabytes}m");
        assert!(run("mount", &["-o", &options], self.path()), "it was mounted by us");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        drop(self.guard.wait());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let output = Command::new(program).args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}
