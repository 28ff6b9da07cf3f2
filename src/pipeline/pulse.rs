//! Whether the other end of a link still answers, and what its silence means.
//!
//! The kernel notices a peer that is gone (keepalives and `tcp_user_timeout`, `pg::dial`). It does
//! not notice what stands in between, acknowledges every byte and passes none on: a proxy, a tunnel,
//! a load balancer that forgot the connection. Every query of an attempt could then wait for ever:
//! for a lock or for a dead link looks the same from here. So beside the attempt a connection that
//! does nothing else is asked a question that waits for nobody. Silence there is silence of the
//! link, and the attempt's connections go the same way: it ends, and the next one connects anew.
//!
//! A refusal is an answer. So is the end of the connection: whatever happened shows in the attempt.
//! Only a connection that stands is judged: where new ones are not let in, old ones may be well.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::model::finding::Side;
use crate::pg::client::{self, Client};
use crate::pipeline::context::Context;

/// Between two questions to the destination. With [`PATIENCE`] and [`LAST_PATIENCE`] a silent link
/// is known after 20 s at most; the contract says 30.
const INTERVAL: Duration = Duration::from_secs(5);

/// An answer that takes longer is doubtful. A server that is merely busy answers such a question in
/// milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The rest, counted anew: a process that was stopped for a while finds its time run out, and the
/// answer not read yet.
pub const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// The sides that were found silent: one count each, growing.
#[derive(Debug)]
pub struct Silences {
    source: watch::Receiver<u64>,
    destination: watch::Receiver<u64>,
}

/// Where a side's silence is reported.
#[derive(Clone, Debug)]
pub struct Reports {
    count: watch::Sender<u64>,
}

impl Reports {
    /// A question over a connection that stood was not answered.
    pub fn silent(&self) {
        self.count.send_modify(|count| *count += 1);
    }
}

/// Reports for the source, for the destination, and where both are heard.
pub fn channel() -> (Reports, Reports, Silences) {
    let (source_count, source) = watch::channel(0);
    let (destination_count, destination) = watch::channel(0);
    let reports = |count| Reports { count };
    (reports(source_count), reports(destination_count), Silences { source, destination })
}

impl Silences {
    /// What was reported before is about connections that are gone.
    pub fn forget(&mut self) {
        self.source.mark_unchanged();
        self.destination.mark_unchanged();
    }

    /// The side that is silent now. Cancel-safe.
    pub async fn next(&mut self) -> Side {
        tokio::select! {
            biased;
            // In no particular order: either ends the attempt.
            Ok(()) = self.source.changed() => Side::Source,
            Ok(()) = self.destination.changed() => Side::Destination,
            else => std::future::pending().await,
        }
    }
}

/// Asks the destination for as long as the agent runs, reconnecting by itself.
pub fn start(context: Context, reports: Reports) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut client = None;
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let stood = client.is_some();
            match answer(ask(&context, &mut client), || {}).await {
                Some(true) => {}
                Some(false) => client = None,
                None => {
                    client = None;
                    if stood {
                        reports.silent();
                    }
                }
            }
        }
    })
}

/// Whether there was an answer, and which. `doubted` is called when it is late.
pub async fn answer<T>(question: impl Future<Output = T>, doubted: impl FnOnce()) -> Option<T> {
    let mut question = pin!(question);
    match timeout(PATIENCE, &mut question).await {
        Ok(answered) => Some(answered),
        Err(_) => {
            doubted();
            timeout(LAST_PATIENCE, question).await.ok()
        }
    }
}

/// False where there is no connection, or no more.
async fn ask(context: &Context, client: &mut Option<Client>) -> bool {
    if client.is_none() {
        *client = client::connect(&context.destination, "pulse").await.ok();
    }
    let Some(client) = client else { return false };
    client.simple_query("SELECT 1").await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_until_the_last_moment() {
        let late = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let mut doubts = 0;
        assert!(answer(late(9), || doubts += 1).await.is_some());
        assert_eq!(doubts, 0);
        assert!(answer(late(14), || doubts += 1).await.is_some());
        assert!(answer(late(16), || doubts += 1).await.is_none());
        assert_eq!(doubts, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_silent_side_is_named_and_old_news_are_forgotten() {
        let (source, destination, mut silences) = channel();
        source.silent();
        silences.forget();
        destination.silent();
        assert_eq!(silences.next().await, Side::Destination);
        let none = timeout(Duration::from_secs(60), silences.next()).await;
        assert!(none.is_err());
        source.silent();
        assert_eq!(silences.next().await, Side::Source);
    }
}
