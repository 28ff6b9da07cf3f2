//! `check`: preflight of configuration, source and destination; creates nothing.

use std::process::ExitCode;

use crate::cli::args::CheckArgs;
use crate::cli::exit;
use crate::config::settings::Settings;
use crate::pipeline::code::Code;

#[expect(clippy::unused_async, reason = "the pipeline's part is awaited here")]
pub(crate) async fn execute(_settings: Settings, _args: CheckArgs) -> ExitCode {
    exit::refuse(Code::E_CONFIG, "not yet: verb \"check\" is not built")
}
