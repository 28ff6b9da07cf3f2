//! `snapshot`: one-off backfill without a slot.

use std::process::ExitCode;

use crate::cli::args::SnapshotArgs;
use crate::cli::exit;
use crate::config::settings::Settings;
use crate::pipeline::code::Code;

#[expect(clippy::unused_async, reason = "the pipeline's part is awaited here")]
pub(crate) async fn execute(_settings: Settings, _args: SnapshotArgs) -> ExitCode {
    exit::refuse(Code::E_CONFIG, "not yet: verb \"snapshot\" is not built")
}
