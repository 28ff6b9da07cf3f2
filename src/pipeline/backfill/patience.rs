//! How long a backfill keeps trying: as long as it was told to since something was finished last, and a
//! few times where the source's tables change under it.

use std::time::{Duration, Instant};

use crate::pipeline::error::PipelineError;
use crate::pipeline::policy::Disposition;

/// Attempts at tables that are rewritten under the copy, before it is given up.
const REWRITES_MAX: u32 = 10;

/// Whether an error is worth another attempt.
#[derive(Debug)]
pub(super) struct Patience {
    wait: Option<Duration>,
    /// The end of `--wait`, and the tables that were finished when it began.
    deadline: Option<(Instant, usize)>,
    rewrite_count: u32,
}

impl Patience {
    pub(super) fn new(wait: Option<Duration>) -> Patience {
        Patience { wait, deadline: None, rewrite_count: 0 }
    }

    pub(super) fn goes_on(
        &mut self,
        error: &PipelineError,
        disposition: Disposition,
        finished_count: usize,
    ) -> bool {
        if is_rewrite(error) {
            self.rewrite_count += 1;
            return self.rewrite_count <= REWRITES_MAX;
        }
        let Some(wait) = self.wait.filter(|_| disposition == Disposition::Retry) else {
            return false;
        };
        // A table more is progress: this failure is a new one.
        let (deadline, _) = match self.deadline {
            Some((deadline, count)) if count == finished_count => (deadline, count),
            _ => *self.deadline.insert((Instant::now() + wait, finished_count)),
        };
        Instant::now() < deadline
    }
}

fn is_rewrite(error: &PipelineError) -> bool {
    match error {
        PipelineError::Rewritten { .. } => true,
        PipelineError::Copy { source, .. } | PipelineError::QueryCopy { source, .. } => {
            is_rewrite(source)
        }
        _ => false,
    }
}
