//! Many objects in one request: CAR version 1 out, reports of pins back.
//!
//! ```text
//! varint length ‖ dag-cbor {"roots": [CID…], "version": 1}
//! varint length ‖ CID ‖ block bytes          (once for each block)
//! ```

use std::collections::HashMap;

use bytes::Bytes;
use cid::Cid;
use minicbor::Encoder;
use minicbor::data::Tag;
use serde::Deserialize;

use super::{Object, StoreError};

/// CBOR tag of a CID in DAG-CBOR.
const CID_TAG: u64 = 42;
/// Byte in front of a CID's bytes in DAG-CBOR: the identity multibase.
const IDENTITY_MULTIBASE: u8 = 0;
/// Characters kept of a node's message.
const MESSAGE_CHARS_MAX: usize = 300;

/// The CAR of some objects, in pieces that share the objects' memory.
pub(super) fn chunks(objects: &[Object]) -> Vec<Bytes> {
    let mut chunks = vec![section_start(&header(objects), 0)];
    for (cid, block) in objects.iter().flat_map(Object::blocks) {
        chunks.push(section_start(&cid.to_bytes(), block.len()));
        chunks.push(block.clone());
    }
    chunks
}

/// A section's length, and what of it comes before `rest` more bytes.
fn section_start(start: &[u8], rest: usize) -> Bytes {
    let length = start.len() + rest;
    let mut buffer = unsigned_varint::encode::usize_buffer();
    let prefix = unsigned_varint::encode::usize(length, &mut buffer);
    Bytes::from([prefix, start].concat())
}

fn header(objects: &[Object]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    write_header(&mut encoder, objects).expect("a vector takes every write");
    encoder.into_writer()
}

fn write_header(
    encoder: &mut Encoder<Vec<u8>>,
    objects: &[Object],
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    encoder.map(2)?.str("roots")?.array(objects.len() as u64)?;
    for object in objects {
        let mut cid = vec![IDENTITY_MULTIBASE];
        cid.extend_from_slice(&object.cid().to_bytes());
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
    let mut pins: HashMap<Cid, String> = HashMap::with_capacity(objects.len());
    for line in serde_json::Deserializer::from_slice(answer).into_iter::<Line>() {
        let Ok(line) = line else { break };
        if let Some(root) = line.root
            && let Ok(cid) = root.cid.text.parse()
        {
            pins.insert(cid, root.pin_error_msg);
        }
    }
    for object in objects {
        let message = match pins.get(object.cid()) {
            Some(message) if message.is_empty() => continue,
            Some(message) => message.chars().take(MESSAGE_CHARS_MAX).collect(),
            None => "the node did not mention it".to_owned(),
        };
        return Err(StoreError::NotPinned {
            cid: *object.cid(),
            message,
        });
    }
    Ok(())
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
