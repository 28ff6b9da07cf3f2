//! Whatever is thrown at it, the agent's memory, the WAL it holds and its connections have bounds.

mod aborted;
mod huge;
mod oversized;
mod retained;
mod slow;
mod small;
mod tables;
mod values;

use crate::support::agent::Agent;

/// DESIGN: everything resident stays below `limits.memory` (64 MiB, the default) plus 64 MiB.
const RESIDENT_BYTES_MAX: u64 = 128 << 20;

/// The most that was ever resident of this process; `further` is what the case may need beyond the
/// bound that always holds.
fn assert_bounded(agent: &Agent, further: u64) {
    let peak = agent.memory("VmHWM");
    say(&format!(
        "peak {} MiB (now: anonymous {} MiB, files {} MiB)",
        peak >> 20,
        agent.memory("RssAnon") >> 20,
        agent.memory("RssFile") >> 20
    ));
    assert!(
        peak <= RESIDENT_BYTES_MAX + further,
        "{} MiB were resident, {} may be",
        peak >> 20,
        (RESIDENT_BYTES_MAX + further) >> 20
    );
}

/// A figure for whoever reads the output of a long run.
#[allow(clippy::print_stderr, reason = "figures are for people")]
fn say(figure: &str) {
    eprintln!("{figure}");
}
