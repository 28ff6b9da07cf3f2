//! Scripted peers: bytes cut anywhere, waits given up, both sides writing at once.

use bytes::{BufMut, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::*;

/// Far above what any of these needs; reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(20);

fn pair() -> (Channel, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    (Channel::new(Stream::Unix(ours)), theirs)
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u8(tag);
    out.put_u32(u32::try_from(body.len() + 4).expect("small"));
    out.put_slice(body);
    out.to_vec()
}

fn error(message_text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0C57P01\0M{message_text}\0\0").as_bytes())
}

#[tokio::test]
async fn a_message_may_come_byte_by_byte_while_the_wait_is_given_up() {
    let (mut channel, mut peer) = pair();
    let mut bytes = message(b'S', b"TimeZone\0UTC\0");
    bytes.extend(message(b'Z', b"I"));
    let (last, first) = bytes.split_last().expect("not empty");
    for byte in first {
        peer.write_all(&[*byte]).await.expect("written");
        assert!(channel.message().now_or_never().is_none(), "not whole yet");
    }
    peer.write_all(&[*last]).await.expect("written");
    let message = timeout(DEADLINE, channel.message()).await.expect("in time").expect("whole");
    assert!(matches!(message, Message::ReadyForQuery(_)));
    assert_eq!(channel.parameters().get("TimeZone").map(String::as_str), Some("UTC"));
    drop(peer);
    assert!(matches!(channel.message().await, Err(WireError::Closed)));
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_by_its_header() {
    let (mut channel, mut peer) = pair();
    channel.limit_message_bytes(1000);
    peer.write_all(b"d\0\0\x03\xE8").await.expect("written");
    let error = channel.message().await.map(drop).expect_err("1001 bytes");
    assert!(matches!(error, WireError::TooLarge { tag: b'd', bytes: 1001, limit: 1000 }));
    let (mut channel, mut peer) = pair();
    peer.write_all(b"d\0\0\0\x03").await.expect("written");
    let error = channel.message().await.map(drop).expect_err("shorter than its own length");
    assert!(matches!(error, WireError::Protocol { tag: b'd', .. }), "{error}");
}

#[tokio::test]
async fn two_sides_that_both_write_do_not_wait_for_each_other() {
    let (mut channel, mut peer) = pair();
    let theirs = message(b'd', &vec![1; 700_000]);
    let ours = vec![2; 4_000_000];
    let peer = tokio::spawn(async move {
        // Reads nothing until all of its own is taken, as a server does that reports.
        peer.write_all(&theirs).await.expect("taken");
        let mut got = Vec::new();
        peer.read_to_end(&mut got).await.expect("read");
        got.len()
    });
    channel.output().extend_from_slice(&ours[..1_000_000]);
    let rest = Bytes::from(ours).slice(1_000_000..);
    timeout(DEADLINE, channel.send_bytes(rest)).await.expect("no deadlock").expect("sent");
    while channel.input().len() < 700_005 {
        timeout(DEADLINE, channel.fill()).await.expect("in time").expect("read");
    }
    drop(channel);
    assert_eq!(peer.await.expect("no panic"), 4_000_000);
}

#[tokio::test]
async fn a_flush_given_up_loses_and_repeats_nothing() {
    let (mut channel, mut peer) = pair();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    channel.output().extend_from_slice(&sent);
    assert!(channel.flush().now_or_never().is_none(), "more than a socket takes");
    let reader = tokio::spawn(async move {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).await.expect("read");
        got
    });
    timeout(DEADLINE, channel.flush()).await.expect("in time").expect("sent");
    drop(channel);
    assert!(reader.await.expect("no panic") == sent, "the bytes are the same");
}

#[tokio::test]
async fn a_large_message_leaves_no_large_buffer_behind() {
    let (mut channel, mut peer) = pair();
    let writer = tokio::spawn(async move {
        let mut bytes = message(b'd', &vec![1; 8_000_000]);
        bytes.extend(message(b'Z', b"I"));
        peer.write_all(&bytes).await.expect("taken");
        peer
    });
    let frame = loop {
        match channel.take_frame().expect("valid") {
            Some((_, frame)) => break frame,
            None => timeout(DEADLINE, channel.fill()).await.expect("in time").expect("read"),
        }
    };
    assert_eq!(frame.len(), 8_000_005);
    drop(frame);
    timeout(DEADLINE, channel.message()).await.expect("in time").expect("the next one is there");
    channel.make_room();
    assert!(channel.input.capacity() < READ_AHEAD_BYTES_MAX, "{}", channel.input.capacity());
    drop(writer.await.expect("no panic"));
}

#[tokio::test]
async fn the_last_words_of_a_server_explain_a_broken_pipe() {
    let (mut channel, mut peer) = pair();
    peer.write_all(&message(b'N', b"SNOTICE\0Mx\0\0")).await.expect("written");
    peer.write_all(&error("terminating connection")).await.expect("written");
    drop(peer);
    channel.output().extend_from_slice(&vec![0; 1_000_000]);
    let error = timeout(DEADLINE, channel.flush()).await.expect("in time").expect_err("broken");
    assert_eq!(error.server_error().expect("its words").message, "terminating connection");
    assert!(error.is_transient());
}

#[tokio::test]
async fn rows_of_all_statements_come_back_and_an_error_leaves_the_channel_usable() {
    let (mut channel, mut peer) = pair();
    let mut reply = message(b'T', b"\0\0");
    reply.extend(message(b'D', b"\0\x02\0\0\0\x01x\xFF\xFF\xFF\xFF"));
    reply.extend(message(b'C', b"SELECT 1\0"));
    reply.extend(message(b'D', b"\0\x01\0\0\0\0"));
    reply.extend(message(b'Z', b"I"));
    reply.extend(error("no"));
    reply.extend(message(b'Z', b"I"));
    reply.extend(message(b'Z', b"I"));
    peer.write_all(&reply).await.expect("written");
    let rows = channel.simple_query("SELECT 1; SELECT ''").await.expect("rows");
    assert_eq!(rows, [vec![Some("x".to_owned()), None], vec![Some(String::new())]]);
    assert!(channel.simple_query("bad").await.expect_err("refused").server_error().is_some());
    assert!(channel.simple_query("").await.expect("usable").is_empty());
}

#[tokio::test]
async fn after_a_request_given_up_nothing_else_is_asked() {
    let (mut channel, mut peer) = pair();
    assert!(channel.simple_query("SELECT 1").now_or_never().is_none());
    // The late reply must not be taken for that of the next request.
    let mut reply = message(b'D', b"\0\x01\0\0\0\x01x");
    reply.extend(message(b'Z', b"I"));
    peer.write_all(&reply).await.expect("written");
    let error = channel.simple_query("SELECT 2").await.expect_err("out of step");
    assert!(matches!(error, WireError::Protocol { .. }), "{error}");
}
