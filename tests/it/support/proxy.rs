//! A TCP proxy that misbehaves on request: cuts, resets, stalls, swallows, half-closes, cuts after n
//! bytes, throttles, delays, slices.
//!
//! One task per connection and direction. What to do is read before every piece that is forwarded,
//! so a change takes effect on connections that are already open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use leg::Leg;

mod leg;

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
    /// The same with RST for a farewell: what was under way in either direction is lost.
    ResetAfter {
        direction: Direction,
        bytes: u64,
    },
    Throttle {
        bytes_per_second: u64,
    },
    /// Every piece of up to 16 KiB waits so long, one after the other.
    Delay {
        milliseconds: u64,
    },
    /// Pieces of one to three bytes.
    Slice,
    /// Whatever is sent is taken and thrown away, for ever on the connections that are open then;
    /// nothing is closed, and who connects is left waiting: a link whose router forgot it.
    Swallow,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// Where new connections lead.
    server: Arc<AtomicU16>,
    behavior: watch::Sender<Behavior>,
    accepting: JoinHandle<()>,
    /// Connections that `CutAfter` or `ResetAfter` has ended since the behavior was last set.
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a port");
        let own_port = listener.local_addr().expect("bound").port();
        let (behavior, seen) = watch::channel(Behavior::Forward);
        let cuts = Arc::<AtomicUsize>::default();
        let server = Arc::new(AtomicU16::new(port));
        let accepting =
            tokio::spawn(accept(listener, Arc::clone(&server), seen, Arc::clone(&cuts)));
        Self { port: own_port, server, behavior, accepting, cuts }
    }

    /// Another server answers at this address from now on; what is open stays.
    pub(crate) fn lead_to(&self, port: u16) {
        self.server.store(port, Ordering::Relaxed);
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
    server: Arc<AtomicU16>,
    seen: watch::Receiver<Behavior>,
    cuts: Arc<AtomicUsize>,
) {
    while let Ok((agent, _)) = listener.accept().await {
        let behavior = *seen.borrow();
        match behavior {
            Behavior::Cut => continue,
            Behavior::Swallow => {
                let mut seen = seen.clone();
                tokio::spawn(async move {
                    // Held open until there is a link again; too late for whoever waited.
                    drop(seen.wait_for(|behavior| *behavior != Behavior::Swallow).await);
                    drop(agent);
                });
                continue;
            }
            _ => {}
        }
        let port = server.load(Ordering::Relaxed);
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
            let leg = Leg::new(direction, (reader, writer), seen.clone(), Arc::clone(&cuts));
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
