//! One direction of one connection through the proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::{Behavior, Direction};

/// What one read takes at most.
const PIECE_BYTES: usize = 16 * 1024;

pub(super) struct Leg {
    direction: Direction,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    seen: watch::Receiver<Behavior>,
    /// Bytes since the behavior last changed.
    passed: u64,
    cuts: Arc<AtomicUsize>,
}

impl Leg {
    pub(super) fn new(
        direction: Direction,
        (reader, writer): (OwnedReadHalf, OwnedWriteHalf),
        seen: watch::Receiver<Behavior>,
        cuts: Arc<AtomicUsize>,
    ) -> Leg {
        Leg { direction, reader, writer, seen, passed: 0, cuts }
    }

    /// Until the connection ends, by itself or by order.
    pub(super) async fn run(mut self) {
        let mut buffer = vec![0_u8; PIECE_BYTES];
        loop {
            let behavior = *self.seen.borrow_and_update();
            match behavior {
                Behavior::Cut => return,
                Behavior::Swallow => return self.swallow(&mut buffer).await,
                Behavior::HalfOpen if self.direction == Direction::ToServer => {
                    // The server sees an end; the agent's bytes pile up unread.
                    drop(self.writer.shutdown().await);
                    drop(self.changed().await);
                    return;
                }
                Behavior::Stall | Behavior::HalfOpen => {
                    if self.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                _ => {}
            }
            let read = tokio::select! {
                biased;
                // A new order goes before more bytes.
                changed = self.seen.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.passed = 0;
                    continue;
                }
                read = self.reader.read(&mut buffer) => read,
            };
            let Ok(count @ 1..) = read else { return };
            if !self.forward(behavior, &buffer[..count]).await {
                return;
            }
        }
    }

    /// Takes and throws away until it is cut; an end is thrown away, too.
    async fn swallow(&mut self, buffer: &mut [u8]) {
        let mut is_open = true;
        loop {
            tokio::select! {
                biased;
                changed = self.seen.changed() => {
                    if changed.is_err() || *self.seen.borrow() == Behavior::Cut {
                        return;
                    }
                }
                read = self.reader.read(buffer), if is_open => {
                    is_open = matches!(read, Ok(1..));
                }
            }
        }
    }

    /// False when the connection is at its end.
    async fn forward(&mut self, behavior: Behavior, bytes: &[u8]) -> bool {
        if let Behavior::Delay { milliseconds } = behavior {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        let length = bytes.len() as u64;
        let allowed = match behavior {
            Behavior::CutAfter { direction, bytes } | Behavior::ResetAfter { direction, bytes }
                if direction == self.direction =>
            {
                length.min(bytes.saturating_sub(self.passed))
            }
            _ => length,
        };
        let part = &bytes[..usize::try_from(allowed).expect("at most the buffer")];
        if !self.write(behavior, part).await {
            return false;
        }
        if allowed < length {
            if let Behavior::ResetAfter { .. } = behavior {
                for socket in
                    [SockRef::from(self.reader.as_ref()), SockRef::from(self.writer.as_ref())]
                {
                    drop(socket.set_linger(Some(Duration::ZERO)));
                }
            }
            self.cuts.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.passed += allowed;
        if let Behavior::Throttle { bytes_per_second } = behavior {
            let seconds = allowed as f64 / bytes_per_second as f64;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
        true
    }

    async fn write(&mut self, behavior: Behavior, mut bytes: &[u8]) -> bool {
        let mut slice_length = 1;
        while behavior == Behavior::Slice && !bytes.is_empty() {
            let (slice, rest) = bytes.split_at(slice_length.min(bytes.len()));
            if self.writer.write_all(slice).await.is_err() {
                return false;
            }
            // 1, 2, 3, 1, …: no period that a message's length could have.
            (bytes, slice_length) = (rest, slice_length % 3 + 1);
            tokio::task::yield_now().await;
        }
        self.writer.write_all(bytes).await.is_ok()
    }

    async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.passed = 0;
        self.seen.changed().await
    }
}
