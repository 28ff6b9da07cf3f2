//! One picture after the other on a terminal.
//!
//! The terminal's other screen is used, so that what was there before comes back at the end; the
//! last picture then stands below it. A picture is written in one piece over the one before it,
//! line by line, each erased behind its end only: nothing is blank in between, so nothing flickers.

use std::fmt::Write as _;
use std::io;

use console::{Term, truncate_str};

use crate::cli::output;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const ERASE_LINE_END: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";

/// For a terminal that does not tell its size.
const SIZE: (u16, u16) = (24, 80);

/// The terminal while pictures are on it. Dropped, the terminal is as it was.
pub(super) struct Screen {
    last: String,
}

impl Screen {
    /// `None` where stdout is no terminal, or one that cannot move its cursor.
    pub(super) fn open() -> Option<Screen> {
        let can_move =
            std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty());
        if !(Term::stdout().is_term() && can_move) {
            return None;
        }
        output::write(ENTER).ok()?;
        Some(Screen { last: String::new() })
    }

    /// Shows the text, as much of it as the terminal has room for at this moment.
    pub(super) fn draw(&mut self, text: &str) -> io::Result<()> {
        let (rows, columns) = Term::stdout().size_checked().unwrap_or(SIZE);
        text.clone_into(&mut self.last);
        output::write(&picture(text, usize::from(rows), usize::from(columns)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = output::write(&format!("{LEAVE}{}", self.last));
    }
}

/// The bytes that put `text` over whatever is there.
fn picture(text: &str, rows: usize, columns: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let hidden = lines.len().saturating_sub(rows);
    // The last row is needed to say that there is more.
    let shown = if hidden > 0 { rows.saturating_sub(1) } else { lines.len() };
    let mut bytes = String::from(HOME);
    for (index, line) in lines.iter().take(shown).enumerate() {
        let end = if index + 1 < rows { "\r\n" } else { "" };
        write!(bytes, "{}{ERASE_LINE_END}{end}", truncate_str(line, columns, "…"))
            .expect("writing to a string does not fail");
    }
    if hidden > 0 {
        let more = format!("… {} more lines: a larger terminal shows them", hidden + 1);
        write!(bytes, "{}{ERASE_LINE_END}", truncate_str(&more, columns, "…"))
            .expect("writing to a string does not fail");
    }
    bytes.push_str(ERASE_BELOW);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_its_terminal_and_says_what_it_left_out() {
        let text = "one\ntwo which is long\nthree\nfour\n";
        let small = picture(text, 3, 8);
        assert_eq!(small, "\x1b[Hone\x1b[K\r\ntwo whi…\x1b[K\r\n… 2 mor…\x1b[K\x1b[J");
        let exact = picture(text, 4, 80);
        assert!(exact.ends_with("four\x1b[K\x1b[J"), "no scrolling: {exact:?}");
        let large = picture(text, 50, 80);
        assert!(large.ends_with("four\x1b[K\r\n\x1b[J"), "{large:?}");
    }
}
