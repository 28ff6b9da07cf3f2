//! Ordinary connections (tokio-postgres) over our own stream.
//!
//! [`Client`] is tokio-postgres' client with what an agent needs around it: settings are pinned,
//! the connection's task is owned, its end can be waited for, a running query can be cancelled.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};
use tokio_util::sync::CancellationToken;

pub use crate::pg::cancel::CancelHandle;
use crate::pg::connect_error::{ConnectError, Failure};
use crate::pg::dial::Endpoint;
use crate::pg::open::{Mode, Request, open};
use crate::pg::replay::Replay;
use crate::pg::server_error::{self, ServerError};

/// How long a dropped client's connection may take to say goodbye. Idle it takes no time; in the
/// middle of a query it is cut off, and the server rolls back.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// An ordinary connection. Dropping it ends it.
#[derive(Debug)]
pub struct Client {
    inner: tokio_postgres::Client,
    server_version_num: u32,
    backend_pid: i32,
    cancel: CancelHandle,
    ended: watch::Receiver<Option<Disconnected>>,
    dropped: CancellationToken,
}

/// Why a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Disconnected {
    #[error("{0}")]
    Server(Box<ServerError>),
    #[error("connection lost: {0}")]
    Lost(String),
    #[error("the connection was closed")]
    Closed,
}

impl Disconnected {
    pub fn server_error(&self) -> Option<&ServerError> {
        match self {
            Disconnected::Server(error) => Some(error),
            _ => None,
        }
    }
}

/// Connects and pins the session. `purpose` is the last part of the application name.
pub async fn connect(endpoint: &Endpoint, purpose: &str) -> Result<Client, ConnectError> {
    connect_with(endpoint, purpose, &[]).await
}

/// As [`connect`], with further settings (name and value) in the same round trip.
pub async fn connect_with(
    endpoint: &Endpoint,
    purpose: &str,
    settings: &[(&str, &str)],
) -> Result<Client, ConnectError> {
    let opened = open(endpoint, Request { purpose, mode: Mode::Ordinary, settings }).await?;
    let cancel = CancelHandle::new(endpoint.side, &endpoint.conninfo, &opened);
    let at = opened.host.to_string();
    let (key, server_version_num) = (opened.key, opened.server_version_num);
    let (stream, unread, parameters) = opened.channel.into_parts();
    let replay = Replay::new(stream, &parameters, key, &unread);
    let mut config = Config::new();
    // Both have been said already; the replayed start-up does not look at them.
    config.user(&endpoint.conninfo.user).ssl_mode(SslMode::Disable);
    let (inner, connection) =
        config.connect_raw(replay, NoTls).await.map_err(|error| ConnectError::Host {
            side: endpoint.side,
            at,
            failure: Box::new(Failure::Protocol(error.to_string())),
        })?;
    let (sender, ended) = watch::channel(None);
    let dropped = CancellationToken::new();
    let is_dropped = dropped.clone();
    tokio::spawn(async move {
        let mut connection = Box::pin(connection);
        let result = tokio::select! {
            biased;
            // First, so that a drop never hides why the connection ended before it.
            result = &mut connection => result,
            () = is_dropped.cancelled() => {
                timeout(GOODBYE_LIMIT, connection).await.unwrap_or(Ok(()))
            }
        };
        let _ = sender.send(Some(match result {
            Ok(()) => Disconnected::Closed,
            Err(error) => match server_error::of(&error) {
                Some(error) => Disconnected::Server(Box::new(error)),
                None => Disconnected::Lost(error.to_string()),
            },
        }));
    });
    Ok(Client { inner, server_version_num, backend_pid: key.process_id, cancel, ended, dropped })
}

impl Client {
    /// For example 150018.
    pub fn server_version_num(&self) -> u32 {
        self.server_version_num
    }

    pub fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// For another task: cancels what this connection runs.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Completes when the connection has ended, with the reason. Borrows nothing, so it can be
    /// waited for beside a query.
    pub fn closed(&self) -> impl Future<Output = Disconnected> + Send + 'static {
        let mut ended = self.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or(Disconnected::Closed),
                // The task is gone without a word: the runtime is shutting down.
                Err(_) => Disconnected::Closed,
            }
        }
    }
}

impl Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &tokio_postgres::Client {
        &self.inner
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut tokio_postgres::Client {
        &mut self.inner
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The inner client goes right after; that makes the connection send its goodbye.
        self.dropped.cancel();
    }
}
