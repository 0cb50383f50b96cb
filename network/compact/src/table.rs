//! Reading tables.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::{
    block::Block,
    error::{At as _, Result, damaged},
    key::Entry,
    wire::{Cursor, checksum},
};

/// The last bytes of a table: where its index is.
pub(crate) const FOOTER_BYTES: usize = 48;
/// The end of the footer.
pub(crate) const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// Kind and checksum behind each block.
pub(crate) const TRAILER_BYTES: usize = 5;
/// A block is stored as it is.
pub(crate) const PLAIN: u8 = 0;
/// A block is compressed with Snappy.
pub(crate) const SNAPPY: u8 = 1;
/// The longest block that is read: a single value of a gibibyte.
const MAX_BLOCK_BYTES: u64 = 1 << 30;

/// The entries of a table, in order.
#[derive(Debug)]
pub(crate) struct TableReader {
    file: File,
    path: PathBuf,
    size: u64,
    index: Block,
    block: Option<Block>,
}

impl TableReader {
    /// Opens a table of the size that its manifest says.
    pub(crate) fn open(path: &Path, size: u64) -> Result<Self> {
        let file = File::open(path).at(path)?;
        if file.metadata().at(path)?.len() != size {
            return Err(damaged(path, "has not the length that its manifest says"));
        }
        let mut footer = [0; FOOTER_BYTES];
        let start = size.checked_sub(FOOTER_BYTES as u64);
        let start = start.ok_or_else(|| damaged(path, "is too short for a table"))?;
        file.read_exact_at(&mut footer, start).at(path)?;
        let handle = index_handle(&footer);
        let handle = handle.ok_or_else(|| damaged(path, "does not end as a table"))?;
        let mut table = Self {
            file,
            path: path.to_owned(),
            size,
            index: Block::new(vec![0, 0, 0, 0]).expect("it has no restart points"),
            block: None,
        };
        table.index = table.read_block(handle)?;
        Ok(table)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next entry.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(block) = &mut self.block {
                let entry = block.next_entry();
                let entry = entry.ok_or_else(|| damaged(&self.path, "has a damaged block"))?;
                if entry.is_some() {
                    return Ok(entry);
                }
            }
            let pair = self.index.next_pair();
            let pair = pair.ok_or_else(|| damaged(&self.path, "has a damaged index"))?;
            let Some((_, handle)) = pair else {
                return Ok(None);
            };
            let handle = block_handle(&mut Cursor(handle));
            let handle = handle.ok_or_else(|| damaged(&self.path, "has a damaged index"))?;
            self.block = Some(self.read_block(handle)?);
        }
    }

    fn read_block(&self, (offset, length): (u64, u64)) -> Result<Block> {
        let bad = |what| damaged(&self.path, what);
        let end = offset.checked_add(length);
        let end = end.and_then(|end| end.checked_add(TRAILER_BYTES as u64));
        if length > MAX_BLOCK_BYTES || end.is_none_or(|end| end > self.size) {
            return Err(bad("has a block outside of it"));
        }
        let length = usize::try_from(length).map_err(|_| bad("has a block outside of it"))?;
        let mut bytes = vec![0; length + TRAILER_BYTES];
        self.file.read_exact_at(&mut bytes, offset).at(&self.path)?;
        let (body, sum) = bytes.split_at(length + 1);
        if sum != checksum(&[body]).to_le_bytes() {
            return Err(bad("has a block with a wrong checksum"));
        }
        let kind = body[length];
        bytes.truncate(length);
        let plain = match kind {
            PLAIN => bytes,
            SNAPPY => unpacked(&bytes).ok_or_else(|| bad("has a block that does not unpack"))?,
            _ => return Err(bad("has a block of an unknown kind")),
        };
        Block::new(plain).ok_or_else(|| bad("has a damaged block"))
    }
}

fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = snap::raw::decompress_len(bytes).ok()?;
    if length as u64 > MAX_BLOCK_BYTES {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(bytes).ok()
}

fn index_handle(footer: &[u8; FOOTER_BYTES]) -> Option<(u64, u64)> {
    let mut cursor = Cursor(footer);
    block_handle(&mut cursor)?;
    let handle = block_handle(&mut cursor)?;
    let magic = u64::from_le_bytes(*footer.last_chunk()?);
    (magic == MAGIC).then_some(handle)
}

fn block_handle(cursor: &mut Cursor<'_>) -> Option<(u64, u64)> {
    Some((cursor.varint()?, cursor.varint()?))
}
