//! The progress bars of this process, and how others write beside them.
//!
//! **Invariant:** nothing writes to the terminal while bars are on it, except inside
//! [`suspended`]. Off a terminal indicatif draws nothing: whoever has progress logs it instead.

use std::sync::OnceLock;

use indicatif::MultiProgress;

static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Where bars are added. They are drawn on stderr.
pub fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

/// Runs `write` with the bars, if there are any, off the terminal.
pub fn suspended<T>(write: impl FnOnce() -> T) -> T {
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}
