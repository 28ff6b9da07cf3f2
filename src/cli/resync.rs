//! `resync`: asks for tables to be copied again.

use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::cli::args::{ResyncArgs, ResyncMethod};
use crate::cli::confirm::confirm;
use crate::cli::output::{self, Output};
use crate::cli::{exit, signals};
use crate::config::settings::Settings;
use crate::pipeline::code::Code;
use crate::pipeline::context::Context;
use crate::pipeline::patience;
use crate::pipeline::resync::{Requested, ResyncOptions, resync};

/// Version of the JSON's structure.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Json<'a> {
    schema_version: u32,
    pipeline: &'a str,
    request: i64,
    /// `taken`, `waiting` (an agent is busy) or `recorded` (the next run does it).
    outcome: &'static str,
    holder: Option<&'a str>,
}

pub(crate) async fn execute(settings: Settings, args: ResyncArgs) -> ExitCode {
    if args.method == ResyncMethod::Compare {
        let message = "not yet: resync --method compare is not built; \"copy\" is";
        return exit::refuse(Code::E_CONFIG, message);
    }
    let options = ResyncOptions { tables: args.tables.tables, truncate: args.truncate };
    if let Err(refused) = confirm(&announcement(&settings, &options), args.yes.yes) {
        return refused;
    }
    signals::watch(CancellationToken::new(), signals::OnFirst::Exit);
    let context = Context::of_verb(Arc::new(settings));
    let attempt = async || Box::pin(resync(&context, &options)).await;
    let is_passing = |end: &Result<_, _>| end.as_ref().is_err_and(patience::may_mend_itself);
    match patience::retry(args.retry.wait, attempt, is_passing).await {
        Ok(requested) => show(&context.settings.pipeline, &requested, args.tables.output.output),
        Err(error) => exit::failed_pipeline(&error),
    }
}

fn announcement(settings: &Settings, options: &ResyncOptions) -> String {
    let tables = match options.tables.is_empty() {
        true => "every table".to_owned(),
        false => {
            let names: Vec<String> = options.tables.iter().map(ToString::to_string).collect();
            names.join(", ")
        }
    };
    let how = match options.truncate {
        true => "the destination's rows are removed first",
        false => "the destination's rows are replaced in one transaction a table",
    };
    format!("resync copies {tables} of pipeline \"{}\" again: {how}.", settings.pipeline)
}

fn show(pipeline: &str, requested: &Requested, output: Output) -> ExitCode {
    let (request, outcome, holder) = match requested {
        Requested::Taken { id } => (*id, "taken", None),
        Requested::Waiting { id, holder } => (*id, "waiting", Some(holder.as_str())),
        Requested::Recorded { id } => (*id, "recorded", None),
    };
    output::print(&match output {
        Output::Human => match requested {
            Requested::Taken { id } => format!(
                "request {id}: the agent has taken it; \"sync-agent wait --for streaming\" returns when the copy is done\n"
            ),
            Requested::Waiting { id, holder } => format!(
                "request {id}: recorded; the agent ({holder}) is busy and takes it when it comes to it\n"
            ),
            Requested::Recorded { id } => format!(
                "request {id}: recorded; no agent is at work, the next \"sync-agent run\" does it\n"
            ),
        },
        Output::Json => {
            let json = Json { schema_version: SCHEMA_VERSION, pipeline, request, outcome, holder };
            let text = serde_json::to_string(&json).expect("plain data becomes JSON");
            format!("{text}\n")
        }
    })
}
