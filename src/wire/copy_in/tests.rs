//! A scripted server that takes, refuses or vanishes.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::*;
use crate::pg::stream::Stream;

const REFUSAL: &[u8] = b"E\0\0\0\x16SERROR\0C23505\0Mx\0\0Z\0\0\0\x05I";
const DEADLINE: Duration = Duration::from_secs(20);

fn pair() -> (Channel, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    (Channel::new(Stream::Unix(ours)), theirs)
}

fn frames(count: usize, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    for _ in 0..count {
        put_frame(&mut out, payload);
    }
    out.freeze()
}

#[tokio::test]
async fn rows_are_gathered_into_large_writes_in_order() {
    let (mut channel, mut server) = pair();
    let server = tokio::spawn(async move {
        let mut got = BytesMut::with_capacity(1 << 20);
        while !got.ends_with(b"c\0\0\0\x04") {
            server.read_buf(&mut got).await.expect("read");
        }
        server.write_all(b"C\0\0\0\x0eCOPY 2000\0Z\0\0\0\x05I").await.expect("written");
        got
    });
    let mut copy = CopyIn::new(&mut channel, false);
    for _ in 0..1000 {
        copy.send_data(b"small row\n").await.expect("taken");
    }
    assert_eq!(copy.channel.output().len(), 15_000, "too little for a write");
    copy.send_frames(frames(999, &[b'x'; 100])).await.expect("taken");
    copy.send_data(b"end").await.expect("taken");
    assert_eq!(copy.finish().await.expect("taken"), 2000);
    let got = server.await.expect("no panic");
    let wanted = [
        &frames(1000, b"small row\n")[..],
        &frames(999, &[b'x'; 100]),
        &frames(1, b"end"),
        b"c\0\0\0\x04",
    ]
    .concat();
    assert!(got == wanted, "the bytes arrive as they were given");
}

#[tokio::test]
async fn a_refusal_is_seen_while_sending_and_the_connection_stays_in_step() {
    let (mut channel, mut server) = pair();
    channel.begin_request().expect("idle");
    let server = tokio::spawn(async move {
        let mut got = vec![0; 100_000];
        server.read_exact(&mut got).await.expect("read");
        server.write_all(REFUSAL).await.expect("written");
        // A server goes on reading and looks at nothing.
        server.read_to_end(&mut got).await.expect("read");
        got
    });
    let mut copy = CopyIn::new(&mut channel, true);
    let error = timeout(DEADLINE, async {
        loop {
            if let Err(error) = copy.send_frames(frames(10, &[7; 10_000])).await {
                return error;
            }
        }
    })
    .await
    .expect("noticed");
    assert_eq!(error.server_error().expect("the server's").code.code(), "23505");
    assert!(copy.send_data(b"more").await.is_err(), "it stays refused");
    assert!(copy.finish().await.is_err());
    channel.begin_request().expect("all replies are read");
    drop(channel);
    let got = server.await.expect("no panic");
    let frame = 10_005;
    assert_eq!(got.len() % frame, 0, "no frame is cut in two");
}

#[tokio::test]
async fn an_abort_waits_for_the_refusal_it_asked_for() {
    let (mut channel, mut server) = pair();
    channel.begin_request().expect("idle");
    let mut copy = CopyIn::new(&mut channel, true);
    copy.send_data(b"row").await.expect("buffered");
    server.write_all(REFUSAL).await.expect("written");
    copy.abort("superseded").await.expect("given up");
    channel.begin_request().expect("all replies are read");
    drop(channel);
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.expect("read");
    assert!(got.ends_with(b"f\0\0\0\x0fsuperseded\0"), "{}", got.escape_ascii());
}

#[tokio::test]
async fn a_copy_given_up_makes_the_connection_unusable() {
    let (mut channel, _server) = pair();
    channel.begin_request().expect("idle");
    drop(CopyIn::new(&mut channel, true));
    assert!(channel.begin_request().is_err());
}
