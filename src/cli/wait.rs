//! `wait`: returns when a state or a position is reached.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::cli::args::{WaitArgs, WaitFor};
use crate::cli::output::{self, Output};
use crate::cli::{exit, signals};
use crate::config::settings::Settings;
use crate::http;
use crate::pg::lsn::Lsn;
use crate::pipeline::context::Context;
use crate::pipeline::status::Status;
use crate::pipeline::wait::{Goal, Limits, WaitEnd, wait};

/// Version of the JSON's structure.
const SCHEMA_VERSION: u32 = 1;

/// An agent answers from memory. One that does not is left aside until the next look.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Json<'a> {
    schema_version: u32,
    pipeline: &'a str,
    /// The same as `reached`, under the name that all verbs share.
    ok: bool,
    reached: bool,
    /// The agent's state where it told one.
    state: Option<String>,
    applied: Option<Lsn>,
    target: Option<Lsn>,
    code: Option<&'static str>,
    reason: Option<String>,
    seconds: f64,
}

pub(crate) async fn execute(settings: Settings, args: WaitArgs) -> ExitCode {
    signals::watch(CancellationToken::new(), signals::OnFirst::Exit);
    let context = Context::of_verb(Arc::new(settings));
    let goal = match args.wait_for {
        WaitFor::Streaming => Goal::Streaming,
        WaitFor::CaughtUp => Goal::CaughtUp,
        WaitFor::Lsn(lsn) => Goal::Lsn(lsn),
    };
    let limits =
        Limits { timeout: args.timeout, patience: args.retry.wait.unwrap_or(Duration::ZERO) };
    let started = Instant::now();
    let end = wait(&context, goal, limits, async || ask(&context.settings).await).await;
    let end = match end {
        Ok(end) => end,
        Err(error) => return exit::failed_pipeline(&error),
    };
    let seconds = started.elapsed().as_secs_f64();
    let (code, printed) = match args.output.output {
        Output::Human => human(&end, seconds),
        Output::Json => {
            (exit_code(&end), output::print(&json(&context.settings.pipeline, end, seconds)))
        }
    };
    code.unwrap_or(printed)
}

/// The running agent's status, if one of this pipeline answers.
async fn ask(settings: &Settings) -> Option<Status> {
    let status = http::fetch_status(settings.http.listen?, ANSWER_LIMIT).await.ok()?;
    (status.pipeline == settings.pipeline).then_some(status)
}

/// `None` where the result's own fate decides.
fn exit_code(end: &WaitEnd) -> Option<ExitCode> {
    match end {
        WaitEnd::Reached(_) => None,
        WaitEnd::TimedOut(_) => Some(ExitCode::FAILURE),
        WaitEnd::Halted { code, .. } => Some(ExitCode::from(code.exit_code())),
    }
}

fn human(end: &WaitEnd, seconds: f64) -> (Option<ExitCode>, ExitCode) {
    match end {
        WaitEnd::Reached(standing) => {
            let text = format!("reached after {seconds:.1} s: {}\n", standing.describe());
            (None, output::print(&text))
        }
        WaitEnd::TimedOut(standing) => {
            tracing::error!("not reached within {seconds:.1} s: {}", standing.describe());
            (exit_code(end), ExitCode::SUCCESS)
        }
        WaitEnd::Halted { code, reason } => {
            tracing::error!(code = code.as_str(), "the agent has halted: {reason}");
            (exit_code(end), ExitCode::SUCCESS)
        }
    }
}

fn json(pipeline: &str, end: WaitEnd, seconds: f64) -> String {
    let reached = matches!(end, WaitEnd::Reached(_));
    let (standing, code, reason) = match end {
        WaitEnd::Reached(standing) => (standing, None, None),
        WaitEnd::TimedOut(standing) => {
            let reason = format!("not reached: {}", standing.describe());
            (standing, None, Some(reason))
        }
        WaitEnd::Halted { code, reason } => (Default::default(), Some(code.as_str()), Some(reason)),
    };
    let json = Json {
        schema_version: SCHEMA_VERSION,
        pipeline,
        ok: reached,
        reached,
        state: Some(standing.state).filter(|state| !state.is_empty()),
        applied: standing.applied,
        target: standing.target,
        code,
        reason,
        seconds,
    };
    output::json(&json)
}
