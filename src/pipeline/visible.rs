//! Waiting until the source shows what its stream has brought.
//!
//! The stream brings a transaction as soon as its commit is in the WAL. Others see it a moment later, or
//! much later where it waits for a synchronous standby.

use std::time::{Duration, Instant};

use crate::pg::catalog::{CatalogError, shapes};
use crate::pg::client::Client;

/// Between two looks at a transaction that is not visible yet: commonly it is within a millisecond.
const LOOK: Duration = Duration::from_millis(2);

/// How long a transaction may stay hidden before the pipeline says so and tries again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until others see what the transactions did; false where that takes too long.
pub(super) async fn become_visible(source: &Client, xids: &[u32]) -> Result<bool, CatalogError> {
    let until = Instant::now() + PATIENCE;
    while shapes::is_in_progress(source, xids).await? {
        if Instant::now() > until {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(true)
}
