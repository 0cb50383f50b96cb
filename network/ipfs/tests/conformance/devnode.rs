//! The devnode as a process, and what only it must do: survive, detect, refuse.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use http::Method;
use tempfile::TempDir;

use crate::client::{Api, Upload};

pub(crate) struct Devnode {
    process: Child,
    address: SocketAddr,
    /// Kept as long as the process; absent when the folder belongs to the test.
    _dir: Option<TempDir>,
}

impl Devnode {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut devnode = Self::start_in(dir.path());
        devnode._dir = Some(dir);
        devnode
    }

    pub(crate) fn start_in(dir: &Path) -> Self {
        let mut process = command(dir).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let api = ready["api"].as_str().unwrap();
        let address = api.strip_prefix("http://").unwrap().parse().unwrap();
        Self {
            process,
            address,
            _dir: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the process as an operator would and checks that it ends well.
    pub(crate) fn terminate(&mut self) {
        self.signal_termination();
        assert!(self.process.wait().unwrap().success());
    }

    fn signal_termination(&self) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Devnode {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipfs-devnode"));
    command
        .arg("--dir")
        .arg(dir)
        .args(["--listen", "127.0.0.1:0"])
        .env("RUST_LOG", "error")
        .stdin(Stdio::null());
    command
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

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
async fn damaged_block_is_an_error_until_it_is_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let devnode = Devnode::start_in(dir.path());
    let api = Api::new(devnode.address());
    // Three chunks; the second and the third start with other bytes than the first.
    let content = [vec![1; 262_144], vec![2; 262_144], vec![3; 1000]].concat();
    let cid = api.add("cid-version=1", &content).await;
    let blocks = files_below(&dir.path().join("blocks"));
    let chunk = |first: u8| {
        let is_chunk = |file: &&PathBuf| fs::read(file).unwrap().starts_with(&[first; 999]);
        blocks.iter().find(is_chunk).unwrap().clone()
    };
    for (file, is_first) in [(chunk(1), true), (chunk(3), false)] {
        let mut bytes = fs::read(&file).unwrap();
        bytes[500] ^= 1;
        fs::write(&file, bytes).unwrap();

        let read = api.call(&format!("cat?arg={cid}")).await;
        if is_first {
            assert!(read.error().contains("corrupted"));
        } else {
            assert!(read.broken_off, "the answer must not look complete");
            assert!(read.body.len() < content.len());
        }
        let digest = hex::decode(file.file_name().unwrap().to_str().unwrap()).unwrap();
        let hash = multihash::Multihash::wrap(0x12, &digest).unwrap();
        let block = cid::Cid::new_v1(0x55, hash);
        for command in ["block/get", "block/stat"] {
            let error = api.call(&format!("{command}?arg={block}")).await.error();
            assert!(error.contains("corrupted"), "{error}");
        }
        // Leaves are kept by name, so a damaged one does not make its neighbours garbage.
        assert!(api.call("repo/gc").await.ok().lines().is_empty());

        assert_eq!(api.add("cid-version=1", &content).await, cid);
        assert_eq!(api.call(&format!("cat?arg={cid}")).await.ok().body, content);
    }
}

#[tokio::test]
async fn garbage_collection_stops_at_a_tree_it_cannot_walk() {
    let dir = tempfile::tempdir().unwrap();
    let devnode = Devnode::start_in(dir.path());
    let api = Api::new(devnode.address());
    let kept = api.add("cid-version=1", &[1; 600_000]).await;
    api.add("pin=false", b"garbage").await;
    let before = files_below(&dir.path().join("blocks")).len();
    let root: cid::Cid = kept.parse().unwrap();
    let name = hex::encode(root.hash().digest());
    let blocks = files_below(&dir.path().join("blocks"));
    let root_file = blocks.iter().find(|file| file.ends_with(&name)).unwrap();
    let bytes = fs::read(root_file).unwrap();
    fs::write(root_file, b"damaged").unwrap();
    let error = api.call("repo/gc").await.error();
    assert!(error.contains("corrupted"), "{error}");
    assert_eq!(files_below(&dir.path().join("blocks")).len(), before);

    fs::write(root_file, bytes).unwrap();
    assert_eq!(api.call("repo/gc").await.ok().lines().len(), 1);
    assert_eq!(files_below(&dir.path().join("blocks")).len(), before - 1);
}

#[tokio::test]
async fn folder_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Devnode::start_in(dir.path());
    let second = command(dir.path()).output().unwrap();
    assert!(!second.status.success());
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("another process is using it"), "{error}");
    first.terminate();
    Devnode::start_in(dir.path()).terminate();
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

#[tokio::test]
async fn names_from_outside_never_become_paths() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("a/b/store");
    let devnode = Devnode::start_in(&dir);
    let api = Api::new(devnode.address());
    for name in [
        "../../escape",
        "%2e%2e%2f%2e%2e%2fescape",
        "/../escape",
        "a/../../../escape",
    ] {
        let reply = api.upload("add", &[Upload::file(name, b"x")]).await;
        assert!(reply.error().contains("invalid file name"), "{name}");
    }
    for argument in [
        "../../version",
        "%2e%2e/version",
        "/etc/passwd",
        "..%2F..%2Fversion",
    ] {
        for command in [
            "cat",
            "block/get",
            "block/stat",
            "dag/export",
            "pin/add",
            "pin/rm",
        ] {
            let reply = api.call(&format!("{command}?arg={argument}")).await;
            assert!(
                reply.error().contains("invalid path"),
                "{command} {argument}"
            );
        }
    }
    let outside = files_below(outer.path());
    assert!(
        outside.iter().all(|file| file.starts_with(&dir)),
        "{outside:?}"
    );
}

#[tokio::test]
async fn limits_are_answered() {
    let devnode = Devnode::start();
    let api = Api::new(devnode.address());
    let origin = [("origin", "http://evil.example")];
    let reply = api
        .send(Method::POST, "version", &origin, Bytes::new())
        .await;
    assert_eq!(reply.status, 403);

    let long = "a".repeat(200_000);
    let reply = api
        .send(Method::POST, "version", &[("x-long", &long)], Bytes::new())
        .await;
    assert_eq!(reply.status, 431);

    let files: Vec<_> = (0..10_001).map(|_| Upload::file("f", b"")).collect();
    let reply = api.upload("add?only-hash=true&silent=true", &files).await;
    assert_eq!(reply.status, 413);

    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let endless_part_header = [b"--b\r\nX-Endless: ".as_slice(), &[b'a'; 1_200_000]].concat();
    let reply = api
        .send(Method::POST, "add", &headers, endless_part_header.into())
        .await;
    assert_eq!(reply.status, 413);

    let many = [Upload::file("f", &[0; 300_000])];
    let reply = api.upload("add?only-hash=true&chunker=size-1", &many).await;
    assert!(reply.error().contains("blocks"));

    // Kubo takes this for a CAR without blocks.
    let reply = api.upload("dag/import", &[Upload::file("car", b"")]).await;
    assert_eq!(reply.error(), "unexpected EOF");

    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let body = Bytes::from_static(b"--b\r\nno multipart");
    let reply = api.send(Method::POST, "add", &headers, body).await;
    assert!(reply.error().contains("malformed multipart"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_collection_never_takes_what_was_acknowledged() {
    let devnode = Devnode::start();
    let api = Api::new(devnode.address());
    let adders: Vec<_> = (0..4_u8)
        .map(|adder| {
            let api = api.clone();
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for round in 0..20_u8 {
                    // A block that every adder brings along and that becomes garbage each time.
                    let content = [vec![0; 262_144], vec![adder, round]].concat();
                    let cid = api.add("cid-version=1", &content).await;
                    if round % 2 == 0 {
                        api.call(&format!("pin/rm?arg={cid}")).await.ok();
                    } else {
                        kept.push((cid, content));
                    }
                }
                kept
            })
        })
        .collect();
    let collector = {
        let api = api.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                api.call("repo/gc").await.ok();
            }
        })
    };
    for adder in adders {
        for (cid, content) in adder.await.unwrap() {
            assert_eq!(api.call(&format!("cat?arg={cid}")).await.ok().body, content);
        }
    }
    collector.await.unwrap();
}
