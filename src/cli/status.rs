//! `status`: one look at state, positions, lag and tables.
//!
//! The running agent is asked first; where none answers, the servers are. `--probe` asks whether an
//! agent of this pipeline answers, the same question as `/live`: the databases' state does not make
//! it fail, so that a container is not restarted for a server that is away.

mod screen;
mod watch;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::cli::args::StatusArgs;
use crate::cli::output::{self, Output};
use crate::cli::{exit, signals};
use crate::config::settings::Settings;
use crate::http;
use crate::pipeline::code::Code;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::observe::observe;
use crate::pipeline::patience;
use crate::pipeline::status::{Status, render_human};

/// An agent answers from memory; a machine that is short of time may take a moment.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// A status, and who told it.
#[derive(Serialize)]
struct Shown {
    /// `agent` or `servers`.
    seen_from: &'static str,
    /// The agent's address, or why it was not asked.
    seen_at: String,
    #[serde(flatten)]
    status: Status,
}

pub(crate) async fn execute(settings: Settings, args: StatusArgs) -> ExitCode {
    if args.watch {
        return Box::pin(watch::watch(settings, args)).await;
    }
    signals::watch(CancellationToken::new(), signals::OnFirst::Exit);
    if args.probe {
        let answer = ask_agent(&settings).await;
        return probe(&settings, answer);
    }
    let context = Context::of_verb(Arc::new(settings));
    match first_look(&context, args.retry.wait).await {
        Ok(shown) => output::print(&shown.render(args.output.output)),
        Err(error) => exit::failed_pipeline(&error),
    }
}

/// The agent is asked once; where none answers, the servers are looked at for as long as `wait`
/// allows.
async fn first_look(context: &Context, wait: Option<Duration>) -> Result<Shown, PipelineError> {
    let no_answer = match ask_agent(&context.settings).await {
        Ok(answer) => return Ok(Shown::by_agent(answer)),
        Err(reason) => reason,
    };
    let attempt = async || Box::pin(observe(context)).await;
    let is_passing = |seen: &Result<_, _>| seen.as_ref().is_err_and(patience::may_mend_itself);
    let seen = patience::retry(wait, attempt, is_passing).await;
    if seen.is_err() {
        tracing::info!("{no_answer}");
    }
    Ok(Shown { seen_from: "servers", seen_at: no_answer, status: seen? })
}

/// The running agent's status, or why there is none.
async fn ask_agent(settings: &Settings) -> Result<(Status, SocketAddr), String> {
    let Some(address) = settings.http.listen else {
        return Err("http.listen is \"off\": no agent can be asked".to_owned());
    };
    match http::fetch_status(address, ANSWER_LIMIT).await {
        Ok(status) if status.pipeline == settings.pipeline => Ok((status, address)),
        Ok(status) => Err(format!(
            "the agent at \"{address}\" runs pipeline \"{}\", not \"{}\"",
            status.pipeline, settings.pipeline
        )),
        Err(error) => Err(exit::chain(&error)),
    }
}

fn probe(settings: &Settings, answer: Result<(Status, SocketAddr), String>) -> ExitCode {
    match answer {
        Ok(_) => ExitCode::SUCCESS,
        Err(reason) if settings.http.listen.is_none() => exit::refuse(Code::E_CONFIG, &reason),
        Err(reason) => exit::refuse(Code::E_CONNECT, &reason),
    }
}

impl Shown {
    fn by_agent((status, address): (Status, SocketAddr)) -> Shown {
        Shown { seen_from: "agent", seen_at: address.to_string(), status }
    }

    fn render(&self, output: Output) -> String {
        if output == Output::Json {
            return output::json(self);
        }
        let origin = match self.seen_from {
            "agent" => format!("the running agent at {}", self.seen_at),
            _ => format!("the servers ({})", self.seen_at),
        };
        format!("seen from  {origin}\n{}", render_human(&self.status))
    }
}
