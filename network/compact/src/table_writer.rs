//! Writing tables.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::PathBuf,
};

use crate::{
    block::BlockBuilder,
    error::{At as _, Result},
    key::{Entry, InternalKey},
    manifest::TableInfo,
    table::{FOOTER_BYTES, MAGIC, PLAIN, SNAPPY, TRAILER_BYTES},
    wire::{checksum, put_varint},
};

/// A block is finished when it has so many bytes before compression, as in LevelDB.
const BLOCK_BYTES: usize = 4 * 1024;

/// Writes one table.
#[derive(Debug)]
pub(crate) struct TableWriter {
    out: BufWriter<File>,
    path: PathBuf,
    number: u64,
    size: u64,
    data: BlockBuilder,
    index: BlockBuilder,
    smallest: InternalKey,
    largest: InternalKey,
}

impl TableWriter {
    /// Begins a table with its first entry.
    pub(crate) fn begin(file: File, path: PathBuf, number: u64, first: &Entry) -> Result<Self> {
        let mut table = Self {
            out: BufWriter::new(file),
            path,
            number,
            size: 0,
            data: BlockBuilder::of_data(),
            index: BlockBuilder::of_index(),
            smallest: first.key.clone(),
            largest: first.key.clone(),
        };
        table.add(first)?;
        Ok(table)
    }

    /// Adds an entry behind all others.
    pub(crate) fn add(&mut self, entry: &Entry) -> Result<()> {
        self.data.add(entry.key.as_bytes(), &entry.value);
        self.largest.clone_from(&entry.key);
        if self.data.size() >= BLOCK_BYTES {
            self.finish_block()?;
        }
        Ok(())
    }

    /// Bytes written so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Ends the table and has it on the disk.
    pub(crate) fn finish(mut self) -> Result<TableInfo> {
        if !self.data.is_empty() {
            self.finish_block()?;
        }
        let meta = BlockBuilder::of_data().finish();
        let meta = self.write_block(&meta)?;
        let index = self.index.finish();
        let index = self.write_block(&index)?;
        let mut footer = meta;
        footer.extend_from_slice(&index);
        footer.resize(FOOTER_BYTES - 8, 0);
        footer.extend_from_slice(&MAGIC.to_le_bytes());
        self.out.write_all(&footer).at(&self.path)?;
        self.size += footer.len() as u64;
        self.out.flush().at(&self.path)?;
        self.out.get_ref().sync_all().at(&self.path)?;
        Ok(TableInfo {
            number: self.number,
            size: self.size,
            smallest: self.smallest,
            largest: self.largest,
        })
    }

    fn finish_block(&mut self) -> Result<()> {
        let last = self.data.last_key().to_vec();
        let block = self.data.finish();
        let handle = self.write_block(&block)?;
        self.index.add(&last, &handle);
        Ok(())
    }

    /// Writes a block and gives its handle.
    fn write_block(&mut self, block: &[u8]) -> Result<Vec<u8>> {
        // Not worth unpacking unless an eighth is saved, as in LevelDB.
        let worth = block.len() - block.len() / 8;
        let packed = snap::raw::Encoder::new().compress_vec(block);
        let packed = packed.ok().filter(|packed| packed.len() < worth);
        let (body, kind) = match &packed {
            Some(packed) => (packed.as_slice(), SNAPPY),
            None => (block, PLAIN),
        };
        let mut trailer = vec![kind];
        trailer.extend_from_slice(&checksum(&[body, &[kind]]).to_le_bytes());
        self.out.write_all(body).at(&self.path)?;
        self.out.write_all(&trailer).at(&self.path)?;
        let mut handle = Vec::new();
        put_varint(&mut handle, self.size);
        put_varint(&mut handle, body.len() as u64);
        self.size += (body.len() + TRAILER_BYTES) as u64;
        Ok(handle)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::table::TableReader;

    #[test]
    fn a_table_gives_back_its_entries_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("000005.ldb");
        let entries: Vec<Entry> = (0..2000u64)
            .map(|n| Entry {
                key: InternalKey::new(format!("key/{n:05}").as_bytes(), n, true),
                value: if n == 700 {
                    vec![7; 300_000]
                } else {
                    format!("value {n}").into_bytes()
                },
            })
            .collect();
        let file = File::create(&path).unwrap();
        let mut writer = TableWriter::begin(file, path.clone(), 5, &entries[0]).unwrap();
        for entry in &entries[1..] {
            writer.add(entry).unwrap();
        }
        let info = writer.finish().unwrap();
        assert_eq!(info.size, fs::metadata(&path).unwrap().len());
        assert_eq!(info.smallest, entries[0].key);
        assert_eq!(info.largest, entries[1999].key);
        let mut reader = TableReader::open(&path, info.size).unwrap();
        for entry in &entries {
            assert_eq!(reader.next_entry().unwrap().as_ref(), Some(entry));
        }
        assert_eq!(reader.next_entry().unwrap(), None);

        let good = fs::read(&path).unwrap();
        for at in [10, good.len() / 2, good.len() - 60, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            let read = TableReader::open(&path, info.size).and_then(|mut reader| {
                while reader.next_entry()?.is_some() {}
                Ok(())
            });
            assert!(read.is_err(), "byte {at}");
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(TableReader::open(&path, info.size).is_err());
    }
}
