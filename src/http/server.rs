//! The listener: a bounded number of connections, each for a bounded time.
//!
//! axum's own `serve` has neither a limit nor a timeout, so the connections are driven here. What a
//! client can cost is [`CONNECTIONS_MAX`] sockets and their buffers; who is slow to ask or to read
//! is cut off, and the pipeline shares nothing with them but the board's short lock.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::error::HttpError;
use super::respond::respond;
use crate::pipeline::status::Board;

/// Connections at one time; a scraper, a load balancer and some browsers need ten. Whoever comes
/// beyond is closed at once.
const CONNECTIONS_MAX: usize = 64;

/// To send a request's head, and to be idle between requests. Half of it may cut a busy client off,
/// twice of it lets a silent one hold its place for longer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// After this a connection takes no further request: a client that reads one byte a second cannot
/// stay. Clients with keep-alive connect again without noticing.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// For the response in hand after [`CONNECTION_LIFETIME`].
const LAST_RESPONSE_GRACE: Duration = Duration::from_secs(10);

/// One request's head; hyper's minimum.
const REQUEST_HEAD_BYTES_MAX: usize = 8 * 1024;

/// After a failed accept (no file descriptors left): long enough not to spin, short enough that a
/// probe does not fail for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the address. Separate from [`serve`] so that a port in use is known before anything else
/// is started.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => HttpError::PortInUse { address },
        _ => HttpError::Listen { address, source },
    })
}

/// Answers until `shutdown` resolves; connections are cut then.
pub async fn serve(listener: TcpListener, board: Board, shutdown: impl Future<Output = ()>) {
    let router = Router::new().fallback(handle).with_state(board);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            biased;
            // First: a stream of new connections must not keep the agent alive.
            () = &mut shutdown => break,
            // Ended connections make room before another is taken.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        if connections.len() < CONNECTIONS_MAX {
            connections.spawn(connection(stream, router.clone()));
        }
    }
    connections.shutdown().await;
}

async fn handle(State(board): State<Board>, request: Request) -> Response<Body> {
    respond(&board, request.method(), request.uri().path()).map(Body::from)
}

/// Errors of a connection are the client's: it went away or was too slow.
async fn connection(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(REQUEST_HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    if timeout(CONNECTION_LIFETIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        drop(timeout(LAST_RESPONSE_GRACE, connection).await);
    }
}

#[cfg(test)]
mod tests;
