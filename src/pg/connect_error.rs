//! Why there is no connection: what happened, on which side, where, and what an operator can do.
//!
//! What to do about it (retry, give up) is not decided here; [`ConnectError::is_transient`] only
//! says whether time alone may mend it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::pg::conninfo::ConnInfo;
use crate::pg::ident::identifier;
use crate::pg::server_error::ServerError;

#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect to the {side} at {at}: {failure}")]
    Host { side: &'static str, at: String, failure: Box<Failure> },
    /// Several hosts, none of them usable.
    #[error("cannot connect to the {side}: {}", OneLine(failures))]
    AllHosts { side: &'static str, failures: Vec<(String, Failure)> },
    /// Before any host was asked.
    #[error("cannot connect to the {side}: {failure}")]
    Credentials { side: &'static str, failure: Box<Failure> },
}

/// What happened at one host.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error("the host name does not resolve: {reason}")]
    Resolve { reason: String },
    #[error("{reason} ({phase})")]
    Network { kind: io::ErrorKind, phase: &'static str, reason: String },
    #[error("no answer within {} s ({phase})", limit.as_secs())]
    Timeout { phase: &'static str, limit: Duration },
    #[error("the server closed the connection ({phase})")]
    Closed { phase: &'static str },
    #[error("the server does not offer TLS, and sslmode asks for it")]
    NoTls,
    #[error("\"{key}\": file \"{}\" {reason}", path.display())]
    TlsFile { key: &'static str, path: PathBuf, reason: String },
    #[error("the server's certificate is refused: {reason}")]
    Certificate { reason: String, hint: &'static str },
    #[error("TLS handshake failed: {reason}")]
    Handshake { reason: String },
    #[error("{0} bytes came unencrypted after the server agreed to TLS")]
    TrailingPlaintext(usize),
    #[error("the server asks for a password and there is none")]
    PasswordMissing,
    #[error("the password cannot be had: {0}")]
    PasswordSource(String),
    #[error("authentication failed: {0}")]
    Authentication(String),
    #[error("channel_binding=require: {0}")]
    ChannelBinding(&'static str),
    #[error("{0}")]
    Server(Box<ServerError>),
    #[error("target_session_attrs: {0}")]
    NotWritable(&'static str),
    #[error("this is no PostgreSQL server: {0}")]
    Protocol(String),
}

impl ConnectError {
    /// The error for `failures`, one a host, in the order tried.
    pub(crate) fn of_hosts(side: &'static str, mut failures: Vec<(String, Failure)>) -> Self {
        match failures.pop() {
            Some((at, failure)) if failures.is_empty() => {
                ConnectError::Host { side, at, failure: Box::new(failure) }
            }
            Some(last) => {
                failures.push(last);
                ConnectError::AllHosts { side, failures }
            }
            None => unreachable!("a connection string has at least one host"),
        }
    }

    fn failures(&self) -> Vec<&Failure> {
        match self {
            ConnectError::Host { failure, .. } | ConnectError::Credentials { failure, .. } => {
                vec![failure]
            }
            ConnectError::AllHosts { failures, .. } => failures.iter().map(|(_, f)| f).collect(),
        }
    }

    /// "source" or "destination".
    pub fn side(&self) -> &'static str {
        match self {
            ConnectError::Host { side, .. }
            | ConnectError::AllHosts { side, .. }
            | ConnectError::Credentials { side, .. } => side,
        }
    }

    /// Whether time alone may mend it: with several hosts, at one of them.
    pub fn is_transient(&self) -> bool {
        self.failures().into_iter().any(Failure::is_transient)
    }

    pub fn server_error(&self) -> Option<&ServerError> {
        self.failures().into_iter().find_map(|failure| match failure {
            Failure::Server(error) => Some(&**error),
            _ => None,
        })
    }

    /// What an operator can do, in one sentence.
    pub fn hint(&self) -> Option<String> {
        let side = self.side();
        self.failures().into_iter().find_map(|failure| failure.hint(side))
    }
}

impl ConnectError {
    /// The exact statement or line that lets our role in, where there is one.
    pub fn remedy(&self, conninfo: &ConnInfo) -> Option<String> {
        let error = self.server_error()?;
        let (user, database) = (&conninfo.user, &conninfo.dbname);
        if is_connect_denied(error) {
            let (role, database) = (identifier(user), identifier(database));
            Some(format!("GRANT CONNECT ON DATABASE {database} TO {role}"))
        } else if error.code == SqlState::INSUFFICIENT_PRIVILEGE {
            Some(format!("ALTER ROLE {} REPLICATION", identifier(user)))
        } else if error.message.contains("pg_hba.conf") {
            let address = quoted(&error.message, "host");
            let line = match address {
                Some(address) if address.contains(':') => format!("{address}/128"),
                Some(address) if address != "[local]" => format!("{address}/32"),
                _ => "the agent's address".to_owned(),
            };
            Some(format!(
                "Add this line to pg_hba.conf, before any that rejects it, and run SELECT \
                 pg_reload_conf(): host \"{database}\" \"{user}\" {line} scram-sha-256"
            ))
        } else {
            None
        }
    }

    /// Whether a privilege is missing, not a password or an entry in a file.
    pub fn is_about_privilege(&self) -> bool {
        self.server_error().is_some_and(|error| error.code == SqlState::INSUFFICIENT_PRIVILEGE)
    }
}

/// The quoted word behind `before` in a server's message.
fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(&format!("{before} \""))?;
    rest.split('"').next()
}

/// `InitPostgres` and `CheckMyDatabase` deny with one SQLSTATE; only the words differ.
fn is_connect_denied(error: &ServerError) -> bool {
    error.code == SqlState::INSUFFICIENT_PRIVILEGE && error.message.contains("for database")
}

impl Failure {
    pub fn is_transient(&self) -> bool {
        match self {
            Failure::Resolve { .. }
            | Failure::Network { .. }
            | Failure::Timeout { .. }
            | Failure::Closed { .. }
            | Failure::NotWritable(_) => true,
            Failure::Server(error) => error.is_transient(),
            Failure::NoTls
            | Failure::TlsFile { .. }
            | Failure::Certificate { .. }
            | Failure::Handshake { .. }
            | Failure::TrailingPlaintext(_)
            | Failure::PasswordMissing
            | Failure::PasswordSource(_)
            | Failure::Authentication(_)
            | Failure::ChannelBinding(_)
            | Failure::Protocol(_) => false,
        }
    }

    /// Whether the other hosts of the list would refuse for the same reason (libpq stops there
    /// too).
    pub(crate) fn ends_the_search(&self) -> bool {
        match self {
            Failure::Server(error) => !error.is_transient(),
            Failure::PasswordMissing | Failure::Authentication(_) | Failure::TlsFile { .. } => true,
            _ => false,
        }
    }

    fn hint(&self, side: &str) -> Option<String> {
        Some(match self {
            Failure::Resolve { .. } => "Check the host name and this machine's DNS.".to_owned(),
            Failure::Network { kind: io::ErrorKind::ConnectionRefused, .. } => {
                "Check that the server runs, and that its listen_addresses and port are these."
                    .to_owned()
            }
            Failure::Network { kind: io::ErrorKind::NotFound, .. } => {
                "Check that the server runs and that \"host\" is its unix_socket_directories."
                    .to_owned()
            }
            Failure::Timeout { .. } => {
                "Check firewalls and routes; connect_timeout sets the limit in seconds.".to_owned()
            }
            Failure::NoTls => "Set ssl = on at the server (a restart is not needed), or choose \
                               sslmode=prefer if plain text may travel."
                .to_owned(),
            Failure::Certificate { hint, .. } if !hint.is_empty() => (*hint).to_owned(),
            Failure::Handshake { .. } => "The server may ask for a client certificate (sslcert, \
                                          sslkey) or speak only TLS older than 1.2."
                .to_owned(),
            Failure::PasswordMissing => {
                format!("Set [{side}] password, password_command or a passfile.")
            }
            Failure::NotWritable(_) => {
                "It is retried until one of the hosts is promoted.".to_owned()
            }
            Failure::Server(error) => return server_hint(error, side),
            _ => return None,
        })
    }
}

fn server_hint(error: &ServerError, side: &str) -> Option<String> {
    let code = &error.code;
    Some(if *code == SqlState::INVALID_PASSWORD {
        format!("Check the user and [{side}] password (or password_command, passfile).")
    } else if error.message.contains("no pg_hba.conf entry") {
        "Add a line for this user, database and address to the server's pg_hba.conf (for \
         replication too the database's own name is matched) and reload it; the line decides \
         whether TLS is needed."
            .to_owned()
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        "Check the user's name, and that it may log in (ALTER ROLE … LOGIN).".to_owned()
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        "Check the database's name in the connection string.".to_owned()
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE
        && (error.message.contains("replication") || error.message.contains("WAL sender"))
    {
        "Give the user the right to replicate: ALTER ROLE … REPLICATION.".to_owned()
    } else if *code == SqlState::PROTOCOL_VIOLATION {
        "A pooler stands in front of it that cannot do what is asked: replication needs a connection \
         to the server itself."
            .to_owned()
    } else if is_connect_denied(error) {
        format!("Grant the user CONNECT on the database of [{side}] url.")
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        "Raise max_connections (max_wal_senders for replication) or free some.".to_owned()
    } else {
        return error.hint.clone();
    })
}

/// Failures by host, on one line.
struct OneLine<'a>(&'a [(String, Failure)]);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (at, failure)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{at}: {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str, message: &str) -> Failure {
        Failure::Server(Box::new(ServerError {
            severity: "FATAL".into(),
            code: SqlState::from_code(code),
            message: message.into(),
            detail: None,
            hint: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
        }))
    }

    #[test]
    fn only_what_time_can_mend_is_transient() {
        for (code, is_transient) in [
            ("57P03", true),
            ("57P01", true),
            ("53300", true),
            ("28P01", false),
            ("28000", false),
            ("3D000", false),
            ("42501", false),
        ] {
            assert_eq!(server(code, "x").is_transient(), is_transient, "{code}");
        }
    }

    #[test]
    fn one_usable_host_may_come_back() {
        let error = ConnectError::of_hosts(
            "source",
            vec![
                ("a:1".into(), Failure::NoTls),
                ("b:2".into(), Failure::Closed { phase: "start-up" }),
            ],
        );
        assert!(error.is_transient());
        assert_eq!(
            error.to_string(),
            "cannot connect to the source: a:1: the server does not offer TLS, and sslmode asks \
             for it; b:2: the server closed the connection (start-up)"
        );
    }
}
