//! What goes wrong, and in which order: a pure function of the seed.
//!
//! Kinds are drawn by weight, their measures in ranges. When a fault hits depends on the machine as
//! well, so a seed repeats the order of the faults and their measures, and not the interleaving.

use crate::support::proxy::Direction;
use crate::support::random::Random;

/// A server, or the link to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

pub(super) const SIDES: [Side; 2] = [Side::Source, Side::Destination];

/// What becomes of the local store while the agent is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LocalState {
    Kept,
    Deleted,
    /// An earlier copy is put back.
    Stale,
    /// Every file loses its second half.
    Truncated,
}

/// What a link does for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Stall,
    HalfOpen,
    Delay {
        piece_ms: u64,
    },
    Slice,
    /// What was open then never passes anything again.
    Swallow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL, and another start.
    Kill {
        state: LocalState,
        down_ms: u64,
    },
    /// SIGTERM, and another start.
    Terminate {
        down_ms: u64,
    },
    /// SIGSTOP and SIGCONT, shorter than the lease.
    Pause {
        ms: u64,
    },
    /// SIGSTOP until another agent has taken over.
    TakeOver,
    /// Connections end, at once.
    Cut {
        legs: &'static [Side],
    },
    /// Connections end, or are reset, after so many bytes: in a message, or before an answer.
    CutAfter {
        leg: Side,
        direction: Direction,
        bytes: u64,
        reset: bool,
    },
    /// Goes on beside what follows.
    Link {
        legs: &'static [Side],
        link: Link,
        ms: u64,
    },
    /// `pg_terminate_backend` of one of the agent's sessions, or of all.
    EndSessions {
        side: Side,
        all: bool,
    },
    Restart {
        side: Side,
        immediate: bool,
        down_ms: u64,
    },
    /// So many in a row, at the source.
    Checkpoint {
        count: u64,
    },
    SwitchWal {
        count: u64,
    },
    /// Somebody's lock on a table of the destination; goes on beside what follows.
    Lock {
        table: &'static str,
        ms: u64,
    },
}

impl Fault {
    /// For the summary.
    pub(super) fn kind(self) -> &'static str {
        use Side::{Destination, Source};
        match self {
            Fault::Kill { state: LocalState::Kept, .. } => "kill -9",
            Fault::Kill { state: LocalState::Deleted, .. } => "kill -9, local state deleted",
            Fault::Kill { state: LocalState::Stale, .. } => "kill -9, local state stale",
            Fault::Kill { state: LocalState::Truncated, .. } => "kill -9, local state truncated",
            Fault::Terminate { .. } => "SIGTERM",
            Fault::Pause { .. } => "pause",
            Fault::TakeOver => "pause until another takes over",
            Fault::Cut { .. } => "cut",
            Fault::CutAfter { reset: false, .. } => "cut inside a message",
            Fault::CutAfter { .. } => "reset inside a message",
            Fault::Link { link: Link::Stall, .. } => "stall",
            Fault::Link { link: Link::HalfOpen, .. } => "half-open",
            Fault::Link { link: Link::Delay { .. }, .. } => "latency",
            Fault::Link { link: Link::Slice, .. } => "byte by byte",
            Fault::Link { link: Link::Swallow, .. } => "swallowed",
            Fault::EndSessions { .. } => "sessions ended",
            Fault::Restart { side: Source, immediate: false, .. } => "source restarted, fast",
            Fault::Restart { side: Source, .. } => "source restarted, immediate",
            Fault::Restart { side: Destination, immediate: false, .. } => {
                "destination restarted, fast"
            }
            Fault::Restart { side: Destination, .. } => "destination restarted, immediate",
            Fault::Checkpoint { .. } => "CHECKPOINT",
            Fault::SwitchWal { .. } => "pg_switch_wal",
            Fault::Lock { .. } => "lock at the destination",
        }
    }
}

/// A fault and the quiet before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) after_ms: u64,
    pub(super) fault: Fault,
}

/// Which faults: those that a copy is to meet leave out what only waits in a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Copy,
    Tail,
    /// With what takes half a minute each time.
    LongTail,
    /// Both servers restart again and again, and little else happens.
    Servers,
}

/// Faults without end.
#[derive(Debug)]
pub(super) struct Plan {
    random: Random,
    phase: Phase,
}

impl Plan {
    pub(super) fn new(seed: u64, phase: Phase) -> Self {
        let name = if phase == Phase::Copy { "copy" } else { "tail" };
        Self { random: Random::part(seed, name), phase }
    }

    /// The weights are the chances in a hundred; in a long tail one in twenty is a take-over.
    fn fault(&mut self) -> Fault {
        let (random, phase) = (&mut self.random, self.phase);
        if phase == Phase::LongTail && random.one_in(20) {
            return Fault::TakeOver;
        }
        let drawn = match phase {
            Phase::Servers => random.between(78, 95),
            _ => random.between(0, 99),
        };
        match drawn {
            0..30 => Fault::Kill { state: state(random), down_ms: random.between(0, 1500) },
            30..36 => Fault::Terminate { down_ms: random.between(0, 1000) },
            36..42 => Fault::Pause { ms: random.between(200, 4000) },
            42..48 => Fault::Cut { legs: legs(random) },
            48..56 => Fault::CutAfter {
                leg: random.of(&SIDES),
                direction: random.of(&[Direction::ToServer, Direction::FromServer]),
                bytes: random.between(0, 20_000),
                reset: random.one_in(2),
            },
            56..70 => Fault::Link {
                legs: legs(random),
                link: link(random, phase),
                ms: random.between(500, 7000),
            },
            70..78 => Fault::EndSessions { side: random.of(&SIDES), all: random.one_in(2) },
            78..90 => Fault::Restart {
                side: random.of(&SIDES),
                immediate: random.one_in(2),
                down_ms: random.between(0, 2000),
            },
            90..93 => Fault::Checkpoint { count: random.between(1, 8) },
            93..96 => Fault::SwitchWal { count: random.between(1, 4) },
            _ => Fault::Lock {
                table: random.of(&["history", "k", "doc", "ev", "people", "bulk"]),
                ms: random.between(500, 6000),
            },
        }
    }
}

fn state(random: &mut Random) -> LocalState {
    use LocalState::{Deleted, Kept, Stale, Truncated};
    random.of(&[Kept, Kept, Deleted, Stale, Stale, Truncated])
}

fn legs(random: &mut Random) -> &'static [Side] {
    random.of(&[&SIDES[..1], &SIDES[1..], &SIDES])
}

fn link(random: &mut Random, phase: Phase) -> Link {
    let piece_ms = random.between(5, 80);
    // A dead link is noticed within half a minute, which a short run does not have.
    if phase == Phase::LongTail && random.one_in(6) {
        return Link::Swallow;
    }
    random.of(&[Link::Stall, Link::Stall, Link::HalfOpen, Link::Delay { piece_ms }, Link::Slice])
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let most = if self.phase == Phase::Copy { 2500 } else { 5000 };
        // Short ones are the rule: what meets the recovery from the last fault tells the most.
        let most = if self.random.one_in(3) { most } else { most / 4 };
        let after_ms = self.random.between(100, most);
        Some(Step { after_ms, fault: self.fault() })
    }
}

#[test]
fn the_same_seed_gives_the_same_faults() {
    let faults = |seed| Plan::new(seed, Phase::LongTail).take(50).collect::<Vec<_>>();
    assert_eq!(faults(7), faults(7));
    assert_ne!(faults(7), faults(8));
}

#[test]
fn every_kind_comes_up() {
    let kinds: std::collections::BTreeSet<&str> =
        Plan::new(1, Phase::LongTail).take(1000).map(|step| step.fault.kind()).collect();
    assert_eq!(kinds.len(), 23, "{kinds:?}");
}
