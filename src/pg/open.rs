//! From an [`Endpoint`] to a connection whose session settings are ours.
//!
//! Hosts in order: dial, start up, check target_session_attrs, pin. The first that gets through
//! is taken; a refusal that the other hosts would repeat ends the search (as in libpq).
//!
//! Settings are pinned by one `SET` batch and not by the start-up message's `options`, because
//! poolers refuse those, and because a setting of the role or the database would otherwise change
//! how values look or how long we may take.

use std::net::SocketAddr;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::pg::channel::Channel;
use crate::pg::connect_error::{ConnectError, Failure};
use crate::pg::conninfo::{ConnInfo, Host, HostName, SslMode, TargetSessionAttrs};
use crate::pg::dial::{Encryption, Endpoint, dial_host};
use crate::pg::ident;
use crate::pg::password::Credentials;
use crate::pg::startup::{self, BackendKey, Startup};

/// What every session has, on both sides: how values look in text, how names resolve, no time
/// limits but our own, ordinary transactions; no compiling of catalog questions, whose costs the
/// planner takes for a hundred times of what they are.
const PINNED: [(&str, &str); 20] = [
    ("search_path", ""),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "3"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
    ("lc_monetary", "C"),
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("quote_all_identifiers", "off"),
    ("jit", "off"),
];

/// A setting that a superuser may have given the role (`ALTER ROLE … SET`), and that the role itself
/// may not even set to the value it has: left alone where it is as wanted.
const PRESET_BY_ROLE: &str = "session_replication_role";

/// `transaction_timeout` exists from here on; on older servers it would fail the batch.
const TRANSACTION_TIMEOUT_SINCE: u32 = 170_000;

/// Every other encoding is converted to and from UTF-8 by the server. This one is none: a server that
/// is asked for UTF-8 refuses bytes that are not, wherever they are, and names no table. So they pass as
/// they are; who is to store them as text says which row it is that they do not fit in.
const SQL_ASCII: &str = "SQL_ASCII";

/// Whether a connection speaks the replication commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Ordinary,
    /// A logical walsender: replication commands, and SQL by simple queries.
    Replication,
}

/// A connection that is ready for work.
#[derive(Debug)]
pub(crate) struct Opened {
    pub channel: Channel,
    pub key: BackendKey,
    pub server_version_num: u32,
    /// Where a cancel request must go.
    pub host: Host,
    pub address: Option<SocketAddr>,
    pub encryption: Encryption,
}

/// What is asked of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Part of the application name: `sync-agent/<pipeline>/<purpose>`.
    pub purpose: &'a str,
    pub mode: Mode,
    /// Settings beyond the pinned ones, name and value.
    pub settings: &'a [(&'a str, &'a str)],
}

pub(crate) async fn open(
    endpoint: &Endpoint,
    request: Request<'_>,
) -> Result<Opened, ConnectError> {
    let side = endpoint.side;
    let credentials = Credentials::fetch(&endpoint.password, &endpoint.conninfo)
        .await
        .map_err(|failure| ConnectError::Credentials { side, failure: Box::new(failure) })?;
    let mut failures = Vec::new();
    for host in &endpoint.conninfo.hosts {
        match Box::pin(open_host(endpoint, host, &credentials, request)).await {
            Ok(opened) => return Ok(opened),
            Err(failure) => {
                let is_last = failure.ends_the_search();
                if is_last {
                    failures.clear();
                }
                failures.push((host.to_string(), failure));
                if is_last {
                    break;
                }
            }
        }
    }
    Err(ConnectError::of_hosts(side, failures))
}

/// One host; under sslmode=prefer once more without TLS, where TLS is what failed.
async fn open_host(
    endpoint: &Endpoint,
    host: &Host,
    credentials: &Credentials,
    request: Request<'_>,
) -> Result<Opened, Failure> {
    let first = try_host(endpoint, host, credentials, request, Encryption::AsAsked).await;
    let is_tls_optional =
        endpoint.conninfo.tls.mode == SslMode::Prefer && matches!(host.name, HostName::Tcp(_));
    match first {
        Err(failure) if is_tls_optional && is_about_tls(&failure) => {
            let plain = try_host(endpoint, host, credentials, request, Encryption::Plain).await;
            // If both fail, the first is what the operator has to look at.
            plain.map_err(|_| failure)
        }
        other => other,
    }
}

/// Whether the same host may take us without TLS.
fn is_about_tls(failure: &Failure) -> bool {
    match failure {
        Failure::Handshake { .. } | Failure::Certificate { .. } | Failure::TlsFile { .. } => true,
        // pg_hba.conf may have a `hostnossl` line only.
        Failure::Server(error) => {
            error.code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
                && error.message.contains("pg_hba.conf")
        }
        _ => false,
    }
}

async fn try_host(
    endpoint: &Endpoint,
    host: &Host,
    credentials: &Credentials,
    request: Request<'_>,
    encryption: Encryption,
) -> Result<Opened, Failure> {
    let conninfo = &endpoint.conninfo;
    let dialed = dial_host(conninfo, host, encryption).await?;
    let address = dialed.address;
    let application_name = endpoint.application_name(request.purpose);
    let startup = Startup {
        user: &conninfo.user,
        dbname: &conninfo.dbname,
        application_name: &application_name,
        is_replication: request.mode == Mode::Replication,
        password: credentials.password(conninfo, host),
        channel_binding: conninfo.tls.channel_binding,
    };
    let limit = conninfo.network.connect_timeout;
    let prepare = async {
        let (mut channel, key) = startup::start(dialed, &startup).await?;
        check_target(&mut channel, conninfo).await?;
        let server_version_num = pin(&mut channel, endpoint.side, request.settings).await?;
        Ok(Opened { channel, key, server_version_num, host: host.clone(), address, encryption })
    };
    timeout(limit, prepare).await.map_err(|_| Failure::Timeout { phase: "start-up", limit })?
}

/// Before anything is pinned, because `default_transaction_read_only` is part of the answer.
async fn check_target(channel: &mut Channel, conninfo: &ConnInfo) -> Result<(), Failure> {
    if conninfo.target_session_attrs == TargetSessionAttrs::Any {
        return Ok(());
    }
    let rows = channel
        .simple_query(
            "SELECT pg_catalog.pg_is_in_recovery(), \
             pg_catalog.current_setting('transaction_read_only')",
        )
        .await
        .map_err(startup::failure)?;
    let [is_in_recovery, is_read_only] = rows.first().map(Vec::as_slice).unwrap_or_default() else {
        return Err(Failure::Protocol("it does not say whether it is a primary".to_owned()));
    };
    if is_in_recovery.as_deref() == Some("t") {
        return Err(Failure::NotWritable("the server is a standby"));
    }
    let wants_writes = conninfo.target_session_attrs == TargetSessionAttrs::ReadWrite;
    if wants_writes && is_read_only.as_deref() == Some("on") {
        return Err(Failure::NotWritable("sessions are read-only there"));
    }
    Ok(())
}

/// Pins the session and returns the server's version.
async fn pin(channel: &mut Channel, side: &str, settings: &[(&str, &str)]) -> Result<u32, Failure> {
    let announced = channel.parameters().get("server_version").map_or(0, |text| major(text));
    let mut batch = String::new();
    let mut set = |name: &str, value: &str| {
        batch.push_str(&format!("SET {} = {};", name, ident::literal(value)));
    };
    for (name, value) in PINNED {
        set(name, value);
    }
    if channel.parameters().get("server_encoding").is_some_and(|name| *name == SQL_ASCII) {
        set("client_encoding", SQL_ASCII);
    }
    if announced >= TRANSACTION_TIMEOUT_SINCE {
        set("transaction_timeout", "0");
    }
    if side == "destination" {
        // Our checkpoint is only worth what its commit is.
        set("synchronous_commit", "on");
    }
    for (name, value) in settings.iter().filter(|(name, _)| *name != PRESET_BY_ROLE) {
        set(name, value);
    }
    for (name, value) in settings.iter().filter(|(name, _)| *name == PRESET_BY_ROLE) {
        let (name, value) = (ident::literal(name), ident::literal(value));
        batch.push_str(&format!(
            "SELECT pg_catalog.set_config({name}, {value}, false) \
             WHERE pg_catalog.current_setting({name}) <> {value};"
        ));
    }
    batch.push_str("SHOW server_version_num");
    let rows = channel.simple_query(&batch).await.map_err(startup::failure)?;
    // The last row is the version's, whatever the statements before it gave.
    rows.iter()
        .flatten()
        .next_back()
        .and_then(|value| value.as_deref()?.parse().ok())
        .ok_or_else(|| Failure::Protocol("it does not tell its version".to_owned()))
}

/// `server_version` (`17.4 (Debian …)`, `18beta1`) as far as it matters here: 170000, 180000.
fn major(server_version: &str) -> u32 {
    let digits: String = server_version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().unwrap_or(0).saturating_mul(10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_every_spelling_are_understood() {
        for (text, number) in
            [("15.18 (Debian 15.18-0+deb12u1)", 150_000), ("18beta1", 180_000), ("?", 0)]
        {
            assert_eq!(major(text), number, "{text}");
        }
    }
}
