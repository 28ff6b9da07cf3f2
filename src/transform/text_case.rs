//! The steps `lower` and `trim`.
//!
//! | step | in SQL, over `v::text` |
//! | --- | --- |
//! | lower | `lower(v COLLATE pg_c_utf8)` (version 17 and up): one character for one, whatever stands beside it |
//! | trim | `btrim(v, E' \t\n\x0B\f\r')` |
//!
//! The server's `lower` goes by the column's collation, which differs from server to server; ours does
//! not. Nothing is made where nothing changes.

use bytes::Bytes;

/// The white space of ASCII, which is what C's `isspace` knows.
const WHITE_SPACE: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// The text in lower case; `None` where it is that already.
pub(super) fn lower(text: &str) -> Option<Bytes> {
    if text.is_ascii() {
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        return (!is_lower).then(|| Bytes::from(text.to_ascii_lowercase()));
    }
    let lower: String = text.chars().map(lower_character).collect();
    (lower != text).then(|| Bytes::from(lower))
}

/// Unicode's simple mapping. The full one makes two characters of U+0130 alone.
fn lower_character(character: char) -> char {
    let mut lower = character.to_lowercase();
    lower.next().unwrap_or(character)
}

/// The part of the text without white space at its ends.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(WHITE_SPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_has_one_lower_case() {
        for (text, expected) in [
            ("ABC@X.org", Some("abc@x.org")),
            ("abc 1", None),
            ("", None),
            ("ÄÖÜẞ", Some("äöüß")),
            ("äöü", None),
            // No final sigma, no dot of its own.
            ("ΟΔΟΣ", Some("οδοσ")),
            ("İI", Some("ii")),
        ] {
            assert_eq!(lower(text), expected.map(|text| Bytes::from(text.to_owned())), "{text}");
        }
    }

    /// What [`lower_character`] rests on.
    #[test]
    fn only_one_character_has_a_lower_case_of_several() {
        let several: Vec<char> =
            ('\0'..=char::MAX).filter(|character| character.to_lowercase().count() > 1).collect();
        assert_eq!(several, ['İ']);
    }

    #[test]
    fn white_space_of_ascii_is_cut_off_at_both_ends() {
        assert_eq!(trimmed(" \t\r\n\u{b}\u{c}a b\u{a0} "), "a b\u{a0}");
        assert_eq!(trimmed(" \t "), "");
        assert_eq!(trimmed("a"), "a");
    }
}
