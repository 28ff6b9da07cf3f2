//! The `replace` step: in SQL `regexp_replace(v::text, pattern, with, 'g')`, for patterns that mean the
//! same to PostgreSQL and to the crate `regex`, whose time is linear in the value's length.

use bytes::Bytes;
use regex::Captures;

use crate::config::replacement::{Replacement, ReplacementPart};

/// The text with its matches replaced; `None` where there are none.
pub(super) fn replaced(replacement: &Replacement, text: &str) -> Option<Bytes> {
    let has_groups = replacement.parts.iter().any(|part| matches!(part, ReplacementPart::Group(_)));
    let mut out = Vec::new();
    let mut copied = 0;
    let mut before = |out: &mut Vec<u8>, start: usize, end: usize| {
        if out.capacity() == 0 {
            out.reserve(text.len());
        }
        out.extend_from_slice(&text.as_bytes()[copied..start]);
        copied = end;
    };
    let mut any = false;
    if has_groups {
        for found in replacement.pattern.captures_iter(text) {
            let whole = found.get_match();
            before(&mut out, whole.start(), whole.end());
            append(&mut out, &replacement.parts, Some(&found));
            any = true;
        }
    } else {
        for found in replacement.pattern.find_iter(text) {
            before(&mut out, found.start(), found.end());
            append(&mut out, &replacement.parts, None);
            any = true;
        }
    }
    any.then(|| {
        before(&mut out, text.len(), text.len());
        Bytes::from(out)
    })
}

fn append(out: &mut Vec<u8>, parts: &[ReplacementPart], captures: Option<&Captures<'_>>) {
    for part in parts {
        match part {
            ReplacementPart::Text(text) => out.extend_from_slice(text.as_bytes()),
            ReplacementPart::Group(group) => {
                if let Some(found) = captures.and_then(|captures| captures.get(*group)) {
                    out.extend_from_slice(found.as_str().as_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pattern: &str, with: &str, text: &str) -> Option<String> {
        let replacement = Replacement::new(pattern, with).expect("compiles");
        let bytes = replaced(&replacement, text)?;
        Some(String::from_utf8(bytes.to_vec()).expect("is text"))
    }

    #[test]
    fn every_match_is_replaced() {
        for (pattern, with, text, expected) in [
            ("[0-9]{4}", "(card)", "a 1234 b 5678", Some("a (card) b (card)")),
            ("[0-9]{4}", "(card)", "none", None),
            ("[0-9]", "", "1a2", Some("a")),
            ("^", ">", "a", Some(">a")),
            ("(a)(x)?", "<$1$2>", "ab ax", Some("<a>b <ax>")),
            ("(?<y>[0-9]{4})-([0-9]{2})", "$2/$y", "on 2024-05", Some("on 05/2024")),
            ("a.c", "-", "a\nc", Some("-")),
            ("é", "e", "café é", Some("cafe e")),
            ("a", "$$1", "a", Some("$1")),
        ] {
            assert_eq!(shown(pattern, with, text).as_deref(), expected, "{pattern} in {text}");
        }
    }

    #[test]
    fn a_pattern_is_no_way_to_stop_the_pipeline() {
        let text = "a".repeat(100_000);
        assert_eq!(shown("(a*)*(b|c)", "", &text), None);
    }
}
