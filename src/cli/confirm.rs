//! Asking before something is destroyed.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use crate::cli::{exit, progress};

/// Says what will happen and asks on a terminal; elsewhere `--yes` must have been given. `Err` is
/// how the verb ends.
pub fn confirm(what: &str, is_agreed: bool) -> Result<(), ExitCode> {
    if is_agreed {
        return Ok(());
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(exit::usage(&format!("{what}\n  This needs --yes where nobody can be asked.")));
    }
    let answer = progress::suspended(|| {
        let mut answer = String::new();
        write!(io::stderr(), "{what}\nGo on? [y/N] ")
            .and_then(|()| io::stdin().lock().read_line(&mut answer))
            .map(|_| answer)
    });
    match answer.as_deref().map(str::trim) {
        Ok("y" | "Y" | "yes") => Ok(()),
        _ => Err(exit::usage("nothing was done")),
    }
}
