//! libpq connection strings: URL and key=value form, with libpq's variables as defaults.
//!
//! In: the text and the environment. Out: [`ConnInfo`], everything resolved that does not need the
//! network. **Invariants:** an unknown key is an error, never ignored; a key that libpq knows and
//! we do not is refused with the reason; no error and no `Debug` ever shows a password.

mod passfile;
mod text;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

pub use self::passfile::{Wanted, look_up as password_from_file};

/// How long one address may take to answer, and then the start-up on it, where the text says
/// nothing. libpq waits for ever; an agent that retries by itself must not.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const DEFAULT_PORT: u16 = 5432;

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

/// libpq's variables, with the keys they stand in for.
const VARIABLES: [(&str, &str); 17] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGDATABASE", "dbname"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGPASSFILE", "passfile"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGAPPNAME", "application_name"),
    ("PGOPTIONS", "options"),
];

/// Keys without a variable.
const OTHER_KEYS: [&str; 7] = [
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "gssencmode",
    "client_encoding",
];

/// libpq's keys that change what a connection means and that we do not have.
const UNSUPPORTED: [(&str, &str); 14] = [
    ("options", "session settings are pinned by the agent, and poolers refuse start-up options"),
    ("service", "there is no service file; write the keys here"),
    ("servicefile", "there is no service file; write the keys here"),
    ("replication", "the agent chooses it for each connection"),
    ("sslpassword", "an encrypted key cannot be read; store the key decrypted, mode 0600"),
    ("sslcrl", "revocation lists are not read"),
    ("sslcrldir", "revocation lists are not read"),
    ("sslsni", "the host name is always sent"),
    ("ssl_min_protocol_version", "TLS 1.2 and 1.3 are spoken, nothing older"),
    ("ssl_max_protocol_version", "TLS 1.2 and 1.3 are spoken, nothing older"),
    ("requirepeer", "the peer of a Unix socket is not checked"),
    ("require_auth", "use channel_binding=require or sslmode=verify-full"),
    ("load_balance_hosts", "hosts are tried in the order written"),
    ("krbsrvname", "Kerberos is not spoken"),
];

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
            target_session_attrs: keys.parsed("target_session_attrs")?,
            application_name: keys.get("application_name").map(str::to_owned),
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

// === Keys ===

/// The pairs, the last of each key, with the variables behind them.
struct Keys(Vec<(String, String)>);

impl Keys {
    fn collect(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Keys, ConnInfoError> {
        let mut found: Vec<(String, String)> = Vec::new();
        for pair in text::pairs(text)? {
            check_key(&pair.key, &found)?;
            found.retain(|(key, _)| *key != pair.key);
            // An empty value means "the default", as in libpq.
            if !pair.value.is_empty() {
                found.push((pair.key, pair.value));
            }
        }
        let has_host = found.iter().any(|(key, _)| key == "host" || key == "hostaddr");
        for (variable, key) in VARIABLES {
            // A variable's address does not belong to the text's host.
            let is_given = found.iter().any(|(given, _)| given == key)
                || (has_host && matches!(key, "host" | "hostaddr"));
            if is_given {
                continue;
            }
            if let Some(value) = environment(variable).filter(|value| !value.is_empty()) {
                check_key(key, &[]).map_err(|error| match error {
                    ConnInfoError::Unsupported { reason, .. } => {
                        ConnInfoError::Unsupported { key: variable.to_owned(), reason }
                    }
                    other => other,
                })?;
                found.push((key.to_owned(), value));
            }
        }
        Ok(Keys(found))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn parsed<T: FromStr<Err = String> + Default>(&self, key: &str) -> Result<T, ConnInfoError> {
        match self.get(key) {
            None => Ok(T::default()),
            Some(value) => {
                value.parse().map_err(|reason| ConnInfoError::Value { key: key.to_owned(), reason })
            }
        }
    }

    fn number(&self, key: &str, default: u32) -> Result<u32, ConnInfoError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| ConnInfoError::Value {
                key: key.to_owned(),
                reason: "is not a whole number".to_owned(),
            }),
        }
    }
}

fn check_key(key: &str, before: &[(String, String)]) -> Result<(), ConnInfoError> {
    if let Some((_, reason)) = UNSUPPORTED.iter().find(|(name, _)| *name == key) {
        return Err(ConnInfoError::Unsupported { key: key.to_owned(), reason });
    }
    let is_known = VARIABLES.iter().any(|(_, name)| *name == key) || OTHER_KEYS.contains(&key);
    if is_known {
        return Ok(());
    }
    // What follows an unquoted password with a space in it may be the rest of the password.
    if before.iter().any(|(name, _)| name == "password") {
        return Err(ConnInfoError::Syntax(
            "a key after \"password\" is unknown (quote a password that has spaces; in a URL \
             write & as %26)"
                .to_owned(),
        ));
    }
    Err(ConnInfoError::UnknownKey(key.to_owned()))
}

// === The values of the keys ===

fn hosts(keys: &Keys) -> Result<Vec<Host>, ConnInfoError> {
    let list = |key: &str| -> Vec<String> {
        keys.get(key).map_or_else(Vec::new, |v| v.split(',').map(|v| v.trim().to_owned()).collect())
    };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    let mismatch = |key: &str| ConnInfoError::Value {
        key: key.to_owned(),
        reason: format!("does not have as many entries as there are hosts ({count})"),
    };
    if !addresses.is_empty() && addresses.len() != count {
        return Err(mismatch("hostaddr"));
    }
    if !names.is_empty() && names.len() != count {
        return Err(mismatch("host"));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(mismatch("port"));
    }
    let mut hosts = Vec::with_capacity(count);
    for index in 0..count {
        let address: Option<IpAddr> =
            match addresses.get(index).filter(|address| !address.is_empty()) {
                None => None,
                Some(address) => Some(address.parse().map_err(|_| ConnInfoError::Value {
                    key: "hostaddr".to_owned(),
                    reason: "is not an IP address".to_owned(),
                })?),
            };
        let port = match ports.get(index).or_else(|| ports.first()).filter(|p| !p.is_empty()) {
            None => DEFAULT_PORT,
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(|| ConnInfoError::Value {
                    key: "port".to_owned(),
                    reason: "is not a number from 1 to 65535".to_owned(),
                })?
            }
        };
        let name = match names.get(index).filter(|name| !name.is_empty()) {
            Some(name) if name.starts_with('/') => HostName::Unix(PathBuf::from(name)),
            Some(name) => HostName::Tcp(name.clone()),
            None => match address {
                Some(address) => HostName::Tcp(address.to_string()),
                None => default_host(),
            },
        };
        hosts.push(Host { name, address, port });
    }
    Ok(hosts)
}

/// libpq's compiled-in socket directory where the machine has it, else this machine.
fn default_host() -> HostName {
    let directory = PathBuf::from("/var/run/postgresql");
    if directory.is_dir() {
        HostName::Unix(directory)
    } else {
        HostName::Tcp("localhost".to_owned())
    }
}

fn tls_options(keys: &Keys, home: Option<PathBuf>) -> Result<TlsOptions, ConnInfoError> {
    // libpq's own directory: files there count without being named.
    let own = |name: &str| {
        home.as_ref().map(|home| home.join(".postgresql").join(name)).filter(|path| path.is_file())
    };
    let root = match keys.get("sslrootcert") {
        Some("system") => Some(RootCertificates::System),
        Some(path) => Some(RootCertificates::File(PathBuf::from(path))),
        None => own("root.crt").map(RootCertificates::File),
    };
    let mode = match (keys.get("sslmode"), &root) {
        (None, Some(RootCertificates::System)) => SslMode::VerifyFull,
        _ => keys.parsed("sslmode")?,
    };
    if root == Some(RootCertificates::System) && mode != SslMode::VerifyFull {
        return Err(ConnInfoError::Value {
            key: "sslmode".to_owned(),
            reason: "must be verify-full with sslrootcert=system: anybody can have a certificate \
                     that the system trusts"
                .to_owned(),
        });
    }
    if root.is_none() && mode >= SslMode::VerifyCa {
        return Err(ConnInfoError::Value {
            key: "sslrootcert".to_owned(),
            reason: "is needed by sslmode=verify-ca and verify-full: a file, or \"system\""
                .to_owned(),
        });
    }
    let negotiation: SslNegotiation = keys.parsed("sslnegotiation")?;
    if negotiation == SslNegotiation::Direct && mode < SslMode::Require {
        return Err(ConnInfoError::Value {
            key: "sslnegotiation".to_owned(),
            reason: "\"direct\" needs sslmode=require or stronger".to_owned(),
        });
    }
    let (certificate, key) = match (keys.get("sslcert"), keys.get("sslkey")) {
        (Some(certificate), Some(key)) => (Some(certificate.into()), Some(key.into())),
        (None, None) => (own("postgresql.crt"), own("postgresql.key")),
        (Some(certificate), None) => (Some(certificate.into()), own("postgresql.key")),
        (None, Some(key)) => (own("postgresql.crt"), Some(key.into())),
    };
    if keys.get("sslcert").is_some() && key.is_none() {
        return Err(ConnInfoError::Value {
            key: "sslkey".to_owned(),
            reason: "is needed beside \"sslcert\"".to_owned(),
        });
    }
    let channel_binding: ChannelBinding = keys.parsed("channel_binding")?;
    if channel_binding == ChannelBinding::Require && mode == SslMode::Disable {
        return Err(ConnInfoError::Value {
            key: "channel_binding".to_owned(),
            reason: "\"require\" cannot be met with sslmode=disable".to_owned(),
        });
    }
    if keys.get("gssencmode") == Some("require") {
        return Err(ConnInfoError::Unsupported {
            key: "gssencmode".to_owned(),
            reason: "Kerberos is not spoken; use sslmode",
        });
    }
    Ok(TlsOptions { mode, negotiation, root, certificate, key, channel_binding })
}

fn network_options(keys: &Keys) -> Result<NetworkOptions, ConnInfoError> {
    let seconds = |key: &str, default: u32| -> Result<Duration, ConnInfoError> {
        // Zero is libpq's word for "the default".
        let value = keys.number(key, default)?;
        Ok(Duration::from_secs(u64::from(if value == 0 { default } else { value })))
    };
    let connect_timeout = match keys.number("connect_timeout", 0)? {
        0 => DEFAULT_CONNECT_TIMEOUT,
        value => Duration::from_secs(u64::from(value)),
    };
    let keepalive = Keepalive {
        idle: seconds("keepalives_idle", 10)?,
        interval: seconds("keepalives_interval", 5)?,
        probe_count: keys.number("keepalives_count", 3)?.max(1),
    };
    let encoding = keys.get("client_encoding").unwrap_or("UTF8");
    if !["UTF8", "UTF-8"].iter().any(|known| encoding.eq_ignore_ascii_case(known)) {
        return Err(ConnInfoError::Unsupported {
            key: "client_encoding".to_owned(),
            reason: "every connection speaks UTF8",
        });
    }
    Ok(NetworkOptions {
        connect_timeout,
        keepalive: (keys.number("keepalives", 1)? != 0).then_some(keepalive),
        tcp_user_timeout: Duration::from_millis(u64::from(
            keys.number("tcp_user_timeout", 30_000)?,
        )),
    })
}

/// `FromStr` with an error that lists the words; the first is the default unless named.
macro_rules! words {
    ($type:ty, default $default:ident, $($word:literal => $variant:ident),+ $(; $($refused:literal => $reason:literal),+)?) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(<$type>::$variant),)+
                    $($($refused => Err(format!("does not take \"{}\": {}", $refused, $reason)),)+)?
                    _ => Err(format!("must be one of {}", [$($word),+].join(", "))),
                }
            }
        }

        impl Default for $type {
            fn default() -> Self {
                <$type>::$default
            }
        }
    };
}

words!(SslMode, default Prefer,
    "disable" => Disable, "prefer" => Prefer, "require" => Require,
    "verify-ca" => VerifyCa, "verify-full" => VerifyFull;
    "allow" => "it protects nothing, use prefer or require");
words!(SslNegotiation, default Postgres, "postgres" => Postgres, "direct" => Direct);
words!(ChannelBinding, default Prefer,
    "disable" => Disable, "prefer" => Prefer, "require" => Require);
words!(TargetSessionAttrs, default Any,
    "any" => Any, "read-write" => ReadWrite, "primary" => Primary;
    "read-only" => "the agent writes at the destination and decodes at a primary",
    "standby" => "the agent writes at the destination and decodes at a primary",
    "prefer-standby" => "the agent writes at the destination and decodes at a primary");

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn parse(text: &str) -> Result<ConnInfo, ConnInfoError> {
        ConnInfo::parse(text, &|_| None)
    }

    fn with(text: &str, variables: &[(&str, &str)]) -> Result<ConnInfo, ConnInfoError> {
        ConnInfo::parse(text, &|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn hosts_ports_and_addresses_are_paired() {
        let info = parse("postgresql://u@a:1,b:2,[::1]/db").expect("valid");
        assert_eq!(info.redacted(), "postgresql://u@a:1,b:2,[::1]:5432/db");
        let info = parse("host=a,b hostaddr=10.0.0.1,10.0.0.2 port=7 user=u").expect("valid");
        assert_eq!(info.hosts[1].address, Some("10.0.0.2".parse().expect("address")));
        assert_eq!((info.hosts[0].port, info.hosts[1].port), (7, 7));
        assert_eq!(info.dbname, "u", "the database defaults to the user's name");
        let info = parse("postgresql:///db?host=/run/pg&user=u&port=9").expect("valid");
        assert_eq!(info.hosts[0].name, HostName::Unix("/run/pg".into()));
        assert_eq!(info.hosts[0].to_string(), "/run/pg/.s.PGSQL.9");
        assert!(parse("host=a,b hostaddr=10.0.0.1 user=u").is_err());
        assert!(parse("host=a,b,c port=1,2 user=u").is_err());
    }

    #[test]
    fn variables_stand_in_for_what_the_text_leaves_out() {
        let variables = [
            ("PGHOST", "envhost"),
            ("PGHOSTADDR", "10.9.9.9"),
            ("PGPORT", "6000"),
            ("PGUSER", "envuser"),
            ("PGPASSWORD", "secret"),
            ("PGSSLMODE", "require"),
            ("PGDATABASE", ""),
        ];
        let info = with("dbname=x", &variables).expect("valid");
        assert_eq!(info.redacted(), "postgresql://envuser@envhost:6000/x");
        assert_eq!(info.tls.mode, SslMode::Require);
        assert_eq!(info.password.expect("password").expose_secret(), "secret");
        let info = with("host=mine user=me sslmode=disable", &variables).expect("valid");
        assert_eq!(info.redacted(), "postgresql://me@mine:6000/me");
        assert_eq!(info.hosts[0].address, None, "another host's address is not ours");
        assert_eq!(
            with("host=h user=u", &[("PGOPTIONS", "-c x=y")]).expect_err("refused").to_string(),
            "connection string: \"PGOPTIONS\" is not supported: session settings are pinned by \
             the agent, and poolers refuse start-up options"
        );
    }

    #[test]
    fn words_that_are_not_spoken_are_refused_by_name() {
        for (text, word) in [
            ("sslmode=allow", "sslmode"),
            ("sslmode=verify", "sslmode"),
            ("target_session_attrs=standby", "target_session_attrs"),
            ("channel_binding=maybe", "channel_binding"),
            ("options='-c x=y'", "options"),
            ("port=0", "port"),
            ("port=x", "port"),
            ("hostaddr=db1", "hostaddr"),
            ("connect_timeout=soon", "connect_timeout"),
            ("nonsense=1", "nonsense"),
            ("sslrootcert=system sslmode=require", "sslmode"),
            ("sslmode=verify-full", "sslrootcert"),
            ("sslcert=/a", "sslkey"),
            ("sslnegotiation=direct", "sslnegotiation"),
            ("sslmode=disable channel_binding=require", "channel_binding"),
            ("gssencmode=require", "gssencmode"),
            ("client_encoding=LATIN1", "client_encoding"),
        ] {
            let error = parse(&format!("user=u {text}")).expect_err(text).to_string();
            assert!(error.contains(&format!("\"{word}\"")), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let info = parse("postgresql://u:canary@h/db").expect("valid");
        assert!(!format!("{info:?} {}", info.redacted()).contains("canary"));
        for text in [
            "host=h password=a canary=1",
            "postgresql://u:canary/x@h/db",
            "postgresql://u@h:canary/db",
            "postgresql://u@h/db?password=a&canary=b",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!format!("{error} {error:?}").contains("canary"), "{text}: {error}");
        }
    }

    #[test]
    fn the_defaults_notice_a_dead_peer_in_time() {
        let network = parse("user=u").expect("valid").network;
        assert_eq!(network.connect_timeout, Duration::from_secs(10));
        assert_eq!(network.tcp_user_timeout, Duration::from_secs(30));
        let keepalive = network.keepalive.expect("on");
        let noticed = keepalive.idle + keepalive.interval * keepalive.probe_count;
        assert!(noticed <= Duration::from_secs(30));
        assert_eq!(parse("user=u keepalives=0").expect("valid").network.keepalive, None);
    }
}
