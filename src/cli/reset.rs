//! `reset`: forgets the pipeline; never touches user tables.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::cli::args::ResetArgs;
use crate::cli::confirm::confirm;
use crate::cli::output::{self, Output};
use crate::cli::{exit, signals};
use crate::config::settings::Settings;
use crate::pipeline::context::Context;
use crate::pipeline::patience;
use crate::pipeline::reset::{Dropped, Forgotten, Left, ResetError, reset};
use crate::pipeline::status::printable;

/// Version of the JSON's structure.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Json<'a> {
    schema_version: u32,
    pipeline: &'a str,
    /// Nothing is left.
    ok: bool,
    dropped: &'a [Dropped],
    left: &'a [Left],
    notes: &'a [String],
}

pub(crate) async fn execute(settings: Settings, args: ResetArgs) -> ExitCode {
    let what = format!(
        "reset forgets pipeline \"{}\": slot \"{}\" and own publications at {}, the checkpoint in \
         schema \"{}\" at {}, local state in {}. Tables and their rows stay.",
        settings.pipeline,
        settings.source.slot,
        settings.source.conninfo.redacted(),
        settings.destination.state_schema,
        settings.destination.conninfo.redacted(),
        settings.state.dir.display(),
    );
    if let Err(refused) = confirm(&what, args.yes.yes) {
        return refused;
    }
    signals::watch(CancellationToken::new(), signals::OnFirst::Exit);
    let context = Context::of_verb(Arc::new(settings));
    let attempt = async || Box::pin(reset(&context, args.retry.wait)).await;
    let is_passing = |end: &Result<_, _>| match end {
        Err(ResetError::Pipeline(error)) => patience::may_mend_itself(error),
        _ => false,
    };
    match patience::retry(args.retry.wait, attempt, is_passing).await {
        Ok(forgotten) => show(&context.settings.pipeline, &forgotten, args.output.output),
        Err(ResetError::Pipeline(error)) => exit::failed_pipeline(&error),
        Err(error) => {
            output::failure(None, &exit::chain(&error), error.hint().as_deref());
            tracing::error!(hint = error.hint(), "{}", exit::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn show(pipeline: &str, forgotten: &Forgotten, output: Output) -> ExitCode {
    let ok = forgotten.left.is_empty();
    let printed = output::print(&match output {
        Output::Human => human(pipeline, forgotten).expect("writing to a string does not fail"),
        Output::Json => {
            let json = Json {
                schema_version: SCHEMA_VERSION,
                pipeline,
                ok,
                dropped: &forgotten.dropped,
                left: &forgotten.left,
                notes: &forgotten.notes,
            };
            output::json(&json)
        }
    });
    if ok { printed } else { ExitCode::FAILURE }
}

fn human(pipeline: &str, forgotten: &Forgotten) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for dropped in &forgotten.dropped {
        writeln!(text, "dropped ({}): {}", dropped.place.label(), printable(&dropped.object))?;
    }
    for left in &forgotten.left {
        let (object, reason) = (printable(&left.object), printable(&left.reason));
        writeln!(text, "LEFT ({}): {object}: {reason}", left.place.label())?;
        if let Some(statement) = &left.statement {
            writeln!(text, "      {};", printable(statement))?;
        }
    }
    for note in &forgotten.notes {
        writeln!(text, "note: {}", printable(note))?;
    }
    let pipeline = printable(pipeline);
    match (forgotten.dropped.is_empty(), forgotten.left.is_empty()) {
        (true, true) => writeln!(text, "nothing to forget: pipeline \"{pipeline}\" is not known")?,
        (_, true) => writeln!(text, "pipeline \"{pipeline}\" is forgotten")?,
        (_, false) => writeln!(text, "what is left has to be dropped by hand")?,
    }
    Ok(text)
}
