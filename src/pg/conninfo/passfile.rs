//! The password file (`~/.pgpass`): `host:port:dbname:user:password` lines, first match wins.
//!
//! It is read at every connect, so that a changed password is picked up. The rules are libpq's
//! (`passwordFromFile` in `fe-connect.c`): `*` matches anything, a backslash escapes, a file that
//! others may read is left aside with a warning.

use std::path::Path;

use secrecy::SecretString;

use crate::pg::conninfo::{Host, HostName};

/// libpq's compiled-in socket directories: a connection through one of them is `localhost` here.
const DEFAULT_SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// What a line is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub host: &'a Host,
    pub dbname: &'a str,
    pub user: &'a str,
}

/// The password for `wanted`; none where the file is absent, open to others or has no match.
pub fn look_up(path: &Path, wanted: Wanted<'_>) -> Option<SecretString> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() {
        tracing::warn!(path = %path.display(), "password file is not a plain file");
        return None;
    }
    if is_open_to_others(&metadata) {
        tracing::warn!(
            path = %path.display(),
            "password file has group or world access and is left aside; its mode should be 0600"
        );
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    find(&text, wanted)
}

#[cfg(unix)]
fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &std::fs::Metadata) -> bool {
    false
}

fn find(text: &str, wanted: Wanted<'_>) -> Option<SecretString> {
    let host = match &wanted.host.name {
        HostName::Unix(directory)
            if DEFAULT_SOCKET_DIRECTORIES.iter().any(|known| directory == Path::new(known)) =>
        {
            "localhost".to_owned()
        }
        HostName::Unix(directory) => directory.display().to_string(),
        HostName::Tcp(name) => name.clone(),
    };
    let port = wanted.host.port.to_string();
    let keys = [host.as_str(), port.as_str(), wanted.dbname, wanted.user];
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| password_of(line, keys))
        .map(SecretString::from)
}

/// The last field of `line` if the first four match.
fn password_of(line: &str, wanted: [&str; 4]) -> Option<String> {
    let mut rest = line;
    for key in wanted {
        let (field, is_wildcard, after) = split_field(rest)?;
        if !is_wildcard && field != key {
            return None;
        }
        rest = after;
    }
    let password = unescape(rest.trim_end_matches('\r'));
    (!password.is_empty()).then_some(password)
}

/// The first field unescaped, whether it was a bare `*`, and what follows its colon.
fn split_field(text: &str) -> Option<(String, bool, &str)> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ':' => return Some((unescape(&text[..at]), &text[..at] == "*", &text[at + 1..])),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    fn host(name: HostName) -> Host {
        Host { name, address: None, port: 5432 }
    }

    fn found(text: &str, name: HostName) -> Option<String> {
        let wanted = Wanted { host: &host(name), dbname: "shop", user: "repl" };
        find(text, wanted).map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn the_first_matching_line_wins() {
        let text = "# comment\n\
                    db1:5433:shop:repl:wrong port\n\
                    db1:5432:shop:other:wrong user\n\
                    broken line\n\
                    db1:5432:*:repl:se\\:cr\\\\et:x\n\
                    *:*:*:*:later\n";
        assert_eq!(found(text, HostName::Tcp("db1".into())).as_deref(), Some("se:cr\\et:x"));
        assert_eq!(found(text, HostName::Tcp("db2".into())).as_deref(), Some("later"));
    }

    #[test]
    fn the_default_socket_directory_is_localhost() {
        let text = "localhost:5432:shop:repl:a\n/srv/pg:5432:shop:repl:b\n";
        assert_eq!(found(text, HostName::Unix("/tmp".into())).as_deref(), Some("a"));
        assert_eq!(found(text, HostName::Unix("/srv/pg".into())).as_deref(), Some("b"));
        assert_eq!(found(text, HostName::Tcp("elsewhere".into())), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_left_aside() {
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        writeln!(file, "*:*:*:*:secret").expect("written");
        let host = host(HostName::Tcp("db1".into()));
        let wanted = Wanted { host: &host, dbname: "shop", user: "repl" };
        for (mode, is_read) in [(0o600, true), (0o640, false), (0o604, false)] {
            file.as_file()
                .set_permissions(std::fs::Permissions::from_mode(mode))
                .expect("mode set");
            assert_eq!(look_up(file.path(), wanted).is_some(), is_read, "mode {mode:o}");
        }
    }
}
