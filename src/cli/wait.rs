//! `wait`: returns when a state or a position is reached.

use std::process::ExitCode;

use crate::cli::args::WaitArgs;
use crate::cli::exit;
use crate::config::settings::Settings;
use crate::pipeline::code::Code;

#[expect(clippy::unused_async, reason = "the pipeline's part is awaited here")]
pub(crate) async fn execute(_settings: Settings, _args: WaitArgs) -> ExitCode {
    exit::refuse(Code::E_CONFIG, "not yet: verb \"wait\" is not built")
}
