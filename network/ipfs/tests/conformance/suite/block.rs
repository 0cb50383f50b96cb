//! `block/put`, `block/get`, `block/stat`, `block/rm`.

use serde_json::json;

use super::ABSENT;
use crate::client::{Api, Upload};

pub(crate) async fn put_get_stat(api: &Api) {
    for (options, cid) in [
        (
            "",
            "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am",
        ),
        (
            "cid-codec=raw&mhtype=sha2-256",
            "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am",
        ),
        (
            "cid-codec=dag-pb",
            "bafybeicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am",
        ),
        (
            "cid-codec=dag-cbor",
            "bafyreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am",
        ),
        (
            "format=v0",
            "QmUJPTFZnR2CPGAzmfdYPghgrFtYFB6pf1BqMvqfiPDam8",
        ),
    ] {
        let command = format!("block/put?{options}");
        let put = api
            .upload(&command, &[Upload::file("b", b"hello\n")])
            .await
            .ok();
        assert_eq!(put.lines(), [json!({"Key": cid, "Size": 6})]);
        let got = api.call(&format!("block/get?arg={cid}")).await.ok();
        assert_eq!(got.body, "hello\n");
        assert_eq!(got.headers["content-type"], "application/vnd.ipld.raw");
        let stat = api.call(&format!("block/stat?arg={cid}")).await.ok();
        assert_eq!(stat.json(), json!({"Key": cid, "Size": 6}));
    }
    let files = [Upload::file("one", b"1"), Upload::file("two", b"22")];
    let put = api.upload("block/put?pin=true", &files).await.ok().lines();
    assert_eq!(put.len(), 2);
    assert_eq!(put[1]["Size"], 2);
    let key = put[1]["Key"].as_str().unwrap();
    api.call(&format!("pin/ls?arg={key}&type=recursive"))
        .await
        .ok();
}

pub(crate) async fn refusals(api: &Api) {
    let small = [Upload::file("b", b"hello\n")];
    let reply = api.upload("block/put?cid-codec=nope", &small).await;
    assert_eq!(reply.error(), "unknown multicodec: \"nope\"");
    let reply = api.upload("block/put?mhtype=nope", &small).await;
    assert_eq!(reply.error(), "unrecognized multihash function: nope");
    let big = vec![0; (2 << 20) + 1];
    let reply = api.upload("block/put", &[Upload::file("b", &big)]).await;
    assert!(reply.error().starts_with("produced block is over 2MiB"));
    let largest = &big[..2 << 20];
    api.upload("block/put", &[Upload::file("b", largest)])
        .await
        .ok();
    for command in ["block/get", "block/stat"] {
        let reply = api.call(&format!("{command}?arg={ABSENT}")).await;
        assert!(reply.error().ends_with(&format!("could not find {ABSENT}")));
    }
}

/// A block that a pin keeps stays; one that is not there is an error unless that is all right.
pub(crate) async fn remove(api: &Api) {
    let leaves = vec![7; 300_000];
    let add = "add?cid-version=1&raw-leaves=true&pin=true";
    let added = api.upload(add, &[Upload::file("f", &leaves)]).await.ok();
    let root = added.json()["Hash"].as_str().unwrap().to_owned();
    let pinned = api.call(&format!("block/rm?force=true&arg={root}")).await;
    let expected = json!({"Hash": root, "Error": "pinned: recursive"});
    assert_eq!(pinned.ok().lines(), [expected]);
    api.call(&format!("block/get?arg={root}")).await.ok();

    api.call(&format!("pin/rm?arg={root}")).await.ok();
    let twice = format!("block/rm?arg={root}&arg={root}&force=true");
    let removed = api.call(&twice).await.ok().lines();
    assert!(!removed.is_empty() && removed.iter().all(|line| *line == json!({"Hash": root})));
    let stat = format!("block/stat?arg={root}&offline=true");
    let gone = api.call(&stat).await;
    assert!(gone.error().ends_with(&format!("could not find {root}")));
    let absent = api.call(&format!("block/rm?arg={root}")).await.ok();
    let error = format!("ipld: could not find {root}");
    assert_eq!(absent.lines(), [json!({"Hash": root, "Error": error})]);
}
