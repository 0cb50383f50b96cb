//! `dag/export` and `dag/import`.

use serde_json::json;

use super::{ABSENT, unique};
use crate::client::{Api, Upload};

async fn export(api: &Api, cid: &str) -> Vec<u8> {
    let reply = api.call(&format!("dag/export?arg={cid}")).await.ok();
    assert_eq!(reply.headers["content-type"], "application/vnd.ipld.car");
    reply.body.to_vec()
}

async fn forget(api: &Api, cid: &str) {
    api.call(&format!("pin/rm?arg={cid}")).await.ok();
    api.call("repo/gc").await.ok();
    let reply = api.call(&format!("block/stat?arg={cid}")).await;
    assert!(reply.error().contains("could not find"));
}

fn root(cid: &str) -> serde_json::Value {
    json!({"Root": {"Cid": {"/": cid}, "PinErrorMsg": ""}})
}

pub(crate) async fn export_then_import(api: &Api) {
    let content = unique("export_then_import", 600_000);
    for options in ["", "cid-version=1", "chunker=size-3000&cid-version=1"] {
        let cid = api.add(options, &content).await;
        let car = export(api, &cid).await;
        forget(api, &cid).await;
        let reply = api
            .upload("dag/import?stats=true", &[Upload::file("car", &car)])
            .await
            .ok();
        let lines = reply.lines();
        assert_eq!(lines[0], root(&cid));
        let blocks = lines[1]["Stats"]["BlockCount"].as_u64().unwrap();
        assert!(blocks >= 3);
        assert!(lines[1]["Stats"]["BlockBytesCount"].as_u64().unwrap() > 600_000);
        let pinned = api.call(&format!("pin/ls?arg={cid}&type=recursive")).await;
        pinned.ok();
        assert_eq!(api.call(&format!("cat?arg={cid}")).await.ok().body, content);
        assert_eq!(export(api, &cid).await, car);
    }
}

pub(crate) async fn several_cars(api: &Api) {
    let mut cars = Vec::new();
    let mut cids = Vec::new();
    for number in 0..3 {
        let content = unique(&format!("several_cars {number}"), 1000);
        let cid = api.add("cid-version=1", &content).await;
        cars.push(export(api, &cid).await);
        cids.push(cid);
    }
    for cid in &cids {
        api.call(&format!("pin/rm?arg={cid}")).await.ok();
    }
    let files: Vec<_> = cars.iter().map(|car| Upload::file("car", car)).collect();
    let reply = api.upload("dag/import?pin-roots=false", &files).await.ok();
    assert!(reply.lines().is_empty());
    for cid in &cids {
        let reply = api.call(&format!("pin/ls?arg={cid}")).await;
        assert_eq!(reply.error(), format!("path '{cid}' is not pinned"));
    }
    let doubled: Vec<_> = files
        .iter()
        .chain(&files[..1])
        .map(|file| Upload { ..*file })
        .collect();
    let mut lines = api.upload("dag/import", &doubled).await.ok().lines();
    let mut expected: Vec<_> = cids.iter().map(|cid| root(cid)).collect();
    lines.sort_by_key(ToString::to_string);
    expected.sort_by_key(ToString::to_string);
    assert_eq!(lines, expected);
}

pub(crate) async fn incomplete_trees(api: &Api) {
    let content = unique("incomplete_trees", 600_000);
    let cid = api.add("cid-version=1", &content).await;
    let car = export(api, &cid).await;
    forget(api, &cid).await;
    // The header, and the root without its leaves.
    for end in [
        section_end(&car, 0),
        section_end(&car, section_end(&car, 0)),
    ] {
        let reply = api
            .upload("dag/import", &[Upload::file("car", &car[..end])])
            .await
            .ok();
        let line = &reply.lines()[0]["Root"];
        assert_eq!(line["Cid"]["/"], *cid);
        assert!(
            line["PinErrorMsg"]
                .as_str()
                .unwrap()
                .contains("could not find")
        );
        let reply = api.call(&format!("pin/ls?arg={cid}")).await;
        reply.error();
    }
    // The root is there, its leaves are not.
    let reply = api.call(&format!("dag/export?arg={cid}")).await;
    assert!(reply.broken_off || reply.body.len() < car.len());
    let reply = api.call(&format!("dag/export?arg={ABSENT}")).await;
    assert!(reply.error().ends_with(&format!("could not find {ABSENT}")));
}

/// The end of the section that starts at `start`: a varint, and as many bytes as it says.
fn section_end(car: &[u8], start: usize) -> usize {
    let (length, rest) = unsigned_varint::decode::usize(&car[start..]).unwrap();
    car.len() - rest.len() + length
}

pub(crate) async fn damaged_cars(api: &Api) {
    let content = unique("damaged_cars", 600_000);
    let cid = api.add("cid-version=1", &content).await;
    let car = export(api, &cid).await;
    forget(api, &cid).await;

    let reply = api
        .upload("dag/import", &[Upload::file("car", b"hello\n")])
        .await;
    reply.error();
    let reply = api
        .upload("dag/import", &[Upload::file("car", &car[..car.len() / 2])])
        .await;
    let error = reply.error();
    assert!(error.starts_with("import failed after block \""), "{error}");
    assert!(error.ends_with("unexpected EOF"), "{error}");
    let mut flipped = car.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let reply = api
        .upload("dag/import", &[Upload::file("car", &flipped)])
        .await;
    let error = reply.error();
    assert!(error.contains("mismatch in content integrity"), "{error}");
    let reply = api.call(&format!("pin/ls?arg={cid}&type=recursive")).await;
    reply.error();
    api.upload("dag/import", &[Upload::file("car", &car)])
        .await
        .ok();
    assert_eq!(api.call(&format!("cat?arg={cid}")).await.ok().body, content);
}
