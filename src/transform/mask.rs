//! The `mask` step: characters give way to another, one by one, so the length stays.
//!
//! | mask | in SQL, over `v::text` |
//! | --- | --- |
//! | "full" | `repeat('*', char_length(v))` |
//! | "email" | `left(v, 1) \|\| repeat('*', n - 1) \|\| right(v, -n)` where n > 1 characters stand before the last `@`; `'*' \|\| right(v, -1)` where one does; "full" where none does |
//! | parts | `left(v, a) \|\| repeat(c, char_length(v) - a - b) \|\| right(v, b)`; `repeat(c, char_length(v))` where no more than a + b are there |
//!
//! A character is a code point, as `char_length` counts them. Something is hidden of every value: what is
//! so short that all of it would be kept is masked.

use bytes::Bytes;

use crate::config::steps::Mask;

/// What stands for a character that no `with` names.
const STAND_IN: char = '*';

/// The masked text.
pub(super) fn masked(mask: Mask, text: &str) -> Bytes {
    let (shown_before, shown_after, with) = match mask {
        Mask::Full => (0, text.len(), STAND_IN),
        Mask::Email => match text.rfind('@') {
            Some(at) if at > 0 => match first_characters(text, 1) {
                first if first < at => (first, at, STAND_IN),
                _ => (0, at, STAND_IN),
            },
            _ => (0, text.len(), STAND_IN),
        },
        Mask::Parts { keep_first, keep_last, with } => {
            let before = first_characters(text, keep_first);
            let after = last_characters(text, keep_last);
            if before < after { (before, after, with) } else { (0, text.len(), with) }
        }
    };
    let hidden = count(&text[shown_before..shown_after]);
    let kept = text.len() - (shown_after - shown_before);
    let mut masked = Vec::with_capacity(kept + hidden * with.len_utf8());
    masked.extend_from_slice(&text.as_bytes()[..shown_before]);
    if with.is_ascii() {
        masked.resize(shown_before + hidden, with as u8);
    } else {
        let mut buffer = [0; 4];
        let with = with.encode_utf8(&mut buffer).as_bytes();
        (0..hidden).for_each(|_| masked.extend_from_slice(with));
    }
    masked.extend_from_slice(&text.as_bytes()[shown_after..]);
    Bytes::from(masked)
}

fn count(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// Where the first `count` characters end.
fn first_characters(text: &str, count: usize) -> usize {
    text.char_indices().nth(count).map_or(text.len(), |(place, _)| place)
}

/// Where the last `count` characters begin.
fn last_characters(text: &str, count: usize) -> usize {
    match count {
        0 => text.len(),
        _ => text.char_indices().rev().nth(count - 1).map_or(0, |(place, _)| place),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(mask: Mask, text: &str) -> String {
        String::from_utf8(masked(mask, text).to_vec()).expect("is text")
    }

    fn parts(keep_first: usize, keep_last: usize, with: char) -> Mask {
        Mask::Parts { keep_first, keep_last, with }
    }

    #[test]
    fn a_full_mask_says_the_length_in_characters() {
        for (text, expected) in [("", ""), ("a", "*"), ("Müller 😀", "********")] {
            assert_eq!(shown(Mask::Full, text), expected);
        }
    }

    #[test]
    fn an_address_keeps_its_first_character_and_its_domain() {
        for (text, expected) in [
            ("ann@x.org", "a**@x.org"),
            ("a@x.org", "*@x.org"),
            ("éa@x.org", "é*@x.org"),
            ("\"a@b\"@x.org", "\"****@x.org"),
            ("@x.org", "******"),
            ("no address", "**********"),
            ("ann@", "a**@"),
            ("", ""),
        ] {
            assert_eq!(shown(Mask::Email, text), expected);
        }
    }

    #[test]
    fn what_is_too_short_to_keep_parts_of_is_masked_in_full() {
        for (mask, text, expected) in [
            (parts(1, 2, '*'), "abcdef", "a***ef"),
            (parts(1, 2, '*'), "abcd", "a*cd"),
            (parts(1, 2, '*'), "abc", "***"),
            (parts(1, 2, '*'), "ab", "**"),
            (parts(0, 4, 'x'), "555-0123", "xxxx0123"),
            (parts(2, 0, '█'), "äöüß", "äö██"),
            (parts(0, 0, '-'), "ab", "--"),
            (parts(usize::MAX, usize::MAX, '*'), "ab", "**"),
            (parts(1, 1, '*'), "", ""),
        ] {
            assert_eq!(shown(mask, text), expected, "{mask:?} of {text}");
        }
    }

    proptest! {
        #[test]
        fn a_mask_keeps_the_number_of_characters(text: String, first in 0_usize..6, last in 0_usize..6) {
            for mask in [Mask::Full, Mask::Email, parts(first, last, '€')] {
                prop_assert_eq!(shown(mask, &text).chars().count(), text.chars().count());
            }
        }
    }
}
