//! `pin/add`, `pin/ls`, `pin/rm`, and what `repo/gc` leaves.

use serde_json::json;

use super::{ABSENT, unique};
use crate::client::{Api, Upload};

pub(crate) async fn life_of_a_pin(api: &Api) {
    let content = unique("life_of_a_pin", 600_000);
    let cid = api.add("cid-version=1&pin=false", &content).await;
    let pinned = api.call(&format!("pin/add?arg={cid}")).await.ok();
    assert_eq!(pinned.json(), json!({"Pins": [cid]}));
    api.call(&format!("pin/add?arg={cid}")).await.ok();

    let listed = api.call(&format!("pin/ls?arg={cid}")).await.ok().json();
    assert_eq!(
        listed,
        json!({"Keys": {&cid: {"Type": "recursive", "Name": ""}}})
    );
    let leaf = leaf(&content[..262_144]);
    let listed = api.call(&format!("pin/ls?arg={leaf}")).await.ok().json();
    assert_eq!(
        listed["Keys"][&leaf]["Type"],
        format!("indirect through {cid}")
    );
    let all = api.call("pin/ls").await.ok().json();
    assert_eq!(all["Keys"][&cid]["Type"], "recursive");
    assert_eq!(all["Keys"][&leaf]["Type"], "indirect");
    let recursive = api.call("pin/ls?type=recursive").await.ok().json();
    assert!(recursive["Keys"][&leaf].is_null() && recursive["Keys"][&cid].is_object());
    let indirect = api.call("pin/ls?type=indirect").await.ok().json();
    assert!(indirect["Keys"][&cid].is_null() && indirect["Keys"][&leaf].is_object());

    let reply = api.call(&format!("pin/ls?arg={leaf}&type=recursive")).await;
    assert_eq!(reply.error(), format!("path '{leaf}' is not pinned"));
    let reply = api.call(&format!("pin/rm?arg={leaf}")).await;
    assert_eq!(reply.error(), "not pinned or pinned indirectly");
    let reply = api.call(&format!("pin/rm?arg={cid}&recursive=false")).await;
    assert_eq!(reply.error(), format!("{cid} is pinned recursively"));
    let removed = api.call(&format!("pin/rm?arg={cid}")).await.ok();
    assert_eq!(removed.json(), json!({"Pins": [cid]}));
    let reply = api.call(&format!("pin/rm?arg={cid}")).await;
    assert_eq!(reply.error(), "not pinned or pinned indirectly");
}

fn leaf(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let hash = multihash::Multihash::wrap(0x12, &sha2::Sha256::digest(bytes)).unwrap();
    cid::Cid::new_v1(0x55, hash).to_string()
}

pub(crate) async fn direct_and_recursive(api: &Api) {
    let content = unique("direct_and_recursive", 10);
    let cid = api.add("pin=false", &content).await;
    api.call(&format!("pin/add?arg={cid}&recursive=false"))
        .await
        .ok();
    let listed = api
        .call(&format!("pin/ls?arg={cid}&type=direct"))
        .await
        .ok()
        .json();
    assert_eq!(listed["Keys"][&cid]["Type"], "direct");
    api.call(&format!("pin/add?arg={cid}")).await.ok();
    let listed = api.call(&format!("pin/ls?arg={cid}")).await.ok().json();
    assert_eq!(listed["Keys"][&cid]["Type"], "recursive");
    let reply = api
        .call(&format!("pin/add?arg={cid}&recursive=false"))
        .await;
    assert_eq!(
        reply.error(),
        format!("pin: {cid} already pinned recursively")
    );
    api.call(&format!("pin/rm?arg={cid}")).await.ok();
    let reply = api.call(&format!("pin/ls?arg={cid}")).await;
    assert_eq!(reply.error(), format!("path '{cid}' is not pinned"));
    api.call(&format!("pin/add?arg={cid}&recursive=false"))
        .await
        .ok();
    api.call(&format!("pin/rm?arg={cid}")).await.ok();
}

pub(crate) async fn names_and_streaming(api: &Api) {
    let one = api.add("pin=false", &unique("names 1", 10)).await;
    let two = api.add("pin=false", &unique("names 2", 10)).await;
    api.call(&format!("pin/add?arg={one}&arg={two}&name=study-17"))
        .await
        .ok();
    let named = api
        .call("pin/ls?names=true&type=recursive")
        .await
        .ok()
        .json();
    assert_eq!(named["Keys"][&one]["Name"], "study-17");
    let unnamed = api.call("pin/ls?type=recursive").await.ok().json();
    assert_eq!(unnamed["Keys"][&one]["Name"], "");
    let found = api.call("pin/ls?name=udy-1").await.ok().json();
    assert_eq!(found["Keys"].as_object().unwrap().len(), 2);
    let streamed = api.call("pin/ls?stream=true&type=recursive").await.ok();
    let line = streamed
        .lines()
        .into_iter()
        .find(|line| line["Cid"] == *one)
        .unwrap();
    assert_eq!(line, json!({"Cid": one, "Type": "recursive"}));
    let too_long = "n".repeat(256);
    let reply = api
        .call(&format!("pin/add?arg={one}&name={too_long}"))
        .await;
    reply.error();
}

pub(crate) async fn refusals(api: &Api) {
    let reply = api.call("pin/ls?type=foo").await;
    assert_eq!(
        reply.error(),
        "invalid type 'foo', must be one of {direct, indirect, recursive, all}"
    );
    let reply = api.call(&format!("pin/add?arg={ABSENT}")).await;
    assert_eq!(
        reply.error(),
        format!("pin: block was not found locally (offline): ipld: could not find {ABSENT}")
    );
    let reply = api.call(&format!("pin/ls?arg={ABSENT}")).await;
    assert_eq!(reply.error(), format!("path '{ABSENT}' is not pinned"));
}

pub(crate) async fn garbage_collection(api: &Api) {
    let kept = unique("gc kept", 600_000);
    let kept_cid = api.add("cid-version=1", &kept).await;
    let garbage = api
        .add("cid-version=1&pin=false", &unique("gc garbage", 600_000))
        .await;
    let single = unique("gc direct", 100);
    let put = api
        .upload("block/put", &[Upload::file("b", &single)])
        .await
        .ok()
        .json();
    let direct = put["Key"].as_str().unwrap();
    api.call(&format!("pin/add?arg={direct}&recursive=false"))
        .await
        .ok();
    let before = api.call("repo/stat").await.ok().json();
    let removed = api.call("repo/gc").await.ok().lines();
    let garbage_root: cid::Cid = garbage.parse().unwrap();
    let as_raw = cid::Cid::new_v1(0x55, *garbage_root.hash()).to_string();
    assert!(
        removed.iter().any(|line| line["Key"]["/"] == as_raw),
        "{removed:?}"
    );
    let after = api.call("repo/stat").await.ok().json();
    let objects = |stat: &serde_json::Value| stat["NumObjects"].as_u64().unwrap();
    assert_eq!(objects(&before) - objects(&after), removed.len() as u64);

    let reply = api.call(&format!("cat?arg={garbage}")).await;
    assert!(
        reply
            .error()
            .ends_with(&format!("could not find {garbage}"))
    );
    assert_eq!(
        api.call(&format!("cat?arg={kept_cid}")).await.ok().body,
        kept
    );
    assert_eq!(
        api.call(&format!("block/get?arg={direct}")).await.ok().body,
        single
    );
    assert!(api.call("repo/gc").await.ok().lines().is_empty());
}
