//! Results on stdout.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;

use crate::cli::{exit, progress};
use crate::pipeline::code::Code;

/// Who reads the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Human,
    Json,
}

/// Writes a result. A reader that has gone away (`| head`) is no failure.
pub fn print(text: &str) -> ExitCode {
    let written = progress::suspended(|| {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    });
    match written {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
            exit::refuse(Code::E_IO, &format!("cannot write to stdout: {err}"))
        }
        _ => ExitCode::SUCCESS,
    }
}
