//! The server over real sockets, asked by our own client and by rude ones.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;
use crate::http::fetch_status;
use crate::pipeline::status::BoardOptions;

const DEADLINE: Duration = Duration::from_secs(20);

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

async fn start() -> Server {
    let board = Board::new(BoardOptions { pipeline: "shop".to_owned(), max_tables: 10 });
    let listener = bind(loopback()).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, board, async { drop(stopped.await) }));
    Server { address, stop, task }
}

/// Everything the server answers to `request` until it closes the connection.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer).await);
    answer
}

#[tokio::test]
async fn the_client_reads_what_the_server_says() {
    let server = start().await;
    let status = fetch_status(server.address, DEADLINE).await.expect("an answer");
    assert_eq!(status.pipeline, "shop");
    drop(server.stop);
    server.task.await.expect("it ends when told");
}

#[tokio::test]
async fn head_has_a_length_and_no_body() {
    let server = start().await;
    let answer =
        ask(server.address, "HEAD /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.to_lowercase().contains("content-length: "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_query_does_not_hide_the_path() {
    let server = start().await;
    let answer =
        ask(server.address, "GET /live?x=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_port_in_use_is_a_configuration_error_that_names_its_key() {
    let server = start().await;
    let error = bind(server.address).await.expect_err("the port is taken");
    assert!(matches!(error, HttpError::PortInUse { .. }), "{error:?}");
    assert_eq!(error.code(), "E_CONFIG");
    assert!(error.to_string().contains("http.listen"), "{error}");
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_e_connect() {
    let address = bind(loopback()).await.expect("free").local_addr().expect("bound");
    let error = fetch_status(address, DEADLINE).await.expect_err("nobody is there");
    assert_eq!(error.code(), "E_CONNECT");
}

#[tokio::test]
async fn another_program_on_the_port_is_no_agent() {
    let listener = bind(loopback()).await.expect("free");
    let address = listener.local_addr().expect("bound");
    let other = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("asked");
        let mut head = [0; 512];
        let _ = stream.read(&mut head).await.expect("a request");
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).await.expect("sent");
    });
    let error = fetch_status(address, DEADLINE).await.expect_err("no status");
    assert!(matches!(error, HttpError::NotAnAgent { .. }), "{error:?}");
    other.await.expect("ended");
}

#[tokio::test]
async fn a_server_that_says_nothing_times_out() {
    let listener = bind(loopback()).await.expect("free");
    let address = listener.local_addr().expect("bound");
    let error = fetch_status(address, Duration::from_millis(50)).await.expect_err("silence");
    assert!(matches!(error, HttpError::Timeout { .. }), "{error:?}");
}

/// Time is stopped: it jumps to the next timer whenever nobody has work.
#[tokio::test(start_paused = true)]
async fn a_client_that_sends_half_a_request_is_cut_off() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.expect("it listens");
    stream.write_all(b"GET /status HTTP/1.1\r\nhost:").await.expect("it reads");
    let begun = tokio::time::Instant::now();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!(begun.elapsed() >= HEADER_TIMEOUT, "cut after {:?}", begun.elapsed());
    assert!(begun.elapsed() < HEADER_TIMEOUT * 2, "cut after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let server = start().await;
    let answer = ask(server.address, &format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000))).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_make_no_one_wait() {
    let server = start().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(server.address).await.expect("it listens"));
    }
    // Taken in order: an answer to the last one says that all were taken.
    let last = silent.last_mut().expect("there are some");
    last.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
    let mut byte = [0];
    last.read_exact(&mut byte).await.expect("an answer");
    let refused = ask(server.address, "GET /live HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(refused, "");
    drop(silent);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while fetch_status(server.address, DEADLINE).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no room was made");
        tokio::task::yield_now().await;
    }
}
