//! The steps that make values, as meant: what can be wrong with one is found when it is read.

use std::fmt;

use secrecy::SecretString;

/// Which characters of a value give way to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All of them.
    Full,
    /// Those before the last `@`, the first left aside.
    Email,
    Parts {
        keep_first: usize,
        keep_last: usize,
        with: char,
    },
}

/// A value that is made up from the value and a secret.
#[derive(Clone, Debug)]
pub struct Fake {
    pub kind: FakeKind,
    pub key: SecretString,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FakeKind {
    Name,
    FirstName,
    LastName,
    Email,
    Phone,
    Uuid,
}

impl FakeKind {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            FakeKind::Name => "name",
            FakeKind::FirstName => "first_name",
            FakeKind::LastName => "last_name",
            FakeKind::Email => "email",
            FakeKind::Phone => "phone",
            FakeKind::Uuid => "uuid",
        }
    }
}

/// Most paths of one `json_drop`: they are the bits of a number.
pub const JSON_PATHS_MAX: usize = 64;

/// Where a value lies in a JSON value, from the outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath(pub Vec<JsonSegment>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonSegment {
    /// Every key, every element.
    Any,
    Named {
        key: String,
        /// The element of an array that the key stands for; negative ones count from its end.
        index: Option<i64>,
    },
}

impl JsonPath {
    /// `a.b.0`; `*` is every key or element; a key in double quotes is taken as it is, with `""` for
    /// a quote.
    pub fn parse(text: &str) -> Result<JsonPath, &'static str> {
        let mut segments = Vec::new();
        let mut rest = text;
        loop {
            let (segment, after) = match rest.strip_prefix('"') {
                Some(quoted) => {
                    let (key, after) = unquoted(quoted).ok_or("has a quote without an end")?;
                    (JsonSegment::Named { key, index: None }, after)
                }
                None => {
                    let end = rest.find('.').unwrap_or(rest.len());
                    (bare(&rest[..end])?, &rest[end..])
                }
            };
            segments.push(segment);
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(JsonPath(segments)),
                None => return Err("has something behind a closing quote"),
            }
        }
    }
}

fn bare(word: &str) -> Result<JsonSegment, &'static str> {
    match word {
        "" => Err("has an empty part"),
        "*" => Ok(JsonSegment::Any),
        _ => Ok(JsonSegment::Named { key: word.to_owned(), index: word.parse().ok() }),
    }
}

/// The text up to the closing quote, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut key = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        key.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                key.push('"');
                rest = after;
            }
            None => return Some((key, rest)),
        }
    }
}

/// What is written for it.
impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(".")?;
            }
            match segment {
                JsonSegment::Any => f.write_str("*")?,
                JsonSegment::Named { key, index: Some(_) } => f.write_str(key)?,
                JsonSegment::Named { key, index: None } => {
                    write!(f, "\"{}\"", key.replace('"', "\"\""))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(key: &str, index: Option<i64>) -> JsonSegment {
        JsonSegment::Named { key: key.to_owned(), index }
    }

    #[test]
    fn paths_are_read_from_the_outside_in() {
        let parsed = |text| JsonPath::parse(text).expect("a path").0;
        assert_eq!(parsed("address.street"), [named("address", None), named("street", None)]);
        assert_eq!(parsed("tags.0"), [named("tags", None), named("0", Some(0))]);
        assert_eq!(parsed("-1"), [named("-1", Some(-1))]);
        assert_eq!(parsed("*.card"), [JsonSegment::Any, named("card", None)]);
        assert_eq!(
            parsed(r#""*"."a.b"."c""d".e"#),
            ["*", "a.b", "c\"d", "e"].map(|k| named(k, None))
        );
        assert_eq!(parsed(r#""""#), [named("", None)]);
    }

    #[test]
    fn what_is_no_path_is_said() {
        for broken in ["", ".", "a.", ".a", "a..b", r#""a"#, r#""a"b"#, r#"a."b"c"#] {
            assert!(JsonPath::parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn one_path_has_one_text() {
        for (written, canonical) in [("a.b", r#""a"."b""#), (r#""a".*.0"#, r#""a".*.0"#)] {
            assert_eq!(JsonPath::parse(written).expect("a path").to_string(), canonical);
        }
    }
}
