//! A scripted server at the other end of a stream.

use bytes::BytesMut;
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::pg::lsn::Lsn;
use crate::pg::stream::Stream;
use crate::pg::time::PgTimestamp;
use crate::wire::frame::payloads;

fn pair() -> (CopyBoth, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    (CopyBoth::new(Channel::new(Stream::Unix(ours)), 1, usize::MAX), theirs)
}

fn data(payload: &'static [u8]) -> Envelope {
    Envelope::Data {
        start_lsn: Lsn::new(1),
        wal_end: Lsn::new(2),
        sent_at: PgTimestamp(3),
        payload: Bytes::from_static(payload),
    }
}

fn bytes(envelopes: &[Envelope]) -> BytesMut {
    let mut out = BytesMut::new();
    for envelope in envelopes {
        envelope.encode(&mut out);
    }
    out
}

fn status(lsn: u64) -> StatusUpdate {
    let lsn = Lsn::new(lsn);
    StatusUpdate {
        written: lsn,
        flushed: lsn,
        applied: lsn,
        reply_requested: false,
        clock: PgTimestamp(0),
    }
}

#[tokio::test]
async fn a_burst_is_drained_without_waiting() {
    let (mut stream, mut server) = pair();
    let mut burst = bytes(&[data(b"one"), data(b"two"), data(b"three")]);
    let last = burst.split_off(burst.len() - 1);
    server.write_all(&burst).await.expect("written");
    assert_eq!(stream.try_recv().expect("no I/O"), None);
    assert_eq!(stream.recv().await.expect("first"), data(b"one"));
    assert_eq!(stream.try_recv().expect("there"), Some(data(b"two")));
    assert_eq!(stream.try_recv().expect("one byte is missing"), None);
    assert!(stream.buffered() > 0);
    assert!(stream.recv().now_or_never().is_none(), "given up, nothing is lost");
    server.write_all(&last).await.expect("written");
    assert_eq!(stream.recv().await.expect("third"), data(b"three"));
    assert_eq!(stream.buffered(), 0);
}

#[tokio::test]
async fn notices_come_out_and_parameters_do_not() {
    let (mut stream, mut server) = pair();
    server.write_all(b"S\0\0\0\x08a\0b\0").await.expect("written");
    server.write_all(b"N\0\0\0\x18SWARNING\0C42704\0Mx\0\0").await.expect("written");
    server.write_all(b"S\0\0\0\x08a\0b\0").await.expect("written");
    server.write_all(&bytes(&[data(b"row")])).await.expect("written");
    match stream.recv().await.expect("the notice") {
        Envelope::Notice(notice) => assert_eq!(notice.code.code(), "42704"),
        other => panic!("{other:?}"),
    }
    assert_eq!(stream.recv().await.expect("the data"), data(b"row"));
}

#[tokio::test]
async fn every_way_to_end_is_told_apart() {
    for (words, is_end) in [(&b"c\0\0\0\x04"[..], true), (b"C\0\0\0\x0bCOPY 0\0", true)] {
        let (mut stream, mut server) = pair();
        server.write_all(words).await.expect("written");
        drop(server);
        for _ in 0..2 {
            assert_eq!(stream.recv().await.expect("the end") == Envelope::End, is_end);
        }
        stream.send_status(status(1)).await.expect("nobody listens, nothing is sent");
        stream.finish().await.expect("ended already");
    }
    let (mut stream, server) = pair();
    drop(server);
    assert!(matches!(stream.recv().await, Err(WireError::Closed)));
    let (mut stream, mut server) = pair();
    server.write_all(b"E\0\0\0\x16SERROR\0C55000\0Mx\0\0").await.expect("written");
    let error = stream.recv().await.expect_err("an error");
    assert_eq!(error.server_error().expect("the server's").code.code(), "55000");
    for strange in [&b"D\0\0\0\x06\0\0"[..], b"d\0\0\0\x05x", b"G\0\0\0\x07\0\0\0"] {
        let (mut stream, mut server) = pair();
        server.write_all(strange).await.expect("written");
        let error = stream.recv().await.expect_err("not part of a stream");
        assert!(matches!(error, WireError::Protocol { .. }), "{error}");
    }
}

#[tokio::test]
async fn finishing_reads_what_is_on_its_way_and_says_goodbye() {
    let (mut stream, mut server) = pair();
    stream.send_status(status(7)).await.expect("sent");
    let server = tokio::spawn(async move {
        let mut got = BytesMut::new();
        while !got.ends_with(b"c\0\0\0\x04") {
            server.read_buf(&mut got).await.expect("read");
        }
        server.write_all(&bytes(&[data(b"late")])).await.expect("written");
        server.write_all(b"c\0\0\0\x04C\0\0\0\x0bCOPY 0\0Z\0\0\0\x05I").await.expect("written");
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.expect("read");
        (got, rest)
    });
    stream.finish().await.expect("in order");
    let (got, rest) = server.await.expect("no panic");
    let update = payloads(got.freeze()).next().expect("one update");
    assert_eq!(StatusUpdate::decode(update).expect("valid"), status(7));
    assert_eq!(rest, b"X\0\0\0\x04");
}
