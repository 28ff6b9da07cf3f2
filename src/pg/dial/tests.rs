//! Scripted answers to the TLS request, and what the sockets are told.

use std::time::Duration;

use tokio::net::TcpListener;

use super::*;

/// Dials a server that answers the TLS request with `answer`; returns what came after it, too.
async fn dialed(sslmode: &str, answer: &'static [u8]) -> (Result<(), Failure>, Vec<u8>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.expect("the request");
        stream.write_all(answer).await.expect("written");
        let mut rest = Vec::new();
        if answer.is_empty() {
            return rest;
        }
        let _ = stream.read_to_end(&mut rest).await;
        rest
    });
    let text = format!("host=127.0.0.1 port={port} user=u sslmode={sslmode} connect_timeout=5");
    let conninfo = ConnInfo::parse(&text, &|_| None).expect("valid");
    let outcome = dial_host(&conninfo, &conninfo.hosts[0], Encryption::AsAsked).await;
    let outcome = outcome.map(|dialed| assert!(!dialed.stream.is_tls()));
    (outcome, server.await.expect("no panic"))
}

#[tokio::test]
async fn a_server_without_tls_is_taken_only_where_that_is_allowed() {
    let (outcome, _) = dialed("prefer", b"N").await;
    outcome.expect("plain text is allowed");
    let (outcome, rest) = dialed("require", b"N").await;
    assert!(matches!(outcome, Err(Failure::NoTls)));
    assert!(rest.is_empty(), "nothing is told to it");
}

#[tokio::test]
async fn bytes_slipped_in_before_the_encryption_are_refused() {
    for sslmode in ["prefer", "require"] {
        let (outcome, rest) = dialed(sslmode, b"SE\0\0\0\x10").await;
        assert!(matches!(outcome, Err(Failure::TrailingPlaintext(5))), "{outcome:?}");
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn what_answers_otherwise_is_no_postgresql_server() {
    let (outcome, _) = dialed("require", b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(matches!(outcome, Err(Failure::Protocol(_))), "{outcome:?}");
    let (outcome, _) = dialed("require", b"E\0\0\0\x10").await;
    assert!(outcome.expect_err("cannot fork").is_transient());
    let (outcome, _) = dialed("require", b"").await;
    assert!(matches!(outcome, Err(Failure::Closed { .. })), "{outcome:?}");
}

#[tokio::test]
async fn sockets_notice_a_dead_peer() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let conninfo = ConnInfo::parse("user=u", &|_| None).expect("valid");
    let stream = dial_tcp(address, &conninfo.network).await.expect("connected");
    assert!(stream.nodelay().expect("asked"));
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().expect("asked"));
    assert_eq!(socket.tcp_keepalive_time().expect("asked"), Duration::from_secs(10));
    assert_eq!(socket.tcp_keepalive_interval().expect("asked"), Duration::from_secs(5));
    assert_eq!(socket.tcp_keepalive_retries().expect("asked"), 3);
    #[cfg(target_os = "linux")]
    assert_eq!(socket.tcp_user_timeout().expect("asked"), Some(Duration::from_secs(30)));
}
