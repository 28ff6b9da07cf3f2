//! `run`: copy what has not been copied, then tail until stopped.

use std::process::ExitCode;

use crate::cli::args::RunArgs;
use crate::cli::exit;
use crate::config::settings::Settings;
use crate::pipeline::code::Code;

#[expect(clippy::unused_async, reason = "the pipeline's part is awaited here")]
pub(crate) async fn execute(settings: Settings, args: RunArgs) -> ExitCode {
    if args.keep_old_rows {
        let message = "not yet: flag --keep-old-rows of \"run\" is not built";
        return exit::refuse(Code::E_CONFIG, message);
    }
    if settings.query_count > 0 {
        let count = settings.query_count;
        tracing::warn!(count, "queries are for \"snapshot\" and are left aside");
    }
    exit::refuse(Code::E_CONFIG, "not yet: verb \"run\" is not built")
}
