//! `config-schema`: the JSON schema of the configuration file, for editors.

use std::process::ExitCode;

use crate::cli::output;
use crate::config::schema;

pub(crate) fn execute() -> ExitCode {
    output::print(&schema::text())
}
