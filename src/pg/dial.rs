//! A stream to a server: TCP or Unix socket, TLS where asked.

/// Where the password comes from.
#[derive(Clone, Debug)]
pub enum PasswordSource {
    /// The connection string's, the passfile's or none.
    ConnInfo,
}
