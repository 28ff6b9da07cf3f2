//! A TCP proxy that misbehaves on request: cuts, stalls, half-closes, cuts after n bytes, throttles.
//!
//! One task per connection and direction. What to do is read before every piece that is forwarded,
//! so a change takes effect on connections that are already open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Which way bytes go, seen from the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    FromServer,
}

/// What happens to bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behavior {
    #[default]
    Forward,
    /// Nothing passes, nothing is closed, new connections hang: a link that swallows packets.
    Stall,
    /// Open connections end, new ones end at once.
    Cut,
    /// The server's side ends, the agent's side stays open and silent.
    HalfOpen,
    /// So many more bytes pass in this direction over each connection, then it is cut.
    CutAfter {
        direction: Direction,
        bytes: u64,
    },
    Throttle {
        bytes_per_second: u64,
    },
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    behavior: watch::Sender<Behavior>,
    accepting: JoinHandle<()>,
    /// Connections that `CutAfter` has ended since the behavior was last set.
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a port");
        let own_port = listener.local_addr().expect("bound").port();
        let (behavior, seen) = watch::channel(Behavior::Forward);
        let cuts = Arc::<AtomicUsize>::default();
        let accepting = tokio::spawn(accept(listener, port, seen, Arc::clone(&cuts)));
        Self { port: own_port, behavior, accepting, cuts }
    }

    pub(crate) fn set(&self, behavior: Behavior) {
        self.cuts.store(0, Ordering::Relaxed);
        self.behavior.send_replace(behavior);
    }

    /// Ends what is open; what comes next passes.
    pub(crate) async fn cut_once(&self) {
        self.set(Behavior::Cut);
        super::wait::until("the connections end", super::wait::PROCESS, async || {
            // One receiver is the accepting task's.
            self.behavior.receiver_count() == 1
        })
        .await;
        self.set(Behavior::Forward);
    }

    pub(crate) fn cut_count(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }

    pub(crate) fn open_connections(&self) -> usize {
        (self.behavior.receiver_count() - 1) / 2
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    port: u16,
    seen: watch::Receiver<Behavior>,
    cuts: Arc<AtomicUsize>,
) {
    while let Ok((agent, _)) = listener.accept().await {
        if *seen.borrow() == Behavior::Cut {
            continue;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
        drop(agent.set_nodelay(true));
        drop(server.set_nodelay(true));
        let (from_agent, to_agent) = agent.into_split();
        let (from_server, to_server) = server.into_split();
        let ended = CancellationToken::new();
        for (direction, reader, writer) in [
            (Direction::ToServer, from_agent, to_server),
            (Direction::FromServer, from_server, to_agent),
        ] {
            let leg = Leg {
                direction,
                reader,
                writer,
                seen: seen.clone(),
                passed: 0,
                cuts: Arc::clone(&cuts),
            };
            let ended = ended.clone();
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    // The other direction was cut: so is this one.
                    () = ended.cancelled() => {}
                    () = leg.run() => ended.cancel(),
                }
            });
        }
    }
}

struct Leg {
    direction: Direction,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    seen: watch::Receiver<Behavior>,
    /// Bytes since the behavior last changed.
    passed: u64,
    cuts: Arc<AtomicUsize>,
}

impl Leg {
    async fn run(mut self) {
        let mut buffer = vec![0_u8; 16 * 1024];
        loop {
            let behavior = *self.seen.borrow_and_update();
            match behavior {
                Behavior::Cut => return,
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
                Behavior::Forward | Behavior::CutAfter { .. } | Behavior::Throttle { .. } => {}
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

    /// False when the connection is at its end.
    async fn forward(&mut self, behavior: Behavior, bytes: &[u8]) -> bool {
        let length = bytes.len() as u64;
        let allowed = match behavior {
            Behavior::CutAfter { direction, bytes } if direction == self.direction => {
                length.min(bytes.saturating_sub(self.passed))
            }
            _ => length,
        };
        let part = &bytes[..usize::try_from(allowed).expect("at most the buffer")];
        if self.writer.write_all(part).await.is_err() {
            return false;
        }
        if allowed < length {
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

    async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.passed = 0;
        self.seen.changed().await
    }
}
