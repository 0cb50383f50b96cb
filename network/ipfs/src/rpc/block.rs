//! `block/put`, `block/get`, `block/stat`, `block/rm`: blocks as they are.

use bytes::Bytes;
use cid::Version;
use futures::stream;
use serde::Serialize;

use super::{
    answer::{Answer, RpcError},
    blocking,
    request::Request,
    upload::{Part, Parts},
};
use crate::{
    StoreError,
    block::{self, DAG_PB, MAX_BLOCK_BYTES},
    path::ContentPath,
    store::Batch,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BlockStat {
    key: String,
    size: usize,
}

/// What became of one block that was to be removed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Removed {
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn put(request: Request) -> Result<Answer, RpcError> {
    let (version, codec) = codec(&request)?;
    match request.option("mhtype") {
        None | Some("" | "sha2-256") => {}
        Some(other) => return Err(RpcError::Hash(other.to_owned())),
    }
    if !matches!(request.integer("mhlen", "int")?, None | Some(-1 | 32)) {
        return Err(RpcError::Unsupported("mhlen"));
    }
    let pin = request.flag("pin")?.unwrap_or(false);
    let limits = request.limits;
    let mut batch = Batch::new(request.store.clone());
    let mut parts = Parts::new(request.files("data")?, &limits, "data");
    let mut stats = Vec::new();
    let mut roots = Vec::new();
    while let Some(part) = parts.next().await? {
        let Part::File(mut file) = part else {
            return Err(RpcError::FileType("application/x-directory".to_owned()));
        };
        let mut bytes = Vec::new();
        while let Some(piece) = file.piece().await? {
            if bytes.len() + piece.len() > MAX_BLOCK_BYTES {
                return Err(RpcError::BlockTooLarge);
            }
            bytes.extend_from_slice(&piece);
        }
        let cid = block::cid_of(version, codec, &bytes);
        stats.push(BlockStat {
            key: cid.to_string(),
            size: bytes.len(),
        });
        roots.push(cid);
        batch = blocking(move || batch.put_hashed(&cid, &bytes).map(|()| batch)).await?;
    }
    if !pin {
        roots.clear();
    }
    for pinned in blocking(move || batch.commit_and_try_roots(&roots)).await? {
        pinned.map_err(RpcError::Pin)?;
    }
    Answer::json_lines(stats)
}

fn codec(request: &Request) -> Result<(Version, u64), RpcError> {
    let legacy = request.option("format").filter(|format| !format.is_empty());
    let name = match legacy {
        Some("v0") => return Ok((Version::V0, DAG_PB)),
        Some("protobuf") => "dag-pb",
        Some("cbor") => "dag-cbor",
        Some(other) => other,
        None => request.option("cid-codec").unwrap_or("raw"),
    };
    match block::codec(name) {
        Some(codec) => Ok((Version::V1, codec)),
        None => Err(RpcError::Codec(name.to_owned())),
    }
}

pub(super) async fn get(request: Request) -> Result<Answer, RpcError> {
    let (_, bytes) = find(request).await?;
    let piece = stream::iter([Ok(Bytes::from(bytes))]);
    Ok(Answer::stream("application/vnd.ipld.raw", None, piece))
}

pub(super) async fn stat(request: Request) -> Result<Answer, RpcError> {
    let (key, bytes) = find(request).await?;
    Answer::json(&BlockStat {
        key,
        size: bytes.len(),
    })
}

pub(super) async fn remove(request: Request) -> Result<Answer, RpcError> {
    let force = request.flag("force")?.unwrap_or(false);
    let quiet = request.flag("quiet")?.unwrap_or(false);
    let arguments = request.required_arguments("cid")?;
    let lines = blocking(move || {
        let paths = arguments.iter().map(|path| ContentPath::parse(path));
        let mut cids = Vec::with_capacity(arguments.len());
        for path in paths {
            cids.push(path?.resolve(&request.store)?);
        }
        let removed = request.store.remove_blocks(&cids)?;
        let lines = removed.into_iter().filter_map(|(cid, refused)| {
            let error = match refused {
                Some(StoreError::NotFound(_)) if force => None,
                refused => refused.map(|error| match error {
                    StoreError::NotFound(cid) => format!("ipld: could not find {cid}"),
                    other => other.to_string(),
                }),
            };
            let hash = cid.to_string();
            (error.is_some() || !quiet).then_some(Removed { hash, error })
        });
        Ok::<_, RpcError>(lines.collect::<Vec<_>>())
    })
    .await?;
    Answer::json_lines(lines)
}

async fn find(request: Request) -> Result<(String, Vec<u8>), RpcError> {
    let path = ContentPath::parse(&request.required_argument("cid")?)?;
    blocking(move || {
        let cid = path.resolve(&request.store)?;
        Ok::<_, RpcError>((cid.to_string(), request.store.get(&cid)?))
    })
    .await
}
