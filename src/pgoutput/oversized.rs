//! Which value of a change is too long, told from the change's beginning.
//!
//! Every value is announced by its length, so a change that is still arriving can be judged before
//! it is buffered. What cannot be read is left to the decoder, which says why.

use super::message::tag;
use super::tuple::{BINARY, NULL, TEXT, UNCHANGED};
use crate::pg::oid::Oid;

/// A change, and the value in it that is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversized {
    pub relation_id: Oid,
    /// The column by its place in the relation.
    pub column: usize,
    pub bytes: usize,
}

/// The first value of more than `limit` bytes, as far as `prefix`, the beginning of a message
/// outside of a streamed transaction, shows one.
pub fn oversized(prefix: &[u8], limit: usize) -> Option<Oversized> {
    let relation_id = relation_id(prefix)?;
    let mut rest = &prefix[CHANGE_HEADER_BYTES..];
    loop {
        // N, K or O: which row it is does not matter.
        take::<1>(&mut rest)?;
        let count = u16::from_be_bytes(take(&mut rest)?);
        for column in 0..usize::from(count) {
            match take::<1>(&mut rest)? {
                [NULL | UNCHANGED] => {}
                [TEXT | BINARY] => {
                    let bytes = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).ok()?;
                    if bytes > limit {
                        return Some(Oversized { relation_id, column, bytes });
                    }
                    rest = rest.get(bytes..)?;
                }
                _ => return None,
            }
        }
    }
}

/// The relation that a message is about, where it is a change of one row.
pub fn relation_id(prefix: &[u8]) -> Option<Oid> {
    let mut rest = prefix;
    match take(&mut rest)? {
        [tag::INSERT | tag::UPDATE | tag::DELETE] => Some(Oid::from_be_bytes(take(&mut rest)?)),
        _ => None,
    }
}

/// Kind of message and relation.
const CHANGE_HEADER_BYTES: usize = 1 + size_of::<Oid>();

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::pgoutput::{Insert, Message, OldTuple, Tuple, TupleField, Update, encode};

    fn tuple(lengths: &[usize]) -> Tuple {
        let field = |length: &usize| TupleField::Binary(Bytes::from(vec![b'x'; *length]));
        Tuple::from_fields(lengths.iter().map(field).chain([TupleField::Null]))
    }

    #[test]
    fn a_long_value_shows_as_soon_as_its_length_is_there() {
        let old = Some(OldTuple::Full(tuple(&[7, 7])));
        let insert = Message::Insert(Insert { xid: None, relation_id: 9, new: tuple(&[3, 100]) });
        let update = Message::Update(Update { xid: None, relation_id: 9, old, new: tuple(&[100]) });
        for (message, column) in [(insert, 1), (update, 0)] {
            let bytes = encode(&message);
            assert_eq!(oversized(&bytes, 100), None, "as long as it may be");
            let expected = Oversized { relation_id: 9, column, bytes: 100 };
            let seen = (0..bytes.len()).find(|&end| oversized(&bytes[..end], 99).is_some());
            let seen = seen.expect("it shows");
            assert_eq!(oversized(&bytes[..seen], 99), Some(expected));
            assert!(seen < bytes.len() - 100, "before the value itself");
            assert_eq!(relation_id(&bytes[..5]), Some(9));
        }
    }

    #[test]
    fn what_is_no_change_of_a_row_is_never_too_long() {
        for tag in 0..=u8::MAX {
            let bytes = [&[tag][..], &[0xff; 40]].concat();
            let _ = oversized(&bytes, 1);
            assert_eq!(relation_id(&bytes).is_some(), b"IUD".contains(&tag));
        }
    }
}
