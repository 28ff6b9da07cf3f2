//! Deadlines, and the only place where the harness pauses.

use std::time::{Duration, Instant};

/// A server starts or stops, a process ends: far above what a loaded two-core machine needs.
pub(crate) const PROCESS: Duration = Duration::from_secs(30);
/// The agent has copied and applied everything. ACCEPTANCE says 60 s; a debug build that shares
/// two cores with another test gets twice that.
pub(crate) const CATCH_UP: Duration = Duration::from_secs(120);
/// Between two looks: short against what we wait for, long against what a look costs.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `ready` says so; panics with `what` when the deadline passes.
pub(crate) async fn until(what: &str, deadline: Duration, mut ready: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !ready().await {
        assert!(start.elapsed() < deadline, "{what}: not within {deadline:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for code that cannot be async (`Drop`); says whether it became ready.
pub(crate) fn until_blocking(deadline: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !ready() {
        if start.elapsed() > deadline {
            return false;
        }
        #[expect(clippy::disallowed_methods, reason = "the one blocking pause of the harness")]
        std::thread::sleep(PAUSE);
    }
    true
}

/// For a task that looks at something again and again beside the test.
pub(crate) async fn between_looks() {
    tokio::time::sleep(PAUSE * 5).await;
}

/// No synchronization: a moment that nobody chose, for a fault to strike.
pub(crate) async fn somewhere_within(most: Duration) {
    tokio::time::sleep(most).await;
}

/// The pace of whoever does something again and again beside the test: writers, faults.
pub(crate) async fn pace(pause: Duration) {
    tokio::time::sleep(pause).await;
}
