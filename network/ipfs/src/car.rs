//! CAR version 1 (ipld.io/specs/transport/car/carv1): a header, then blocks.
//!
//! ```text
//! varint length ‖ dag-cbor {"roots": [CID…], "version": 1}
//! varint length ‖ CID ‖ block bytes          (any number of times)
//! ```

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::block::MAX_BLOCK_BYTES;

/// Largest header, in bytes: about 20,000 roots.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// Largest CID in front of a block, in bytes.
const MAX_CID_BYTES: usize = 128;
const VERSION: u64 = 1;

/// Why a CAR is not taken further. The texts are Kubo's where it has one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CarError {
    /// The bytes end inside the header or a block.
    #[error("unexpected EOF")]
    UnexpectedEnd,
    /// The header is no CAR header.
    #[error("invalid car header")]
    Header,
    /// The version is not 1.
    #[error("unsupported car version {0}")]
    Version(u64),
    /// A length, or the CID behind it, does not parse.
    #[error("malformed car section")]
    Section,
    /// A block or the header exceeds its limit.
    #[error("car section of {0} bytes is too large")]
    TooLarge(u64),
}

#[derive(Serialize, Deserialize)]
struct Header {
    roots: Vec<Cid>,
    version: u64,
}

/// What a CAR consists of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Roots(Vec<Cid>),
    /// A block whose hash is not checked yet.
    Block(Cid, Bytes),
}

/// Parses a CAR that arrives in pieces; holds one block at most beyond the newest piece.
#[derive(Default)]
pub(crate) struct Parser {
    buffer: BytesMut,
    past_header: bool,
}

impl Parser {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next item, or `None` until more is pushed.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, CarError> {
        let Some((length, prefix)) = varint(&self.buffer)? else {
            return Ok(None);
        };
        let limit = if self.past_header {
            MAX_BLOCK_BYTES + MAX_CID_BYTES
        } else {
            MAX_HEADER_BYTES
        };
        let length = match usize::try_from(length) {
            Ok(length) if length <= limit => length,
            _ => return Err(CarError::TooLarge(length)),
        };
        if self.buffer.len() < prefix + length {
            return Ok(None);
        }
        self.buffer.advance(prefix);
        let section = self.buffer.split_to(length).freeze();
        if self.past_header {
            return block(section).map(Some);
        }
        self.past_header = true;
        roots(&section).map(Some)
    }

    /// Checks, after the last piece, that nothing was cut off.
    pub(crate) fn finish(&self) -> Result<(), CarError> {
        if self.past_header && self.buffer.is_empty() {
            Ok(())
        } else {
            Err(CarError::UnexpectedEnd)
        }
    }
}

fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, CarError> {
    match unsigned_varint::decode::u64(bytes) {
        Ok((value, rest)) => Ok(Some((value, bytes.len() - rest.len()))),
        Err(unsigned_varint::decode::Error::Insufficient) => Ok(None),
        Err(_) => Err(CarError::Section),
    }
}

fn roots(section: &[u8]) -> Result<Item, CarError> {
    let header: Header = serde_ipld_dagcbor::from_slice(section).map_err(|_| CarError::Header)?;
    if header.version != VERSION {
        return Err(CarError::Version(header.version));
    }
    Ok(Item::Roots(header.roots))
}

fn block(section: Bytes) -> Result<Item, CarError> {
    let mut cursor = Cursor::new(&section);
    let cid = Cid::read_bytes(&mut cursor).map_err(|_| CarError::Section)?;
    let start = usize::try_from(cursor.position()).map_err(|_| CarError::Section)?;
    Ok(Item::Block(cid, section.slice(start..)))
}

/// The header of a CAR with one root.
pub(crate) fn header(root: Cid) -> Bytes {
    let header = Header {
        roots: vec![root],
        version: VERSION,
    };
    let body = serde_ipld_dagcbor::to_vec(&header)
        .expect("a header of one CID and one number can be written");
    section(&[&body])
}

/// One block as it stands in a CAR.
pub(crate) fn block_section(cid: &Cid, bytes: &[u8]) -> Bytes {
    section(&[&cid.to_bytes(), bytes])
}

fn section(parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut prefix = unsigned_varint::encode::usize_buffer();
    let prefix = unsigned_varint::encode::usize(length, &mut prefix);
    let mut section = BytesMut::with_capacity(prefix.len() + length);
    section.extend_from_slice(prefix);
    for part in parts {
        section.extend_from_slice(part);
    }
    section.freeze()
}

#[cfg(test)]
mod tests {
    use cid::Version;

    use super::*;
    use crate::block::{DAG_PB, RAW, cid_of};

    fn parse(car: &[u8], piece_len: usize) -> Result<Vec<Item>, CarError> {
        let mut parser = Parser::default();
        let mut items = Vec::new();
        for piece in car.chunks(piece_len) {
            parser.push(piece);
            while let Some(item) = parser.next()? {
                items.push(item);
            }
        }
        parser.finish()?;
        Ok(items)
    }

    fn sample() -> (Vec<u8>, Vec<Item>) {
        let one = cid_of(Version::V1, RAW, b"one");
        let two = cid_of(Version::V0, DAG_PB, b"");
        let car = [
            header(one),
            block_section(&one, b"one"),
            block_section(&two, b""),
        ]
        .concat();
        let items = vec![
            Item::Roots(vec![one]),
            Item::Block(one, Bytes::from_static(b"one")),
            Item::Block(two, Bytes::new()),
        ];
        (car, items)
    }

    #[test]
    fn written_car_parses_in_any_pieces() {
        let (car, items) = sample();
        for piece_len in 1..=car.len() {
            assert_eq!(parse(&car, piece_len).as_ref(), Ok(&items), "{piece_len}");
        }
    }

    #[test]
    fn every_truncation_is_noticed_or_ends_on_a_block() {
        let (car, items) = sample();
        let whole = [
            header(cid_of(Version::V1, RAW, b"one")).len(),
            car.len() - block_section(&cid_of(Version::V0, DAG_PB, b""), b"").len(),
        ];
        for len in 0..car.len() {
            let parsed = parse(&car[..len], 7);
            match whole.iter().position(|end| *end == len) {
                Some(blocks) => assert_eq!(parsed.unwrap(), items[..=blocks]),
                None => assert_eq!(parsed, Err(CarError::UnexpectedEnd), "{len}"),
            }
        }
    }

    #[test]
    fn wrong_headers_and_sections_are_refused() {
        let version_2 = Header {
            roots: vec![],
            version: 2,
        };
        let version_2 = section(&[&serde_ipld_dagcbor::to_vec(&version_2).unwrap()]);
        let (car, _) = sample();
        let header_len = header(cid_of(Version::V1, RAW, b"one")).len();
        for (bytes, expected) in [
            (version_2.to_vec(), CarError::Version(2)),
            (b"\x03abc".to_vec(), CarError::Header),
            (vec![0xff; 11], CarError::Section),
            (
                vec![0xff, 0xff, 0xff, 0x7f],
                CarError::TooLarge(0x0fff_ffff),
            ),
            (
                [&car[..header_len], &[0x03, 0x09, 0x09, 0x09]].concat(),
                CarError::Section,
            ),
        ] {
            assert_eq!(parse(&bytes, 64), Err(expected), "{bytes:?}");
        }
    }
}
