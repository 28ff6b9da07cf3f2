//! Request in, response out: no socket, no wait.

use axum::body::Bytes;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Response, StatusCode};
use serde_json::json;

use crate::metrics;
use crate::pipeline::status::Board;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

const ENDPOINTS: &str = "/         the status page
/status   everything that is known, as JSON
/metrics  for Prometheus
/live     the process runs
/started  configuration valid, both servers reached once
/ready    copy done and stream connected, or standby
";

struct Answer {
    code: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

/// The answer to one request. `path` is without the query.
pub fn respond(board: &Board, method: &Method, path: &str) -> Response<Bytes> {
    if method != Method::GET && method != Method::HEAD {
        let refused = Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let mut response = refused.into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut response = answer(board, path).into_response();
    if method == Method::HEAD {
        *response.body_mut() = Bytes::new();
    }
    response
}

fn answer(board: &Board, path: &str) -> Answer {
    match path {
        "/metrics" => Answer::ok(metrics::CONTENT_TYPE, board.metrics_text()),
        "/live" => probe(board, "live", true),
        "/started" => probe(board, "started", board.is_started()),
        "/ready" => probe(board, "ready", board.state().is_ready()),
        "/status" => status(board),
        "/" => Answer::ok("text/html; charset=utf-8", include_str!("page/page.html")),
        "/page.css" => Answer::ok("text/css; charset=utf-8", include_str!("page/page.css")),
        "/page.js" => Answer::ok("text/javascript; charset=utf-8", include_str!("page/page.js")),
        "/icon.svg" => Answer::ok("image/svg+xml", include_str!("page/icon.svg")),
        _ => Answer::text(StatusCode::NOT_FOUND, ENDPOINTS),
    }
}

fn probe(board: &Board, name: &str, holds: bool) -> Answer {
    let (state, reason) = board.state_and_reason();
    let code = if holds { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ name: holds, "state": state.label(), "reason": reason });
    Answer { code, content_type: JSON, body: Bytes::from(format!("{body}\n")) }
}

fn status(board: &Board) -> Answer {
    let json = serde_json::to_vec(&board.status()).expect("plain data has a JSON form");
    Answer { code: StatusCode::OK, content_type: JSON, body: Bytes::from(json) }
}

impl Answer {
    fn ok(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
        Answer { code: StatusCode::OK, content_type, body: body.into() }
    }

    fn text(code: StatusCode, body: &'static str) -> Answer {
        Answer { code, content_type: TEXT, body: Bytes::from_static(body.as_bytes()) }
    }

    fn into_response(self) -> Response<Bytes> {
        let length = self.body.len();
        let mut response = Response::new(self.body);
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        for (name, value) in [
            (CONTENT_TYPE, self.content_type),
            (CACHE_CONTROL, "no-store"),
            (CONTENT_SECURITY_POLICY, "default-src 'self'"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::status::{BoardOptions, State, Status};

    fn board() -> Board {
        Board::new(BoardOptions { pipeline: "shop".to_owned(), max_tables: 10 })
    }

    fn get(board: &Board, path: &str) -> Response<Bytes> {
        respond(board, &Method::GET, path)
    }

    fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
        response.headers().get(name).expect("present").to_str().expect("text")
    }

    fn json(response: &Response<Bytes>) -> serde_json::Value {
        serde_json::from_slice(response.body()).expect("JSON")
    }

    #[test]
    fn live_holds_in_every_state() {
        let board = board();
        for state in [State::Starting, State::Backoff, State::Degraded, State::Halted] {
            board.set_state(state, "because");
            let response = get(&board, "/live");
            assert_eq!(response.status(), StatusCode::OK);
            let expected = json!({"live": true, "state": state.label(), "reason": "because"});
            assert_eq!(json(&response), expected);
        }
    }

    #[test]
    fn started_waits_for_both_servers_and_stays() {
        let board = board();
        assert_eq!(get(&board, "/started").status(), StatusCode::SERVICE_UNAVAILABLE);
        board.source_reached();
        assert_eq!(get(&board, "/started").status(), StatusCode::SERVICE_UNAVAILABLE);
        board.destination_reached();
        board.set_state(State::Backoff, "the source is unreachable");
        assert_eq!(get(&board, "/started").status(), StatusCode::OK);
    }

    #[test]
    fn ready_is_for_a_pipeline_that_follows_or_stands_by() {
        let board = board();
        for (state, is_ready) in [
            (State::Starting, false),
            (State::Waiting, false),
            (State::Copying, false),
            (State::CatchingUp, true),
            (State::Streaming, true),
            (State::Standby, true),
            (State::Paused, false),
            (State::Degraded, false),
            (State::Backoff, false),
            (State::Halted, false),
        ] {
            board.set_state(state, "x");
            let response = get(&board, "/ready");
            assert_eq!(response.status().is_success(), is_ready, "{state:?}");
            assert_eq!(json(&response)["state"], state.label());
        }
    }

    #[test]
    fn metrics_carry_the_content_type_that_prometheus_wants() {
        let response = get(&board(), "/metrics");
        assert_eq!(header(&response, "content-type"), "text/plain; version=0.0.4");
        assert!(response.body().starts_with(b"# HELP sync_agent_"));
    }

    #[test]
    fn status_is_the_boards() {
        let response = get(&board(), "/status");
        assert_eq!(header(&response, "content-type"), "application/json");
        let status: Status = serde_json::from_slice(response.body()).expect("a status");
        assert_eq!((status.schema_version, status.pipeline.as_str()), (1, "shop"));
    }

    #[test]
    fn every_answer_is_fresh_and_confined() {
        let board = board();
        for path in ["/", "/page.js", "/page.css", "/icon.svg", "/status", "/metrics", "/nowhere"] {
            let response = get(&board, path);
            assert_eq!(header(&response, "cache-control"), "no-store", "{path}");
            assert_eq!(header(&response, "content-security-policy"), "default-src 'self'");
            assert_eq!(header(&response, "content-length"), response.body().len().to_string());
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_renders_text_as_text() {
        let parts = ["page/page.html", "page/page.css", "page/page.js"];
        let sources = [
            include_str!("page/page.html"),
            include_str!("page/page.css"),
            include_str!("page/page.js"),
        ];
        for (part, source) in parts.iter().zip(sources) {
            let source = source.replace("http://www.w3.org/2000/svg", "");
            for banned in
                ["http:", "https:", "innerHTML", "outerHTML", "insertAdjacent", "eval(", "style=\""]
            {
                assert!(!source.contains(banned), "{part} holds {banned}");
            }
        }
    }

    #[test]
    fn other_methods_are_refused() {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let response = respond(&board(), &method, "/status");
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(header(&response, "allow"), "GET, HEAD");
        }
    }

    #[test]
    fn head_has_the_headers_of_get_and_no_body() {
        let board = board();
        let (get, head) = (get(&board, "/"), respond(&board, &Method::HEAD, "/"));
        assert!(head.body().is_empty());
        assert_eq!(head.headers(), get.headers());
    }

    #[test]
    fn an_unknown_path_is_told_the_known_ones() {
        let response = get(&board(), "/favicon.ico");
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let text = String::from_utf8(response.body().to_vec()).expect("text");
        for path in ["/status", "/metrics", "/live", "/started", "/ready"] {
            assert!(text.contains(path), "{path} is not listed");
        }
    }
}
