//! One connection's protocol messages, both ways.
//!
//! In: bytes from a [`Stream`]. Out: whole messages, as slices of the read buffer. **Invariants:**
//! unparsed bytes stay in `input` and unsent ones in `output`, so every future here may be dropped
//! at any await and the next call goes on where it stopped; while a write is blocked, reading goes
//! on, so that two sides that both write cannot wait for each other.

mod error;
mod query;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub use self::error::WireError;
pub(crate) use self::error::server_error;
pub use self::query::TextRows;
use crate::pg::server_error::ServerError;
use crate::pg::stream::Stream;

/// Bytes reserved for one read. Twice as much reads no faster; a kept row of a burst holds this
/// much memory at worst.
pub const READ_BYTES: usize = 256 * 1024;

/// How much is read ahead while a write is blocked. Past this the peer has to wait for us.
const READ_AHEAD_BYTES_MAX: usize = 1024 * 1024;

/// PostgreSQL's own limit for a value is 1 GiB; a message adds headers and, in text, little more.
pub const DEFAULT_MESSAGE_BYTES_MAX: usize = 1024 * 1024 * 1024 + 64 * 1024;

/// How long to listen for the reason of a broken connection, and to say goodbye on a whole one.
/// What the server had to say is in our kernel already; a second covers a slow network.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);

/// Length of a message's header: tag and length.
pub const HEADER_BYTES: usize = 5;

pub mod tag {
    //! The messages whose bodies are not parsed by `postgres-protocol`.

    pub const COPY_BOTH_RESPONSE: u8 = b'W';
    pub const COPY_DATA: u8 = b'd';
    pub const ERROR_RESPONSE: u8 = b'E';
}

#[derive(Debug)]
pub struct Channel {
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    /// Sent after `output`: large, and somebody else's memory.
    output_tail: Bytes,
    /// ParameterStatus, the latest of each.
    parameters: BTreeMap<String, String>,
    message_bytes_max: usize,
    /// Set while a request's replies are not all read: after a dropped future nothing else may be
    /// asked.
    is_busy: bool,
}

impl Channel {
    pub fn new(stream: Stream) -> Channel {
        Channel {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            output_tail: Bytes::new(),
            parameters: BTreeMap::new(),
            message_bytes_max: DEFAULT_MESSAGE_BYTES_MAX,
            is_busy: false,
        }
    }

    pub fn limit_message_bytes(&mut self, limit: usize) {
        self.message_bytes_max = limit;
    }

    pub fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    /// Bytes read and not yet taken.
    pub fn buffered_bytes(&self) -> usize {
        self.input.len()
    }

    /// Everything behind the messages: the stream, what was read from it, the parameters.
    pub fn into_parts(self) -> (Stream, BytesMut, BTreeMap<String, String>) {
        (self.stream, self.input, self.parameters)
    }

    // === Reading ===

    /// Tag and whole length of the message at the front of the buffer, once its header is there.
    pub fn peek(&self) -> Result<Option<(u8, usize)>, WireError> {
        peek_at(&self.input, self.message_bytes_max)
    }

    /// The message at the front, header included, if it is whole. No I/O.
    pub fn take_frame(&mut self) -> Result<Option<(u8, Bytes)>, WireError> {
        match self.peek()? {
            Some((tag, length)) if self.input.len() >= length => {
                Ok(Some((tag, self.take_bytes(length))))
            }
            _ => Ok(None),
        }
    }

    /// The first `length` bytes of the buffer.
    pub fn take_bytes(&mut self, length: usize) -> Bytes {
        let taken = self.input.split_to(length).freeze();
        if length > READ_AHEAD_BYTES_MAX {
            // What follows a large message stands in the same memory and would hold all of it.
            self.input = BytesMut::from(&self.input[..]);
        }
        taken
    }

    /// What was read and not yet taken.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// The message at the front, parsed, if it is whole. No I/O. Parameters and notifications are
    /// kept or dropped here and never come out.
    pub fn take_message(&mut self) -> Result<Option<Message>, WireError> {
        loop {
            let tag = match self.peek()? {
                Some((tag, length)) if self.input.len() >= length => tag,
                _ => return Ok(None),
            };
            let message = Message::parse(&mut self.input)
                .map_err(|error| WireError::protocol(tag, error.to_string()))?;
            match message {
                Some(Message::ParameterStatus(body)) => {
                    if let (Ok(name), Ok(value)) = (body.name(), body.value()) {
                        self.parameters.insert(name.to_owned(), value.to_owned());
                    }
                }
                Some(Message::NotificationResponse(_)) => {}
                other => return Ok(other),
            }
        }
    }

    /// The next message. Safe to cancel.
    pub async fn message(&mut self) -> Result<Message, WireError> {
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    /// Reads once. Safe to cancel.
    pub async fn fill(&mut self) -> Result<(), WireError> {
        self.make_room();
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) => Err(WireError::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(closed_or(error)),
        }
    }

    /// Room for a good read, or for the rest of a message that is larger than that.
    fn make_room(&mut self) {
        let missing = match self.peek() {
            Ok(Some((_, length))) => length.saturating_sub(self.input.len()),
            _ => 0,
        };
        let free = self.input.capacity() - self.input.len();
        if free < missing.max(READ_BYTES / 4) {
            self.input.reserve(missing.max(READ_BYTES));
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        self.make_room();
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        read.map(|result| match result {
            Ok(0) => Err(WireError::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(closed_or(error)),
        })
    }

    // === Writing ===

    /// What waits to be sent; put messages at its end and call [`Channel::flush`].
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Sends all that waits, reading meanwhile when the peer does not take it. Safe to cancel.
    pub async fn flush(&mut self) -> Result<(), WireError> {
        match poll_fn(|cx| self.poll_flush(cx)).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.last_words(error).await),
        }
    }

    /// Sends all that waits and then `bytes`, without copying them. Safe to cancel.
    pub async fn send_bytes(&mut self, bytes: Bytes) -> Result<(), WireError> {
        if self.output_tail.has_remaining() {
            self.flush().await?;
        }
        self.output_tail = bytes;
        self.flush().await
    }

    /// Takes up what the server sent without being waited for. No waiting, no writing.
    pub async fn read_ready(&mut self) -> Result<(), WireError> {
        poll_fn(|cx| match self.poll_fill(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        loop {
            let waiting =
                if self.output.is_empty() { self.output_tail.chunk() } else { &self.output[..] };
            let sent = if waiting.is_empty() {
                Pin::new(&mut self.stream).poll_flush(cx).map_err(closed_or)
            } else {
                match Pin::new(&mut self.stream).poll_write(cx, waiting) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(WireError::Closed)),
                    Poll::Ready(Ok(count)) if self.output.is_empty() => {
                        self.output_tail.advance(count);
                        if self.output_tail.is_empty() {
                            // An empty slice holds the memory it was cut from all the same.
                            self.output_tail = Bytes::new();
                        }
                        continue;
                    }
                    Poll::Ready(Ok(count)) => {
                        self.output.advance(count);
                        continue;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(closed_or(error))),
                    Poll::Pending => Poll::Pending,
                }
            };
            if sent.is_ready() || self.input.len() >= READ_AHEAD_BYTES_MAX {
                return sent;
            }
            // The peer does not take our bytes: it may itself be waiting for us to take its own.
            match self.poll_fill(cx) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        }
    }

    /// A write that failed, explained by the server's last words if it sent any.
    async fn last_words(&mut self, error: WireError) -> WireError {
        while self.input.len() < READ_AHEAD_BYTES_MAX {
            match tokio::time::timeout(LAST_WORDS_LIMIT, self.fill()).await {
                Ok(Ok(())) => {}
                _ => break,
            }
        }
        self.error_in_input().map_or(error, WireError::from)
    }

    /// The first ErrorResponse among the messages read and not yet taken.
    pub fn error_in_input(&self) -> Option<ServerError> {
        let mut rest = &self.input[..];
        while let Ok(Some((tag, length))) = peek_at(rest, self.message_bytes_max) {
            let frame = rest.get(..length)?;
            if tag == tag::ERROR_RESPONSE {
                return ServerError::from_frame(Bytes::copy_from_slice(frame));
            }
            rest = &rest[length..];
        }
        None
    }

    /// Says goodbye, so that the server does not log a lost connection. Errors do not matter.
    pub async fn terminate(mut self) {
        frontend::terminate(&mut self.output);
        let goodbye = async {
            if self.flush().await.is_ok() {
                let _ = self.stream.shutdown().await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS_LIMIT, goodbye).await;
    }
}

fn peek_at(input: &[u8], limit: usize) -> Result<Option<(u8, usize)>, WireError> {
    let Some(header) = input.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let [tag, length @ ..] = *header;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length < HEADER_BYTES - 1 {
        return Err(WireError::protocol(tag, format!("its length is {length}")));
    }
    let bytes = length.saturating_add(1);
    if bytes > limit {
        return Err(WireError::TooLarge { tag, bytes, limit });
    }
    Ok(Some((tag, bytes)))
}

/// The ways a peer's going shows in a read or a write, as one.
fn closed_or(error: io::Error) -> WireError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => WireError::Closed,
        _ => WireError::Io(error),
    }
}

#[cfg(test)]
mod tests;
