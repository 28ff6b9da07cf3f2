//! libpq connection strings: URL and key=value form, with libpq's variables as defaults.
//!
//! In: the text and the environment. Out: [`ConnInfo`], everything resolved that does not need the
//! network. **Invariants:** an unknown key is an error, never ignored; a key that libpq knows and
//! we do not is refused with the reason; no error and no `Debug` ever shows a password.

mod keys;
mod options;
mod passfile;
mod render;
mod text;
mod words;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use self::keys::Keys;
use self::options::{hosts, network_options, tls_options};
pub use self::passfile::{Wanted, look_up as password_from_file};

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct ConnInfo {
    /// In the order they are tried; at least one.
    pub hosts: Vec<Host>,
    pub user: String,
    pub dbname: String,
    /// The text's or `PGPASSWORD`; the passfile is looked at when connecting.
    pub password: Option<SecretString>,
    pub passfile: Option<PathBuf>,
    pub tls: TlsOptions,
    pub network: NetworkOptions,
    pub target_session_attrs: TargetSessionAttrs,
    /// Stands in front of the purpose instead of `sync-agent/<pipeline>`.
    pub application_name: Option<String>,
    /// The keys as given, by the text or by variables, in order: without who, where, which
    /// database, and never the password.
    pub given: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: HostName,
    /// `hostaddr`: no look-up then; `name` is still what the certificate must say.
    pub address: Option<IpAddr>,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostName {
    Tcp(String),
    /// A directory with a socket in it.
    Unix(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    pub mode: SslMode,
    pub negotiation: SslNegotiation,
    pub root: Option<RootCertificates>,
    /// The client's certificate and its key.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub channel_binding: ChannelBinding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslNegotiation {
    /// SSLRequest first.
    Postgres,
    /// TLS from the first byte (servers from 17 on).
    Direct,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    System,
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    Any,
    ReadWrite,
    Primary,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    pub connect_timeout: Duration,
    /// `None`: no probes.
    pub keepalive: Option<Keepalive>,
    /// How long sent data may stay unacknowledged before the connection is given up; zero leaves
    /// it to the system.
    pub tcp_user_timeout: Duration,
}

/// Together with the user timeout, a dead peer is noticed within 30 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    pub idle: Duration,
    pub interval: Duration,
    pub probe_count: u32,
}

/// Why a connection string is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConnInfoError {
    #[error("connection string: {0}")]
    Syntax(String),
    #[error("connection string: unknown key \"{0}\"")]
    UnknownKey(String),
    #[error("connection string: \"{key}\" is not supported: {reason}")]
    Unsupported { key: String, reason: &'static str },
    #[error("connection string: \"{key}\" {reason}")]
    Value { key: String, reason: String },
}

/// The process's environment, for [`ConnInfo::parse`].
pub fn system_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl ConnInfo {
    pub fn parse(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ConnInfo, ConnInfoError> {
        let keys = Keys::collect(text, environment)?;
        let hosts = hosts(&keys)?;
        let user = match keys.get("user") {
            Some(user) => user.to_owned(),
            None => whoami::username().map_err(|_| {
                ConnInfoError::Syntax(
                    "no \"user\", and the operating system does not name one".to_owned(),
                )
            })?,
        };
        let home = environment("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let target_session_attrs = target(&keys, &hosts)?;
        Ok(ConnInfo {
            hosts,
            dbname: keys.get("dbname").unwrap_or(&user).to_owned(),
            user,
            password: keys.get("password").map(SecretString::from),
            passfile: keys
                .get("passfile")
                .map(PathBuf::from)
                .or_else(|| home.as_ref().map(|home| home.join(".pgpass"))),
            tls: tls_options(&keys, home)?,
            network: network_options(&keys)?,
            target_session_attrs,
            application_name: keys.get("application_name").map(str::to_owned),
            given: keys.besides(&["user", "password", "host", "hostaddr", "port", "dbname"]),
        })
    }

    /// For people and logs: who, where, which database. Never a password.
    pub fn redacted(&self) -> String {
        let mut hosts = Vec::new();
        for host in &self.hosts {
            if let HostName::Unix(directory) = &host.name {
                return format!(
                    "postgresql://{}@/{}?host={}&port={}",
                    self.user,
                    self.dbname,
                    directory.display(),
                    host.port
                );
            }
            hosts.push(host.to_string());
        }
        format!("postgresql://{}@{}/{}", self.user, hosts.join(","), self.dbname)
    }
}

/// Several hosts are one cluster's primary and standbys: unless something else is said, the primary is
/// meant. `any`, libpq's default, would take whichever answers first, and write at a standby.
fn target(keys: &Keys, hosts: &[Host]) -> Result<TargetSessionAttrs, ConnInfoError> {
    if hosts.len() > 1 && keys.get("target_session_attrs").is_none() {
        return Ok(TargetSessionAttrs::Primary);
    }
    keys.parsed("target_session_attrs")
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            HostName::Tcp(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            HostName::Tcp(name) => write!(f, "{name}:{}", self.port),
            HostName::Unix(directory) => {
                write!(f, "{}/.s.PGSQL.{}", directory.display(), self.port)
            }
        }
    }
}

#[cfg(test)]
mod tests;
