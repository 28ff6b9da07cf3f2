//! What a kept row holds in memory: not its values alone, but the pieces of the read buffer that they
//! are slices of.
//!
//! ```text
//!   read buffer  | dropped row | dropped row | kept: id ▒ a large value that a step leaves out |
//!                                              ~~~~ held by these few bytes: all of it
//! ```
//!
//! So what was received since the last row that was kept counts with the next one, up to the size of
//! a read: further back lies another buffer, which is free again.

/// Counts received bytes from one kept row to the next.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Received in all when the last change was kept, and when the last event was taken.
    at_kept: u64,
    at_event: u64,
    /// The message of the event being taken.
    message_bytes: u64,
}

impl Held {
    /// An event is taken; `total_bytes` were received in all, its message included.
    pub(super) fn event(&mut self, total_bytes: u64) {
        self.message_bytes = total_bytes.saturating_sub(self.at_event);
        self.at_event = total_bytes;
    }

    /// Its change is kept: how much memory that holds at most. `read_bytes`: of one read.
    pub(super) fn keep(&mut self, read_bytes: u64) -> usize {
        let since = self.at_event - self.at_kept;
        self.at_kept = self.at_event;
        usize::try_from(since.min(self.message_bytes + read_bytes)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_row_holds_its_whole_message() {
        let mut held = Held::default();
        held.event(1000);
        assert_eq!(held.keep(100), 1000);
        held.event(1010);
        assert_eq!(held.keep(100), 10);
    }

    #[test]
    fn dropped_rows_of_the_same_read_are_held_by_the_kept_one() {
        let mut held = Held::default();
        for total in [30, 60, 90] {
            held.event(total);
        }
        assert_eq!(held.keep(100), 90);
        for total in (100..100_000).step_by(10) {
            held.event(total);
        }
        assert_eq!(held.keep(100), 110, "what came before that read is free");
    }
}
