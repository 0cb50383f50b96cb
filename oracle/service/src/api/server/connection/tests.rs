//! One connection over memory, with a clock that runs as fast as nothing happens.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

const PATIENCE: Patience = Patience {
    idle: Duration::from_secs(60),
    stall: Duration::from_secs(30),
};
/// Time that a look may come later.
const LOOK_LATE: Duration = Duration::from_secs(2);
/// Bytes between the two ends.
const PIPE_BYTES: usize = 4096;
/// Parts of a large answer, and bytes in each.
const PARTS: (usize, usize) = (16, 64 << 10);

/// Answers `/slow` after an hour, `/large` in parts, all else at once; the peer's end is given back.
fn serving() -> (DuplexStream, JoinHandle<()>, CancellationToken) {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let stop = CancellationToken::new();
    let activity = Activity::new();
    let io = super::super::activity::WatchedStream::new(near, activity.clone());
    let answer = |request: Request<Incoming>| async move {
        let body = match request.uri().path() {
            "/slow" => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                PermitBody::without_place(Full::new(Bytes::from_static(b"at last")))
            }
            "/large" => {
                let part = || Ok::<_, std::io::Error>(Frame::data(vec![0; PARTS.1].into()));
                let parts = std::iter::repeat_with(part).take(PARTS.0);
                PermitBody::without_place(StreamBody::new(futures::stream::iter(parts)))
            }
            _ => PermitBody::without_place(Full::new(Bytes::from_static(b"at once"))),
        };
        Response::new(body)
    };
    let running = tokio::spawn(serve(io, answer, activity, PATIENCE, stop.clone()));
    (far, running, stop)
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("http://localhost{path}"));
    request.body(Empty::new()).unwrap()
}

/// How long the connection went on.
async fn lasted(running: JoinHandle<()>) -> Duration {
    let begun = Instant::now();
    running.await.unwrap();
    begun.elapsed()
}

fn about(time: Duration, expected: Duration) {
    let range = expected..=expected + LOOK_LATE;
    assert!(range.contains(&time), "{time:?}, not {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_closed() {
    let (mut peer, running, _stop) = serving();
    about(lasted(running).await, PATIENCE.idle);
    assert_eq!(peer.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_comes_in_drops_is_given_up() {
    let (mut peer, running, _stop) = serving();
    let begun = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n" {
        if peer.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    running.await.unwrap();
    assert!(begun.elapsed() <= PATIENCE.idle + LOOK_LATE);
    let mut answer = String::new();
    drop(peer.read_to_string(&mut answer).await);
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_kept_session_is_closed_in_http_1_and_2() {
    let (peer, running, _stop) = serving();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(peer));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(get("/")).await.unwrap();
    assert_eq!(response.collect().await.unwrap().to_bytes(), "at once");
    // hyper counts the wait for the next header as the time for a header.
    about(lasted(running).await, HEADER_TIMEOUT);

    let (peer, running, _stop) = serving();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(peer)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(get("/")).await.unwrap();
    assert_eq!(response.collect().await.unwrap().to_bytes(), "at once");
    // The peer answers every ping, and is closed all the same.
    about(lasted(running).await, PATIENCE.idle);
}

#[tokio::test(start_paused = true)]
async fn a_slow_oracle_closes_nobody() {
    let (peer, _running, _stop) = serving();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(peer)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(get("/slow")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.collect().await.unwrap().to_bytes(), "at last");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_closed() {
    let (mut peer, running, _stop) = serving();
    let request = b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n";
    peer.write_all(request).await.unwrap();
    about(lasted(running).await, PATIENCE.stall);
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() <= PIPE_BYTES, "{} bytes", answer.len());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_keeps_its_window_shut_is_closed_and_a_slow_one_is_not() {
    for slow in [false, true] {
        let (peer, running, _stop) = serving();
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(PARTS.1 as u32);
        let (mut sender, connection) = builder.handshake(TokioIo::new(peer)).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(get("/large")).await.unwrap();
        let mut body = response.into_body();
        if slow {
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame.unwrap().into_data().unwrap().len();
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            assert_eq!(bytes, PARTS.0 * PARTS.1);
        } else {
            about(lasted(running).await, PATIENCE.stall * 4);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_an_answer_finish() {
    let (peer, running, stop) = serving();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(peer));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let answering = tokio::spawn(async move { sender.send_request(get("/slow")).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    let response = answering.await.unwrap().unwrap();
    assert_eq!(response.collect().await.unwrap().to_bytes(), "at last");
    running.await.unwrap();
}
