//! What a devnode keeps when it is stopped, killed, or left by its client.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use bytes::Bytes;

use super::{Devnode, files_below};
use crate::client::{Api, Upload};

#[tokio::test]
async fn what_was_acknowledged_survives_kill_minus_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut contents = Vec::new();
    for round in 0..5_u8 {
        let mut devnode = Devnode::start_in(dir.path());
        let api = Api::new(devnode.address());
        for (cid, content) in &contents {
            let read = api.call(&format!("cat?arg={cid}")).await.ok();
            assert_eq!(read.body, *content);
            api.call(&format!("pin/ls?arg={cid}&type=recursive"))
                .await
                .ok();
        }
        let content = Bytes::from(vec![round; 300_000]);
        let cid = api.add("cid-version=1", &content).await;
        contents.push((cid, content));
        devnode.kill();
    }
}

/// Sends the beginning of an upload and returns once the node has blocks of it on disk.
fn begin_upload(devnode: &Devnode, staged: &Path) -> TcpStream {
    let mut stream = TcpStream::connect(devnode.address()).unwrap();
    let length = UPLOAD_HEAD.len() + UPLOAD_BYTES + UPLOAD_TAIL.len();
    let head = format!(
        "POST /api/v0/add HTTP/1.1\r\nHost: devnode\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n{UPLOAD_HEAD}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[7; UPLOAD_BYTES / 2]).unwrap();
    while files_below(staged).is_empty() {
        std::thread::yield_now();
    }
    stream
}

const UPLOAD_BYTES: usize = 6_000_000;
const UPLOAD_HEAD: &str =
    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
const UPLOAD_TAIL: &str = "\r\n--b--\r\n";

#[test]
fn request_at_work_is_answered_before_the_process_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut devnode = Devnode::start_in(dir.path());
    let mut stream = begin_upload(&devnode, &dir.path().join("staged"));
    devnode.signal_termination();
    // The port closes at once, the upload goes on.
    while TcpStream::connect(devnode.address()).is_ok() {
        std::thread::yield_now();
    }
    stream.write_all(&[7; UPLOAD_BYTES / 2]).unwrap();
    stream.write_all(UPLOAD_TAIL.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"Hash\""), "{answer}");
    assert!(devnode.process.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_in_the_middle_of_many_uploads_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..6_u8 {
        let mut devnode = Devnode::start_in(dir.path());
        let api = Api::new(devnode.address());
        for (cid, content) in &acknowledged {
            assert_eq!(api.call(&format!("cat?arg={cid}")).await.ok().body, content);
            api.call(&format!("pin/ls?arg={cid}&type=recursive"))
                .await
                .ok();
        }
        let (acknowledgements, mut received) = tokio::sync::mpsc::channel(64);
        let uploaders: Vec<_> = (0..4_u8)
            .map(|uploader| {
                let (api, acknowledgements) = (api.clone(), acknowledgements.clone());
                tokio::spawn(async move {
                    for number in 0.. {
                        let content = [vec![round; 300_000], vec![uploader, number]].concat();
                        let file = [Upload::file("f", &content)];
                        let Some(reply) = api.try_upload("add?cid-version=1", &file).await else {
                            return;
                        };
                        let cid = reply.ok().json()["Hash"].as_str().unwrap().to_owned();
                        if acknowledgements.send((cid, content)).await.is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        drop(acknowledgements);
        for _ in 0..7 {
            acknowledged.extend(received.recv().await);
        }
        devnode.kill();
        while let Some(last) = received.recv().await {
            acknowledged.push(last);
        }
        for uploader in uploaders {
            uploader.await.unwrap();
        }
    }
    assert!(acknowledged.len() >= 42);
}

#[tokio::test]
async fn upload_cut_off_by_kill_leaves_nothing_visible() {
    let dir = tempfile::tempdir().unwrap();
    let mut devnode = Devnode::start_in(dir.path());
    let staged = dir.path().join("staged");
    let _stream = begin_upload(&devnode, &staged);
    devnode.kill();
    assert!(files_below(&dir.path().join("blocks")).is_empty());

    let devnode = Devnode::start_in(dir.path());
    assert!(files_below(&staged).is_empty());
    let stat = Api::new(devnode.address())
        .call("repo/stat")
        .await
        .ok()
        .json();
    assert_eq!(stat["NumObjects"], 0);
}

#[tokio::test]
async fn client_that_goes_away_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let devnode = Devnode::start_in(dir.path());
    let staged = dir.path().join("staged");
    let stream = begin_upload(&devnode, &staged);
    drop(stream);
    while !files_below(&staged).is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(files_below(&dir.path().join("blocks")).is_empty());
}

#[tokio::test]
async fn identity_lasts_and_differs() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut devnode = Devnode::start_in(dir.path());
        let id = Api::new(devnode.address()).call("id").await.ok().json();
        ids.push(id["ID"].clone());
        devnode.terminate();
    }
    let other = Devnode::start();
    let other = Api::new(other.address()).call("id").await.ok().json();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], other["ID"]);
}
