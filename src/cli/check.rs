//! `check`: preflight of configuration, source and destination; creates nothing.

use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::cli::args::CheckArgs;
use crate::cli::output::{self, Output};
use crate::cli::{exit, signals};
use crate::config::settings::Settings;
use crate::pipeline::check::{check, render_human, render_json};
use crate::pipeline::context::Context;
use crate::pipeline::patience;

pub(crate) async fn execute(settings: Settings, args: CheckArgs) -> ExitCode {
    signals::watch(CancellationToken::new(), signals::OnFirst::Exit);
    let context = Context::of_verb(Arc::new(settings));
    let attempt = async || Box::pin(check(&context)).await;
    let report = patience::retry(args.retry.wait, attempt, |report| report.may_mend_itself()).await;
    for failure in &report.failures {
        exit::log_failure(failure);
    }
    let text = match args.output.output {
        Output::Human => render_human(&report),
        Output::Json => render_json(&report),
    };
    let printed = output::print(&text);
    match report.code() {
        Some(code) => ExitCode::from(code.exit_code()),
        None => printed,
    }
}
