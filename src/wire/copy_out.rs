//! `COPY … TO STDOUT`: whole frames, as many as are there, untouched.

use bytes::Bytes;
use postgres_protocol::message::backend::Message;
use tokio::sync::OwnedSemaphorePermit;

use crate::pg::channel::{Channel, HEADER_BYTES, WireError, server_error, tag};
use crate::pg::copy_format;
use crate::wire::frame::whole_frames_up_to;
use crate::wire::hold::Hold;
use crate::wire::session::row_count;

/// A copy under way. Dropped before its end it leaves the session unusable.
#[derive(Debug)]
pub struct CopyOut<'a> {
    channel: &'a mut Channel,
    is_binary: bool,
    frame_count: usize,
    row_count: Option<u64>,
    is_done: bool,
    hold: Hold,
    /// Held while a large frame is in somebody's hands.
    turn: Option<OwnedSemaphorePermit>,
}

impl<'a> CopyOut<'a> {
    pub(crate) fn new(channel: &'a mut Channel, is_binary: bool, hold: Hold) -> CopyOut<'a> {
        CopyOut {
            channel,
            is_binary,
            frame_count: 0,
            row_count: None,
            is_done: false,
            hold,
            turn: None,
        }
    }

    pub fn is_binary(&self) -> bool {
        self.is_binary
    }

    /// The next whole frames, headers included, or `None` at the end of the copy. Safe to cancel.
    ///
    /// They are a slice of the read buffer: at least one frame, at most about a buffer full, more
    /// only where one frame is larger. Call it again when you are done with them: others may wait
    /// for their turn with a large one.
    pub async fn next_frames(&mut self) -> Result<Option<Bytes>, WireError> {
        self.turn = None;
        while !self.is_done {
            self.admit().await?;
            let frame_max = self.hold.value_bytes_max.min(self.hold.large_bytes);
            let (length, count) = whole_frames_up_to(self.channel.input(), frame_max);
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

    /// Judges the frame at the front before it is read on: by its values' lengths as soon as they
    /// are there, and one that is large by whether it is its turn.
    async fn admit(&mut self) -> Result<(), WireError> {
        let Some((tag::COPY_DATA, bytes)) = self.channel.peek()? else { return Ok(()) };
        let limit = self.hold.value_bytes_max;
        if bytes > limit {
            let input = self.channel.input();
            let payload = &input[HEADER_BYTES..input.len().min(bytes)];
            let is_whole = input.len() >= bytes;
            let found = copy_format::oversized_value(payload, self.is_binary, is_whole, limit);
            if let Some((column, bytes)) = found {
                return Err(WireError::ValueTooLarge { column, bytes, limit });
            }
        }
        if bytes > self.hold.large_bytes && self.turn.is_none() {
            self.turn = self.hold.turn().await;
        }
        Ok(())
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
