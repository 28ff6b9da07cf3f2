//! Which PostgreSQL binaries there are, and who runs them.
//!
//! A server refuses uid 0, so a harness started by root runs servers as `postgres`, or as nobody.
//! Looked for, in this order: `$PG_BIN`, Debian's and Homebrew's folders, `$PATH`; other versions
//! also in the folder that `scripts/install-versions.sh` fills.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Uid, User};

/// One installed server.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    pub(crate) major: u32,
    pub(crate) bin: PathBuf,
}

/// The server that tests use unless they name a version; ends the process when there is none.
pub(crate) fn default_installation() -> Installation {
    if std::env::var("SYNC_AGENT_SKIP_PG").is_ok_and(|value| value == "1") {
        skip("needs PostgreSQL, and SYNC_AGENT_SKIP_PG=1 says not to use it");
    }
    let found = system_folders().into_iter().find_map(|bin| look(&bin)).or_else(|| {
        let downloaded = downloaded_folder();
        (14..=18).rev().find_map(|major| look(&downloaded.join(major.to_string()).join("bin")))
    });
    found.expect(
        "no PostgreSQL server binaries found: run scripts/install-postgres.sh, or set PG_BIN to \
         the folder that holds `postgres`, or SYNC_AGENT_SKIP_PG=1 to leave these tests out",
    )
}

/// The server of one major version, wherever it is.
pub(crate) fn installation(major: u32) -> Option<Installation> {
    let mut folders = system_folders();
    folders.push(downloaded_folder().join(major.to_string()).join("bin"));
    folders.iter().filter_map(|bin| look(bin)).find(|found| found.major == major)
}

/// Where a client program (`psql`, `pgbench`) is; npm's packages have none.
pub(crate) fn client(program: &str) -> PathBuf {
    let folder = system_folders().into_iter().find(|folder| folder.join(program).is_file());
    folder
        .unwrap_or_else(|| panic!("no {program} found: install PostgreSQL's clients"))
        .join(program)
}

/// Who runs the servers: `None` is whoever runs the tests.
pub(crate) fn server_user() -> Option<(Uid, Gid)> {
    if !Uid::effective().is_root() {
        return None;
    }
    let user = User::from_name("postgres").ok().flatten();
    // 65534 is nobody on every Linux that has no postgres user.
    Some(user.map_or((Uid::from_raw(65534), Gid::from_raw(65534)), |user| (user.uid, user.gid)))
}

/// A command that runs as the server's user, from a folder that this user can read.
pub(crate) fn server_command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C").env("HOME", "/").env_remove("PGDATA");
    if let Some((uid, gid)) = server_user() {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    command
}

fn system_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PG_BIN").map(PathBuf::from).into_iter().collect();
    let mut packaged = Vec::new();
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
    ] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let major = name.strip_prefix(prefix).and_then(|text| text.parse::<u32>().ok());
            packaged.extend(major.map(|major| (major, entry.path().join("bin"))));
        }
    }
    packaged.sort();
    folders.extend(packaged.into_iter().rev().map(|(_, bin)| bin));
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    folders
}

/// Must agree with `scripts/install-versions.sh`.
fn downloaded_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("SYNC_AGENT_PG_VERSIONS") {
        return PathBuf::from(folder);
    }
    if Uid::effective().is_root() {
        // Not below /root: the servers' user could not read it.
        return PathBuf::from("/var/cache/sync-agent/pg");
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    cache.unwrap_or_else(home).join("sync-agent/pg")
}

fn look(bin: &Path) -> Option<Installation> {
    if !bin.join("initdb").is_file() {
        return None;
    }
    let output = server_command(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "postgres (PostgreSQL) 15.14 (Debian …)", "… 18beta1".
    let version = text.split_whitespace().nth(2)?;
    let major = version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some(Installation { major, bin: bin.to_owned() })
}

/// libtest has no verdict "skipped": the process ends with this as its last line.
fn skip(reason: &str) -> ! {
    use std::io::Write;
    drop(writeln!(std::io::stderr(), "\nSKIPPED, not passed: {reason}"));
    std::process::exit(0)
}
