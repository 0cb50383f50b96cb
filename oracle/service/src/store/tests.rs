//! The store's client against a node that keeps its word and against nodes that do not.

use std::convert::Infallible;
use std::net::SocketAddr;

use futures::TryStreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ipfs_devnode::{Server, ServerConfig};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;

/// Bytes around the limits between one leaf, many leaves and two levels of links.
const SIZES: [usize; 6] = [0, 1, 256 << 10, (256 << 10) + 1, 3 << 20, 45 << 20];

fn kubo(address: SocketAddr) -> Kubo {
    Kubo::new(&IpfsConfig {
        api: format!("http://{address}").parse().expect("a URI"),
    })
}

/// Bytes that differ from block to block.
fn bytes(size: usize) -> Vec<u8> {
    (0..size as u64)
        .map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

/// A node with a store in a temporary folder; it stops when the guard is dropped.
async fn devnode() -> (Kubo, tempfile::TempDir, DropGuard) {
    let folder = tempfile::tempdir().expect("temp dir");
    let server = Server::bind(ServerConfig {
        dir: folder.path().to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
    })
    .await
    .expect("bound");
    let kubo = kubo(server.local_addr());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(server.serve(async move { stopped.cancelled().await }));
    (kubo, folder, stop.drop_guard())
}

/// A node that gives one answer to everything.
async fn node_that_says(status: StatusCode, body: &'static [u8]) -> Kubo {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let kubo = kubo(listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let answer = move |request: Request<Incoming>| async move {
            // The whole request is read first, as a node does.
            let _ = request.into_body().collect().await;
            let mut response = Response::new(Full::new(Bytes::from_static(body)));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        };
        while let Ok((stream, _)) = listener.accept().await {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    });
    kubo
}

async fn fetched(kubo: &Kubo, cid: &Cid) -> Result<Vec<u8>, StoreError> {
    let chunks: Vec<Bytes> = kubo.fetch(cid).await?.try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn objects_come_back_as_they_went() {
    let (kubo, _folder, _stop) = devnode().await;
    kubo.ping().await.expect("it answers");
    let contents = SIZES.map(bytes);
    let objects: Vec<Object> = contents
        .iter()
        .map(|content| Object::new(content))
        .collect();
    for _ in 0..2 {
        kubo.import(&objects).await.expect("stored, also twice");
    }
    for (content, object) in contents.iter().zip(&objects) {
        let back = fetched(&kubo, object.cid()).await.expect("fetched");
        assert!(back == *content, "{} bytes", content.len());
    }
}

#[tokio::test]
async fn an_object_that_is_not_there_is_refused() {
    let (kubo, _folder, _stop) = devnode().await;
    let absent = Object::new(b"never stored");
    let error = fetched(&kubo, absent.cid()).await.expect_err("absent");
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn other_bytes_than_the_cid_names_are_never_given_out() {
    let object = Object::new(b"what was stored");
    let kubo = node_that_says(StatusCode::OK, b"something else").await;
    let error = fetched(&kubo, object.cid()).await.expect_err("corrupt");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_node_must_say_that_it_pinned() {
    let object = Object::new(b"pin me");
    for answer in [
        b"" as &'static [u8],
        b"{\"Root\":{\"Cid\":{\"/\":\"bafy\"}}}",
        b"<html>",
    ] {
        let kubo = node_that_says(StatusCode::OK, answer).await;
        let error = kubo
            .import(std::slice::from_ref(&object))
            .await
            .expect_err("not pinned");
        assert!(matches!(error, StoreError::NotPinned { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_a_node_says_when_it_fails_is_kept() {
    let body = br#"{"Message":"disk quota exceeded","Code":0,"Type":"error"}"#;
    let kubo = node_that_says(StatusCode::INTERNAL_SERVER_ERROR, body).await;
    match kubo.import(&[Object::new(b"a")]).await {
        Err(StoreError::Refused {
            status: 500,
            message,
            command,
        }) => {
            assert_eq!(message, "disk quota exceeded");
            assert_eq!(command, "dag/import");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_node_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let kubo = kubo(listener.local_addr().expect("an address"));
    drop(listener);
    let error = kubo.ping().await.expect_err("nobody");
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
    assert!(error.is_retryable());
}

/// Whether the node holds any block of the object.
async fn holds_any(kubo: &Kubo, object: &Object) -> bool {
    for (cid, _) in object.blocks() {
        if kubo.holds(cid).await.expect("it answers") {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_removed_object_leaves_no_block_and_no_pin() {
    let (kubo, _folder, _stop) = devnode().await;
    // Sealed objects share no block: each is under a key of its own.
    let content = |size: &usize| bytes(size * 2).split_off(*size);
    let objects = SIZES[1..].iter().map(|size| Object::new(&content(size)));
    let objects: Vec<Object> = objects.collect();
    let kept = Object::new(b"another record's object");
    kubo.import(&objects).await.expect("stored");
    kubo.import(std::slice::from_ref(&kept))
        .await
        .expect("stored");
    for object in &objects {
        let removal = kubo.remove(object.cid()).await.expect("removed");
        assert!(removal.blocks > 0 && !removal.collected);
        assert!(!holds_any(&kubo, object).await);
        let again = kubo.remove(object.cid()).await.expect("nothing to do");
        assert_eq!(again.blocks, 0);
    }
    let back = fetched(&kubo, kept.cid()).await.expect("still there");
    assert_eq!(back, b"another record's object");
}

/// A node that fetched an object for a reader, never pinned it, and lost an inner block meanwhile.
#[tokio::test]
async fn leaves_without_their_root_are_found_as_garbage() {
    let (kubo, _folder, _stop) = devnode().await;
    let object = Object::new(&bytes(3 << 20));
    kubo.import(std::slice::from_ref(&object))
        .await
        .expect("stored");
    kubo.unpin(object.cid()).await.expect("unpinned");
    kubo.remove_blocks(&[*object.cid()])
        .await
        .expect("the root is gone");
    assert!(holds_any(&kubo, &object).await, "its leaves are there");
    let removal = kubo.remove(object.cid()).await.expect("removed");
    assert!(removal.collected);
    assert!(!holds_any(&kubo, &object).await);
}

#[tokio::test]
async fn an_object_that_the_node_does_not_give_up_is_an_error() {
    let object = Object::new(b"x");
    let stays = br#"{"Hash":"bafy","Error":"pinned: indirect"}"#;
    let kubo = node_that_says(StatusCode::OK, stays).await;
    let error = kubo.remove(object.cid()).await.expect_err("it stays");
    assert!(matches!(error, StoreError::NotRemoved { .. }), "{error}");
    assert!(error.is_retryable());
}
