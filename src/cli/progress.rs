//! How far it is, shown beside the work: bars on a terminal, log lines elsewhere.
//!
//! In comes the [`Board`], looked at again and again; out go bars on stderr while tables are copied
//! ([`bars`]) or one line every ten seconds ([`lines`]), and one line a minute while streaming.
//!
//! **Invariant:** nothing writes to the terminal while bars are on it, except inside
//! [`suspended`].

mod bars;
mod lines;
mod measure;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::MultiProgress;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::pipeline::status::{Board, State};
use bars::Bars;
use lines::Lines;

/// Between two pictures of the bars: smooth to the eye, nothing to the processor.
const BARS_TICK: Duration = Duration::from_millis(200);

/// Between two looks where only lines are written.
const LINES_TICK: Duration = Duration::from_secs(1);

static DRAWN: OnceLock<MultiProgress> = OnceLock::new();

/// Runs `write` with the bars, if there are any, off the terminal.
pub fn suspended<T>(write: impl FnOnce() -> T) -> T {
    match DRAWN.get() {
        Some(drawn) => drawn.suspend(write),
        None => write(),
    }
}

/// Progress being shown, until [`Shown::end`].
#[derive(Debug)]
pub struct Shown {
    ended: CancellationToken,
    task: JoinHandle<()>,
}

impl Shown {
    /// Takes the bars off the terminal; what is printed next stands alone.
    pub async fn end(self) {
        self.ended.cancel();
        // The task does not panic; if it did, there would be nothing left to take off.
        let _ = self.task.await;
    }
}

/// Shows the board's progress from now on.
pub fn show(board: &Board) -> Shown {
    let ended = CancellationToken::new();
    let task = tokio::spawn(watch(board.clone(), ended.clone()).in_current_span());
    Shown { ended, task }
}

async fn watch(board: Board, ended: CancellationToken) {
    let mut bars = draws_bars().then(|| Bars::new(DRAWN.get_or_init(MultiProgress::new)));
    let mut lines = Lines::default();
    let mut tick = tokio::time::interval(if bars.is_some() { BARS_TICK } else { LINES_TICK });
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = ended.cancelled() => break,
            _ = tick.tick() => {}
        }
        let (now, status) = (Instant::now(), board.status());
        match &mut bars {
            Some(bars) if status.state == State::Copying => bars.show(&status, now),
            Some(bars) => {
                bars.clear();
                lines.show(&status, now);
            }
            None => lines.show(&status, now),
        }
    }
    if let Some(mut bars) = bars {
        bars.clear();
    }
}

/// A terminal that can move its cursor.
fn draws_bars() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
