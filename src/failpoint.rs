//! Places between two steps of the order law and of the copy where a test ends or parks the agent.
//!
//! In: `SYNC_AGENT_FAILPOINT="<point>[:<nth>]=kill|park"`, read once at start ([`arm`]). Out: at the
//! nth hit of the point (the first, unless said) the process dies without a goodbye, or the task
//! stands still there for ever while the others go on. The last line on stderr names the point.
//!
//! The hard question: what does a release build pay? Nothing: without `debug_assertions` the
//! variable is not read and [`hit`] is an empty function, so neither the names nor the branch are in
//! the binary that people run.
//!
//! **Invariant:** an armed point that does not exist is an error at start. A test of a point that was
//! renamed would otherwise pass without testing anything.

#[cfg(debug_assertions)]
pub use armed::{arm, hit};

/// Where it can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point(&'static str);

macro_rules! points {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)+) => {
        $($(#[$doc])* pub const $constant: Point = Point($name);)+

        /// All of them.
        #[cfg(debug_assertions)]
        const ALL: &[Point] = &[$($constant),+];
    };
}

points! {
    // First contact.
    /// The lease is ours; the row may be without a slot.
    LEASE_TAKEN = "lease-taken";
    /// The row names our publications; they may not exist.
    PUBLICATIONS_RECORDED = "publications-recorded";
    /// Publications are created, or tables are added to them.
    PUBLICATIONS_ALTERED = "publications-altered";
    /// The row names the slot; it does not exist.
    SLOT_ANNOUNCED = "slot-announced";
    /// The slot exists and its snapshot is exported; its position is not recorded.
    SLOT_CREATED = "slot-created";
    /// Its position is recorded; no table is.
    SLOT_RECORDED = "slot-recorded";

    // Copy.
    /// A later consistent point, of a slot of its own.
    COPY_POINT_TAKEN = "copy-point-taken";
    /// A copy goes on: everything before its point is applied; its missing chunks are not there.
    POINT_REACHED = "point-reached";
    /// Tables are created and recorded as being copied; no row is there.
    TABLES_PREPARED = "tables-prepared";
    /// A chunk's rows are sent; its transaction is open.
    CHUNK_LOADED = "chunk-loaded";
    /// A chunk is committed with its record; others are to come.
    CHUNK_COMMITTED = "chunk-committed";
    /// All rows of a table are committed; it is not recorded as copied.
    LAST_CHUNK_COMMITTED = "last-chunk-committed";
    /// An index that is built for itself is committed.
    INDEX_BUILT = "index-built";
    /// A table is recorded as copied.
    TABLE_COPIED = "table-copied";
    /// All tables are; what belongs to them all (foreign keys) is not built.
    ALL_COPIED = "all-copied";
    /// The second slot exists; its position is not recorded.
    SECOND_SLOT_CREATED = "second-slot-created";
    /// The stream stands still; the second slot's has reached its position.
    SECOND_REACHED = "second-reached";
    /// The tables belong to the stream; the second slot is still there.
    HANDED_OVER = "handed-over";
    /// The copy has nothing left to do; the stream has not begun.
    BEFORE_STREAM = "before-stream";

    // Tail.
    /// The stream has begun; nothing of it is applied.
    STREAM_STARTED = "stream-started";
    /// A batch's transaction is open, our epoch in it is being checked.
    BATCH_BEGUN = "batch-begun";
    /// Its rows are sent; the checkpoint is not moved.
    ROWS_WRITTEN = "rows-written";
    /// The checkpoint is moved with them; COMMIT is not sent.
    CHECKPOINT_MOVED = "checkpoint-moved";
    /// COMMIT is sent; its answer is not here.
    COMMIT_SENT = "commit-sent";
    /// The answer is here; the local mirror knows nothing of it.
    COMMITTED = "committed";
    /// An idle position is committed in the same way.
    IDLE_COMMITTED = "idle-committed";
    /// The local mirror is durable; the source has not heard of it.
    MIRRORED = "mirrored";
    /// A new position was sent to the source.
    FEEDBACK_SENT = "feedback-sent";

    // Changes of structure.
    /// The destination's table is altered; the transaction is open.
    TABLE_ALTERED = "table-altered";
    /// The alteration is committed with the table's record; the next stream has not begun.
    TABLE_FOLLOWED = "table-followed";

    // Shutdown and reset.
    /// A stop was asked for; the batch in hand is not finished.
    DRAIN_BEGUN = "drain-begun";
    /// It is; the source has not been told, the lease is not given back.
    DRAINED = "drained";
    /// A reset has dropped the slot; publications and rows are still there.
    RESET_SLOT_DROPPED = "reset-slot-dropped";
    /// It has dropped the publications, too; the destination still remembers the pipeline.
    RESET_SOURCE_FORGOTTEN = "reset-source-forgotten";
}

/// Why the variable cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FailpointError {
    #[error("SYNC_AGENT_FAILPOINT is not \"<point>[:<nth>]=kill|park\": \"{text}\"")]
    Unreadable { text: String },
    #[error("SYNC_AGENT_FAILPOINT names no point of ours: \"{name}\"")]
    Unknown { name: String },
}

/// There are no failpoints in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub fn arm() -> Result<(), FailpointError> {
    Ok(())
}

/// There are no failpoints in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub fn hit(_point: Point) -> std::future::Ready<()> {
    std::future::ready(())
}

#[cfg(debug_assertions)]
mod armed {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{ALL, FailpointError, Point};

    const VARIABLE: &str = "SYNC_AGENT_FAILPOINT";

    static ARMED: OnceLock<Armed> = OnceLock::new();

    #[derive(Debug)]
    pub(super) struct Armed {
        pub(super) point: Point,
        /// Hits still to let pass, and this one.
        pub(super) nth: u64,
        pub(super) action: Action,
        hits: AtomicU64,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Action {
        Kill,
        Park,
    }

    /// Reads the variable; without it no point does anything.
    pub fn arm() -> Result<(), FailpointError> {
        let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
        let armed = Armed::parse(&text.to_string_lossy())?;
        // A second call of the same process changes nothing.
        let _ = ARMED.set(armed);
        Ok(())
    }

    /// Dies or stands still here, where the point is armed and this is the hit.
    pub async fn hit(point: Point) {
        let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else { return };
        if armed.hits.fetch_add(1, Ordering::Relaxed) + 1 != armed.nth {
            return;
        }
        let name = point.0;
        let mut stderr = std::io::stderr();
        match armed.action {
            Action::Kill => {
                let _ = writeln!(stderr, "failpoint {name}: the process ends here");
                // No destructor, no flush, no goodbye to either server, as by SIGKILL; unlike that
                // it cannot be mistaken for somebody else's kill.
                std::process::abort()
            }
            Action::Park => {
                let _ = writeln!(stderr, "failpoint {name}: parked");
                std::future::pending().await
            }
        }
    }

    impl Armed {
        pub(super) fn parse(text: &str) -> Result<Armed, FailpointError> {
            let unreadable = || FailpointError::Unreadable { text: text.to_owned() };
            let (place, action) = text.split_once('=').ok_or_else(unreadable)?;
            let action = match action {
                "kill" => Action::Kill,
                "park" => Action::Park,
                _ => return Err(unreadable()),
            };
            let (name, nth) = place.split_once(':').unwrap_or((place, "1"));
            let nth = nth.parse().ok().filter(|nth| *nth > 0).ok_or_else(unreadable)?;
            let point = ALL.iter().find(|point| point.0 == name).copied();
            let point = point.ok_or_else(|| FailpointError::Unknown { name: name.to_owned() })?;
            Ok(Armed { point, nth, action, hits: AtomicU64::new(0) })
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed::{Action, Armed};
    use super::*;

    #[test]
    fn a_point_is_armed_by_its_name() {
        let armed = Armed::parse("commit-sent:3=park").expect("it is one of ours");
        assert_eq!((armed.point, armed.nth, armed.action), (COMMIT_SENT, 3, Action::Park));
        let armed = Armed::parse("slot-created=kill").expect("it is one of ours");
        assert_eq!((armed.point, armed.nth, armed.action), (SLOT_CREATED, 1, Action::Kill));
    }

    #[test]
    fn what_is_no_point_is_refused() {
        for text in ["", "commit-sent", "commit-sent=stop", "commit-sent:0=kill", "x:y=kill"] {
            let refused = Armed::parse(text);
            assert!(matches!(refused, Err(FailpointError::Unreadable { .. })), "{text}");
        }
        let refused = Armed::parse("commit_sent=kill");
        assert!(matches!(refused, Err(FailpointError::Unknown { .. })));
    }

    #[test]
    fn no_two_points_share_a_name() {
        for (i, point) in ALL.iter().enumerate() {
            assert!(!ALL[..i].contains(point), "{point:?}");
        }
    }
}
