//! Many objects in one request: CAR version 1 out, reports of pins back.
//!
//! ```text
//! varint length ‖ dag-cbor {"roots": [CID…], "version": 1}
//! varint length ‖ CID ‖ block bytes          (once for each block)
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use cid::Cid;
use minicbor::Encoder;
use minicbor::data::Tag;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::object::BlockMaker;
use super::{Object, StoreError};

/// CBOR tag of a CID in DAG-CBOR.
const CID_TAG: u64 = 42;
/// Byte in front of a CID's bytes in DAG-CBOR: the identity multibase.
const IDENTITY_MULTIBASE: u8 = 0;
/// Bytes of a file read at once.
const READ_BYTES: usize = 1 << 20;
/// Characters kept of a node's message.
const MESSAGE_CHARS_MAX: usize = 300;

/// The CAR of some objects, in pieces that share the objects' memory.
pub(super) fn chunks(objects: &[Object]) -> Vec<Bytes> {
    let roots: Vec<Cid> = objects.iter().map(|object| *object.cid()).collect();
    let mut chunks = vec![section_start(&header(&roots), 0)];
    for (cid, block) in objects.iter().flat_map(Object::blocks) {
        chunks.push(section_start(&cid.to_bytes(), block.len()));
        chunks.push(block.clone());
    }
    chunks
}

/// Sends the CAR of one object whose content is a file, piece by piece. Its last block must be `root`.
pub(super) fn send_file(
    mut file: File,
    root: Cid,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<(), StoreError> {
    // A connection that is gone takes no more; what the node said of it is known elsewhere.
    let send = |piece: Bytes| pieces.blocking_send(piece).is_ok();
    if !send(section_start(&header(&[root]), 0)) {
        return Ok(());
    }
    let mut maker = BlockMaker::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut last = None;
    let mut open = true;
    loop {
        let count = file.read(&mut buffer).map_err(StoreError::File)?;
        let give = |(cid, block): (Cid, Vec<u8>)| {
            last = Some(cid);
            open = open && send(section_start(&cid.to_bytes(), block.len())) && send(block.into());
        };
        if count == 0 {
            maker.finish(give);
            break;
        }
        maker.push(&buffer[..count], give);
        if !open {
            return Ok(());
        }
    }
    if last == Some(root) {
        Ok(())
    } else {
        Err(StoreError::Corrupt { cid: root })
    }
}

/// A section's length, and what of it comes before `rest` more bytes.
fn section_start(start: &[u8], rest: usize) -> Bytes {
    let length = start.len() + rest;
    let mut buffer = unsigned_varint::encode::usize_buffer();
    let prefix = unsigned_varint::encode::usize(length, &mut buffer);
    Bytes::from([prefix, start].concat())
}

fn header(roots: &[Cid]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    write_header(&mut encoder, roots).expect("a vector takes every write");
    encoder.into_writer()
}

fn write_header(
    encoder: &mut Encoder<Vec<u8>>,
    roots: &[Cid],
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    encoder.map(2)?.str("roots")?.array(roots.len() as u64)?;
    for root in roots {
        let mut cid = vec![IDENTITY_MULTIBASE];
        cid.extend_from_slice(&root.to_bytes());
        encoder.tag(Tag::new(CID_TAG))?.bytes(&cid)?;
    }
    encoder.str("version")?.u8(1)?;
    Ok(())
}

/// One line of the answer to `dag/import`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    root: Option<Root>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Root {
    cid: CidLink,
    #[serde(default)]
    pin_error_msg: String,
}

#[derive(Deserialize)]
struct CidLink {
    #[serde(rename = "/")]
    text: String,
}

/// Checks that the node reports a pin for every object.
pub(super) fn check_pins(objects: &[Object], answer: &[u8]) -> Result<(), StoreError> {
    let pins = pins(answer);
    objects
        .iter()
        .try_for_each(|object| pinned(object.cid(), &pins))
}

/// The same of one object.
pub(super) fn check_pin(cid: &Cid, answer: &[u8]) -> Result<(), StoreError> {
    pinned(cid, &pins(answer))
}

/// What the node says of each root: nothing if it is pinned.
fn pins(answer: &[u8]) -> HashMap<Cid, String> {
    let mut pins: HashMap<Cid, String> = HashMap::new();
    for line in serde_json::Deserializer::from_slice(answer).into_iter::<Line>() {
        let Ok(line) = line else { break };
        if let Some(root) = line.root
            && let Ok(cid) = root.cid.text.parse()
        {
            pins.insert(cid, root.pin_error_msg);
        }
    }
    pins
}

fn pinned(cid: &Cid, pins: &HashMap<Cid, String>) -> Result<(), StoreError> {
    let message = match pins.get(cid) {
        Some(message) if message.is_empty() => return Ok(()),
        Some(message) => message.chars().take(MESSAGE_CHARS_MAX).collect(),
        None => "the node did not mention it".to_owned(),
    };
    Err(StoreError::NotPinned { cid: *cid, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_car_has_a_header_and_every_block() {
        let object = Object::new(b"hello world\n");
        let car = chunks(std::slice::from_ref(&object)).concat();
        let mut expected = hex::decode("3aa265726f6f747381d82a582500").expect("hex");
        expected.extend_from_slice(&object.cid().to_bytes());
        expected.extend_from_slice(&hex::decode("6776657273696f6e01").expect("hex"));
        expected.push(36 + 12);
        expected.extend_from_slice(&object.cid().to_bytes());
        expected.extend_from_slice(b"hello world\n");
        assert_eq!(hex::encode(car), hex::encode(expected));
    }

    #[test]
    fn every_root_must_be_reported_as_pinned() {
        let objects = [Object::new(b"a"), Object::new(b"b")];
        let line = |object: &Object, error: &str| {
            format!(
                "{{\"Root\":{{\"Cid\":{{\"/\":\"{}\"}},\"PinErrorMsg\":\"{error}\"}}}}\n",
                object.cid()
            )
        };
        let [a, b] = &objects;
        let good = format!(
            "{}{}{{\"Stats\":{{\"BlockCount\":2}}}}\n",
            line(b, ""),
            line(a, "")
        );
        check_pins(&objects, good.as_bytes()).expect("both are pinned");
        for bad in [
            String::new(),
            line(a, ""),
            line(a, "") + &line(b, "no space"),
            line(a, "") + "{\"Message\":\"broken",
        ] {
            assert!(
                matches!(check_pins(&objects, bad.as_bytes()), Err(StoreError::NotPinned { cid, .. }) if cid == *b.cid() || cid == *a.cid()),
                "{bad}"
            );
        }
    }
}
