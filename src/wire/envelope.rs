//! What travels inside the frames of a replication stream, both directions; pure.
//!
//! ```text
//! from the server                                   from us
//!   'w' start: u64  end: u64  clock: i64  payload     'r' written: u64  flushed: u64  applied: u64
//!   'k' end: u64  clock: i64  reply: u8                   clock: i64  reply: u8
//! ```
//!
//! (PostgreSQL's manual, "Streaming Replication Protocol".) Both directions are here twice, decode
//! and encode, so that tests can speak for either end.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::pg::channel::{WireError, tag};
use crate::pg::lsn::Lsn;
use crate::pg::server_error::ServerError;
use crate::pg::time::PgTimestamp;
use crate::wire::frame::put_frame;

const DATA: u8 = b'w';
const KEEPALIVE: u8 = b'k';
const STATUS_UPDATE: u8 = b'r';

/// One thing that came on the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// A message of the output plugin.
    Data {
        start_lsn: Lsn,
        /// How far the server had read its WAL when it sent this.
        wal_end: Lsn,
        sent_at: PgTimestamp,
        payload: Bytes,
    },
    Keepalive {
        wal_end: Lsn,
        sent_at: PgTimestamp,
        reply_requested: bool,
    },
    /// A NOTICE or WARNING inside the stream. PostgreSQL 18 reports a publication that is gone
    /// only like this.
    Notice(Box<ServerError>),
    /// A message that is not taken in, of `bytes` bytes, because it or a value in it is too long. Its
    /// beginning stays where it is; nothing can follow.
    Oversized {
        bytes: usize,
    },
    /// The server ended the stream; nothing follows.
    End,
}

/// What stands before a message's payload: kind, start, end, clock.
const DATA_HEADER_BYTES: usize = 1 + 3 * size_of::<u64>();

/// The payload of a frame's beginning; empty where it is not that far, or no message.
pub(super) fn payload_beginning(body: &[u8]) -> &[u8] {
    match body.first() {
        Some(&DATA) => body.get(DATA_HEADER_BYTES..).unwrap_or_default(),
        _ => &[],
    }
}

/// How far we are. The three positions are what the server shows as write, flush and replay;
/// only `flushed` lets it forget WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    pub written: Lsn,
    pub flushed: Lsn,
    pub applied: Lsn,
    pub reply_requested: bool,
    pub clock: PgTimestamp,
}

impl Envelope {
    /// From a frame's payload.
    pub fn decode(mut body: Bytes) -> Result<Envelope, WireError> {
        let cut = |_| WireError::protocol(tag::COPY_DATA, "an envelope is cut short");
        match body.try_get_u8().map_err(cut)? {
            DATA => Ok(Envelope::Data {
                start_lsn: Lsn::new(body.try_get_u64().map_err(cut)?),
                wal_end: Lsn::new(body.try_get_u64().map_err(cut)?),
                sent_at: PgTimestamp(body.try_get_i64().map_err(cut)?),
                payload: body,
            }),
            KEEPALIVE => {
                let envelope = Envelope::Keepalive {
                    wal_end: Lsn::new(body.try_get_u64().map_err(cut)?),
                    sent_at: PgTimestamp(body.try_get_i64().map_err(cut)?),
                    reply_requested: flag(body.try_get_u8().map_err(cut)?)?,
                };
                nothing_left(&body)?;
                Ok(envelope)
            }
            unknown => Err(WireError::protocol(
                tag::COPY_DATA,
                format!("unknown envelope \"{}\"", unknown.escape_ascii()),
            )),
        }
    }

    /// Appends the frame a server would send. `Notice`, `Oversized` and `End` are no frames: nothing
    /// then.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut body = BytesMut::new();
        match self {
            Envelope::Data { start_lsn, wal_end, sent_at, payload } => {
                body.put_u8(DATA);
                body.put_u64(start_lsn.as_u64());
                body.put_u64(wal_end.as_u64());
                body.put_i64(sent_at.0);
                body.put_slice(payload);
            }
            Envelope::Keepalive { wal_end, sent_at, reply_requested } => {
                body.put_u8(KEEPALIVE);
                body.put_u64(wal_end.as_u64());
                body.put_i64(sent_at.0);
                body.put_u8(u8::from(*reply_requested));
            }
            Envelope::Notice(_) | Envelope::Oversized { .. } | Envelope::End => return,
        }
        put_frame(out, &body);
    }
}

impl StatusUpdate {
    /// Appends the frame we send.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut body = BytesMut::with_capacity(34);
        body.put_u8(STATUS_UPDATE);
        body.put_u64(self.written.as_u64());
        body.put_u64(self.flushed.as_u64());
        body.put_u64(self.applied.as_u64());
        body.put_i64(self.clock.0);
        body.put_u8(u8::from(self.reply_requested));
        put_frame(out, &body);
    }

    /// From a frame's payload: what a server reads.
    pub fn decode(mut body: Bytes) -> Result<StatusUpdate, WireError> {
        let cut = |_| WireError::protocol(tag::COPY_DATA, "a status update is cut short");
        let kind = body.try_get_u8().map_err(cut)?;
        if kind != STATUS_UPDATE {
            return Err(WireError::protocol(tag::COPY_DATA, "this is no status update"));
        }
        let mut lsn = || body.try_get_u64().map(Lsn::new).map_err(cut);
        let (written, flushed, applied) = (lsn()?, lsn()?, lsn()?);
        let clock = PgTimestamp(body.try_get_i64().map_err(cut)?);
        let reply_requested = flag(body.try_get_u8().map_err(cut)?)?;
        nothing_left(&body)?;
        Ok(StatusUpdate { written, flushed, applied, reply_requested, clock })
    }
}

fn flag(byte: u8) -> Result<bool, WireError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::protocol(tag::COPY_DATA, "a flag is neither 0 nor 1")),
    }
}

fn nothing_left(body: &Bytes) -> Result<(), WireError> {
    if body.is_empty() {
        return Ok(());
    }
    Err(WireError::protocol(tag::COPY_DATA, format!("{} bytes too many", body.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::payloads;

    fn examples() -> [Envelope; 3] {
        let sent_at = PgTimestamp(-5);
        [
            Envelope::Data {
                start_lsn: Lsn::new(1),
                wal_end: Lsn::new(u64::MAX),
                sent_at,
                payload: Bytes::from_static(b"payload"),
            },
            Envelope::Keepalive { wal_end: Lsn::new(9), sent_at, reply_requested: true },
            Envelope::Keepalive { wal_end: Lsn::ZERO, sent_at, reply_requested: false },
        ]
    }

    #[test]
    fn envelopes_round_trip() {
        let mut out = BytesMut::new();
        for envelope in examples() {
            envelope.encode(&mut out);
        }
        let decoded: Vec<_> = payloads(out.freeze())
            .map(|payload| Envelope::decode(payload).expect("valid"))
            .collect();
        assert_eq!(decoded, examples());
    }

    #[test]
    fn a_status_update_is_as_the_manual_says() {
        let update = StatusUpdate {
            written: Lsn::new(3),
            flushed: Lsn::new(2),
            applied: Lsn::new(1),
            reply_requested: true,
            clock: PgTimestamp(7),
        };
        let mut out = BytesMut::new();
        update.encode(&mut out);
        let frame = out.freeze();
        assert_eq!(&frame[..6], b"d\0\0\0\x26r");
        assert_eq!(frame[13], 3, "the first position is the written one");
        assert_eq!(frame[21], 2, "the second is the flushed one");
        let payload = payloads(frame).next().expect("one frame");
        assert_eq!(StatusUpdate::decode(payload).expect("valid"), update);
    }

    #[test]
    fn short_long_and_unknown_envelopes_are_refused() {
        let mut out = BytesMut::new();
        for envelope in examples() {
            out.clear();
            envelope.encode(&mut out);
            let payload = out.clone().freeze().slice(5..);
            let fixed = if payload[0] == DATA { 25 } else { payload.len() };
            for length in 0..fixed {
                assert!(Envelope::decode(payload.slice(..length)).is_err(), "{length} bytes");
            }
        }
        out.put_u8(0);
        assert!(Envelope::decode(out.freeze().slice(5..)).is_err(), "a byte too many");
        assert!(Envelope::decode(Bytes::from_static(b"x")).is_err());
    }
}
