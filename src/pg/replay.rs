//! Lets tokio-postgres take over a connection that has been started up already.
//!
//! tokio-postgres insists on its own start-up. Ours does more (several hosts, target_session_attrs,
//! pinned settings, every failure in an operator's words), and one authentication is enough. So its
//! start-up message is swallowed, and it is answered from memory: AuthenticationOk, the parameters,
//! the key, ReadyForQuery. From then on bytes pass through.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pg::startup::BackendKey;
use crate::pg::stream::Stream;

#[derive(Debug)]
pub(crate) struct Replay {
    stream: Stream,
    /// What is read before the stream.
    answer: Bytes,
    swallowed: Swallowed,
}

/// How much of the start-up message has gone by.
#[derive(Debug)]
enum Swallowed {
    /// Fewer than the four bytes of its length.
    Length(Vec<u8>),
    /// So many bytes are still to come; zero is the steady state.
    Remaining(usize),
}

impl Replay {
    pub(crate) fn new(
        stream: Stream,
        parameters: &BTreeMap<String, String>,
        key: BackendKey,
        unread: &[u8],
    ) -> Replay {
        let mut answer = BytesMut::new();
        message(&mut answer, b'R', |body| body.put_i32(0));
        for (name, value) in parameters {
            message(&mut answer, b'S', |body| {
                for text in [name, value] {
                    body.put_slice(text.as_bytes());
                    body.put_u8(0);
                }
            });
        }
        message(&mut answer, b'K', |body| {
            body.put_i32(key.process_id);
            body.put_i32(key.secret_key);
        });
        message(&mut answer, b'Z', |body| body.put_u8(b'I'));
        answer.put_slice(unread);
        Replay { stream, answer: answer.freeze(), swallowed: Swallowed::Length(Vec::new()) }
    }

    /// How many of `bytes` belong to the start-up message.
    fn swallow(&mut self, bytes: &[u8]) -> usize {
        let mut count = 0;
        if let Swallowed::Length(seen) = &mut self.swallowed {
            while seen.len() < 4 && count < bytes.len() {
                seen.push(bytes[count]);
                count += 1;
            }
            if let Ok(length) = <[u8; 4]>::try_from(seen.as_slice()) {
                let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(0);
                self.swallowed = Swallowed::Remaining(length.saturating_sub(4));
            }
        }
        if let Swallowed::Remaining(remaining) = &mut self.swallowed {
            let more = (*remaining).min(bytes.len() - count);
            *remaining -= more;
            count += more;
        }
        count
    }
}

fn message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    let mut content = BytesMut::new();
    body(&mut content);
    out.put_u8(tag);
    out.put_u32(u32::try_from(content.len() + 4).expect("a few bytes"));
    out.put_slice(&content);
}

impl AsyncRead for Replay {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.answer.has_remaining() {
            let count = this.answer.len().min(buffer.remaining());
            buffer.put_slice(&this.answer[..count]);
            this.answer.advance(count);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Replay {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = this.swallow(bytes);
        if count > 0 || bytes.is_empty() {
            return Poll::Ready(Ok(count));
        }
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }
}
