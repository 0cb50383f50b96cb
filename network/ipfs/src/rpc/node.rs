//! `id`, `version`, `repo/stat`, `repo/gc`: the node as a whole.

use cid::multibase::Base;
use serde::Serialize;

use super::{
    answer::{Answer, RpcError},
    blocking,
    request::Request,
};

/// What Kubo reports by default; nothing here stops at it.
const STORAGE_MAX_BYTES: u64 = 10_000_000_000;
const REPO_VERSION: &str = "ipfs-devnode@1";
const AGENT_VERSION: &str = concat!("ipfs-devnode/", env!("CARGO_PKG_VERSION"));

/// Identity multihash of a protobuf-encoded Ed25519 public key, which is what peer IDs are.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Id {
    #[serde(rename = "ID")]
    id: String,
    public_key: String,
    addresses: Option<Vec<String>>,
    agent_version: &'static str,
    protocols: Option<Vec<String>>,
}

/// The ID is random and has no key pair behind it: this node speaks to no peers.
pub(super) fn id(request: &Request) -> Result<Answer, RpcError> {
    let peer_id = [&PEER_ID_PREFIX[..], request.store.identity()].concat();
    Answer::json(&Id {
        id: Base::Base58Btc.encode(peer_id),
        public_key: String::new(),
        addresses: None,
        agent_version: AGENT_VERSION,
        protocols: None,
    })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionInfo {
    version: &'static str,
    commit: &'static str,
    repo: &'static str,
    system: String,
    golang: &'static str,
}

pub(super) fn version() -> Result<Answer, RpcError> {
    Answer::json(&VersionInfo {
        version: concat!(env!("CARGO_PKG_VERSION"), "-ipfs-devnode"),
        commit: "",
        repo: "1",
        system: format!("{}/{}", go_architecture(), std::env::consts::OS),
        golang: "",
    })
}

/// Kubo's names of processors are Go's.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    repo_size: u64,
    storage_max: u64,
    num_objects: u64,
    repo_path: String,
    version: &'static str,
}

pub(super) async fn stat(request: Request) -> Result<Answer, RpcError> {
    let size_only = request.flag("size-only")?.unwrap_or(false);
    let repo_path = request.store.root().display().to_string();
    let stat = blocking(move || request.store.stat()).await?;
    let stat = if size_only {
        Stat {
            repo_size: stat.bytes,
            storage_max: STORAGE_MAX_BYTES,
            num_objects: 0,
            repo_path: String::new(),
            version: "",
        }
    } else {
        Stat {
            repo_size: stat.bytes,
            storage_max: STORAGE_MAX_BYTES,
            num_objects: stat.blocks,
            repo_path,
            version: REPO_VERSION,
        }
    };
    Answer::json(&stat)
}

#[derive(Debug, Serialize)]
struct Link {
    #[serde(rename = "/")]
    cid: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Removed {
    key: Link,
}

pub(super) async fn collect_garbage(request: Request) -> Result<Answer, RpcError> {
    let silent = request.flag("silent")?.unwrap_or(false);
    let mut removed = blocking(move || request.store.collect_garbage()).await?;
    if silent {
        removed.clear();
    }
    Answer::json_lines(removed.iter().map(|cid| Removed {
        key: Link {
            cid: cid.to_string(),
        },
    }))
}
