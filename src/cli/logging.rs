//! The log: one line an event on stderr, for people on a terminal, as JSON elsewhere.
//!
//! Lines are handed to [`progress`], which takes the bars off the terminal
//! while they are written. Levels are meant for an operator: ERROR halts or ends something, WARN
//! wants a look some day, INFO tells the state, DEBUG is for us. Row values are never logged.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::progress;

/// What other crates may say: their INFO is our DEBUG.
const OTHERS: &str = "warn";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    Pretty,
    Json,
}

impl LogFormat {
    pub(crate) fn parse(text: &str) -> Result<LogFormat, String> {
        match text {
            // An empty variable counts as not set.
            "" | "auto" => Ok(LogFormat::Auto),
            "pretty" => Ok(LogFormat::Pretty),
            "json" => Ok(LogFormat::Json),
            _ => Err("expected auto, pretty or json".to_owned()),
        }
    }
}

/// Filter directives that are known to parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

impl LogLevel {
    /// A level for our own events (`debug`), or directives for anybody's
    /// (`sync_agent::wire=trace,rustls=debug`).
    pub(crate) fn parse(text: &str) -> Result<LogLevel, String> {
        let directives = match text.to_ascii_lowercase().as_str() {
            "" => format!("{OTHERS},sync_agent=info"),
            "off" => "off".to_owned(),
            level @ ("error" | "warn" | "info" | "debug" | "trace") => {
                format!("{OTHERS},sync_agent={level}")
            }
            _ if text.contains('=') => format!("{OTHERS},sync_agent=info,{text}"),
            _ => return Err("expected error, warn, info, debug, trace or directives".to_owned()),
        };
        EnvFilter::try_new(&directives).map_err(|err| err.to_string())?;
        Ok(LogLevel(directives))
    }
}

/// Sets the log up for the rest of the process. A second call does nothing.
pub fn init(format: LogFormat, level: &LogLevel) {
    let is_terminal = io::stderr().is_terminal();
    let filter = EnvFilter::new(&level.0);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(LogWriter);
    // `try_init` fails only where a test has set one up already.
    let _ = match format {
        LogFormat::Auto if is_terminal => {
            builder.with_ansi(colors_wanted()).with_target(false).try_init()
        }
        LogFormat::Pretty => {
            builder.with_ansi(is_terminal && colors_wanted()).with_target(false).try_init()
        }
        LogFormat::Auto | LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
    };
}

/// Whether colors are wanted on a terminal (no-color.org).
pub(crate) fn colors_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Hands each event to stderr in one piece.
#[derive(Clone, Copy, Debug)]
struct LogWriter;

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine(Vec::new())
    }
}

/// One event, written when it is complete.
struct LogLine(Vec<u8>);

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let line = in_one_line(std::mem::take(&mut self.0));
        // A closed stderr is no reason to stop replicating.
        progress::suspended(|| {
            let _ = io::stderr().lock().write_all(&line);
        });
    }
}

/// An event is one line, whatever the names in it hold: who reads the log by lines must not take a
/// part of a name for an event. JSON escapes them itself; the formatter for people leaves line ends
/// and tabs as they are, and escapes what could steer a terminal.
fn in_one_line(event: Vec<u8>) -> Vec<u8> {
    let end = event.len() - usize::from(event.ends_with(b"\n"));
    if !event[..end].iter().any(|byte| needs_escape(*byte)) {
        return event;
    }
    let mut line = Vec::with_capacity(event.len() + 8);
    for &byte in &event[..end] {
        match needs_escape(byte) {
            true => line.extend(byte.escape_ascii()),
            false => line.push(byte),
        }
    }
    line.extend_from_slice(&event[end..]);
    line
}

/// Control characters but for the escape of our own colors, and DEL, which JSON leaves as it is.
fn needs_escape(byte: u8) -> bool {
    byte < b' ' && byte != b'\x1b'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_for_our_events() {
        let directives = |text: &str| LogLevel::parse(text).map(|level| level.0);
        assert_eq!(directives("debug").as_deref(), Ok("warn,sync_agent=debug"));
        assert_eq!(directives("").as_deref(), Ok("warn,sync_agent=info"));
        let both = directives("sync_agent::wire=trace,rustls=debug");
        assert_eq!(both.as_deref(), Ok("warn,sync_agent=info,sync_agent::wire=trace,rustls=debug"));
        assert!(LogLevel::parse("loud").is_err());
        assert!(LogLevel::parse("sync_agent=loud").is_err());
    }

    #[test]
    fn an_event_is_one_line_whatever_it_holds() {
        let line = |text: &str| String::from_utf8(in_one_line(text.into())).expect("text");
        assert_eq!(line("\u{1b}[2m12:00\u{1b}[0m größe\n"), "\u{1b}[2m12:00\u{1b}[0m größe\n");
        assert_eq!(line("a\nb\r\tc\u{1}\n"), "a\\nb\\r\\tc\\x01\n");
    }
}
