//! A regular expression and what takes the place of its matches.
//!
//! The replacement is taken apart here, so that a group that the pattern does not have is an error of
//! the configuration and not an empty text in every row.

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may have: large ones are slips of counted repetition.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Bytes that a pattern's states may have while it runs, for each thread that runs it.
const STATES_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct Replacement {
    pub pattern: Regex,
    /// As written.
    pub with: String,
    pub parts: Vec<ReplacementPart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplacementPart {
    Text(String),
    /// What the group matched; nothing where it took no part.
    Group(usize),
}

/// What is wrong, and with which of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplacementError {
    Pattern(String),
    With(String),
}

impl Replacement {
    pub fn new(pattern: &str, with: &str) -> Result<Replacement, ReplacementError> {
        let compiled = RegexBuilder::new(pattern)
            // As in PostgreSQL.
            .dot_matches_new_line(true)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(STATES_BYTES_MAX)
            .build();
        let pattern = compiled.map_err(|error| ReplacementError::Pattern(reason(&error)))?;
        let parts = parts(&pattern, with).map_err(ReplacementError::With)?;
        Ok(Replacement { pattern, with: with.to_owned(), parts })
    }
}

/// One line; the library's own shows the pattern again, over several.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("would take more than {} KiB", limit >> 10)
        }
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

fn parts(pattern: &Regex, with: &str) -> Result<Vec<ReplacementPart>, String> {
    if with.contains('\0') {
        return Err("has a zero byte, which no text can hold".to_owned());
    }
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = with;
    while let Some(place) = rest.find('$') {
        text.push_str(&rest[..place]);
        rest = &rest[place + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            text.push('$');
            rest = after;
            continue;
        }
        let (name, after) = reference(rest)?;
        let group = group(pattern, name).ok_or_else(|| {
            format!("names the group \"{name}\", which the pattern does not have")
        })?;
        if !text.is_empty() {
            parts.push(ReplacementPart::Text(std::mem::take(&mut text)));
        }
        parts.push(ReplacementPart::Group(group));
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(ReplacementPart::Text(text));
    }
    Ok(parts)
}

/// The group's name behind a `$`, and what follows it.
fn reference(rest: &str) -> Result<(&str, &str), String> {
    if let Some(braced) = rest.strip_prefix('{') {
        return braced.split_once('}').ok_or_else(|| "has a \"${\" without an end".to_owned());
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    match end {
        0 => Err("has a \"$\" that names no group; write \"$$\" for a dollar sign".to_owned()),
        _ => Ok(rest.split_at(end)),
    }
}

fn group(pattern: &Regex, name: &str) -> Option<usize> {
    match name.parse::<usize>() {
        Ok(number) => (number < pattern.captures_len()).then_some(number),
        Err(_) => pattern.capture_names().position(|known| known == Some(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts_of(pattern: &str, with: &str) -> Vec<ReplacementPart> {
        Replacement::new(pattern, with).expect("compiles").parts
    }

    #[test]
    fn groups_are_found_by_number_and_name() {
        let text = |text: &str| ReplacementPart::Text(text.to_owned());
        let group = ReplacementPart::Group;
        assert_eq!(parts_of("a", "x$$y"), [text("x$y")]);
        assert_eq!(parts_of("a", ""), []);
        assert_eq!(parts_of("(a)(b)", "$2-${1}c"), [group(2), text("-"), group(1), text("c")]);
        assert_eq!(parts_of("(?<last>a)", "<$last>$0"), [text("<"), group(1), text(">"), group(0)]);
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for with in ["$1", "$", "${1", "$1a", "${x}", "a\0"] {
            let error = Replacement::new("a", with).expect_err(with);
            assert!(matches!(error, ReplacementError::With(_)), "{with}");
        }
        for pattern in ["(", "a{2,1}", "(?=a)", r"\1", r"(\w{100}){100}"] {
            match Replacement::new(pattern, "").expect_err(pattern) {
                ReplacementError::Pattern(reason) => {
                    assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
                }
                other => unreachable!("{other:?}"),
            }
        }
    }
}
