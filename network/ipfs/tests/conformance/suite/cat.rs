//! `cat`: files, ranges of them, and paths to them.

use super::{ABSENT, unique};
use crate::client::{Api, Upload};

pub(crate) async fn ranges(api: &Api) {
    let content = unique("ranges", 700_000);
    for options in ["", "cid-version=1", "chunker=size-1000&raw-leaves=true"] {
        let cid = api.add(options, &content).await;
        for (offset, length) in [
            (0, 700_000),
            (0, 1),
            (1, 262_143),
            (262_143, 2),
            (262_144, 262_144),
            (500_000, 1_000_000),
            (699_999, 1),
            (700_000, 10),
            (900_000, 10),
            (5, 0),
        ] {
            let command = format!("cat?arg={cid}&offset={offset}&length={length}");
            let reply = api.call(&command).await.ok();
            let end = (offset + length).min(content.len());
            let expected = content.get(offset..end).unwrap_or_default();
            assert!(reply.body == expected, "{options} {command}");
            assert_eq!(
                reply.headers["x-content-length"],
                expected.len().to_string()
            );
        }
        let reply = api.call(&format!("cat?arg={cid}&offset=650000")).await.ok();
        assert!(reply.body == content[650_000..]);
        assert_eq!(reply.headers["content-type"], "text/plain");
        assert_eq!(reply.headers["x-stream-output"], "1");
    }
    let cid = api.add("", b"").await;
    assert!(
        api.call(&format!("cat?arg={cid}"))
            .await
            .ok()
            .body
            .is_empty()
    );
}

pub(crate) async fn several_files(api: &Api) {
    let one = api.add("", b"first ").await;
    let two = api.add("cid-version=1", b"second").await;
    for (query, expected) in [
        ("", "first second"),
        ("&offset=2", "rst second"),
        ("&offset=8", "cond"),
        ("&length=8", "first se"),
        ("&offset=4&length=4", "t se"),
        ("&offset=6&length=3", "sec"),
    ] {
        let reply = api
            .call(&format!("cat?arg={one}&arg={two}{query}"))
            .await
            .ok();
        assert_eq!(reply.body, expected, "{query}");
        assert_eq!(
            reply.headers["x-content-length"],
            expected.len().to_string()
        );
    }
}

pub(crate) async fn paths(api: &Api) {
    let files = [
        Upload::file("dir%2Fone", b"1"),
        Upload::file("dir%2Fdeep%2Ftwo", b"2"),
    ];
    let reply = api.upload("add?cid-version=1", &files).await.ok();
    let lines = reply.lines();
    let root = lines.iter().find(|line| line["Name"] == "dir").unwrap();
    let root = root["Hash"].as_str().unwrap();
    for (path, expected) in [
        (format!("{root}/one"), "1"),
        (format!("/ipfs/{root}/one"), "1"),
        (format!("/ipfs/{root}/deep/two"), "2"),
    ] {
        assert_eq!(
            api.call(&format!("cat?arg={path}")).await.ok().body,
            expected
        );
    }
    let error = api.call(&format!("cat?arg={root}/three")).await.error();
    assert!(error.contains("no link named \"three\""), "{error}");
}

pub(crate) async fn what_is_not_a_file(api: &Api) {
    let reply = api
        .upload("add?wrap-with-directory=true", &[Upload::file("f", b"x")])
        .await
        .ok();
    let lines = reply.lines();
    let folder = lines.last().unwrap()["Hash"].as_str().unwrap();
    let error = api.call(&format!("cat?arg={folder}")).await.error();
    assert_eq!(error, "this dag node is a directory");
    let error = api.call(&format!("cat?arg={ABSENT}")).await.error();
    assert_eq!(
        error,
        format!("block was not found locally (offline): ipld: could not find {ABSENT}")
    );
    let error = api
        .call(&format!("cat?arg={folder}&offset=-1"))
        .await
        .error();
    assert_eq!(error, "cannot specify negative offset");
    let error = api
        .call(&format!("cat?arg={folder}&length=-1"))
        .await
        .error();
    assert_eq!(error, "cannot specify negative length");
}
