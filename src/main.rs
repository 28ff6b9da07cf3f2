//! The binary: parse, settings, runtime, run, exit code. Everything else is in the library.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    sync_agent::cli::main()
}
