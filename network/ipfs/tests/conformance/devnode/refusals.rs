//! What a devnode does not do for anyone.

use bytes::Bytes;
use http::Method;

use super::{Devnode, command, files_below};
use crate::client::{Api, Upload};

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
