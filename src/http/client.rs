//! Asking a running agent for its status.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::HOST;
use axum::http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::error::HttpError;
use crate::pipeline::status::{SCHEMA_VERSION, Status};

/// A status of about 100 000 tables; anything larger is not one.
const BODY_BYTES_MAX: usize = 64 << 20;

/// `GET /status` at `address`, all of it within `timeout`. An agent that listens on every address
/// (`0.0.0.0`, `::`) is asked on this machine's own.
pub async fn fetch_status(address: SocketAddr, timeout: Duration) -> Result<Status, HttpError> {
    let address = reachable(address);
    match tokio::time::timeout(timeout, fetch(address)).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::Timeout { address, timeout }),
    }
}

fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn fetch(address: SocketAddr) -> Result<Status, HttpError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|source| HttpError::Connect { address, source })?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|source| HttpError::Exchange { address, source })?;
    // The connection moves bytes while the exchange waits for them; its error is the exchange's.
    let (body, _) = tokio::join!(exchange(sender, address), connection);
    parse(address, &body?)
}

async fn exchange(
    mut sender: http1::SendRequest<Empty<Bytes>>,
    address: SocketAddr,
) -> Result<Bytes, HttpError> {
    let request = Request::get("/status")
        .header(HOST, address.to_string())
        .body(Empty::new())
        .expect("the request is well-formed");
    let response = sender
        .send_request(request)
        .await
        .map_err(|source| HttpError::Exchange { address, source })?;
    if response.status() != StatusCode::OK {
        let reason = format!("/status answers {}", response.status());
        return Err(HttpError::NotAnAgent { address, reason });
    }
    match Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(source) => HttpError::Exchange { address, source: *source },
            Err(other) => {
                debug_assert!(other.is::<LengthLimitError>(), "the only other error");
                HttpError::NotAnAgent { address, reason: "its answer has no end".to_owned() }
            }
        }),
    }
}

/// The version is looked at first: an answer in another one need not fit our structure.
fn parse(address: SocketAddr, body: &[u8]) -> Result<Status, HttpError> {
    #[derive(serde::Deserialize)]
    struct Version {
        schema_version: u64,
    }
    let not_an_agent = |error: serde_json::Error| HttpError::NotAnAgent {
        address,
        reason: format!("its answer is no status ({error})"),
    };
    let Version { schema_version: found } = serde_json::from_slice(body).map_err(not_an_agent)?;
    if found != u64::from(SCHEMA_VERSION) {
        return Err(HttpError::OtherSchema { address, found, expected: SCHEMA_VERSION });
    }
    serde_json::from_slice(body).map_err(not_an_agent)
}
