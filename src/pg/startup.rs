//! startup → authenticate → ready, for every connection, whatever it is used for after.
//!
//! In: a dialed stream. Out: a [`Channel`] on which queries may be sent, and the key to cancel
//! them. **Invariants:** a password leaves only in answer to a request we know; with
//! channel_binding=require nothing but SCRAM-SHA-256-PLUS is answered; after SCRAM the server has
//! proved that it knows the password too.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret, SecretString};

use crate::pg::channel::{Channel, WireError, server_error};
use crate::pg::connect_error::Failure;
use crate::pg::conninfo::ChannelBinding;
use crate::pg::dial::{Dialed, network};

const PHASE: &str = "start-up";

/// No message before ReadyForQuery is larger; a peer that claims so is no PostgreSQL server.
const STARTUP_MESSAGE_BYTES_MAX: usize = 64 * 1024;

pub(crate) struct Startup<'a> {
    pub user: &'a str,
    pub dbname: &'a str,
    pub application_name: &'a str,
    pub is_replication: bool,
    pub password: Option<SecretString>,
    pub channel_binding: ChannelBinding,
}

/// Which backend serves a connection, and the secret that lets others cancel its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendKey {
    pub process_id: i32,
    pub(crate) secret_key: i32,
}

pub(crate) async fn start(
    dialed: Dialed,
    startup: &Startup<'_>,
) -> Result<(Channel, BackendKey), Failure> {
    let mut channel = Channel::new(dialed.stream);
    channel.limit_message_bytes(STARTUP_MESSAGE_BYTES_MAX);
    let mut parameters = vec![
        ("user", startup.user),
        ("database", startup.dbname),
        ("application_name", startup.application_name),
        ("client_encoding", "UTF8"),
    ];
    if startup.is_replication {
        // `database`, not `true`: a logical walsender, which takes SQL as well.
        parameters.push(("replication", "database"));
    }
    send(&mut channel, |output| frontend::startup_message(parameters, output)).await?;
    authenticate(&mut channel, startup, dialed.channel_binding).await?;
    let key = ready(&mut channel).await?;
    channel.limit_message_bytes(crate::pg::channel::DEFAULT_MESSAGE_BYTES_MAX);
    Ok((channel, key))
}

async fn authenticate(
    channel: &mut Channel,
    startup: &Startup<'_>,
    end_point: Option<Vec<u8>>,
) -> Result<(), Failure> {
    let is_binding_due = startup.channel_binding == ChannelBinding::Require;
    let password = || startup.password.as_ref().ok_or(Failure::PasswordMissing);
    let request = next(channel).await?;
    if is_binding_due && !matches!(request, Message::AuthenticationSasl(_)) {
        return Err(Failure::ChannelBinding("the server does not ask for SCRAM"));
    }
    match request {
        Message::AuthenticationOk => return Ok(()),
        Message::AuthenticationCleartextPassword => {
            let password = password()?.expose_secret().as_bytes();
            send(channel, |output| frontend::password_message(password, output)).await?;
        }
        Message::AuthenticationMd5Password(body) => {
            let password = password()?.expose_secret().as_bytes();
            let hash = md5_hash(startup.user.as_bytes(), password, body.salt());
            send(channel, |output| frontend::password_message(hash.as_bytes(), output)).await?;
        }
        Message::AuthenticationSasl(body) => {
            let password = password()?;
            scram(channel, &body, password, startup.channel_binding, end_point).await?;
        }
        Message::AuthenticationKerberosV5
        | Message::AuthenticationGss
        | Message::AuthenticationSspi => {
            return Err(Failure::Authentication(
                "the server asks for Kerberos (GSSAPI or SSPI), which is not spoken".to_owned(),
            ));
        }
        other => return Err(unexpected(&other)),
    }
    match next(channel).await? {
        Message::AuthenticationOk => Ok(()),
        other => Err(unexpected(&other)),
    }
}

async fn scram(
    channel: &mut Channel,
    offered: &AuthenticationSaslBody,
    password: &SecretString,
    binding: ChannelBinding,
    end_point: Option<Vec<u8>>,
) -> Result<(), Failure> {
    let mechanisms: Vec<&str> = offered
        .mechanisms()
        .collect()
        .map_err(|_| Failure::Protocol("its list of SASL mechanisms is cut short".to_owned()))?;
    let is_bound = mechanisms.contains(&sasl::SCRAM_SHA_256_PLUS);
    let end_point = end_point.filter(|_| binding != ChannelBinding::Disable);
    if binding == ChannelBinding::Require {
        if !channel.is_tls() {
            return Err(Failure::ChannelBinding("the connection is not encrypted"));
        }
        if !is_bound {
            return Err(Failure::ChannelBinding("the server does not offer SCRAM-SHA-256-PLUS"));
        }
        if end_point.is_none() {
            return Err(Failure::ChannelBinding(
                "the server's certificate is signed by an algorithm without a hash to bind to",
            ));
        }
    }
    let (mechanism, header) = match end_point {
        Some(hash) if is_bound => {
            (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
        }
        // We could have, the server says it cannot: if somebody in between took the offer out, the
        // server sees that from this and refuses.
        Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
        None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
    };
    if !mechanisms.contains(&mechanism) {
        return Err(Failure::Authentication(format!(
            "the server offers no SASL mechanism that is spoken here ({})",
            mechanisms.join(", ").escape_debug()
        )));
    }
    let refused = |error: std::io::Error| Failure::Authentication(error.to_string());
    let mut exchange = ScramSha256::new(password.expose_secret().as_bytes(), header);
    send(channel, |output| frontend::sasl_initial_response(mechanism, exchange.message(), output))
        .await?;
    match next(channel).await? {
        Message::AuthenticationSaslContinue(body) => {
            exchange.update(body.data()).map_err(refused)?;
        }
        other => return Err(unexpected(&other)),
    }
    send(channel, |output| frontend::sasl_response(exchange.message(), output)).await?;
    match next(channel).await? {
        Message::AuthenticationSaslFinal(body) => exchange.finish(body.data()).map_err(refused),
        other => Err(unexpected(&other)),
    }
}

async fn ready(channel: &mut Channel) -> Result<BackendKey, Failure> {
    // A pooler may hand out no key; then nothing can be cancelled.
    let mut key = BackendKey { process_id: 0, secret_key: 0 };
    loop {
        match next(channel).await? {
            Message::BackendKeyData(body) => {
                key = BackendKey { process_id: body.process_id(), secret_key: body.secret_key() };
            }
            Message::ReadyForQuery(_) => return Ok(key),
            other => return Err(unexpected(&other)),
        }
    }
}

async fn send(
    channel: &mut Channel,
    encode: impl FnOnce(&mut BytesMut) -> std::io::Result<()>,
) -> Result<(), Failure> {
    encode(channel.output())
        .map_err(|error| Failure::Authentication(format!("cannot be sent: {error}")))?;
    channel.flush().await.map_err(failure)
}

/// The next message that is no notice; an ErrorResponse is a failure.
async fn next(channel: &mut Channel) -> Result<Message, Failure> {
    loop {
        match channel.message().await.map_err(failure)? {
            Message::NoticeResponse(_) => {}
            Message::ErrorResponse(body) => {
                return Err(server_error(&body)
                    .map_or_else(failure, |error| Failure::Server(Box::new(error))));
            }
            message => return Ok(message),
        }
    }
}

pub(crate) fn failure(error: WireError) -> Failure {
    match error {
        WireError::Server(error) => Failure::Server(error),
        WireError::Io(error) => network(PHASE, &error),
        WireError::Closed => Failure::Closed { phase: PHASE },
        WireError::Protocol { .. }
        | WireError::TooLarge { .. }
        | WireError::ValueTooLarge { .. } => Failure::Protocol(error.to_string()),
    }
}

fn unexpected(message: &Message) -> Failure {
    failure(WireError::unexpected(message, PHASE))
}

#[cfg(test)]
mod tests;
