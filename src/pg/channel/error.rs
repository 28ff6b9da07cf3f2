//! What can go wrong on a connection of our own.

use std::io;

use postgres_protocol::message::backend::{ErrorResponseBody, Message};

use crate::pg::channel::tag;
use crate::pg::server_error::ServerError;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("{0}")]
    Server(Box<ServerError>),
    #[error("connection lost")]
    Io(#[source] io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("unexpected message \"{}\": {message}", tag.escape_ascii())]
    Protocol { tag: u8, message: String },
    #[error(
        "message \"{}\" of {bytes} bytes is larger than the limit of {limit}",
        tag.escape_ascii()
    )]
    TooLarge { tag: u8, bytes: usize, limit: usize },
    /// A value of a row, by its column's place.
    #[error("the value of column {column} of {bytes} bytes is larger than the limit of {limit}")]
    ValueTooLarge { column: usize, bytes: usize, limit: usize },
}

impl WireError {
    /// Whether a new connection may fare better.
    pub fn is_transient(&self) -> bool {
        match self {
            WireError::Server(error) => error.is_transient(),
            WireError::Io(_) | WireError::Closed => true,
            WireError::Protocol { .. }
            | WireError::TooLarge { .. }
            | WireError::ValueTooLarge { .. } => false,
        }
    }

    pub fn server_error(&self) -> Option<&ServerError> {
        match self {
            WireError::Server(error) => Some(error),
            _ => None,
        }
    }

    /// The same in words that hold no row's values.
    pub fn reworded(self) -> WireError {
        match self {
            WireError::Server(error) => WireError::Server(Box::new(error.reworded())),
            other => other,
        }
    }

    pub(crate) fn protocol(tag: u8, message: impl Into<String>) -> WireError {
        WireError::Protocol { tag, message: message.into() }
    }

    /// A message that does not belong at this point.
    pub(crate) fn unexpected(message: &Message, during: &str) -> WireError {
        WireError::protocol(message_tag(message), format!("not expected during {during}"))
    }
}

impl From<ServerError> for WireError {
    fn from(error: ServerError) -> WireError {
        WireError::Server(Box::new(error))
    }
}

pub(crate) fn server_error(body: &ErrorResponseBody) -> Result<ServerError, WireError> {
    ServerError::from_fields(body.fields())
        .ok_or_else(|| WireError::protocol(tag::ERROR_RESPONSE, "its fields are cut short"))
}

fn message_tag(message: &Message) -> u8 {
    match message {
        Message::AuthenticationCleartextPassword
        | Message::AuthenticationGss
        | Message::AuthenticationKerberosV5
        | Message::AuthenticationMd5Password(_)
        | Message::AuthenticationOk
        | Message::AuthenticationScmCredential
        | Message::AuthenticationSspi
        | Message::AuthenticationGssContinue(_)
        | Message::AuthenticationSasl(_)
        | Message::AuthenticationSaslContinue(_)
        | Message::AuthenticationSaslFinal(_) => b'R',
        Message::BackendKeyData(_) => b'K',
        Message::BindComplete => b'2',
        Message::CloseComplete => b'3',
        Message::CommandComplete(_) => b'C',
        Message::CopyData(_) => b'd',
        Message::CopyDone => b'c',
        Message::CopyInResponse(_) => b'G',
        Message::CopyOutResponse(_) => b'H',
        Message::DataRow(_) => b'D',
        Message::EmptyQueryResponse => b'I',
        Message::ErrorResponse(_) => b'E',
        Message::NoData => b'n',
        Message::NoticeResponse(_) => b'N',
        Message::NotificationResponse(_) => b'A',
        Message::ParameterDescription(_) => b't',
        Message::ParameterStatus(_) => b'S',
        Message::ParseComplete => b'1',
        Message::PortalSuspended => b's',
        Message::ReadyForQuery(_) => b'Z',
        Message::RowDescription(_) => b'T',
        _ => b'?',
    }
}
