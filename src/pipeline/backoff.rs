//! How long to wait before the next attempt.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first wait: a server that restarts needs about this long.
const DELAY_MIN: Duration = Duration::from_millis(500);

/// The longest: an operator who mended the cause sees it go on within this.
const DELAY_MAX: Duration = Duration::from_secs(15);

/// Doubling waits with jitter, for ever.
#[derive(Debug)]
pub struct Backoff {
    delays: ExponentialBackoff,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { delays: builder().build() }
    }
}

fn builder() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(DELAY_MIN)
        .with_max_delay(DELAY_MAX)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
}

impl Backoff {
    pub fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or(DELAY_MAX)
    }

    /// Progress was made: the next failure is a new one.
    pub fn reset(&mut self) {
        self.delays = builder().build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_never_end() {
        let mut backoff = Backoff::default();
        let delays: Vec<Duration> = (0..100).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] >= DELAY_MIN && delays[0] <= 2 * DELAY_MIN, "{:?}", delays[0]);
        assert!(delays[10..].iter().all(|delay| *delay >= DELAY_MAX), "{delays:?}");
        backoff.reset();
        assert!(backoff.next_delay() <= 2 * DELAY_MIN);
    }
}
