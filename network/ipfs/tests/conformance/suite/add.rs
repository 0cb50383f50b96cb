//! `add` besides the CIDs of single files, which `golden` has.

use serde_json::{Value, json};

use super::unique;
use crate::client::{Api, Upload};

const HELLO_V0: &str = "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN";

pub(crate) async fn one_line_a_file(api: &Api) {
    let files = [Upload::file("h", b"hello\n"), Upload::file("b", b"world\n")];
    let reply = api.upload("add", &files).await.ok();
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.headers["x-chunked-output"], "1");
    assert_eq!(
        reply.lines(),
        [
            json!({"Name": "h", "Hash": HELLO_V0, "Size": "14"}),
            json!({
                "Name": "b",
                "Hash": "QmaRGe7bVmVaLmxbrMiVNXqW4pRNNp3xq7hFtyRKA3mtJL",
                "Size": "14",
            }),
        ]
    );
    let quieter = api
        .upload("add?quieter=true&cid-version=1", &files[..1])
        .await
        .ok();
    assert_eq!(
        quieter.lines().pop().unwrap()["Hash"],
        "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"
    );
    let content = unique("one_line_a_file", 600_000);
    let reply = api
        .upload("add?progress=true", &[Upload::file("p", &content)])
        .await
        .ok();
    let progress: Vec<_> = reply
        .lines()
        .iter()
        .filter_map(|line| line["Bytes"].as_u64())
        .collect();
    assert_eq!(progress.last(), Some(&600_000));
    assert!(progress.is_sorted());
}

pub(crate) async fn folders(api: &Api) {
    let wrapped = api
        .upload(
            "add?wrap-with-directory=true",
            &[Upload::file("h", b"hello\n")],
        )
        .await
        .ok();
    assert_eq!(
        wrapped.lines(),
        [
            json!({"Name": "h", "Hash": HELLO_V0, "Size": "14"}),
            json!({
                "Name": "",
                "Hash": "QmPnxuC6i5P1wCmsvRsXBwsXYJiwYDX5GPvxREVEj9Rrrv",
                "Size": "61",
            }),
        ]
    );
    let nested = api
        .upload(
            "add?only-hash=true",
            &[Upload::file("a%2Fb%20c", b"hello\n")],
        )
        .await
        .ok();
    assert_eq!(
        nested.lines()[1],
        json!({
            "Name": "a",
            "Hash": "Qmb8z93XhQBsCDxCFen4xp5Y2MG8WSyd3vE42woWrnXRvo",
            "Size": "63",
        })
    );
    let folder = |name| Upload {
        name,
        content_type: "application/x-directory",
        content: b"",
    };
    let tree = [
        folder("t"),
        Upload::file("t%2Fz", b"z"),
        folder("t%2Fsub"),
        Upload::file("t%2Fsub%2Fa", b"a"),
        folder("t%2Fempty"),
    ];
    for (options, root, size) in [
        ("", TREE_V0, "208"),
        ("&cid-version=1", TREE_V1, "200"),
        (
            "&cid-version=1&raw-leaves=false",
            TREE_V1_WRAPPED_LEAVES,
            "216",
        ),
    ] {
        let reply = api
            .upload(&format!("add?pin=true{options}"), &tree)
            .await
            .ok();
        let lines = reply.lines();
        let names: Vec<_> = lines
            .iter()
            .map(|line| line["Name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["t/z", "t/sub/a", "t/empty", "t/sub", "t"]);
        let root_line = lines.last().unwrap();
        assert_eq!(root_line["Hash"], root, "{options}");
        assert_eq!(root_line["Size"], size, "{options}");
        let found = api.call(&format!("cat?arg={root}/sub/a")).await.ok();
        assert_eq!(found.body, "a");
        api.call(&format!("pin/ls?arg={root}&type=recursive"))
            .await
            .ok();
    }
}

const TREE_V0: &str = "Qmag8WMT4khhwSe2BRoquM5m5YdZLESY179BqwSuhyugpW";
const TREE_V1: &str = "bafybeiazcv3kijltjjgptf6zxozmncfllghwhxosfhi5tntkow2uzlytf4";
const TREE_V1_WRAPPED_LEAVES: &str = "bafybeiec6jbqfdnrr4ct6nnzfpobrmgiu72c4ztwl2kpfwaqbipchxitym";

pub(crate) async fn options(api: &Api) {
    let file = [Upload::file("f", b"x")];
    for (options, message) in [
        ("chunker=size-0", "chunker size must be greater than 0"),
        ("chunker=foo", "unrecognized chunker option: foo"),
        (
            "chunker=size-2096897",
            "chunker parameters may not exceed the maximum chunk size of 2096896",
        ),
        ("cid-version=7", "unknown CID version: 7"),
    ] {
        let reply = api.upload(&format!("add?{options}"), &file).await;
        assert_eq!(reply.error(), message);
    }
    api.upload("add?no-such-option=x", &file).await.ok();

    let content = unique("options", 1000);
    let hash = api.add("only-hash=true", &content).await;
    let reply = api.call(&format!("cat?arg={hash}")).await;
    assert!(reply.error().contains("could not find"));
    let unpinned = api.add("pin=false", &content).await;
    assert_eq!(unpinned, hash);
    let reply = api.call(&format!("pin/ls?arg={hash}")).await;
    assert_eq!(reply.error(), format!("path '{hash}' is not pinned"));
    api.add("pin-name=mine", &content).await;
    let pins = api
        .call(&format!("pin/ls?arg={hash}&names=true"))
        .await
        .ok();
    assert_eq!(pins.json()["Keys"][&hash]["Name"], "mine");
}

pub(crate) async fn parallel_uploads(api: &Api) {
    let uploads: Vec<_> = (0..16)
        .map(|number| {
            let api = api.clone();
            tokio::spawn(async move {
                let content = unique(&format!("parallel_uploads {number}"), 300_000);
                let cid = api.add("cid-version=1", &content).await;
                (cid, content)
            })
        })
        .collect();
    for upload in uploads {
        let (cid, content) = upload.await.unwrap();
        let read = api.call(&format!("cat?arg={cid}")).await.ok();
        assert_eq!(read.body, content);
    }
    let pins: Value = api.call("pin/ls?type=recursive").await.ok().json();
    assert!(pins["Keys"].as_object().unwrap().len() >= 16);
}
