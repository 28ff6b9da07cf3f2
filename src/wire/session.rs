//! A connection of our own between requests.
//!
//! **Invariant:** a request whose replies were not all read (a dropped future, a copy given up)
//! leaves the session unusable: the next request is refused instead of reading another's replies.

use bytes::Bytes;
use postgres_protocol::message::backend::Message;

use crate::pg::cancel::CancelHandle;
use crate::pg::channel::{Channel, TextRows, WireError, server_error, tag};
use crate::pg::connect_error::ConnectError;
use crate::pg::dial::Endpoint;
use crate::pg::open::{Mode, Request, open};
use crate::wire::copy_both::CopyBoth;
use crate::wire::copy_in::CopyIn;
use crate::wire::copy_out::CopyOut;
use crate::wire::hold::Hold;

#[derive(Debug)]
pub struct Session {
    channel: Channel,
    server_version_num: u32,
    backend_pid: i32,
    cancel: CancelHandle,
    hold: Hold,
}

impl Session {
    /// Connects, authenticates and pins the session's settings.
    pub async fn connect(
        endpoint: &Endpoint,
        purpose: &str,
        mode: Mode,
    ) -> Result<Session, ConnectError> {
        Session::connect_with(endpoint, purpose, mode, &[]).await
    }

    /// As [`Session::connect`], with further settings (name and value) in the same round trip.
    pub async fn connect_with(
        endpoint: &Endpoint,
        purpose: &str,
        mode: Mode,
        settings: &[(&str, &str)],
    ) -> Result<Session, ConnectError> {
        let opened = open(endpoint, Request { purpose, mode, settings }).await?;
        Ok(Session {
            cancel: CancelHandle::new(endpoint.side, &endpoint.conninfo, &opened),
            server_version_num: opened.server_version_num,
            backend_pid: opened.key.process_id,
            channel: opened.channel,
            hold: Hold::default(),
        })
    }

    /// For example 150018.
    pub fn server_version_num(&self) -> u32 {
        self.server_version_num
    }

    pub fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// A server parameter as last reported (`server_encoding`, `is_superuser` …).
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.channel.parameters().get(name).map(String::as_str)
    }

    /// For another task: cancels what this session runs.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Refuses larger messages from now on (default 1 GiB and a little).
    pub fn limit_message_bytes(&mut self, limit: usize) {
        self.channel.limit_message_bytes(limit);
    }

    /// Copies and streams keep to this from now on.
    pub fn hold_at_most(&mut self, hold: Hold) {
        self.hold = hold;
    }

    /// Runs any number of statements and returns all their rows as text.
    pub async fn simple_query(&mut self, sql: &str) -> Result<TextRows, WireError> {
        self.channel.simple_query(sql).await
    }

    /// Runs statements for their effect.
    pub async fn execute(&mut self, sql: &str) -> Result<(), WireError> {
        self.channel.simple_query(sql).await.map(drop)
    }

    /// Runs a `COPY … TO STDOUT`, and what stands before it in `sql`.
    pub async fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>, WireError> {
        match self.begin_copy(sql).await? {
            Message::CopyOutResponse(body) => {
                let (is_binary, hold) = (body.format() == 1, self.hold.clone());
                Ok(CopyOut::new(&mut self.channel, is_binary, hold))
            }
            other => Err(WireError::unexpected(&other, "the start of COPY TO STDOUT")),
        }
    }

    /// Runs a `COPY … FROM STDIN`, and what stands before it in `sql`.
    pub async fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>, WireError> {
        match self.begin_copy(sql).await? {
            Message::CopyInResponse(body) => Ok(CopyIn::new(&mut self.channel, body.format() == 1)),
            other => Err(WireError::unexpected(&other, "the start of COPY FROM STDIN")),
        }
    }

    /// Sends `sql` and returns the reply that begins the copy; the session stays busy.
    async fn begin_copy(&mut self, sql: &str) -> Result<Message, WireError> {
        self.channel.send_query(sql).await?;
        loop {
            match self.channel.message().await? {
                Message::NoticeResponse(_)
                // Of the statements before it.
                | Message::RowDescription(_)
                | Message::DataRow(_)
                | Message::CommandComplete(_) => {}
                Message::ErrorResponse(body) => {
                    let error = server_error(&body)?;
                    return Err(self.channel.after_error(error).await);
                }
                other => return Ok(other),
            }
        }
    }

    /// Runs a `START_REPLICATION` (see [`start_replication_sql`]); the session becomes the stream.
    ///
    /// [`start_replication_sql`]: crate::wire::start_replication_sql
    pub async fn start_replication(mut self, sql: &str) -> Result<CopyBoth, WireError> {
        self.channel.send_query(sql).await?;
        loop {
            // CopyBothResponse is unknown to `postgres-protocol`.
            match self.channel.peek()? {
                None => self.channel.fill().await?,
                Some((tag::COPY_BOTH_RESPONSE, _)) => {
                    if self.channel.take_frame()?.is_some() {
                        let value_bytes_max = self.hold.value_bytes_max;
                        return Ok(CopyBoth::new(self.channel, self.backend_pid, value_bytes_max));
                    }
                    self.channel.fill().await?;
                }
                Some(_) => match self.channel.message().await? {
                    Message::NoticeResponse(_) => {}
                    Message::ErrorResponse(body) => return Err(server_error(&body)?.into()),
                    other => {
                        return Err(WireError::unexpected(&other, "the start of replication"));
                    }
                },
            }
        }
    }

    /// Ends the session with a goodbye; a plain drop works too, but the server logs it.
    pub async fn close(self) {
        self.channel.terminate().await;
    }
}

/// The row count of a CommandComplete tag (`COPY 42`, `SELECT 3`).
pub(crate) fn row_count(tag: &str) -> Option<u64> {
    tag.rsplit(' ').next()?.parse().ok()
}

/// A message's body without its header.
pub(crate) fn body(frame: &Bytes) -> Bytes {
    frame.slice(crate::pg::channel::HEADER_BYTES..)
}
