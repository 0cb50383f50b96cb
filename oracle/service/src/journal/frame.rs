//! The frames of a segment file: pure framing and scanning, no file access.
//!
//! ```text
//! file    = header frame*
//! header  = magic "SALJRNL\0" (8) | version u16 | 6 zero bytes | salt (32) | crc32 of the 48 bytes (4)   = 52 bytes
//! frame   = marker "SJF1" (4) | length u32 | durable u64 | crc32 (4) | sealed (length bytes)
//! sealed  = nonce (12) | AES-256-GCM ciphertext | tag (16)
//! ```
//!
//! Numbers are little-endian. `crc32` covers marker, length, durable and sealed. `durable` is the file offset up to
//! which everything was already synced when the frame was written. It tells a torn write from damage: bytes before
//! a later frame's `durable` were acknowledged and MUST be whole; a frame after every known `durable` may be torn by
//! a crash, and is cut off if it looks torn, that is, if it is short, and not only by its length, or holds a block that
//! was never written.

use super::cipher::{FileKey, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
use super::error::{Damage, JournalError};

/// First bytes of a segment file.
const FILE_MAGIC: &[u8; 8] = b"SALJRNL\0";
/// Version of the format written here.
pub(super) const FORMAT_VERSION: u16 = 1;
/// Bytes of the file header.
pub(super) const FILE_HEADER_BYTES: usize = 52;
/// Bytes of a frame before its sealed part.
pub(super) const FRAME_HEADER_BYTES: usize = 20;
/// Largest sealed part, bytes: the largest MQTT message and its metadata fit.
pub(super) const FRAME_BYTES_MAX: usize = 64 << 20;

const MARKER: &[u8; 4] = b"SJF1";
/// File systems write whole blocks; a block of zeros inside a frame was never written.
const BLOCK_BYTES: usize = 512;

/// Makes the header of a file.
pub(super) fn file_header(salt: &[u8; KEY_BYTES]) -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0_u8; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(FILE_MAGIC);
    header[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[16..48].copy_from_slice(salt);
    let crc = crc32fast::hash(&header[..48]);
    header[48..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What a file's first bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// A header of this version, with the file's salt.
    Known([u8; KEY_BYTES]),
    /// A header of a version this program does not know.
    Newer(u16),
    /// Fewer bytes than a header, or zeros: the process ended while making the file.
    Unfinished,
    /// Something else.
    Foreign,
}

/// Reads a file's header.
pub(super) fn parse_header(bytes: &[u8]) -> Header {
    let Some(header) = bytes.first_chunk::<FILE_HEADER_BYTES>() else {
        return Header::Unfinished;
    };
    if header.iter().all(|byte| *byte == 0) {
        return Header::Unfinished;
    }
    if &header[..8] != FILE_MAGIC {
        return Header::Foreign;
    }
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version > FORMAT_VERSION {
        return Header::Newer(version);
    }
    let crc = u32::from_le_bytes([header[48], header[49], header[50], header[51]]);
    if crc != crc32fast::hash(&header[..48]) {
        return Header::Foreign;
    }
    let mut salt = [0_u8; KEY_BYTES];
    salt.copy_from_slice(&header[16..48]);
    Header::Known(salt)
}

/// Appends one frame to `out`, to be written at `offset` of the file. `body` appends the plaintext. After an error
/// `out` is as it was.
pub(super) fn encode_with(
    key: &FileKey,
    offset: u64,
    durable: u64,
    body: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Result<(), JournalError> {
    let start = out.len();
    let encoded = encode_at(start, (key, offset, durable), body, out);
    if encoded.is_err() {
        out.truncate(start);
    }
    encoded
}

fn encode_at(
    start: usize,
    (key, offset, durable): (&FileKey, u64, u64),
    body: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Result<(), JournalError> {
    let sealed = start + FRAME_HEADER_BYTES;
    out.resize(sealed + NONCE_BYTES, 0);
    body(out);
    let length = out.len() + TAG_BYTES - sealed;
    let length = u32::try_from(length)
        .ok()
        .filter(|_| length <= FRAME_BYTES_MAX)
        .ok_or(JournalError::Full)?;
    key.seal_in_place(offset, sealed, out)?;
    let (head, sealed) = out[start..].split_at_mut(FRAME_HEADER_BYTES);
    head[..4].copy_from_slice(MARKER);
    head[4..8].copy_from_slice(&length.to_le_bytes());
    head[8..16].copy_from_slice(&durable.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..16]);
    crc.update(sealed);
    head[16..].copy_from_slice(&crc.finalize().to_le_bytes());
    Ok(())
}

/// [`encode_with`] a plaintext that is there.
pub(super) fn encode(
    key: &FileKey,
    offset: u64,
    durable: u64,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), JournalError> {
    encode_with(key, offset, durable, |out| out.extend_from_slice(body), out)
}

/// Bytes a frame with this body takes.
pub(super) fn frame_bytes(body: usize) -> u64 {
    (FRAME_HEADER_BYTES + NONCE_BYTES + body + TAG_BYTES) as u64
}

/// Whether a body of so many bytes fits one frame.
pub(super) fn fits(body: usize) -> bool {
    NONCE_BYTES + body + TAG_BYTES <= FRAME_BYTES_MAX
}

/// A whole, checked frame.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Bytes of the whole frame.
    pub(super) bytes: usize,
    /// Offset up to which the file was durable when this was written.
    pub(super) durable: u64,
    /// Nonce, ciphertext, tag.
    pub(super) sealed: &'a [u8],
}

/// Reads the frame at the start of `bytes`, checksum included.
pub(super) fn parse(bytes: &[u8]) -> Result<Frame<'_>, Damage> {
    let Some(head) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else {
        return Err(Damage::CutOff);
    };
    if &head[..4] != MARKER {
        return Err(Damage::Marker);
    }
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    if !(NONCE_BYTES + TAG_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        return Err(Damage::Length);
    }
    let mut durable = [0_u8; 8];
    durable.copy_from_slice(&head[8..16]);
    let end = FRAME_HEADER_BYTES + length;
    let Some(sealed) = bytes.get(FRAME_HEADER_BYTES..end) else {
        return Err(Damage::CutOff);
    };
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..16]);
    crc.update(sealed);
    if crc.finalize() != u32::from_le_bytes([head[16], head[17], head[18], head[19]]) {
        return Err(Damage::Checksum);
    }
    Ok(Frame {
        bytes: end,
        durable: u64::from_le_bytes(durable),
        sealed,
    })
}

/// How the rest of a file, which does not parse, is to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// A write that never became durable; cut the file here.
    Torn,
    /// Bytes that were durable have changed.
    Damaged(Damage),
}

/// Judges the bytes from `offset` to the end of the newest file, where [`parse`] answered `damage`.
pub(super) fn judge_tail(rest: &[u8], offset: u64, damage: Damage) -> Tail {
    if later_frame_proves_durable(rest, offset) {
        return Tail::Damaged(damage);
    }
    let torn = match damage {
        Damage::CutOff => !is_whole_but_for_its_length(rest),
        _ => has_unwritten_block(rest, offset),
    };
    if torn {
        Tail::Torn
    } else {
        Tail::Damaged(damage)
    }
}

/// Whether the frame, which claims to be longer than the file, ends with the file or where another begins, and only
/// its length is wrong: then it was whole, and nothing of it was never written.
fn is_whole_but_for_its_length(rest: &[u8]) -> bool {
    let Some((head, body)) = rest.split_at_checked(FRAME_HEADER_BYTES) else {
        return false;
    };
    let crc = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
    let mut of_body = crc32fast::Hasher::new();
    let mut at = 0;
    loop {
        let next = find_marker(body, at + 1);
        let end = next.unwrap_or(body.len());
        of_body.update(&body[at..end]);
        let mut of_frame = crc32fast::Hasher::new();
        of_frame.update(&head[..4]);
        of_frame.update(&u32::try_from(end).unwrap_or(0).to_le_bytes());
        of_frame.update(&head[8..16]);
        of_frame.combine(&of_body);
        if of_frame.finalize() == crc {
            return true;
        }
        match next {
            Some(marker) => at = marker,
            None => return false,
        }
    }
}

/// Whether some whole frame after the damage says that the damaged place was durable before it was written.
fn later_frame_proves_durable(rest: &[u8], offset: u64) -> bool {
    let mut at = 1;
    while let Some(found) = find_marker(rest, at) {
        if let Ok(frame) = parse(&rest[found..])
            && frame.durable > offset
        {
            return true;
        }
        at = found + 1;
    }
    false
}

fn find_marker(bytes: &[u8], from: usize) -> Option<usize> {
    bytes
        .get(from..)?
        .windows(MARKER.len())
        .position(|window| window == MARKER)
        .map(|position| from + position)
}

/// Whether a whole file-system block, or the end of the file, is zeros.
fn has_unwritten_block(rest: &[u8], offset: u64) -> bool {
    let into_block = usize::try_from(offset % BLOCK_BYTES as u64).unwrap_or(0);
    let first = (BLOCK_BYTES - into_block).min(rest.len());
    let (head, blocks) = rest.split_at(first);
    let zero = |block: &[u8]| !block.is_empty() && block.iter().all(|byte| *byte == 0);
    zero(head) || blocks.chunks(BLOCK_BYTES).any(zero)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::cipher::JournalKey;

    fn key() -> FileKey {
        let dir = tempfile::tempdir().unwrap();
        JournalKey::load(&dir.path().join("k"), true)
            .unwrap()
            .file_key(&[9; KEY_BYTES])
    }

    /// Three frames; the third was written when the first two were durable.
    fn three_frames(key: &FileKey) -> (Vec<u8>, [usize; 3]) {
        let mut out = Vec::new();
        encode(key, 0, 0, b"first", &mut out).unwrap();
        let second = out.len();
        encode(key, second as u64, 0, &[7; 900], &mut out).unwrap();
        let third = out.len();
        encode(key, third as u64, third as u64, b"third", &mut out).unwrap();
        (out, [0, second, third])
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let key = key();
        let (bytes, starts) = three_frames(&key);
        let frame = parse(&bytes[starts[1]..]).unwrap();
        assert_eq!(frame.bytes, starts[2] - starts[1]);
        assert_eq!(frame.bytes as u64, frame_bytes(900));
        assert_eq!(key.open(starts[1] as u64, frame.sealed).unwrap(), [7; 900]);
        assert_eq!(
            parse(&bytes[starts[2]..]).unwrap().durable,
            starts[2] as u64
        );
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let key = key();
        let (bytes, starts) = three_frames(&key);
        for i in 0..starts[1] {
            for bit in [1, 0x80] {
                let mut changed = bytes.clone();
                changed[i] ^= bit;
                let damage = parse(&changed).unwrap_err();
                assert_eq!(
                    judge_tail(&changed, 0, damage),
                    Tail::Damaged(damage),
                    "byte {i} of a durable frame"
                );
            }
        }
    }

    #[test]
    fn a_cut_last_frame_is_torn_at_every_byte() {
        let key = key();
        let (bytes, starts) = three_frames(&key);
        for end in starts[2] + 1..bytes.len() {
            let rest = &bytes[starts[2]..end];
            let damage = parse(rest).unwrap_err();
            assert_eq!(damage, Damage::CutOff);
            assert_eq!(judge_tail(rest, starts[2] as u64, damage), Tail::Torn);
        }
    }

    /// Of the frames that no later one proves durable, too: they were acknowledged all the same.
    #[test]
    fn a_changed_length_is_damage_and_no_torn_write() {
        let key = key();
        let mut bytes = Vec::new();
        let mut starts = Vec::new();
        for body in [&[7; 900][..], b"last"] {
            starts.push(bytes.len());
            encode(&key, bytes.len() as u64, 0, body, &mut bytes).unwrap();
        }
        for start in starts {
            for bit in 0..32 {
                let mut changed = bytes.clone();
                changed[start + 4 + bit / 8] ^= 1 << (bit % 8);
                let rest = &changed[start..];
                let damage = parse(rest).unwrap_err();
                let judged = judge_tail(rest, start as u64, damage);
                assert_eq!(judged, Tail::Damaged(damage), "bit {bit}");
            }
        }
    }

    #[test]
    fn an_unwritten_block_is_torn_but_a_flipped_bit_in_the_last_frame_is_damage() {
        let key = key();
        let mut bytes = Vec::new();
        encode(&key, 0, 0, &[7; 4000], &mut bytes).unwrap();
        let mut torn = bytes.clone();
        torn[1024..1536].fill(0);
        let damage = parse(&torn).unwrap_err();
        assert_eq!(judge_tail(&torn, 0, damage), Tail::Torn);
        let mut flipped = bytes;
        flipped[1030] ^= 4;
        assert_eq!(
            judge_tail(&flipped, 0, Damage::Checksum),
            Tail::Damaged(Damage::Checksum)
        );
    }

    #[test]
    fn headers() {
        let header = file_header(&[5; KEY_BYTES]);
        assert_eq!(parse_header(&header), Header::Known([5; KEY_BYTES]));
        for end in 0..header.len() {
            assert_eq!(parse_header(&header[..end]), Header::Unfinished);
        }
        assert_eq!(parse_header(&[0; 60]), Header::Unfinished);
        for i in 0..header.len() {
            let mut changed = header;
            changed[i] ^= 0x40;
            assert_ne!(
                parse_header(&changed),
                Header::Known([5; KEY_BYTES]),
                "byte {i}"
            );
        }
        let mut newer = header;
        newer[8] = 2;
        assert_eq!(parse_header(&newer), Header::Newer(2));
    }
}
