//! The keys' values as meant, and the rules between them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::pg::conninfo::keys::Keys;
use crate::pg::conninfo::{
    ChannelBinding, ConnInfoError, Host, HostName, Keepalive, NetworkOptions, RootCertificates,
    SslMode, SslNegotiation, TlsOptions,
};

/// How long one address may take to answer, and then the start-up on it, where the text says
/// nothing. libpq waits for ever; an agent that retries by itself must not.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const DEFAULT_PORT: u16 = 5432;

pub(super) fn hosts(keys: &Keys) -> Result<Vec<Host>, ConnInfoError> {
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

pub(super) fn tls_options(keys: &Keys, home: Option<PathBuf>) -> Result<TlsOptions, ConnInfoError> {
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

pub(super) fn network_options(keys: &Keys) -> Result<NetworkOptions, ConnInfoError> {
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
