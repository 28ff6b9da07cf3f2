//! `reset`: forgets the pipeline; never touches user tables.

use std::process::ExitCode;

use crate::cli::args::ResetArgs;
use crate::cli::exit;
use crate::config::settings::Settings;
use crate::pipeline::code::Code;

#[expect(clippy::unused_async, reason = "the pipeline's part is awaited here")]
pub(crate) async fn execute(_settings: Settings, _args: ResetArgs) -> ExitCode {
    exit::refuse(Code::E_CONFIG, "not yet: verb \"reset\" is not built")
}
