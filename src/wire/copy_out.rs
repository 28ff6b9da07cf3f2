//! `COPY … TO STDOUT`: whole frames, as many as are there, untouched.

use bytes::Bytes;
use postgres_protocol::message::backend::Message;

use crate::pg::channel::{Channel, WireError, server_error, tag};
use crate::wire::frame::whole_frames;
use crate::wire::session::row_count;

/// A copy under way. Dropped before its end it leaves the session unusable.
#[derive(Debug)]
pub struct CopyOut<'a> {
    channel: &'a mut Channel,
    is_binary: bool,
    frame_count: usize,
    row_count: Option<u64>,
    is_done: bool,
}

impl<'a> CopyOut<'a> {
    pub(crate) fn new(channel: &'a mut Channel, is_binary: bool) -> CopyOut<'a> {
        CopyOut { channel, is_binary, frame_count: 0, row_count: None, is_done: false }
    }

    pub fn is_binary(&self) -> bool {
        self.is_binary
    }

    /// The next whole frames, headers included, or `None` at the end of the copy. Safe to cancel.
    ///
    /// They are a slice of the read buffer: at least one frame, at most about a buffer full, more
    /// only where one frame is larger.
    pub async fn next_frames(&mut self) -> Result<Option<Bytes>, WireError> {
        while !self.is_done {
            let (length, count) = whole_frames(self.channel.input());
            if count > 0 {
                self.frame_count = count;
                return Ok(Some(self.channel.take_bytes(length)));
            }
            match self.channel.peek()? {
                None | Some((tag::COPY_DATA, _)) => self.channel.fill().await?,
                Some(_) => self.other_message().await?,
            }
        }
        Ok(None)
    }

    async fn other_message(&mut self) -> Result<(), WireError> {
        match self.channel.message().await? {
            Message::CopyDone | Message::NoticeResponse(_) => {}
            Message::CommandComplete(body) => {
                self.row_count = body.tag().ok().and_then(row_count);
            }
            Message::ReadyForQuery(_) => {
                self.channel.end_request();
                self.is_done = true;
            }
            Message::ErrorResponse(body) => {
                self.is_done = true;
                let error = server_error(&body)?;
                return Err(self.channel.after_error(error).await);
            }
            other => return Err(WireError::unexpected(&other, "COPY TO STDOUT")),
        }
        Ok(())
    }

    /// Frames in the slice that [`CopyOut::next_frames`] returned last.
    pub fn frame_count(&self) -> usize {
        self.frame_count
    }

    /// Rows copied, once the copy is done.
    pub fn row_count(&self) -> Option<u64> {
        self.row_count
    }
}
