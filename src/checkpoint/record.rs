//! The local mirror's bytes: in goes a [`Record`], out come bytes; and back. Pure.
//!
//! ```text
//! version   u8     1
//! length    u16    bytes of the body
//! body             version 1:
//!   sequence                  u64
//!   source_system_identifier  u64
//!   timeline                  u32
//!   applied_lsn               u64
//!   epoch                     i64
//!   pipeline                  u16 length, UTF-8
//!   slot                      u16 length, UTF-8
//! crc32     u32    of everything before it
//! ```
//!
//! All integers are big-endian. **Invariants:** bytes that differ from an encoding in their length
//! or in any one bit are an error, never another record; every version ever written stays
//! readable, through [`upgrade`].

use crate::pg::lsn::Lsn;

/// Version that [`Record::encode`] writes.
const VERSION: u8 = 1;
/// Bytes before the body: version and length.
const HEADER_BYTES: usize = 3;
/// Bytes after the body: the checksum.
const TRAILER_BYTES: usize = 4;
/// Longest text, in bytes. Pipelines and slots are names of at most 63 bytes; the limit keeps the
/// body within its 16-bit length whatever a caller hands in.
const TEXT_BYTES_MAX: usize = 1024;

/// A checkpoint that is durable at the destination, as the local store mirrors it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub pipeline: String,
    pub source_system_identifier: u64,
    pub timeline: u32,
    pub slot: String,
    pub applied_lsn: Lsn,
    pub epoch: i64,
    /// Counts the records of one store, so that the newest is known. The store sets it when it
    /// writes; what a caller puts here is not looked at.
    pub sequence: u64,
}

/// Bytes that are not a record, or a record that has no bytes.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    #[error("checkpoint record has {found} bytes where {expected} are due")]
    Length { expected: usize, found: usize },
    #[error("checkpoint record does not match its checksum")]
    Checksum,
    #[error("checkpoint record has version {0}, which this build does not know")]
    Version(u8),
    #[error("checkpoint record ends inside its {0}")]
    Short(&'static str),
    #[error("checkpoint record has {0} bytes after its last part")]
    Trailing(usize),
    #[error("checkpoint record's {0} is not UTF-8")]
    Utf8(&'static str),
    #[error("{0} is longer than a checkpoint record can hold")]
    TooLong(&'static str),
}

impl Record {
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let mut body = Vec::with_capacity(128);
        body.extend(self.sequence.to_be_bytes());
        body.extend(self.source_system_identifier.to_be_bytes());
        body.extend(self.timeline.to_be_bytes());
        body.extend(self.applied_lsn.as_u64().to_be_bytes());
        body.extend(self.epoch.to_be_bytes());
        put_text(&mut body, "pipeline", &self.pipeline)?;
        put_text(&mut body, "slot", &self.slot)?;

        let length = u16::try_from(body.len()).map_err(|_| RecordError::TooLong("body"))?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len() + TRAILER_BYTES);
        bytes.push(VERSION);
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        Ok(bytes)
    }

    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        let mut header = Reader(bytes);
        let version = header.u8("header")?;
        let length = usize::from(header.u16("header")?);
        let expected = HEADER_BYTES + length + TRAILER_BYTES;
        if bytes.len() != expected {
            return Err(RecordError::Length { expected, found: bytes.len() });
        }
        let (covered, trailer) = bytes.split_at(HEADER_BYTES + length);
        if trailer != crc32fast::hash(covered).to_be_bytes() {
            return Err(RecordError::Checksum);
        }
        upgrade(version, &covered[HEADER_BYTES..])
    }
}

/// The body of any version as today's record. A new version gets an arm here, which fills what the
/// older bodies lack.
fn upgrade(version: u8, body: &[u8]) -> Result<Record, RecordError> {
    match version {
        1 => decode_v1(body),
        unknown => Err(RecordError::Version(unknown)),
    }
}

fn decode_v1(body: &[u8]) -> Result<Record, RecordError> {
    let mut reader = Reader(body);
    let record = Record {
        sequence: reader.u64("sequence")?,
        source_system_identifier: reader.u64("source_system_identifier")?,
        timeline: reader.u32("timeline")?,
        applied_lsn: Lsn::new(reader.u64("applied_lsn")?),
        epoch: reader.i64("epoch")?,
        pipeline: reader.text("pipeline")?,
        slot: reader.text("slot")?,
    };
    match reader.0.len() {
        0 => Ok(record),
        trailing => Err(RecordError::Trailing(trailing)),
    }
}

fn put_text(body: &mut Vec<u8>, part: &'static str, text: &str) -> Result<(), RecordError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(RecordError::TooLong(part));
    }
    let length = u16::try_from(text.len()).map_err(|_| RecordError::TooLong(part))?;
    body.extend(length.to_be_bytes());
    body.extend(text.as_bytes());
    Ok(())
}

/// What is left to read. Every read is checked.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, part: &'static str) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(RecordError::Short(part))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], RecordError> {
        let taken = self.take(N, part)?;
        Ok(taken.try_into().expect("take returns as many bytes as were asked for"))
    }

    fn u8(&mut self, part: &'static str) -> Result<u8, RecordError> {
        Ok(u8::from_be_bytes(self.array(part)?))
    }

    fn u16(&mut self, part: &'static str) -> Result<u16, RecordError> {
        Ok(u16::from_be_bytes(self.array(part)?))
    }

    fn u32(&mut self, part: &'static str) -> Result<u32, RecordError> {
        Ok(u32::from_be_bytes(self.array(part)?))
    }

    fn u64(&mut self, part: &'static str) -> Result<u64, RecordError> {
        Ok(u64::from_be_bytes(self.array(part)?))
    }

    fn i64(&mut self, part: &'static str) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array(part)?))
    }

    fn text(&mut self, part: &'static str) -> Result<String, RecordError> {
        let length = usize::from(self.u16(part)?);
        let bytes = self.take(length, part)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| RecordError::Utf8(part))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Record {
        Record {
            pipeline: "shop".to_owned(),
            source_system_identifier: 7_301_234_567_890_123_456,
            timeline: 3,
            slot: "sync_agent_shop".to_owned(),
            applied_lsn: Lsn::new(0x16_B374_D848),
            epoch: 42,
            sequence: 7,
        }
    }

    /// What version 1 wrote for [`example`], for ever. A change here makes stores in the field
    /// unreadable.
    const GOLDEN_V1: &str = concat!(
        "01",
        "003b",
        "0000000000000007",
        "65533227e8e4bac0",
        "00000003",
        "00000016b374d848",
        "000000000000002a",
        "0004",
        "73686f70",
        "000f",
        "73796e635f6167656e745f73686f70",
        "ba9ae42f",
    );

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
        (0..text.len()).step_by(2).map(digits).collect()
    }

    #[test]
    fn version_1_is_written_and_read_as_it_always_was() {
        assert_eq!(hex(&example().encode().expect("encodes")), GOLDEN_V1);
        assert_eq!(Record::decode(&unhex(GOLDEN_V1)), Ok(example()));
    }

    #[test]
    fn an_unknown_version_is_named_even_with_a_valid_checksum() {
        let mut bytes = example().encode().expect("encodes");
        bytes[0] = 2;
        let end = bytes.len() - TRAILER_BYTES;
        let checksum = crc32fast::hash(&bytes[..end]).to_be_bytes();
        bytes[end..].copy_from_slice(&checksum);
        assert_eq!(Record::decode(&bytes), Err(RecordError::Version(2)));
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused_when_it_is_written() {
        let long = Record { slot: "s".repeat(TEXT_BYTES_MAX + 1), ..example() };
        assert_eq!(long.encode(), Err(RecordError::TooLong("slot")));
    }

    prop_compose! {
        fn any_record()(
            pipeline in ".{0,40}",
            source_system_identifier: u64,
            timeline: u32,
            slot in ".{0,40}",
            lsn: u64,
            epoch: i64,
            sequence: u64,
        ) -> Record {
            let applied_lsn = Lsn::new(lsn);
            Record {
                pipeline, source_system_identifier, timeline, slot, applied_lsn, epoch, sequence,
            }
        }
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_went_in(record in any_record()) {
            let bytes = record.encode().expect("encodes");
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
        }

        #[test]
        fn every_truncation_is_an_error(record in any_record()) {
            let bytes = record.encode().expect("encodes");
            for end in 0..bytes.len() {
                prop_assert!(Record::decode(&bytes[..end]).is_err(), "{} bytes were accepted", end);
            }
        }

        #[test]
        fn every_flipped_bit_is_an_error(record in any_record()) {
            let bytes = record.encode().expect("encodes");
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(Record::decode(&damaged).is_err(), "bit {} was not noticed", bit);
            }
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::decode(&bytes);
        }
    }
}
