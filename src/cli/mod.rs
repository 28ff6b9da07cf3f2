//! The command line.

/// Parses the arguments, runs the verb, returns its exit code.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(2)
}
