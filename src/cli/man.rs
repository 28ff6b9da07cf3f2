//! `man`: the man page to stdout, or a page per verb into a directory.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::args::{Cli, ManArgs};
use crate::cli::{exit, output};
use crate::pipeline::code::Code;

pub(crate) fn execute(args: &ManArgs) -> ExitCode {
    let command = Cli::command();
    if let Some(dir) = &args.dir {
        let made = std::fs::create_dir_all(dir);
        return match made.and_then(|()| clap_mangen::generate_to(command, dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(err) => {
                let message = format!("cannot write to \"{}\": {err}", dir.display());
                exit::refuse(Code::E_IO, &message)
            }
        };
    }
    let mut page = Vec::new();
    match clap_mangen::Man::new(command).render(&mut page) {
        Ok(()) => output::print(&String::from_utf8_lossy(&page)),
        Err(err) => exit::refuse(Code::E_IO, &format!("cannot render the page: {err}")),
    }
}
