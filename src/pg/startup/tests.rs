//! Scripted servers that ask for the wrong thing, or prove nothing.

use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::*;
use crate::pg::stream::Stream;

/// Reached only when a wrong answer was taken and more is waited for.
const DEADLINE: Duration = Duration::from_secs(20);

const PASSWORD: &str = "canary";

fn startup(binding: ChannelBinding) -> Startup<'static> {
    Startup {
        user: "u",
        dbname: "d",
        application_name: "a",
        is_replication: true,
        password: Some(SecretString::from(PASSWORD)),
        channel_binding: binding,
    }
}

fn request(code: i32, rest: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u8(b'R');
    out.put_u32(u32::try_from(rest.len() + 8).expect("small"));
    out.put_i32(code);
    out.put_slice(rest);
    out.to_vec()
}

/// Sends `script` in answer to the start-up message; returns the outcome and all that we sent.
async fn answered(startup: Startup<'static>, script: Vec<u8>) -> (Result<(), Failure>, Vec<u8>) {
    let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
    theirs.write_all(&script).await.expect("written");
    let dialed = Dialed { stream: Stream::Unix(ours), address: None, channel_binding: None };
    let outcome = timeout(DEADLINE, start(dialed, &startup)).await.expect("decided").map(drop);
    let mut sent = Vec::new();
    theirs.read_to_end(&mut sent).await.expect("read");
    (outcome, sent)
}

#[tokio::test]
async fn the_startup_message_asks_for_a_logical_walsender_and_no_options() {
    let mut script = request(0, b"");
    script.extend(b"K\0\0\0\x0c\0\0\0\x07\0\0\0\x08Z\0\0\0\x05I");
    let (outcome, sent) = answered(startup(ChannelBinding::Prefer), script).await;
    outcome.expect("ready");
    let text = sent.escape_ascii().to_string();
    assert!(text.contains("replication\\x00database\\x00"), "{text}");
    assert!(!text.contains("options"), "{text}");
}

#[tokio::test]
async fn required_channel_binding_sends_no_password_to_a_server_without_it() {
    let mechanisms = b"SCRAM-SHA-256\0\0";
    for script in [
        request(0, b""),
        request(3, b""),
        request(5, b"salt"),
        request(10, mechanisms),
        request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
    ] {
        let (outcome, sent) = answered(startup(ChannelBinding::Require), script).await;
        let failure = outcome.expect_err("refused");
        assert!(matches!(failure, Failure::ChannelBinding(_)), "{failure}");
        let (length, _) = sent.split_first_chunk().expect("the start-up message");
        let length = usize::try_from(u32::from_be_bytes(*length)).expect("small");
        assert_eq!(sent.len(), length, "nothing follows it: {}", sent.escape_ascii());
    }
}

#[tokio::test]
async fn what_is_not_spoken_is_refused_by_name() {
    for (script, word) in [
        (request(7, b""), "Kerberos"),
        (request(10, b"OAUTHBEARER\0\0"), "OAUTHBEARER"),
        (request(99, b""), "authentication tag"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "no PostgreSQL server"),
    ] {
        let (outcome, sent) = answered(startup(ChannelBinding::Prefer), script).await;
        let failure = outcome.expect_err(word).to_string();
        assert!(failure.contains(word), "{failure}");
        assert!(!sent.escape_ascii().to_string().contains(PASSWORD));
    }
}

#[tokio::test]
async fn a_server_that_does_not_prove_itself_is_refused() {
    // AuthenticationOk in place of the proof, and a proof that is wrong.
    for last in [request(0, b""), request(12, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")] {
        let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
        let server = tokio::spawn(async move {
            theirs.write_all(&request(10, b"SCRAM-SHA-256\0\0")).await.expect("written");
            let mut got = BytesMut::new();
            let nonce = loop {
                theirs.read_buf(&mut got).await.expect("read");
                let text = String::from_utf8_lossy(&got).into_owned();
                if let Some((_, nonce)) = text.split_once("n,,n=,r=") {
                    break nonce.to_owned();
                }
            };
            let first = format!("r={nonce}x,s=c2FsdA==,i=4096");
            theirs.write_all(&request(11, first.as_bytes())).await.expect("written");
            theirs.read_buf(&mut got).await.expect("read");
            theirs.write_all(&last).await.expect("written");
            theirs.write_all(b"Z\0\0\0\x05I").await.expect("written");
        });
        let dialed = Dialed { stream: Stream::Unix(ours), address: None, channel_binding: None };
        let outcome = start(dialed, &startup(ChannelBinding::Prefer)).await.map(drop);
        let failure = outcome.expect_err("unproved");
        assert!(!failure.is_transient(), "{failure}");
        server.await.expect("no panic");
    }
}
