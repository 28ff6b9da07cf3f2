//! `init`: prints a configuration made by looking at both servers; creates nothing.
//!
//! The addresses come as for every verb: flags, variables, a file. What the settings say already
//! (a pipeline's name, patterns, a schema mapping, where state is kept) is kept; the rest is as
//! found. **Invariant:** no password is printed, wherever it came from.

mod name;
mod render;
mod toml;

use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::cli::args::InitArgs;
use crate::cli::{exit, output, signals};
use crate::config::settings::Settings;
use crate::pipeline::context::Context;
use crate::pipeline::patience;
use crate::pipeline::survey::survey;

/// `has_patterns`: the arguments say which tables.
pub(crate) async fn execute(settings: Settings, args: InitArgs, has_patterns: bool) -> ExitCode {
    signals::watch(CancellationToken::new(), signals::OnFirst::Exit);
    let context = Context::of_verb(Arc::new(settings));
    let attempt = async || Box::pin(survey(&context)).await;
    let is_passing = |seen: &Result<_, _>| seen.as_ref().is_err_and(patience::may_mend_itself);
    match patience::retry(args.retry.wait, attempt, is_passing).await {
        Ok(survey) => output::print(&render::render(&context.settings, &survey, has_patterns)),
        Err(error) => exit::failed_pipeline(&error),
    }
}
