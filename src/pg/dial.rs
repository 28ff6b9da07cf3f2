//! One host of a connection string, up to the point where the start-up message may be sent.
//!
//! In: an [`Endpoint`] and one of its hosts. Out: a [`Dialed`] stream with TLS as sslmode asks.
//! Names are resolved at every call, so that a server that moved is found. **Invariant:** nothing
//! that identifies us (user, database, password) leaves before TLS stands, if it is asked for.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

pub use crate::pg::connect_error::{ConnectError, Failure};
use crate::pg::conninfo::{ConnInfo, Host, HostName, NetworkOptions, SslMode, SslNegotiation};
pub use crate::pg::password::{PasswordReader, PasswordSource};
use crate::pg::stream::Stream;
use crate::pg::tls;

/// One side's server, and who we are there.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// "source" or "destination".
    pub side: &'static str,
    pub conninfo: ConnInfo,
    pub password: PasswordSource,
    /// Part of the application name.
    pub pipeline: String,
}

impl Endpoint {
    /// By what the server knows a connection for `purpose`: at most 63 bytes, as it would cut it
    /// itself. Characters outside ASCII it shows as `?` (before 16) or escaped.
    pub fn application_name(&self, purpose: &str) -> String {
        let mut name = match &self.conninfo.application_name {
            Some(name) => format!("{name}/{purpose}"),
            None => format!("sync-agent/{}/{purpose}", self.pipeline),
        };
        while name.len() > APPLICATION_NAME_BYTES_MAX {
            name.pop();
        }
        name
    }
}

/// `NAMEDATALEN - 1`.
const APPLICATION_NAME_BYTES_MAX: usize = 63;

/// A stream to one host, TLS settled, nothing said yet.
#[derive(Debug)]
pub struct Dialed {
    pub stream: Stream,
    /// Where it leads; none for a Unix socket.
    pub address: Option<SocketAddr>,
    /// The hash of the server's certificate for `tls-server-end-point`, where TLS is in use and
    /// the certificate's signature names a hash.
    pub channel_binding: Option<Vec<u8>>,
}

/// Whether TLS may be used at this attempt: `prefer` tries again without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    AsAsked,
    Plain,
}

/// Connects to `host`, each of its addresses in turn.
pub(crate) async fn dial_host(
    conninfo: &ConnInfo,
    host: &Host,
    encryption: Encryption,
) -> Result<Dialed, Failure> {
    let limit = conninfo.network.connect_timeout;
    let name = match &host.name {
        HostName::Unix(directory) => return dial_unix(conninfo, directory, host.port).await,
        HostName::Tcp(name) => name,
    };
    let addresses: Vec<SocketAddr> = match host.address {
        Some(address) => vec![SocketAddr::new(address, host.port)],
        None => timeout(limit, tokio::net::lookup_host((name.as_str(), host.port)))
            .await
            .map_err(|_| Failure::Timeout { phase: "looking the host name up", limit })?
            .map_err(|error| Failure::Resolve { reason: error.to_string() })?
            .collect(),
    };
    let mut last = Failure::Resolve { reason: "no address".to_owned() };
    for address in addresses {
        match dial_tcp(address, &conninfo.network).await {
            Ok(stream) => {
                return timeout(limit, secure(conninfo, host, stream, address, encryption))
                    .await
                    .map_err(|_| Failure::Timeout { phase: "TLS handshake", limit })?;
            }
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// Connects to the very address an earlier connection used: where a cancel request must go.
pub(crate) async fn dial_address(
    conninfo: &ConnInfo,
    host: &Host,
    address: Option<SocketAddr>,
    encryption: Encryption,
) -> Result<Dialed, Failure> {
    let mut host = host.clone();
    if let Some(address) = address {
        host.address = Some(address.ip());
    }
    dial_host(conninfo, &host, encryption).await
}

async fn dial_unix(conninfo: &ConnInfo, directory: &Path, port: u16) -> Result<Dialed, Failure> {
    let limit = conninfo.network.connect_timeout;
    let path = directory.join(format!(".s.PGSQL.{port}"));
    let stream = timeout(limit, UnixStream::connect(path))
        .await
        .map_err(|_| Failure::Timeout { phase: "connecting", limit })?
        .map_err(|error| network("connecting", &error))?;
    // libpq, too, leaves sslmode aside on a Unix socket: the bytes never leave the machine.
    Ok(Dialed { stream: Stream::Unix(stream), address: None, channel_binding: None })
}

async fn dial_tcp(address: SocketAddr, options: &NetworkOptions) -> Result<TcpStream, Failure> {
    let limit = options.connect_timeout;
    let stream = timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|_| Failure::Timeout { phase: "connecting", limit })?
        .map_err(|error| network("connecting", &error))?;
    tune(&stream, options).map_err(|error| network("setting socket options", &error))?;
    Ok(stream)
}

/// Small messages leave at once, and a peer that vanished is noticed.
fn tune(stream: &TcpStream, options: &NetworkOptions) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if let Some(keepalive) = options.keepalive {
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(keepalive.idle)
                .with_interval(keepalive.interval)
                .with_retries(keepalive.probe_count),
        )?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if !options.tcp_user_timeout.is_zero() {
        socket.set_tcp_user_timeout(Some(options.tcp_user_timeout))?;
    }
    Ok(())
}

/// TLS over `stream` as sslmode asks.
async fn secure(
    conninfo: &ConnInfo,
    host: &Host,
    mut stream: TcpStream,
    address: SocketAddr,
    encryption: Encryption,
) -> Result<Dialed, Failure> {
    let options = &conninfo.tls;
    let plain = |stream| Dialed {
        stream: Stream::Tcp(stream),
        address: Some(address),
        channel_binding: None,
    };
    if options.mode == SslMode::Disable || encryption == Encryption::Plain {
        return Ok(plain(stream));
    }
    if options.negotiation == SslNegotiation::Postgres && !request_tls(&mut stream).await? {
        return match options.mode {
            SslMode::Prefer => Ok(plain(stream)),
            _ => Err(Failure::NoTls),
        };
    }
    let (stream, channel_binding) = tls::handshake(stream, host, options).await?;
    Ok(Dialed { stream: Stream::Tls(Box::new(stream)), address: Some(address), channel_binding })
}

/// SSLRequest: whether the server agrees.
async fn request_tls(stream: &mut TcpStream) -> Result<bool, Failure> {
    const PHASE: &str = "asking for TLS";
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(|error| network(PHASE, &error))?;
    // More than the one byte that is due, so that bytes slipped in before the encryption begins
    // are seen (CVE-2021-23222) and not taken for the server's.
    let mut reply = [0_u8; 64];
    match stream.read(&mut reply).await.map_err(|error| network(PHASE, &error))? {
        0 => Err(Failure::Closed { phase: PHASE }),
        1 if reply[0] == b'S' => Ok(true),
        1 if reply[0] == b'N' => Ok(false),
        length if reply[0] == b'S' => Err(Failure::TrailingPlaintext(length - 1)),
        // A server that cannot even fork answers with an error. Its text is not shown: anybody
        // on the way could have written it (CVE-2024-10977).
        _ if reply[0] == b'E' => Err(Failure::Closed { phase: PHASE }),
        _ => Err(Failure::Protocol("it does not know the TLS request".to_owned())),
    }
}

/// An I/O error in the words of its kind.
pub(crate) fn network(phase: &'static str, error: &io::Error) -> Failure {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::failure(error, None);
    }
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "the socket does not exist".to_owned(),
        io::ErrorKind::UnexpectedEof => return Failure::Closed { phase },
        _ => match error.raw_os_error() {
            Some(_) if !error.kind().to_string().starts_with("uncategorized") => {
                error.kind().to_string()
            }
            _ => error.to_string(),
        },
    };
    Failure::Network { kind: error.kind(), phase, reason }
}

#[cfg(test)]
mod tests;
