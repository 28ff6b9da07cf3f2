//! Asking a server to cancel the query that one of our connections runs.

use std::net::SocketAddr;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pg::connect_error::{ConnectError, Failure};
use crate::pg::conninfo::{ConnInfo, Host};
use crate::pg::dial::{Encryption, dial_address, network};
use crate::pg::open::Opened;
use crate::pg::startup::BackendKey;

/// Cancels whatever its connection is running. Racy by nature: the query may have ended, and a
/// pooler may have given the backend to somebody else.
#[derive(Clone, Debug)]
pub struct CancelHandle {
    side: &'static str,
    conninfo: ConnInfo,
    host: Host,
    address: Option<SocketAddr>,
    encryption: Encryption,
    key: BackendKey,
}

impl CancelHandle {
    pub(crate) fn new(side: &'static str, conninfo: &ConnInfo, opened: &Opened) -> CancelHandle {
        CancelHandle {
            side,
            conninfo: conninfo.clone(),
            host: opened.host.clone(),
            address: opened.address,
            encryption: opened.encryption,
            key: opened.key,
        }
    }

    /// The backend whose query it cancels.
    pub fn process_id(&self) -> i32 {
        self.key.process_id
    }

    /// Returns when the server has taken the request; the query's own reply tells what became of
    /// it.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        self.send().await.map_err(|failure| ConnectError::Host {
            side: self.side,
            at: self.host.to_string(),
            failure: Box::new(failure),
        })
    }

    async fn send(&self) -> Result<(), Failure> {
        const PHASE: &str = "cancelling a query";
        let dialed =
            dial_address(&self.conninfo, &self.host, self.address, self.encryption).await?;
        let mut stream = dialed.stream;
        let mut request = BytesMut::new();
        frontend::cancel_request(self.key.process_id, self.key.secret_key, &mut request);
        let exchange = async {
            stream.write_all(&request).await?;
            stream.flush().await?;
            // The server closes the connection once it has sent the signal.
            let mut nothing = [0_u8; 1];
            let _ = stream.read(&mut nothing).await;
            Ok(())
        };
        let limit = self.conninfo.network.connect_timeout;
        tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| Failure::Timeout { phase: PHASE, limit })?
            .map_err(|error: std::io::Error| network(PHASE, &error))
    }
}
