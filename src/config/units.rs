//! Durations and sizes as people write them.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::fmt::friendly::SpanParser;

/// Beyond this a size is a slip of the pen (8 EiB; also what SQL's bigint can hold).
const SIZE_MAX: u64 = i64::MAX as u64;

/// Beyond this a duration is a slip of the pen, and clocks overflow (about 1000 years).
const DURATION_MAX: Duration = Duration::from_secs(1000 * 366 * 86_400);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("\"{0}\" is not a duration")]
    Duration(String),
    #[error("\"{0}\" is not a size")]
    Size(String),
    #[error("\"{0}\" must not be negative")]
    Negative(String),
    #[error("\"{0}\" is too large")]
    TooLarge(String),
}

impl UnitError {
    pub fn hint(&self) -> &'static str {
        match self {
            UnitError::Duration(_) => "Write a number with a unit: \"5ms\", \"10s\", \"1h30m\".",
            UnitError::Size(_) => "Write a number with a unit: \"64MiB\", \"20GiB\", \"500KB\".",
            UnitError::Negative(_) | UnitError::TooLarge(_) => "Write a smaller, positive number.",
        }
    }
}

/// `10s`, `5ms`, `1h30m`. Never negative.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let signed = SpanParser::new()
        .parse_duration(text.trim())
        .map_err(|_| UnitError::Duration(text.to_owned()))?;
    let duration = Duration::try_from(signed).map_err(|_| UnitError::Negative(text.to_owned()))?;
    if duration > DURATION_MAX {
        return Err(UnitError::TooLarge(text.to_owned()));
    }
    Ok(duration)
}

/// `64MiB`, `500KB`, `1024`: KB is 1000, KiB is 1024.
pub fn size(text: &str) -> Result<u64, UnitError> {
    if text.trim_start().starts_with('-') {
        return Err(UnitError::Negative(text.to_owned()));
    }
    let size: ByteSize = text.trim().parse().map_err(|_| UnitError::Size(text.to_owned()))?;
    if size.as_u64() > SIZE_MAX {
        return Err(UnitError::TooLarge(text.to_owned()));
    }
    Ok(size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_are_never_negative() {
        assert_eq!(duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("10"), Err(UnitError::Duration("10".into())));
        assert_eq!(duration(""), Err(UnitError::Duration("".into())));
        assert_eq!(duration("-3s"), Err(UnitError::Negative("-3s".into())));
        assert_eq!(duration("99999999h"), Err(UnitError::TooLarge("99999999h".into())));
    }

    #[test]
    fn sizes_know_both_kinds_of_kilo() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1 KB"), Ok(1000));
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("-1MiB"), Err(UnitError::Negative("-1MiB".into())));
        assert_eq!(size("lots"), Err(UnitError::Size("lots".into())));
        assert_eq!(size("99999999999PiB"), Err(UnitError::TooLarge("99999999999PiB".into())));
    }
}
