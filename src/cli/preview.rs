//! `preview`: source rows beside what they become; writes nothing.

mod render;

use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::cli::args::PreviewArgs;
use crate::cli::output::{self, Output};
use crate::cli::{exit, signals};
use crate::config::settings::Settings;
use crate::pipeline::context::Context;
use crate::pipeline::patience;
use crate::pipeline::preview::{PreviewOptions, preview};

pub(crate) async fn execute(settings: Settings, args: PreviewArgs) -> ExitCode {
    signals::watch(CancellationToken::new(), signals::OnFirst::Exit);
    let options = PreviewOptions {
        tables: args.tables.tables,
        limit: args.limit,
        shows_source: args.show_source,
    };
    let context = Context::of_verb(Arc::new(settings));
    let attempt = async || Box::pin(preview(&context, &options)).await;
    let is_passing = |end: &Result<_, _>| end.as_ref().is_err_and(patience::may_mend_itself);
    match patience::retry(args.retry.wait, attempt, is_passing).await {
        Ok(tables) => output::print(&match args.tables.output.output {
            Output::Human => render::human(&tables, options.shows_source, render::width()),
            Output::Json => render::json(&context.settings.pipeline, &tables, options.shows_source),
        }),
        Err(error) => exit::failed_pipeline(&error),
    }
}
