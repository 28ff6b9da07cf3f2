//! `COPY … FROM STDIN`: frames in, never one write a row.
//!
//! A server that rejects a row says so at once and reads on without looking. So the error is looked
//! for after every write, and what is already half on its way is finished first: a frame cut in two
//! would leave the server waiting for its rest.

use bytes::Bytes;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::pg::channel::{Channel, WireError, server_error};
use crate::pg::server_error::ServerError;
use crate::wire::frame::{put_frame, whole_frames};
use crate::wire::session::row_count;

/// Rows are gathered to writes of at least this size. At 8 KiB the system calls cost more than the
/// copying (one write a row is 15 times slower); more gains nothing.
const WRITE_BYTES: usize = 64 * 1024;

/// A copy under way. Dropped before [`CopyIn::finish`] or [`CopyIn::abort`] it leaves the session
/// unusable, and the server rolls back when the connection ends.
#[derive(Debug)]
pub struct CopyIn<'a> {
    channel: &'a mut Channel,
    is_binary: bool,
    /// The server's refusal; every later call repeats it.
    refusal: Option<ServerError>,
}

impl<'a> CopyIn<'a> {
    pub(crate) fn new(channel: &'a mut Channel, is_binary: bool) -> CopyIn<'a> {
        CopyIn { channel, is_binary, refusal: None }
    }

    pub fn is_binary(&self) -> bool {
        self.is_binary
    }

    /// Passes whole frames on as they are.
    pub async fn send_frames(&mut self, frames: Bytes) -> Result<(), WireError> {
        debug_assert_eq!(whole_frames(&frames).0, frames.len(), "frames are whole");
        self.check_refusal()?;
        if frames.len() < WRITE_BYTES {
            self.channel.output().extend_from_slice(&frames);
            return self.write_if_full().await;
        }
        self.channel.send_bytes(frames).await?;
        self.look_for_refusal().await
    }

    /// Sends a piece of the copy's data, wrapped into a frame. Where rows begin and end does not
    /// matter to the server.
    pub async fn send_data(&mut self, data: &[u8]) -> Result<(), WireError> {
        self.check_refusal()?;
        put_frame(self.channel.output(), data);
        self.write_if_full().await
    }

    async fn write_if_full(&mut self) -> Result<(), WireError> {
        if self.channel.output().len() < WRITE_BYTES {
            return Ok(());
        }
        self.channel.flush().await?;
        self.look_for_refusal().await
    }

    fn check_refusal(&self) -> Result<(), WireError> {
        self.refusal.clone().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Whether the server has said anything meanwhile. Nothing of ours is half sent here.
    async fn look_for_refusal(&mut self) -> Result<(), WireError> {
        self.channel.read_ready().await?;
        while let Some(message) = self.channel.take_message()? {
            match message {
                Message::NoticeResponse(_) => {}
                Message::ErrorResponse(body) => {
                    let error = server_error(&body)?;
                    self.refusal = Some(error.clone());
                    return Err(self.channel.after_error(error).await);
                }
                other => return Err(WireError::unexpected(&other, "COPY FROM STDIN")),
            }
        }
        Ok(())
    }

    /// Sends what is left and waits for the server's word; returns the rows it has taken.
    pub async fn finish(self) -> Result<u64, WireError> {
        self.check_refusal()?;
        frontend::copy_done(self.channel.output());
        self.channel.flush().await?;
        let mut rows = None;
        loop {
            match self.channel.message().await? {
                Message::NoticeResponse(_) => {}
                Message::CommandComplete(body) => rows = body.tag().ok().and_then(row_count),
                Message::ReadyForQuery(_) => {
                    self.channel.end_request();
                    return rows
                        .ok_or_else(|| WireError::protocol(b'C', "it does not count the rows"));
                }
                Message::ErrorResponse(body) => {
                    let error = server_error(&body)?;
                    return Err(self.channel.after_error(error).await);
                }
                other => return Err(WireError::unexpected(&other, "the end of COPY FROM STDIN")),
            }
        }
    }

    /// Gives the copy up; nothing of it remains at the server. The session can be used on.
    pub async fn abort(self, reason: &str) -> Result<(), WireError> {
        if self.refusal.is_some() {
            return Ok(());
        }
        frontend::copy_fail(reason, self.channel.output())
            .map_err(|error| WireError::protocol(b'f', error.to_string()))?;
        self.channel.flush().await?;
        loop {
            match self.channel.message().await? {
                Message::NoticeResponse(_) => {}
                // The refusal that we asked for, or one that crossed it.
                Message::ErrorResponse(body) => {
                    let error = server_error(&body)?;
                    self.channel.after_error(error).await;
                    return Ok(());
                }
                other => return Err(WireError::unexpected(&other, "the end of COPY FROM STDIN")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
