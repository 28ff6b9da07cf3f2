//! `status`: one look at state, positions, lag and tables.
//!
//! The running agent is asked first; where none answers, the servers are. `--probe` asks whether an
//! agent of this pipeline answers, the same question as `/live`: the databases' state does not make
//! it fail, so that a container is not restarted for a server that is away.

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
use crate::pipeline::observe::observe;
use crate::pipeline::patience;
use crate::pipeline::status::{Status, render_human};

/// An agent answers from memory; a machine that is short of time may take a moment.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// A status, and who told it.
#[derive(Serialize)]
struct Shown<'a> {
    /// `agent` or `servers`.
    seen_from: &'static str,
    /// The agent's address, or why it was not asked.
    seen_at: String,
    #[serde(flatten)]
    status: &'a Status,
}

pub(crate) async fn execute(settings: Settings, args: StatusArgs) -> ExitCode {
    if args.watch {
        return exit::refuse(Code::E_CONFIG, "not yet: flag --watch of \"status\" is not built");
    }
    signals::watch(CancellationToken::new(), signals::OnFirst::Exit);
    let answer = ask_agent(&settings).await;
    if args.probe {
        return probe(&settings, answer);
    }
    let no_answer = match answer {
        Ok((status, address)) => {
            let seen_at = address.to_string();
            return show(&Shown { seen_from: "agent", seen_at, status: &status }, &args);
        }
        Err(reason) => reason,
    };
    let context = Context::of_verb(Arc::new(settings));
    let attempt = async || Box::pin(observe(&context)).await;
    let is_passing = |seen: &Result<_, _>| seen.as_ref().is_err_and(patience::may_mend_itself);
    match patience::retry(args.retry.wait, attempt, is_passing).await {
        Ok(status) => {
            show(&Shown { seen_from: "servers", seen_at: no_answer, status: &status }, &args)
        }
        Err(error) => {
            tracing::info!("{no_answer}");
            exit::failed_pipeline(&error)
        }
    }
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

fn show(shown: &Shown<'_>, args: &StatusArgs) -> ExitCode {
    output::print(&match args.output.output {
        Output::Human => {
            let origin = match shown.seen_from {
                "agent" => format!("the running agent at {}", shown.seen_at),
                _ => format!("the servers ({})", shown.seen_at),
            };
            format!("seen from  {origin}\n{}", render_human(shown.status))
        }
        Output::Json => {
            let text = serde_json::to_string(shown).expect("plain data becomes JSON");
            format!("{text}\n")
        }
    })
}
