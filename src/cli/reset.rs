//! `reset`: forgets the pipeline; never touches user tables.

use std::process::ExitCode;

use crate::cli::args::ResetArgs;
use crate::cli::confirm::confirm;
use crate::cli::exit;
use crate::config::settings::Settings;
use crate::pipeline::code::Code;

#[expect(clippy::unused_async, reason = "the pipeline's part is awaited here")]
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
    exit::refuse(Code::E_CONFIG, "not yet: verb \"reset\" is not built")
}
