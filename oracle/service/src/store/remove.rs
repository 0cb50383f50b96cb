//! Removing an object from the node: its pin, its blocks, and the proof that they are gone.
//!
//! The node is asked for what it holds itself, never for what others hold, so removing an object
//! fetches nothing. Leaves go before the nodes that link them and the root goes last: a removal
//! that was cut off finds the rest of the object from its root when it is done again. A node may
//! also hold blocks of an object that it never pinned, because it fetched them for a reader; where
//! an inner block is missing, what hung on it is found by collecting the node's garbage.

use std::collections::HashSet;

use bytes::Bytes;
use cid::Cid;
use serde::Deserialize;

use super::{BLOCK_TIMEOUT, IMPORT_TIMEOUT, Kubo, PING_ANSWER_BYTES_MAX, StoreError, object, rpc};

/// Multicodec of DAG-PB, the format of a file's inner nodes.
const DAG_PB: u64 = 0x70;
/// Blocks of one object: 16 GiB of leaves.
const BLOCKS_MAX: usize = 1 << 16;
/// Blocks removed with one call; each adds about 70 bytes to the address.
const REMOVED_AT_ONCE: usize = 64;
/// Bytes of the answer to a removal, or to a collection of garbage as it is asked here.
const REMOVAL_ANSWER_BYTES_MAX: usize = 1 << 20;
/// What a node says of a block that it does not hold.
const NOT_HERE: &str = "could not find";
/// What a node says of an object that it has not pinned.
const NOT_PINNED: &str = "not pinned";

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Blocks that the node held and gave up.
    pub blocks: usize,
    /// Whether the node's garbage was collected, too.
    pub collected: bool,
}

/// The blocks of an object as far as they can be found.
#[derive(Debug, Default)]
struct Found {
    /// A node comes before what it links.
    cids: Vec<Cid>,
    /// Whether a node that links others is not here.
    incomplete: bool,
}

impl Kubo {
    /// Unpins an object and removes every block of it from the node. Done twice, it changes
    /// nothing; of an object that the node does not hold it proves just that.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; whichever it is, the node may still hold something of the object.
    pub async fn remove(&self, cid: &Cid) -> Result<Removal, StoreError> {
        self.unpin(cid).await?;
        let found = self.blocks_of(cid).await?;
        let mut removal = Removal {
            blocks: 0,
            collected: false,
        };
        let leaves_first: Vec<Cid> = found.cids.iter().rev().copied().collect();
        for some in leaves_first.chunks(REMOVED_AT_ONCE) {
            self.remove_blocks(some).await?;
            removal.blocks += some.len();
        }
        if found.incomplete {
            self.collect_garbage().await?;
            removal.collected = true;
        }
        for cid in found.cids.iter().chain([cid]) {
            if self.holds(cid).await? {
                return Err(StoreError::NotRemoved { cid: *cid });
            }
        }
        Ok(removal)
    }

    pub(super) async fn unpin(&self, cid: &Cid) -> Result<(), StoreError> {
        let command = format!("pin/rm?arg={cid}");
        let answer = self
            .rpc
            .call(
                &command,
                rpc::empty(),
                PING_ANSWER_BYTES_MAX,
                IMPORT_TIMEOUT,
            )
            .await;
        match answer {
            Err(StoreError::Refused { message, .. }) if message.contains(NOT_PINNED) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Walks the nodes that link others; leaves are not read.
    async fn blocks_of(&self, root: &Cid) -> Result<Found, StoreError> {
        let mut found = Found::default();
        let mut known = HashSet::from([*root]);
        let mut next = vec![*root];
        while let Some(cid) = next.pop() {
            if cid.codec() == DAG_PB {
                let Some(node) = self.block_here(&cid).await? else {
                    found.incomplete = true;
                    continue;
                };
                object::verify(&cid, &node)?;
                let links = links(&node).ok_or(StoreError::Corrupt { cid })?;
                next.extend(links.into_iter().filter(|link| known.insert(*link)));
            } else if !self.holds(&cid).await? {
                continue;
            }
            found.cids.push(cid);
            if known.len() > BLOCKS_MAX {
                return Err(StoreError::Corrupt { cid: *root });
            }
        }
        Ok(found)
    }

    /// One block, if the node itself holds it.
    async fn block_here(&self, cid: &Cid) -> Result<Option<Bytes>, StoreError> {
        let command = format!("block/get?arg={cid}&offline=true");
        let block = self
            .rpc
            .call(
                &command,
                rpc::empty(),
                super::BLOCK_BYTES_MAX,
                BLOCK_TIMEOUT,
            )
            .await;
        present(block)
    }

    /// Whether the node itself holds a block.
    pub(super) async fn holds(&self, cid: &Cid) -> Result<bool, StoreError> {
        let command = format!("block/stat?arg={cid}&offline=true");
        let stat = self
            .rpc
            .call(&command, rpc::empty(), PING_ANSWER_BYTES_MAX, BLOCK_TIMEOUT)
            .await;
        Ok(present(stat)?.is_some())
    }

    pub(super) async fn remove_blocks(&self, cids: &[Cid]) -> Result<(), StoreError> {
        let mut command = "block/rm?force=true".to_owned();
        for cid in cids {
            command.push_str(&format!("&arg={cid}"));
        }
        let answer = self
            .rpc
            .call(
                &command,
                rpc::empty(),
                REMOVAL_ANSWER_BYTES_MAX,
                IMPORT_TIMEOUT,
            )
            .await?;
        check_removed(cids, &answer)
    }

    async fn collect_garbage(&self) -> Result<(), StoreError> {
        let command = "repo/gc?quiet=true&silent=true";
        self.rpc
            .call(
                command,
                rpc::empty(),
                REMOVAL_ANSWER_BYTES_MAX,
                IMPORT_TIMEOUT,
            )
            .await
            .map(drop)
    }
}

/// What the node holds, if it does.
fn present(answer: Result<Bytes, StoreError>) -> Result<Option<Bytes>, StoreError> {
    match answer {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::Refused { message, .. }) if message.contains(NOT_HERE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One line of the answer to `block/rm`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    #[serde(default)]
    error: Option<String>,
}

fn check_removed(cids: &[Cid], answer: &[u8]) -> Result<(), StoreError> {
    let lines = serde_json::Deserializer::from_slice(answer).into_iter::<Line>();
    for (line, cid) in lines.zip(cids) {
        match line.map(|line| line.error.unwrap_or_default()) {
            Ok(error) if error.is_empty() || error.contains(NOT_HERE) => {}
            Ok(_) | Err(_) => return Err(StoreError::NotRemoved { cid: *cid }),
        }
    }
    Ok(())
}

/// The links of a DAG-PB node: field 2 of the node, and field 1 of each link is the CID.
fn links(node: &[u8]) -> Option<Vec<Cid>> {
    let mut links = Vec::new();
    for (field, link) in Fields(node) {
        if field? != 2 {
            continue;
        }
        let cid = Fields(link).find(|(field, _)| *field == Some(1))?.1;
        links.push(Cid::try_from(cid).ok()?);
    }
    Some(links)
}

/// The length-delimited fields of a protobuf message, with numbers passed over. A malformed rest is
/// one item without a number.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (Option<u64>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let Some((number, value, rest)) = field(self.0) else {
                self.0 = &[];
                return Some((None, &[]));
            };
            self.0 = rest;
            if let Some(value) = value {
                return Some((Some(number), value));
            }
        }
        None
    }
}

/// A field's number, its bytes if it has some, and what follows.
type Field<'a> = (u64, Option<&'a [u8]>, &'a [u8]);

fn field(bytes: &[u8]) -> Option<Field<'_>> {
    let (tag, rest) = unsigned_varint::decode::u64(bytes).ok()?;
    let (value, rest) = unsigned_varint::decode::u64(rest).ok()?;
    match tag & 7 {
        0 => Some((tag >> 3, None, rest)),
        2 => {
            let length = usize::try_from(value).ok()?;
            let (value, rest) = rest.split_at_checked(length)?;
            Some((tag >> 3, Some(value), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Object;
    use super::*;

    #[test]
    fn every_leaf_of_an_object_is_linked_from_its_root() {
        let object = Object::new(&vec![7; 1_000_000]);
        let (root, leaves) = object.blocks().split_last().expect("blocks");
        let linked = links(&root.1).expect("a node");
        // Equal leaves are one block, linked more than once.
        let unique: HashSet<Cid> = linked.iter().copied().collect();
        let expected: HashSet<Cid> = leaves.iter().map(|(cid, _)| *cid).collect();
        assert_eq!(unique, expected);
        assert_eq!(linked.len(), 4);
    }

    #[test]
    fn what_is_no_node_has_no_links() {
        for bytes in [
            &b"\x12\x05ab"[..],
            b"\x12\x02\x08\x01",
            b"\xff",
            b"\x0d\x01\x02\x03\x04",
        ] {
            assert_eq!(links(bytes), None, "{bytes:?}");
        }
        assert_eq!(links(b""), Some(Vec::new()));
    }

    #[test]
    fn a_block_that_stays_is_an_error() {
        let cids = [*Object::new(b"a").cid(), *Object::new(b"b").cid()];
        let line =
            |cid: &Cid, error: &str| format!("{{\"Hash\":\"{cid}\",\"Error\":\"{error}\"}}\n");
        let gone = line(&cids[0], "") + &format!("{{\"Hash\":\"{}\"}}\n", cids[1]);
        check_removed(&cids, gone.as_bytes()).expect("both are gone");
        check_removed(&cids, b"").expect("a quiet node");
        let pinned = line(&cids[0], "") + &line(&cids[1], "pinned: recursive");
        assert!(matches!(
            check_removed(&cids, pinned.as_bytes()),
            Err(StoreError::NotRemoved { cid }) if cid == cids[1]
        ));
    }
}
