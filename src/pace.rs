//! How often the agent looks at what nobody announces; a test has it look more often.
//!
//! In: `SYNC_AGENT_LOOKS_MS`, read once at start ([`set`]): no such pause is longer. The hard question is
//! the same as with failpoints, and has the same answer: without `debug_assertions` the variable is not
//! read, so that nobody loads a server with looks by it.

#[cfg(not(debug_assertions))]
use std::time::Duration;

/// Why the variable cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PaceError {
    #[error("SYNC_AGENT_LOOKS_MS is not a number of milliseconds above 0: \"{text}\"")]
    Unreadable { text: String },
}

/// The pause between two looks, which is `usual` for everybody but a test.
#[cfg(not(debug_assertions))]
#[inline]
pub fn between_looks(usual: Duration) -> Duration {
    usual
}

/// A release build has one pace.
#[cfg(not(debug_assertions))]
#[inline]
pub fn set() -> Result<(), PaceError> {
    Ok(())
}

#[cfg(debug_assertions)]
pub use chosen::{between_looks, set};

#[cfg(debug_assertions)]
mod chosen {
    use std::sync::OnceLock;
    use std::time::Duration;

    use super::PaceError;

    const VARIABLE: &str = "SYNC_AGENT_LOOKS_MS";

    static LONGEST: OnceLock<Duration> = OnceLock::new();

    /// Reads the variable; without it the pace is the usual one.
    pub fn set() -> Result<(), PaceError> {
        let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
        // A second call of the same process changes nothing.
        let _ = LONGEST.set(parse(&text.to_string_lossy())?);
        Ok(())
    }

    /// The pause between two looks, which is `usual` for everybody but a test.
    pub fn between_looks(usual: Duration) -> Duration {
        LONGEST.get().map_or(usual, |longest| usual.min(*longest))
    }

    pub(super) fn parse(text: &str) -> Result<Duration, PaceError> {
        let milliseconds = text.parse().ok().filter(|milliseconds| *milliseconds > 0);
        let unreadable = || PaceError::Unreadable { text: text.to_owned() };
        milliseconds.map(Duration::from_millis).ok_or_else(unreadable)
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::time::Duration;

    use super::chosen::parse;

    #[test]
    fn a_pace_is_a_number_of_milliseconds() {
        assert_eq!(parse("500").expect("it is one"), Duration::from_millis(500));
        for text in ["", "0", "1s", "-1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
