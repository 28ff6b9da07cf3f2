//! Numbers drawn from a seed.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64: small, quick, the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// From `SYNC_AGENT_SEED`, or new; printed for whoever sees the test fail.
    #[allow(clippy::print_stderr, reason = "a failed run is repeated by its seed")]
    pub(crate) fn seeded(name: &str) -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let seed = match std::env::var("SYNC_AGENT_SEED") {
            Ok(text) => text.parse().expect("SYNC_AGENT_SEED is a number"),
            Err(_) => u64::from(now().subsec_nanos()),
        };
        eprintln!("SYNC_AGENT_SEED={seed}");
        Self::part(seed, name)
    }

    /// One of its own for each part, so that one part's draws do not move another's.
    pub(crate) fn part(seed: u64, name: &str) -> Self {
        let mixed = name.bytes().fold(seed, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
        });
        Self(mixed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Both ends included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let count = choices.len() as u64;
        choices[usize::try_from(self.next() % count).expect("an index")]
    }
}
