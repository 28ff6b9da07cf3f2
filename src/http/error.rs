//! What can go wrong with the listener, and with asking a running agent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("http.listen: port {} of \"{address}\" is in use by another process", address.port())]
    PortInUse { address: SocketAddr },
    #[error("http.listen: cannot listen on \"{address}\"")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no agent answers at \"{address}\"")]
    Connect {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the agent at \"{address}\" did not answer within {timeout:?}")]
    Timeout { address: SocketAddr, timeout: Duration },
    #[error("the connection to the agent at \"{address}\" failed")]
    Exchange {
        address: SocketAddr,
        #[source]
        source: hyper::Error,
    },
    #[error("what listens at \"{address}\" is no sync-agent: {reason}")]
    NotAnAgent { address: SocketAddr, reason: String },
    #[error(
        "the agent at \"{address}\" answers in schema_version {found}, this one reads {expected}"
    )]
    OtherSchema { address: SocketAddr, found: u64, expected: u32 },
}

impl HttpError {
    /// The product's code for it.
    pub fn code(&self) -> &'static str {
        match self {
            HttpError::PortInUse { .. } | HttpError::Listen { .. } => "E_CONFIG",
            HttpError::Connect { .. } | HttpError::Timeout { .. } => "E_CONNECT",
            HttpError::Exchange { .. }
            | HttpError::NotAnAgent { .. }
            | HttpError::OtherSchema { .. } => "E_IO",
        }
    }

    /// What an operator can do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            HttpError::PortInUse { .. } | HttpError::Listen { .. } => Some(
                "Choose another address with http.listen (or --set 'http.listen=\"127.0.0.1:9848\"'), or \"off\".",
            ),
            HttpError::Connect { .. } | HttpError::NotAnAgent { .. } => {
                Some("The address comes from http.listen: it must be the running agent's.")
            }
            HttpError::OtherSchema { .. } => Some("Use the sync-agent of the running version."),
            HttpError::Timeout { .. } | HttpError::Exchange { .. } => None,
        }
    }
}
