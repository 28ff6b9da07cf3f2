//! Results on stdout.
//!
//! A verb's result is printed once, by the verb. Where JSON was asked for, a verb that fails prints
//! one object too ([`failure`]): who reads stdout gets JSON in every case.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::cli::{exit, progress};
use crate::pipeline::code::Code;

/// Who reads the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Human,
    Json,
}

/// What the verb was asked for: known before it starts, the same until the process ends.
static CHOSEN: OnceLock<Output> = OnceLock::new();

/// Remembers what the arguments ask for. Only the first call counts.
pub(crate) fn choose(output: Output) {
    // A second call would be a second verb.
    let _ = CHOSEN.set(output);
}

fn is_json() -> bool {
    CHOSEN.get() == Some(&Output::Json)
}

/// Writes a result. A reader that has gone away (`| head`) is no failure.
pub fn print(text: &str) -> ExitCode {
    match write(text) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
            exit::refuse(Code::E_IO, &format!("cannot write to stdout: {err}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Writes a part of a result that goes on; the caller decides about a reader that has gone away.
pub(crate) fn write(text: &str) -> io::Result<()> {
    progress::suspended(|| {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    })
}

/// One JSON object on one line.
pub(crate) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("plain data becomes JSON");
    format!("{text}\n")
}

// === failures ===

/// Version of [`Failure`]'s structure; fields may be added under the same one.
const FAILURE_SCHEMA_VERSION: u32 = 1;

/// What stdout gets of a verb that failed, where JSON was asked for.
#[derive(Serialize)]
struct Failure<'a> {
    schema_version: u32,
    /// Always false: by this a failure is told from a result.
    ok: bool,
    /// `None` where no code says it: arguments that do not go together, an interrupt.
    code: Option<&'static str>,
    reason: &'a str,
    hint: Option<&'a str>,
    /// Every error of a configuration with its place; else empty.
    errors: &'a [Value],
}

/// The object for a failure, one line.
pub(crate) fn failure_line(code: Option<Code>, reason: &str, hint: Option<&str>) -> String {
    let code = code.map(Code::as_str);
    json(&Failure {
        schema_version: FAILURE_SCHEMA_VERSION,
        ok: false,
        code,
        reason,
        hint,
        errors: &[],
    })
}

/// Prints the object where JSON was asked for, else nothing: people read stderr.
pub(crate) fn failure(code: Option<Code>, reason: &str, hint: Option<&str>) {
    if is_json() {
        // The exit code is the failure's, whatever becomes of stdout.
        let _ = write(&failure_line(code, reason, hint));
    }
}

/// The same for a configuration with all its errors.
pub(crate) fn config_failure(errors: &[Value], reason: &str) {
    if is_json() {
        let failure = Failure {
            schema_version: FAILURE_SCHEMA_VERSION,
            ok: false,
            code: Some(Code::E_CONFIG.as_str()),
            reason,
            hint: None,
            errors,
        };
        let _ = write(&json(&failure));
    }
}
