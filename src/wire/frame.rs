//! `CopyData` messages ("frames") as they are on the wire; pure.
//!
//! ```text
//! 'd'  length: u32 (itself included)  payload
//! ```
//!
//! A frame that the server sent is byte for byte the frame that a client sends, so whole frames
//! can be passed from one connection to another without being looked into.

use bytes::{BufMut, Bytes, BytesMut};

use crate::pg::channel::{HEADER_BYTES, tag};

/// Length of the whole frames at the front of `input`, and how many they are. Stops before the
/// first message that is no frame or is not whole.
pub(crate) fn whole_frames(input: &[u8]) -> (usize, usize) {
    whole_frames_up_to(input, usize::MAX)
}

/// The same, but a frame of more than `bytes_max` comes first or not at all.
pub(crate) fn whole_frames_up_to(input: &[u8], bytes_max: usize) -> (usize, usize) {
    let (mut length, mut count) = (0, 0);
    while let Some(bytes) = frame_bytes(&input[length..]) {
        if bytes > bytes_max && count > 0 {
            break;
        }
        length += bytes;
        count += 1;
    }
    (length, count)
}

/// How many frames a slice of whole frames holds.
pub fn frame_count(frames: &[u8]) -> usize {
    whole_frames(frames).1
}

/// The payloads of a slice of whole frames: for `COPY TO`, one row each (in binary, the header and
/// the trailer too).
pub fn payloads(mut frames: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let bytes = frame_bytes(&frames)?;
        Some(frames.split_to(bytes).slice(HEADER_BYTES..))
    })
}

/// Appends `payload` as one frame.
pub fn put_frame(out: &mut BytesMut, payload: &[u8]) {
    out.reserve(HEADER_BYTES + payload.len());
    out.put_u8(tag::COPY_DATA);
    // A payload beyond 1 GiB is refused by every server; beyond 4 GiB it cannot even be announced.
    out.put_u32(u32::try_from(payload.len() + 4).expect("a payload is shorter than 4 GiB"));
    out.put_slice(payload);
}

/// Length of the frame at the front, if there is a whole one.
fn frame_bytes(input: &[u8]) -> Option<usize> {
    let [tag, length @ ..] = *input.first_chunk::<HEADER_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let is_whole = tag == tag::COPY_DATA && length >= 4 && input.len() > length;
    is_whole.then_some(length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_frames_are_counted_and_taken_apart() {
        let mut out = BytesMut::new();
        for payload in [&b"one"[..], b"", b"three"] {
            put_frame(&mut out, payload);
        }
        let length = out.len();
        put_frame(&mut out, b"cut");
        out.truncate(out.len() - 1);
        assert_eq!(whole_frames(&out), (length, 3));
        let whole = out.split_to(length).freeze();
        assert_eq!(frame_count(&whole), 3);
        assert_eq!(payloads(whole).collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn another_message_ends_the_frames() {
        let mut out = BytesMut::new();
        put_frame(&mut out, b"row");
        let length = out.len();
        out.put_slice(b"c\0\0\0\x04");
        assert_eq!(whole_frames(&out), (length, 1));
    }
}
