//! LevelDB's log format, in which both write-ahead logs and manifests are kept: records cut into
//! chunks, none of which crosses a block of 32 KiB.

use crate::wire::{Cursor, checksum};

/// Length of a block.
const BLOCK_BYTES: usize = 32 * 1024;
/// Checksum, length and kind before each chunk.
const HEADER_BYTES: usize = 7;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Why reading stopped before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) &'static str);

/// All records of a file. A record that was cut off while it was the last to be written is left out,
/// since whoever wrote it has not been told that it was kept.
pub(crate) fn records(file: &[u8]) -> Result<Vec<Vec<u8>>, Broken> {
    let mut records = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    let mut chunks = Chunks { file, at: 0 };
    while let Some((kind, payload)) = chunks.next_chunk()? {
        match (kind, open.take()) {
            (FULL, None) => records.push(payload.to_vec()),
            (FIRST, None) => open = Some(payload.to_vec()),
            (MIDDLE, Some(mut record)) => {
                record.extend_from_slice(payload);
                open = Some(record);
            }
            (LAST, Some(mut record)) => {
                record.extend_from_slice(payload);
                records.push(record);
            }
            _ => return Err(Broken("has a part of a record without its other parts")),
        }
    }
    Ok(records)
}

struct Chunks<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Chunks<'a> {
    fn next_chunk(&mut self) -> Result<Option<(u8, &'a [u8])>, Broken> {
        let left = BLOCK_BYTES - self.at % BLOCK_BYTES;
        if left < HEADER_BYTES {
            self.at += left;
        }
        let rest = self.file.get(self.at..).unwrap_or_default();
        if rest.iter().all(|byte| *byte == 0) {
            // Nothing more, or room that was allotted before a failure of power.
            return Ok(None);
        }
        let left = BLOCK_BYTES - self.at % BLOCK_BYTES;
        let is_last_block = rest.len() <= left;
        let Some((sum, length, kind)) = header(rest) else {
            return Ok(None);
        };
        let end = HEADER_BYTES + usize::from(length);
        if end > rest.len() && is_last_block && end <= left {
            return Ok(None);
        }
        let chunk = rest.get(..end).filter(|_| end <= left);
        let chunk = chunk.ok_or(Broken("has a chunk that is longer than its block"))?;
        let (_, payload) = chunk.split_at(HEADER_BYTES);
        if sum != checksum(&[&[kind], payload]) {
            return Err(Broken("has a chunk with a wrong checksum"));
        }
        self.at += end;
        Ok(Some((kind, payload)))
    }
}

fn header(bytes: &[u8]) -> Option<(u32, u16, u8)> {
    let mut cursor = Cursor(bytes);
    let sum = cursor.fixed32()?;
    let length = u16::from_le_bytes(cursor.take(2)?.try_into().ok()?);
    Some((sum, length, cursor.byte()?))
}

/// A file of one record.
pub(crate) fn file_of(record: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(record.len() + record.len() / 1024 + HEADER_BYTES);
    let mut rest = record;
    let mut is_first = true;
    loop {
        // It begins with a block and fills each up to its end.
        let room = BLOCK_BYTES - HEADER_BYTES;
        let (chunk, after) = rest.split_at(rest.len().min(room));
        let kind = match (is_first, after.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        let length = u16::try_from(chunk.len()).expect("a block is shorter than 64 KiB");
        file.extend_from_slice(&checksum(&[&[kind], chunk]).to_le_bytes());
        file.extend_from_slice(&length.to_le_bytes());
        file.push(kind);
        file.extend_from_slice(chunk);
        if after.is_empty() {
            return file;
        }
        (rest, is_first) = (after, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_any_length_comes_back() {
        for length in [0, 1, 32_760, 32_761, 32_762, 65_522, 65_523, 100_000] {
            let record: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
            assert_eq!(records(&file_of(&record)), Ok(vec![record]), "{length}");
        }
    }

    #[test]
    fn what_was_cut_off_at_the_end_is_left_out() {
        let mut file = file_of(b"first");
        let whole = file.len();
        file.extend(file_of(b"second"));
        for cut in whole..file.len() {
            assert_eq!(records(&file[..cut]), Ok(vec![b"first".to_vec()]), "{cut}");
        }
        let mut zeros = file_of(b"first");
        zeros.resize(100_000, 0);
        assert_eq!(records(&zeros), Ok(vec![b"first".to_vec()]));
    }

    #[test]
    fn damage_before_the_end_is_refused() {
        let mut file = file_of(b"first");
        file.extend(file_of(b"second"));
        let mut wrong = file.clone();
        wrong[9] ^= 1;
        assert!(records(&wrong).is_err());
        let mut orphan = file_of(b"first");
        orphan[6] = LAST;
        let sum = checksum(&[&[LAST], b"first"]);
        orphan[..4].copy_from_slice(&sum.to_le_bytes());
        assert!(records(&orphan).is_err());
    }
}
