//! `wait`, without its command line: looks again and again until the pipeline is where it shall be.
//!
//! The destination's checkpoint row decides about positions, not what an agent says of itself. The
//! agent is asked, by a function that is passed in, whether it streams and whether it has halted.
//!
//! **Invariant:** reads only.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::checkpoint::row;
use crate::checkpoint::{schema, tables};
use crate::model::finding::Side;
use crate::pg::catalog;
use crate::pg::client::Client;
use crate::pg::lsn::Lsn;
use crate::pipeline::code::Code;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::observe::observe;
use crate::pipeline::patience::may_mend_itself;
use crate::pipeline::status::{State, Status};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Between two looks at both servers, where no agent answers: a look connects anew.
const OBSERVE_INTERVAL: Duration = Duration::from_secs(1);

/// How often the log says where it stands.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The copy is done and the stream connected.
    Streaming,
    /// All that the source has committed at the call.
    CaughtUp,
    Lsn(Lsn),
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For all of it; `None` is for ever.
    pub timeout: Option<Duration>,
    /// How long a server that was never reached may stay away.
    pub patience: Duration,
}

/// Where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Empty while it is not known.
    pub state: String,
    pub applied: Option<Lsn>,
    pub target: Option<Lsn>,
    /// Why the last look failed.
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    Reached(Standing),
    TimedOut(Standing),
    /// The agent has given up and stays only to be looked at.
    Halted {
        code: Code,
        reason: String,
    },
}

/// Waits until the goal is reached. `ask` asks the running agent; `None` where none answers.
pub async fn wait(
    context: &Context,
    goal: Goal,
    limits: Limits,
    ask: impl AsyncFnMut() -> Option<Status>,
) -> Result<WaitEnd, PipelineError> {
    let started = Instant::now();
    let mut watch = Watch {
        context,
        ask,
        destination: None,
        was_reached: false,
        patient_until: started + limits.patience,
        standing: Standing::default(),
    };
    let deadline = limits.timeout.map(|timeout| started + timeout);
    tokio::select! {
        biased;
        end = Box::pin(watch.until(goal)) => return end,
        () = expired(deadline) => {}
    }
    Ok(WaitEnd::TimedOut(watch.standing))
}

async fn expired(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

struct Watch<'a, Ask> {
    context: &'a Context,
    ask: Ask,
    /// Kept from look to look; connected again after a failure.
    destination: Option<Client>,
    was_reached: bool,
    patient_until: Instant,
    standing: Standing,
}

impl<Ask: AsyncFnMut() -> Option<Status>> Watch<'_, Ask> {
    async fn until(&mut self, goal: Goal) -> Result<WaitEnd, PipelineError> {
        self.standing.target = match goal {
            Goal::Streaming => None,
            Goal::Lsn(lsn) => Some(lsn),
            Goal::CaughtUp => Some(self.source_position().await?),
        };
        let mut report_at = Instant::now() + REPORT_INTERVAL;
        loop {
            let status = (self.ask)().await;
            if let Some(halted) = status.as_ref().and_then(halted) {
                return Ok(halted);
            }
            let pause = match &status {
                None if goal == Goal::Streaming => OBSERVE_INTERVAL,
                _ => LOOK_INTERVAL,
            };
            if let Some(status) = &status {
                status.state.label().clone_into(&mut self.standing.state);
            }
            match self.is_reached(status).await {
                Ok(true) => return Ok(WaitEnd::Reached(self.standing.clone())),
                Ok(false) => self.standing.trouble = None,
                Err(error) => self.bear(error)?,
            }
            if Instant::now() >= report_at {
                report_at += REPORT_INTERVAL;
                tracing::info!("still waiting: {}", self.standing.describe());
            }
            sleep(pause).await;
        }
    }

    async fn is_reached(&mut self, status: Option<Status>) -> Result<bool, PipelineError> {
        if let Some(target) = self.standing.target {
            let (applied, is_copied) = self.applied().await?;
            self.standing.applied = applied;
            return Ok(is_copied && applied >= Some(target));
        }
        // The agent knows whether it has caught up; the servers show that the stream is connected.
        let (status, enough) = match status {
            Some(status) => (status, &[State::Streaming][..]),
            None => (observe(self.context).await?, &[State::CatchingUp, State::Streaming][..]),
        };
        self.was_reached = true;
        status.state.label().clone_into(&mut self.standing.state);
        self.standing.applied = status.positions.applied;
        Ok(enough.contains(&status.state))
    }

    /// The checkpoint, none before the pipeline has one; and whether every table is copied. The
    /// position is there from the slot's creation on, the rows are not.
    async fn applied(&mut self) -> Result<(Option<Lsn>, bool), PipelineError> {
        let client = match self.destination.take() {
            Some(client) => client,
            None => self.context.destination_client("wait").await?,
        };
        self.was_reached = true;
        let sql = &self.context.checkpoint;
        let (row, is_copied) = match schema::exists(&client, &sql.schema).await? {
            true => {
                let row = row::read(&client, sql).await?;
                (row, tables::are_all_copied(&client, &sql.schema, &sql.pipeline).await?)
            }
            false => (None, false),
        };
        self.destination = Some(client);
        Ok((row.and_then(|row| row.applied_lsn), is_copied))
    }

    /// The end of everything that is committed at the source now.
    async fn source_position(&mut self) -> Result<Lsn, PipelineError> {
        let client = loop {
            match self.context.source_client("wait").await {
                Ok(client) => break client,
                Err(error) => self.bear(error)?,
            }
            sleep(LOOK_INTERVAL).await;
        };
        // That the source is there says nothing of the destination, which is asked from now on.
        committed_position(&client).await
    }

    /// A failure that may pass is waited out, within the patience before the first success.
    fn bear(&mut self, error: PipelineError) -> Result<(), PipelineError> {
        let is_bearable = self.was_reached || Instant::now() < self.patient_until;
        if !may_mend_itself(&error) || !is_bearable {
            return Err(error);
        }
        self.standing.trouble = Some(error.chain());
        Ok(())
    }
}

/// A position that covers every transaction committed by now and that the stream can reach.
///
/// Why not the insert position itself? A record of a transaction that is still open may wait there
/// unflushed until that ends. Why not the flushed position? With `synchronous_commit = off` a
/// transaction is visible before it is flushed. So: once the flush has passed the insert position of
/// the call, or all commits before the call must have been flushed.
pub async fn committed_position(source: &Client) -> Result<Lsn, PipelineError> {
    /// Above the walwriter's own rounding.
    const MARGIN: Duration = Duration::from_millis(100);
    const LOOK: Duration = Duration::from_millis(20);
    let failed = || PipelineError::catalog(Side::Source);
    let first = catalog::written_wal(source).await.map_err(failed())?;
    let deadline = Instant::now() + first.flush_limit + MARGIN;
    let mut flush_lsn = first.flush_lsn;
    while flush_lsn < first.insert_lsn {
        if Instant::now() >= deadline {
            return Ok(flush_lsn);
        }
        sleep(LOOK).await;
        flush_lsn = catalog::written_wal(source).await.map_err(failed())?.flush_lsn;
    }
    Ok(first.insert_lsn)
}

/// The end of it, where the agent says that it halted.
fn halted(status: &Status) -> Option<WaitEnd> {
    if status.state != State::Halted {
        return None;
    }
    let named = status.last_error.as_ref().map(|error| error.code.as_str());
    let in_reason = status.reason.split(':').next();
    let code = named
        .into_iter()
        .chain(in_reason)
        .find_map(|name| Code::ALL.into_iter().find(|code| code.as_str() == name));
    let reason = status.reason.clone();
    // Every halt has a code; an agent of another version may have one that we do not know.
    Some(WaitEnd::Halted { code: code.unwrap_or(Code::E_IO), reason })
}

impl Standing {
    /// For people: the state, both positions, the trouble.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if !self.state.is_empty() {
            parts.push(format!("state {}", self.state));
        }
        let position =
            |lsn: Option<Lsn>| lsn.map_or_else(|| "nothing".to_owned(), |l| l.to_string());
        if let Some(target) = self.target {
            let behind = match self.applied.map(|applied| target.bytes_since(applied)) {
                Some(0) | None => String::new(),
                Some(count) => {
                    format!(", {} behind", bytesize::ByteSize::b(count).display().iec())
                }
            };
            parts.push(format!("applied {} of {target}{behind}", position(self.applied)));
        } else {
            parts.push(format!("applied {}", position(self.applied)));
        }
        parts.extend(self.trouble.clone());
        parts.join("; ")
    }
}
