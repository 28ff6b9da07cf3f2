//! `completions`: a shell's completions, to stdout.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::args::{Cli, CompletionsArgs};
use crate::cli::output;

pub(crate) fn execute(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sync-agent", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
