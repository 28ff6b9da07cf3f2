//! Connection strings and passwords.
//!
//! **Invariant:** no message here contains a connection string or a password.

use std::collections::BTreeMap;
use std::net::IpAddr;

use secrecy::SecretString;

use crate::config::document::{NodeValue, Path};
use crate::config::problems::At;
use crate::config::secret::{expand, reads_file, variables};
use crate::config::validate::Check;
use crate::pg::conninfo::{ConnInfo, Host, HostName};
use crate::pg::dial::{PasswordReader, PasswordSource};

impl Check<'_> {
    pub(super) fn connection(
        &mut self,
        side: &str,
        url: Option<&str>,
        password: Option<&str>,
        command: Option<&[String]>,
    ) -> Option<(ConnInfo, PasswordSource)> {
        let source = self.password(side, password, command);
        // A missing URL is reported where the shape is checked.
        let url = url?;
        let path = Path::of(&[side, "url"]);
        match ConnInfo::parse(url, self.environment) {
            Ok(conninfo) => {
                let source = source.unwrap_or_else(|| self.password_of_url(&path, &conninfo));
                Some((conninfo, source))
            }
            Err(err) => {
                self.problems.hidden(&path, At::Value, err.to_string());
                None
            }
        }
    }

    /// The password that the file gives beside the URL.
    fn password(
        &mut self,
        side: &str,
        password: Option<&str>,
        command: Option<&[String]>,
    ) -> Option<PasswordSource> {
        let password_path = Path::of(&[side, "password"]);
        let command_path = Path::of(&[side, "password_command"]);
        if let Some(command) = command {
            if command.first().is_none_or(|program| program.is_empty()) {
                let problem = self.problems.value(&command_path, "names no program");
                problem.hint("Write [\"program\", \"argument\"].");
            }
            if password.is_some() {
                let problem = self.problems.key(&command_path, "stands beside a password");
                problem.hint("Leave one of the two out.");
            }
            return Some(PasswordSource::Command(command.to_vec()));
        }
        let password = password?;
        Some(match self.raw(&password_path).filter(|raw| reads_file(raw)) {
            Some(raw) => self.reader(raw, |text| Ok(text.into())),
            None => PasswordSource::Inline(password.into()),
        })
    }

    /// A URL that takes its password from a file is expanded again at each connect.
    fn password_of_url(&self, path: &Path, conninfo: &ConnInfo) -> PasswordSource {
        match self.raw(path).filter(|raw| conninfo.password.is_some() && reads_file(raw)) {
            Some(raw) => self.reader(raw, |url| {
                let conninfo = ConnInfo::parse(&url, &|_| None).map_err(|err| err.to_string())?;
                conninfo.password.ok_or_else(|| "the url no longer holds a password".to_owned())
            }),
            None => PasswordSource::ConnInfo,
        }
    }

    /// Expands `raw` with the files as they are then and the variables as they are now.
    fn reader(
        &self,
        raw: String,
        extract: impl Fn(String) -> Result<SecretString, String> + Send + Sync + 'static,
    ) -> PasswordSource {
        let variables: BTreeMap<String, String> = variables(&raw)
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), (self.environment)(name)?)))
            .collect();
        PasswordSource::Read(PasswordReader::new(move || {
            let text = expand(&raw, &|name| variables.get(name).cloned());
            extract(text.map_err(|err| err.to_string())?)
        }))
    }

    /// A string as written, before `${…}` was expanded.
    fn raw(&self, path: &Path) -> Option<String> {
        match &self.document.node(path)?.value {
            NodeValue::String { raw, .. } => Some(raw.clone()),
            _ => None,
        }
    }

    pub(super) fn different_databases(&mut self, source: &ConnInfo, destination: &ConnInfo) {
        let same_server = |a: &Host, b: &Host| {
            a.port == b.port
                && (address(a) == address(b) || (a.address.is_some() && a.address == b.address))
        };
        let shared =
            source.hosts.iter().any(|a| destination.hosts.iter().any(|b| same_server(a, b)));
        if shared && source.dbname == destination.dbname {
            let message = format!("is the same database as source.url (\"{}\")", source.dbname);
            self.problems.hidden(&Path::of(&["destination", "url"]), At::Value, message);
        }
    }
}

/// A host's name in one spelling.
fn address(host: &Host) -> String {
    match &host.name {
        HostName::Unix(directory) => directory.display().to_string(),
        HostName::Tcp(name) => {
            let name = name.to_ascii_lowercase();
            let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
            if is_loopback { "localhost".to_owned() } else { name }
        }
    }
}
