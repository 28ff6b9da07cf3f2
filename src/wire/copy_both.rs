//! A replication stream: envelopes in, status updates out.
//!
//! ```text
//! streaming ──(server: CopyDone or CommandComplete)──► ended: recv returns End from then on
//!     │
//!     ├── finish: CopyDone ──► drain ──► CommandComplete, ReadyForQuery ──► Terminate
//!     └── ErrorResponse, lost connection: recv returns the error
//! ```
//!
//! One task owns both directions: `recv` may be an arm of a `select!` and is dropped and called
//! again at will; a status update is sent between two calls. Writing never waits for the server to
//! read unless we read too (see [`Channel`]), so it cannot lock up with a server that is itself
//! blocked sending to us.

use bytes::Bytes;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::pg::channel::{Channel, HEADER_BYTES, WireError, server_error, tag};
use crate::pg::server_error::ServerError;
use crate::wire::envelope::{self, Envelope, StatusUpdate};
use crate::wire::session::body;

#[derive(Debug)]
pub struct CopyBoth {
    channel: Channel,
    backend_pid: i32,
    is_ended: bool,
    value_bytes_max: usize,
    is_oversized: Option<LooksOversized>,
}

/// Whether what is there of a message's payload shows a value of more than so many bytes.
pub(super) type LooksOversized = fn(&[u8], usize) -> bool;

/// Of a message that is too long so much is read, to tell what it is about, in bytes: kind, relation
/// and the lengths of the first values.
const BEGINNING_BYTES: usize = 1024;

impl CopyBoth {
    pub(crate) fn new(channel: Channel, backend_pid: i32, value_bytes_max: usize) -> CopyBoth {
        CopyBoth { channel, backend_pid, is_ended: false, value_bytes_max, is_oversized: None }
    }

    /// Asked about every message that is long enough to hold a value that is too long.
    pub fn look_for_oversized(&mut self, looks: LooksOversized) {
        self.is_oversized = Some(looks);
    }

    pub fn value_bytes_max(&self) -> usize {
        self.value_bytes_max
    }

    /// The payload of the message at the front, as far as it is there.
    pub fn unread(&self) -> &[u8] {
        let frame = self.channel.input().get(HEADER_BYTES..).unwrap_or_default();
        envelope::payload_beginning(frame)
    }

    pub fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// The next envelope. Safe to cancel.
    pub async fn recv(&mut self) -> Result<Envelope, WireError> {
        loop {
            if let Some(envelope) = self.try_recv()? {
                return Ok(envelope);
            }
            self.channel.fill().await?;
        }
    }

    /// The next envelope if it is in the buffer already. No I/O.
    pub fn try_recv(&mut self) -> Result<Option<Envelope>, WireError> {
        if self.is_ended {
            return Ok(Some(Envelope::End));
        }
        let front = match self.channel.peek() {
            Err(WireError::TooLarge { tag: tag::COPY_DATA, bytes, .. }) => {
                let is_begun = self.channel.input().len() >= BEGINNING_BYTES;
                return Ok(is_begun.then_some(Envelope::Oversized { bytes }));
            }
            front => front?,
        };
        if let Some((tag::COPY_DATA, bytes)) = front {
            let limit = self.value_bytes_max;
            if bytes > limit && self.is_oversized.is_some_and(|looks| looks(self.unread(), limit)) {
                return Ok(Some(Envelope::Oversized { bytes }));
            }
            return match self.channel.take_frame()? {
                Some((_, frame)) => Envelope::decode(body(&frame)).map(Some),
                None => Ok(None),
            };
        }
        match self.channel.take_message()? {
            None => Ok(None),
            // A parameter or a notification stood before it, and was taken.
            Some(Message::CopyData(data)) => Envelope::decode(data.into_bytes()).map(Some),
            Some(Message::NoticeResponse(notice)) => {
                let notice = ServerError::from_fields(notice.fields())
                    .ok_or_else(|| WireError::protocol(b'N', "its fields are cut short"))?;
                Ok(Some(Envelope::Notice(Box::new(notice))))
            }
            // A server that shuts down, or has reached the end of its timeline. One that shuts
            // down leaves out CopyDone and closes.
            Some(Message::CopyDone | Message::CommandComplete(_)) => {
                self.is_ended = true;
                Ok(Some(Envelope::End))
            }
            Some(Message::ErrorResponse(error)) => Err(server_error(&error)?.into()),
            Some(other) => Err(WireError::unexpected(&other, "a replication stream")),
        }
    }

    /// Bytes read and not yet taken: whether [`CopyBoth::try_recv`] is worth a try.
    pub fn buffered(&self) -> usize {
        self.channel.buffered_bytes()
    }

    /// Tells the server how far we are. Safe to cancel: what is not sent goes with the next one.
    pub async fn send_status(&mut self, status: StatusUpdate) -> Result<(), WireError> {
        if self.is_ended {
            return Ok(());
        }
        status.encode(self.channel.output());
        self.channel.flush().await
    }

    /// Ends the stream in order: what is still on its way is read and thrown away. The caller sets
    /// a time limit, because a server in the middle of a large transaction answers late.
    pub async fn finish(mut self) -> Result<(), WireError> {
        frontend::copy_done(self.channel.output());
        let drained = match self.channel.flush().await {
            Ok(()) => self.drain().await,
            Err(error) => Err(error),
        };
        match drained {
            // A server that ended the stream itself may be gone already.
            Err(WireError::Closed | WireError::Io(_)) if self.is_ended => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                self.channel.terminate().await;
                Ok(())
            }
        }
    }

    async fn drain(&mut self) -> Result<(), WireError> {
        loop {
            if let Some((tag::COPY_DATA, _)) = self.channel.peek()? {
                let taken: Option<(u8, Bytes)> = self.channel.take_frame()?;
                if taken.is_none() {
                    self.channel.fill().await?;
                }
                continue;
            }
            match self.channel.message().await? {
                Message::CommandComplete(_) => self.is_ended = true,
                Message::CopyDone | Message::CopyData(_) | Message::NoticeResponse(_) => {}
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(error) => return Err(server_error(&error)?.into()),
                other => return Err(WireError::unexpected(&other, "the end of replication")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
