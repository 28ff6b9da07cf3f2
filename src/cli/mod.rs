//! The command line: one file per verb, thin.
//!
//! ```text
//! arguments ─► verb ─► settings ─► log ─► runtime ─► execute ─► exit code
//!    (2)       (3)       (3)
//! ```
//!
//! **Invariant:** a step starts only when the one before it succeeded, so bad arguments (exit 2)
//! and a bad configuration (exit 3) have started nothing: no thread, no connection, no file.
//! Results go to stdout, logs and progress to stderr.

mod args;
mod check;
mod completions;
mod config_schema;
pub mod confirm;
pub mod exit;
mod init;
pub mod logging;
mod man;
pub mod output;
mod preview;
pub mod progress;
mod reset;
mod resync;
mod run;
mod signals;
mod snapshot;
mod status;
mod wait;

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::cli::args::{Cli, Global, Verb};
use crate::cli::logging::LogFormat;
use crate::config::diagnostics::ConfigErrors;
use crate::config::load::{Inputs, Purpose, load};
use crate::config::settings::Settings;
use crate::failpoint;
use crate::pace;
use crate::pg::conninfo::system_environment;
use crate::pipeline::code::Code;

/// Threads that the runtime works with. The work is waiting for two servers; a second thread lets
/// the next batch be decoded while one is applied.
const RUNTIME_THREAD_COUNT: usize = 2;

/// Parses the arguments, runs the verb, returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = failpoint::arm() {
        return exit::refuse(Code::E_CONFIG, &error.to_string());
    }
    if let Err(error) = pace::set() {
        return exit::refuse(Code::E_CONFIG, &error.to_string());
    }
    let global = &cli.global;
    output::choose(cli.verb.output());
    match cli.verb {
        Verb::Run(args) => {
            configured(global, Purpose::Run, |settings| start(run::execute(settings, args)))
        }
        Verb::Snapshot(args) => configured(global, Purpose::Snapshot, |settings| {
            start(snapshot::execute(settings, args))
        }),
        Verb::Check(args) => {
            configured(global, Purpose::Other, |settings| start(check::execute(settings, args)))
        }
        Verb::Status(args) => {
            configured(global, Purpose::Other, |settings| start(status::execute(settings, args)))
        }
        Verb::Wait(args) => {
            configured(global, Purpose::Other, |settings| start(wait::execute(settings, args)))
        }
        Verb::Reset(args) => {
            configured(global, Purpose::Other, |settings| start(reset::execute(settings, args)))
        }
        Verb::Resync(args) => {
            configured(global, Purpose::Other, |settings| start(resync::execute(settings, args)))
        }
        Verb::Preview(args) => {
            configured(global, Purpose::Other, |settings| start(preview::execute(settings, args)))
        }
        Verb::ConfigSchema => config_schema::execute(),
        Verb::Completions(args) => completions::execute(&args),
        Verb::Man(args) => man::execute(&args),
        Verb::Verify(_) => not_built("verify"),
        Verb::Pause(_) => not_built("pause"),
        Verb::Resume(_) => not_built("resume"),
        Verb::DeadLetters(_) => not_built("dead-letters"),
        Verb::Schema(_) => not_built("schema"),
        Verb::Cutover(_) => not_built("cutover"),
        Verb::Init(args) => {
            let has_patterns = !global.include.is_empty();
            configured(global, Purpose::Other, |settings| {
                start(init::execute(settings, args, has_patterns))
            })
        }
    }
}

fn not_built(verb: &str) -> ExitCode {
    exit::refuse(Code::E_CONFIG, &format!("not yet: verb \"{verb}\" is not built"))
}

/// Loads the settings, sets the log up, runs the body.
fn configured(
    global: &Global,
    purpose: Purpose,
    body: impl FnOnce(Settings) -> ExitCode,
) -> ExitCode {
    let mut inputs = Inputs::new(&system_environment, purpose);
    inputs.config = global.config.clone();
    inputs.source = global.source.clone();
    inputs.destination = global.destination.clone();
    inputs.include = global.include.clone();
    inputs.exclude = global.exclude.clone();
    inputs.set = global.set.clone();
    match load(&inputs) {
        Ok(settings) => {
            logging::init(global.log_format, &global.log_level);
            body(settings)
        }
        Err(errors) => {
            report(&errors, global.log_format);
            ExitCode::from(Code::E_CONFIG.exit_code())
        }
    }
}

/// All errors at once: for people, unless JSON was asked for by name.
fn report(errors: &ConfigErrors, format: LogFormat) {
    let count = errors.iter().count();
    let reason = match errors.iter().next() {
        Some(error) if count == 1 => error.to_string(),
        _ => format!("{count} errors in the configuration"),
    };
    output::config_failure(&errors.objects(), &reason);
    let mut stderr = std::io::stderr().lock();
    let text = match format {
        LogFormat::Json => errors.render_json(),
        LogFormat::Auto | LogFormat::Pretty => {
            errors.render(stderr.is_terminal() && logging::colors_wanted())
        }
    };
    // There is nowhere left to report a closed stderr to.
    let _ = stderr.write_all(text.as_bytes());
}

/// Runs a verb's body on a runtime of its own.
fn start(body: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREAD_COUNT)
        .thread_name("sync-agent")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(Box::pin(body)),
        Err(err) => exit::refuse(Code::E_IO, &format!("cannot start threads: {err}")),
    }
}

#[cfg(test)]
mod tests;
