//! `status`: one look at state, positions, lag and tables.

use std::process::ExitCode;

use crate::cli::args::StatusArgs;
use crate::cli::exit;
use crate::config::settings::Settings;
use crate::pipeline::code::Code;

#[expect(clippy::unused_async, reason = "the pipeline's part is awaited here")]
pub(crate) async fn execute(_settings: Settings, args: StatusArgs) -> ExitCode {
    if args.watch {
        return exit::refuse(Code::E_CONFIG, "not yet: flag --watch of \"status\" is not built");
    }
    exit::refuse(Code::E_CONFIG, "not yet: verb \"status\" is not built")
}
