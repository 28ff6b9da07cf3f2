//! `status --watch`: look after look, until it is told to stop.
//!
//! On a terminal each look replaces the one before; elsewhere each is a block of its own, ended by
//! an empty line, or with `--output json` one object on one line. The first look must succeed, as
//! for `status` alone; later ones may fail: an agent or a server that is away for a while is shown
//! as that, and watched until it is back.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::screen::Screen;
use super::{Shown, ask_agent, first_look};
use crate::cli::args::StatusArgs;
use crate::cli::output::{self, Output};
use crate::cli::{exit, signals};
use crate::config::settings::Settings;
use crate::pipeline::code::Code;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::observe::observe;
use crate::pipeline::policy::judge;
use crate::pipeline::status::printable;

/// Between two looks at an agent, which answers from memory.
const AGENT_PAUSE: Duration = Duration::from_secs(1);

/// Between two looks at servers: each is a connection to both.
const SERVERS_PAUSE: Duration = Duration::from_secs(2);

/// What one look has given.
type Look = Result<Shown, PipelineError>;

pub(super) async fn watch(settings: Settings, args: StatusArgs) -> ExitCode {
    let stop = CancellationToken::new();
    let signalled = signals::watch(stop.clone(), signals::OnFirst::Quiet);
    let interrupted = || signalled.exit_code().unwrap_or(ExitCode::from(exit::INTERRUPTED));
    let context = Context::of_verb(Arc::new(settings));
    let first = tokio::select! {
        biased;
        // First: whoever waits for a server may give up.
        () = stop.cancelled() => return interrupted(),
        first = first_look(&context, args.retry.wait) => first,
    };
    let mut look = match first {
        Ok(shown) => Ok(shown),
        Err(error) => return exit::failed_pipeline(&error),
    };
    let output = args.output.output;
    let mut screen = if output == Output::Human { Screen::open() } else { None };
    loop {
        let written = match &mut screen {
            Some(screen) => screen.draw(&human(&look)),
            None => output::write(&block(&look, output)),
        };
        match written {
            Ok(()) => {}
            // Nobody looks any more.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                return ExitCode::SUCCESS;
            }
            Err(_) if screen.is_some() => return ExitCode::SUCCESS,
            Err(error) => {
                let message = format!("cannot write to stdout: {error}");
                return exit::refuse(Code::E_IO, &message);
            }
        }
        let pause = match &look {
            Ok(shown) if shown.seen_from == "agent" => AGENT_PAUSE,
            _ => SERVERS_PAUSE,
        };
        look = tokio::select! {
            biased;
            // First: a look at a server that hangs does not hold us.
            () = stop.cancelled() => return interrupted(),
            look = later(&context, pause) => look,
        };
    }
}

async fn later(context: &Context, pause: Duration) -> Look {
    tokio::time::sleep(pause).await;
    match ask_agent(&context.settings).await {
        Ok(answer) => Ok(Shown::by_agent(answer)),
        Err(reason) => Box::pin(observe(context)).await.map(|status| Shown {
            seen_from: "servers",
            seen_at: reason,
            status,
        }),
    }
}

fn block(look: &Look, output: Output) -> String {
    match (output, look) {
        (Output::Human, _) => format!("{}\n", human(look)),
        (Output::Json, Ok(shown)) => shown.render(Output::Json),
        (Output::Json, Err(error)) => {
            let code = judge(error, false).code;
            output::failure_line(Some(code), &error.chain(), error.hint().as_deref())
        }
    }
}

fn human(look: &Look) -> String {
    match look {
        Ok(shown) => format!(
            "at         {}\n{}",
            shown.status.at.strftime("%F %T UTC"),
            shown.render(Output::Human)
        ),
        Err(error) => {
            let code = judge(error, false).code;
            format!("cannot look now: {code}: {}\n", printable(&error.chain()))
        }
    }
}
