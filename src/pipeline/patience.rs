//! Trying again for a while: `--wait D` of the verbs that would otherwise fail at once.

use std::time::Duration;

use tokio::time::Instant;

use crate::pipeline::code::Code;
use crate::pipeline::error::PipelineError;
use crate::pipeline::policy::judge;

/// Between two tries: a server that starts needs about this long.
const PAUSE: Duration = Duration::from_secs(1);

/// Repeats `attempt` while its result may mend itself, for at most `limit`; without a limit there is
/// one attempt.
pub async fn retry<T>(
    limit: Option<Duration>,
    mut attempt: impl AsyncFnMut() -> T,
    may_mend_itself: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + limit.unwrap_or_default();
    loop {
        let result = attempt().await;
        if !may_mend_itself(&result) || Instant::now() + PAUSE > deadline {
            return result;
        }
        tracing::debug!("a server cannot be reached yet; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether time alone may mend it.
pub fn may_mend_itself(error: &PipelineError) -> bool {
    judge(error, false).code == Code::E_CONNECT
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn attempts(limit: Option<Duration>, needed: usize) -> (usize, bool) {
        let mut count = 0;
        let last = retry(
            limit,
            async || {
                count += 1;
                count >= needed
            },
            |is_done| !is_done,
        );
        let is_done = last.await;
        (count, is_done)
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_there_is_one_attempt() {
        assert_eq!(attempts(None, 2).await, (1, false));
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_first_success_or_with_the_limit() {
        assert_eq!(attempts(Some(Duration::from_secs(10)), 3).await, (3, true));
        assert_eq!(attempts(Some(Duration::from_secs(10)), 99).await, (11, false));
    }
}
