//! Frames of the outbox's file. Pure.

use super::Outgoing;

/// How a frame begins.
const MARKER: &[u8; 4] = b"SOF1";
/// Bytes of a frame before its body.
pub(super) const HEAD_BYTES: usize = 12;
const READING: u8 = 0;
const SETTLED: u8 = 1;
const REFUSED: u8 = 2;
const NEXT: u8 = 3;

/// What a frame says.
pub(super) enum Entry {
    Reading {
        id: u64,
        seq: Option<u64>,
        content_type: String,
        payload: Vec<u8>,
        /// Where the payload begins in the body.
        payload_at: usize,
    },
    Settled(Vec<u64>),
    Refused {
        id: u64,
        reason: String,
    },
    Next(u64),
}

impl Entry {
    /// Reads a frame's body; nothing if it is none of these.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let (kind, rest) = body.split_first()?;
        match *kind {
            READING => {
                let (id, rest) = number(rest)?;
                let (has_seq, rest) = rest.split_first()?;
                let (seq, rest) = number(rest)?;
                let (length, rest) = rest.split_first_chunk::<2>()?;
                let length = usize::from(u16::from_le_bytes(*length));
                let (content_type, payload) = rest.split_at_checked(length)?;
                Some(Self::Reading {
                    id,
                    seq: (*has_seq == 1).then_some(seq),
                    content_type: String::from_utf8(content_type.to_vec()).ok()?,
                    payload_at: body.len() - payload.len(),
                    payload: payload.to_vec(),
                })
            }
            SETTLED => {
                let (ids, rest) = rest.as_chunks::<8>();
                let ids = ids.iter().map(|id| u64::from_le_bytes(*id)).collect();
                rest.is_empty().then_some(Self::Settled(ids))
            }
            REFUSED => {
                let (id, reason) = number(rest)?;
                let reason = String::from_utf8(reason.to_vec()).ok()?;
                Some(Self::Refused { id, reason })
            }
            NEXT => number(rest).map(|(id, _)| Self::Next(id)),
            _ => None,
        }
    }
}

/// Appends a frame.
fn append(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    let length = u32::try_from(body.len()).expect("a packet is smaller than 4 GiB");
    bytes.extend(MARKER);
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(body);
}

/// Appends an accepted reading.
pub(super) fn reading(bytes: &mut Vec<u8>, id: u64, reading: &Outgoing) {
    append(bytes, |body| {
        body.push(READING);
        body.extend(id.to_le_bytes());
        body.push(u8::from(reading.message.seq.is_some()));
        body.extend(reading.message.seq.unwrap_or(0).to_le_bytes());
        let length = u16::try_from(reading.content_type.len()).expect("its length was checked");
        body.extend(length.to_le_bytes());
        body.extend(reading.content_type.as_bytes());
        body.extend(&reading.message.payload);
    });
}

/// Appends that readings have their receipts.
pub(super) fn settled(bytes: &mut Vec<u8>, ids: &[u64]) {
    append(bytes, |body| {
        body.push(SETTLED);
        ids.iter().for_each(|id| body.extend(id.to_le_bytes()));
    });
}

/// Appends that a reading is refused.
pub(super) fn refusal(bytes: &mut Vec<u8>, id: u64, reason: &str) {
    append(bytes, |body| {
        body.push(REFUSED);
        body.extend(id.to_le_bytes());
        body.extend(reason.as_bytes());
    });
}

/// Appends the ID of the next reading.
pub(super) fn next(bytes: &mut Vec<u8>, id: u64) {
    append(bytes, |body| {
        body.push(NEXT);
        body.extend(id.to_le_bytes());
    });
}

/// The body of the whole frame that these bytes begin with.
pub(super) fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(MARKER)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    // Zeros behind a marker are what was never written: the CRC of nothing is zero, too.
    let body = rest.get(..length).filter(|body| !body.is_empty())?;
    (crc32fast::hash(body) == u32::from_le_bytes(*crc)).then_some(body)
}

/// Whether a whole frame is anywhere in these bytes.
pub(super) fn has_frame(bytes: &[u8]) -> bool {
    let starts = bytes
        .windows(MARKER.len())
        .enumerate()
        .filter(|(_, window)| window == MARKER);
    starts
        .map(|(at, _)| at)
        .any(|at| frame(&bytes[at..]).is_some())
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), rest))
}
