//! Methods, arguments, and what a node says of itself.

use bytes::Bytes;
use http::Method;

use crate::client::{Api, Upload};

pub(crate) async fn methods_and_unknown_commands(api: &Api) {
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let reply = api.send(method, "version", &[], Bytes::new()).await;
        assert_eq!(reply.status, 405);
    }
    let reply = api.call("no-such-command").await;
    assert_eq!(reply.status, 404);
}

pub(crate) async fn missing_and_malformed_arguments(api: &Api) {
    for command in [
        "cat",
        "block/get",
        "block/stat",
        "dag/export",
        "pin/add",
        "pin/rm",
    ] {
        let reply = api.call(command).await;
        assert_eq!(reply.status, 400, "{command}");
        assert!(reply.text().starts_with("argument \""), "{}", reply.text());
    }
    for (command, argument) in [
        ("add", "path"),
        ("block/put", "data"),
        ("dag/import", "path"),
    ] {
        let reply = api.call(command).await;
        assert_eq!(reply.status, 400);
        let expected = format!("file argument '{argument}' is required\n");
        assert_eq!(reply.text(), expected);
    }
    let reply = api.call("cat?arg=nocid").await;
    assert_eq!(
        reply.error(),
        "invalid path \"nocid\": path does not have enough components"
    );
    let file = [Upload::file("f", b"x")];
    let reply = api.upload("add?cid-version=x", &file).await;
    assert_eq!(reply.status, 400);
    assert_eq!(
        reply.text().trim_end(),
        "could not convert value \"x\" to type \"int\" (for option \"-cid-version\")"
    );
    let reply = api.upload("add?pin=maybe", &file).await;
    assert_eq!(reply.status, 400);
    assert!(
        reply
            .text()
            .starts_with("could not convert value \"maybe\" to type \"bool\"")
    );
}

pub(crate) async fn node_information(api: &Api) {
    let version = api.call("version").await.ok().json();
    for member in ["Version", "Commit", "Repo", "System", "Golang"] {
        assert!(version[member].is_string(), "{member}");
    }
    let id = api.call("id").await.ok().json();
    assert!(id["ID"].as_str().unwrap().starts_with("12D3KooW"));
    assert!(id["AgentVersion"].is_string() && id["PublicKey"].is_string());
    assert!(id["Addresses"].is_null() && id["Protocols"].is_null());
    let stat = api.call("repo/stat").await.ok().json();
    assert!(stat["RepoSize"].is_u64() && stat["StorageMax"].is_u64());
    assert!(stat["NumObjects"].is_u64());
    assert!(stat["RepoPath"].is_string() && stat["Version"].is_string());
    let size = api.call("repo/stat?size-only=true").await.ok().json();
    assert_eq!(size["NumObjects"], 0);
    assert_eq!(size["RepoPath"], "");
}
