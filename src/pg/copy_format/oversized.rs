//! Which value of a row is too long, told as early as the format allows.

use super::binary::HEADER;
use super::text::DELIMITER;

/// The first value of more than `limit` bytes, by its column's place, in one frame of a COPY as far
/// as it is there: in binary each length stands before its value, in text the row must be whole.
/// What cannot be read shows nothing; whoever reads the row says why.
pub fn oversized_value(
    frame: &[u8],
    is_binary: bool,
    is_whole: bool,
    limit: usize,
) -> Option<(usize, usize)> {
    match is_binary {
        true => in_binary(frame.strip_prefix(HEADER).unwrap_or(frame), limit),
        false if is_whole => {
            let mut lengths = frame.split(|&byte| byte == DELIMITER).map(<[u8]>::len).enumerate();
            lengths.find(|&(_, length)| length > limit)
        }
        false => None,
    }
}

fn in_binary(row: &[u8], limit: usize) -> Option<(usize, usize)> {
    let (count, mut rest) = row.split_first_chunk()?;
    let count = usize::try_from(i16::from_be_bytes(*count)).ok()?;
    for column in 0..count {
        let (length, values) = rest.split_first_chunk()?;
        // NULL has the length -1.
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        if length > limit {
            return Some((column, length));
        }
        rest = values.get(length..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::pg::copy_format::{CopyField, encode_row};

    #[test]
    fn a_binary_row_is_judged_by_the_lengths_that_are_there() {
        let long = [b'x'; 100];
        let mut row = BytesMut::from(HEADER);
        let fields = [CopyField::Null, CopyField::Binary(b"ab"), CopyField::Binary(&long)];
        encode_row(&mut row, fields).expect("a valid row");
        for frame in [&row[..], &row[HEADER.len()..]] {
            let judge = |end: usize, limit| oversized_value(&frame[..end], true, false, limit);
            assert_eq!(judge(frame.len(), 100), None);
            assert_eq!(judge(frame.len() - 100, 99), Some((2, 100)), "before the value itself");
            assert_eq!(judge(frame.len() - 101, 99), None, "its length is not there");
        }
    }

    #[test]
    fn a_text_row_is_judged_when_it_is_whole() {
        let row = b"a\tbbbb\t\\N\n";
        assert_eq!(oversized_value(row, false, true, 3), Some((1, 4)));
        assert_eq!(oversized_value(row, false, true, 4), None);
        assert_eq!(oversized_value(row, false, false, 3), None);
    }
}
