//! Exit codes, and the last words before them.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use crate::cli::output;
use crate::pipeline::code::Code;
use crate::pipeline::error::PipelineError;
use crate::pipeline::policy::judge;

/// The arguments do not go together; also clap's code for arguments it cannot read.
pub const USAGE: u8 = 2;
/// Interrupted by SIGINT, SIGTERM: 128 and the signal, as shells have it.
pub const INTERRUPTED: u8 = 130;
pub const TERMINATED: u8 = 143;

/// Ends a verb before there is a log: one line on stderr, `E_…: message`.
pub fn refuse(code: Code, message: &str) -> ExitCode {
    output::failure(Some(code), message, None);
    last_words(&format!("{code}: {message}"));
    ExitCode::from(code.exit_code())
}

/// Ends a verb whose arguments do not go together.
pub fn usage(message: &str) -> ExitCode {
    output::failure(None, message, None);
    last_words(&format!("error: {message}"));
    ExitCode::from(USAGE)
}

/// Ends a verb on an error: one ERROR in the log with its code, its causes and its hint.
pub fn failed(code: Code, error: &dyn Error, hint: Option<&str>) -> ExitCode {
    output::failure(Some(code), &chain(error), hint);
    tracing::error!(code = code.as_str(), hint, "{}", chain(error));
    ExitCode::from(code.exit_code())
}

/// The same for what stopped a pipeline's part, which knows its code; no row's values are shown.
pub fn failed_pipeline(error: &PipelineError) -> ExitCode {
    let hint = error.hint();
    output::failure(Some(judge(error, false).code), &error.chain(), hint.as_deref());
    log_failure(error)
}

/// The log's part of it alone, for a verb whose own result holds the failure.
pub(crate) fn log_failure(error: &PipelineError) -> ExitCode {
    let code = judge(error, false).code;
    let hint = error.hint();
    tracing::error!(code = code.as_str(), hint, "{}", error.chain());
    ExitCode::from(code.exit_code())
}

/// An error with its causes, outermost first.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn last_words(line: &str) {
    // There is nowhere left to report a closed stderr to.
    let _ = writeln!(std::io::stderr(), "{line}");
}
