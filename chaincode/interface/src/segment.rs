//! Segments: the opened form of a record that holds many readings.
//!
//! A segment is a CBOR sequence (RFC 8742) of items, media type [`MEDIA_TYPE`]. Each item is one
//! received message, in deterministic CBOR (RFC 8949, 4.2.1):
//!
//! | array element | CBOR type | meaning |
//! |---|---|---|
//! | 0 | unsigned, 1 | format version |
//! | 1 | text | device ID |
//! | 2 | unsigned or null | the device's sequence number, null if it sent none |
//! | 3 | unsigned | reception time, milliseconds since 1970-01-01T00:00:00Z |
//! | 4 | text | content type of the payload |
//! | 5 | bytes | payload, as it was received |
//!
//! The bytes of an item are the leaf of the record's Merkle tree, so an item has exactly one
//! encoding and the decoder refuses every other.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::ids::DeviceId;
use crate::limits::CONTENT_TYPE_BYTES_MAX;

/// Media type of a segment.
pub const MEDIA_TYPE: &str = "application/vnd.salus.segment+cbor-seq";

/// Version of the item format.
const ITEM_VERSION: u8 = 1;
/// Elements of an item's array.
const ITEM_ELEMENTS: u64 = 6;

/// One received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentItem {
    /// The device that sent it.
    pub device_id: DeviceId,
    /// The device's sequence number, if it sent one.
    pub seq: Option<u64>,
    /// Reception time, milliseconds since 1970-01-01T00:00:00Z.
    pub received_ms: u64,
    /// Content type of the payload.
    pub content_type: String,
    /// The payload as it was received.
    pub payload: Vec<u8>,
}

/// An item with the bytes that encode it, the leaf of the Merkle tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedItem<'a> {
    /// The item.
    pub item: SegmentItem,
    /// Its encoding.
    pub bytes: &'a [u8],
}

/// A segment that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("segment is malformed at byte {offset}")]
pub struct SegmentError {
    /// Where the malformed item begins.
    pub offset: usize,
}

impl SegmentItem {
    /// The item's one encoding.
    ///
    /// # Panics
    ///
    /// Never: writing to a vector does not fail.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload.len() + 128);
        self.encode_to(&mut bytes);
        bytes
    }

    /// Appends the item's encoding to a segment.
    ///
    /// # Panics
    ///
    /// Never: writing to a vector does not fail.
    pub fn encode_to(&self, segment: &mut Vec<u8>) {
        #[expect(clippy::expect_used, reason = "writing to a vector is infallible")]
        self.try_encode(&mut Encoder::new(segment))
            .expect("a vector takes every write");
    }

    fn try_encode(
        &self,
        encoder: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        encoder
            .array(ITEM_ELEMENTS)?
            .u8(ITEM_VERSION)?
            .str(self.device_id.as_str())?;
        match self.seq {
            Some(seq) => encoder.u64(seq)?,
            None => encoder.null()?,
        };
        encoder
            .u64(self.received_ms)?
            .str(&self.content_type)?
            .bytes(&self.payload)?;
        Ok(())
    }
}

/// Encodes items into a segment.
#[must_use]
pub fn encode<'a>(items: impl IntoIterator<Item = &'a SegmentItem>) -> Vec<u8> {
    let mut segment = Vec::new();
    for item in items {
        item.encode_to(&mut segment);
    }
    segment
}

/// Reads a segment item by item; ends after the first error.
#[must_use]
pub fn decode(segment: &[u8]) -> Items<'_> {
    Items { segment, offset: 0 }
}

/// Iterator over a segment's items.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    segment: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<EncodedItem<'a>, SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let rest = self.segment.get(offset..).filter(|rest| !rest.is_empty())?;
        let decoded = decode_item(rest);
        self.offset = match &decoded {
            Some(item) => offset + item.bytes.len(),
            None => self.segment.len(),
        };
        Some(decoded.ok_or(SegmentError { offset }))
    }
}

fn decode_item(rest: &[u8]) -> Option<EncodedItem<'_>> {
    let mut decoder = Decoder::new(rest);
    if decoder.array().ok()? != Some(ITEM_ELEMENTS) || decoder.u8().ok()? != ITEM_VERSION {
        return None;
    }
    let device_id = decoder.str().ok()?.parse().ok()?;
    let seq = match decoder.datatype().ok()? {
        Type::Null => {
            decoder.null().ok()?;
            None
        }
        _ => Some(decoder.u64().ok()?),
    };
    let received_ms = decoder.u64().ok()?;
    let content_type = decoder.str().ok()?;
    if content_type.len() > CONTENT_TYPE_BYTES_MAX {
        return None;
    }
    let content_type = content_type.to_owned();
    let payload = decoder.bytes().ok()?.to_vec();
    let bytes = &rest[..decoder.position()];
    let item = SegmentItem {
        device_id,
        seq,
        received_ms,
        content_type,
        payload,
    };
    (item.encode() == bytes).then_some(EncodedItem { item, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(seq: Option<u64>, payload: &[u8]) -> SegmentItem {
        SegmentItem {
            device_id: "hr-1".parse().unwrap(),
            seq,
            received_ms: 1_767_323_045_123,
            content_type: "application/fhir+json".to_owned(),
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn bytes_of_one_item() {
        let small = SegmentItem {
            device_id: "d".parse().unwrap(),
            seq: Some(17),
            received_ms: 1000,
            content_type: "a/b".to_owned(),
            payload: vec![0xff],
        };
        assert_eq!(hex::encode(small.encode()), "86016164111903e863612f6241ff");
        let unnumbered = SegmentItem { seq: None, ..small };
        assert_eq!(
            hex::encode(unnumbered.encode()),
            "86016164f61903e863612f6241ff"
        );
    }

    #[test]
    fn what_is_encoded_comes_back_with_its_bytes() {
        let lengths = [0_usize, 1, 23, 24, 255, 256, 65_535, 65_536];
        let seqs = [
            None,
            Some(0),
            Some(23),
            Some(24),
            Some(u64::from(u32::MAX)),
            Some(u64::MAX),
        ];
        let items: Vec<SegmentItem> = lengths
            .iter()
            .flat_map(|length| seqs.map(|seq| item(seq, &vec![0xa5; *length])))
            .collect();
        let segment = encode(&items);
        let decoded: Vec<_> = decode(&segment).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            decoded.iter().map(|d| d.bytes).collect::<Vec<_>>().concat(),
            segment
        );
        assert_eq!(
            decoded.into_iter().map(|d| d.item).collect::<Vec<_>>(),
            items
        );
    }

    #[test]
    fn every_truncation_is_an_error_or_fewer_items() {
        let segment = encode(&[item(Some(1), b"one"), item(None, b"two")]);
        let first = decode(&segment).next().unwrap().unwrap().bytes.len();
        for cut in 0..segment.len() {
            let whole = decode(&segment[..cut]).collect::<Result<Vec<_>, _>>();
            match cut {
                0 => assert_eq!(whole, Ok(vec![])),
                _ if cut == first => assert_eq!(whole.unwrap().len(), 1),
                _ => {
                    let offset = if cut < first { 0 } else { first };
                    assert_eq!(whole, Err(SegmentError { offset }), "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_second_encoding_of_an_item_is_refused() {
        for (name, bad) in [
            ("long array head", "980601616411190 3e863612f6241ff"),
            ("indefinite array", "9f01616411190 3e863612f6241ffff"),
            ("long version", "861801616411190 3e863612f6241ff"),
            ("long seq", "86016164181 11903e863612f6241ff"),
            ("long text head", "8601780164111903e863612f6241ff"),
            ("indefinite text", "86017f6164ff111903e863612f6241ff"),
            ("version 2", "8602616411190 3e863612f6241ff"),
            ("five elements", "8501616411190 3e863612f62"),
            ("seven elements", "8701616411190 3e863612f6241ff00"),
            ("payload as text", "8601616411190 3e863612f626161"),
            ("undefined seq", "86016164f71903e863612f6241ff"),
            ("negative seq", "86016164201903e863612f6241ff"),
            ("device ID with a slash", "8601612f11190 3e863612f6241ff"),
            ("text that is not UTF-8", "860161ff11190 3e863612f6241ff"),
            (
                "length beyond the end",
                "8601616411190 3e863612f625bffffffffffffffff00",
            ),
        ] {
            let bytes = hex::decode(bad.replace(' ', "")).unwrap();
            let mut items = decode(&bytes);
            assert_eq!(
                items.next(),
                Some(Err(SegmentError { offset: 0 })),
                "{name}"
            );
            assert_eq!(items.next(), None, "{name}");
        }
    }
}
