//! The block log: one file, append-only, from which everything else is rebuilt.
//!
//! ```text
//! file    = magic "FDEVLOG1", record*
//! record  = header, block bytes, private bytes
//! header  = magic "BLKR" | number u64 | synced u64 | block length u32 | private length u32
//!         | CRC of block | CRC of private part | CRC of the header so far      (40 bytes)
//! ```
//!
//! Integers are little-endian, CRCs are CRC-32 (IEEE). `synced` is the length of the file that
//! was known to be on disk when the record was written. It decides what damage means: whatever
//! lies at or beyond the highest `synced` of the intact records was never acknowledged, is what
//! a crash leaves behind and is cut off; damage before it is refused with its offset.
//!
//! The private part may change later: purged values are overwritten with zeros in place. Then
//! its CRC no longer holds, and the hashes in the block judge it (see `private`).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::LedgerError;

const FILE_MAGIC: [u8; 8] = *b"FDEVLOG1";
const RECORD_MAGIC: [u8; 4] = *b"BLKR";
/// Bytes of a record before its content.
const HEADER_LENGTH: usize = 40;
/// Bytes of a block or of its private part: beyond this a length is taken for damage.
const PART_LENGTH_MAX: u32 = 1 << 30;

/// Where a record's parts are in the file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordPlace {
    pub(crate) offset: u64,
    pub(crate) block_length: u32,
    pub(crate) private_length: u32,
}

impl RecordPlace {
    fn block_offset(self) -> u64 {
        self.offset + HEADER_LENGTH as u64
    }

    pub(crate) fn private_offset(self) -> u64 {
        self.block_offset() + u64::from(self.block_length)
    }

    fn end(self) -> u64 {
        self.private_offset() + u64::from(self.private_length)
    }
}

/// A record read back at start.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) number: u64,
    pub(crate) place: RecordPlace,
    pub(crate) block: Vec<u8>,
    pub(crate) private: Vec<u8>,
    /// Whether the private part is as it was written.
    pub(crate) private_intact: bool,
}

/// The log open for appending.
#[derive(Debug)]
pub(crate) struct BlockLog {
    file: File,
    path: PathBuf,
    length: u64,
    synced: u64,
    /// The highest `synced` in a record that is itself on disk.
    witnessed: u64,
    /// The highest `synced` in any record.
    stated: u64,
}

/// Reads blocks by place, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct LogReader {
    file: Arc<File>,
    path: PathBuf,
}

impl BlockLog {
    /// Makes a new log.
    pub(crate) fn create(path: &Path) -> Result<Self, LedgerError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => LedgerError::Exists {
                    path: path.to_owned(),
                },
                _ => failed("create", path)(source),
            })?;
        file.write_all(&FILE_MAGIC).map_err(failed("write", path))?;
        let mut log = Self {
            file,
            path: path.to_owned(),
            length: FILE_MAGIC.len() as u64,
            synced: 0,
            witnessed: 0,
            stated: 0,
        };
        log.sync()?;
        sync_folder(path)?;
        Ok(log)
    }

    /// Opens a log and hands every record to `visit`. What a crash tore off is cut.
    pub(crate) fn open(
        path: &Path,
        mut visit: impl FnMut(Recovered) -> Result<(), LedgerError>,
    ) -> Result<Self, LedgerError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed("open", path))?;
        let file_length = file.metadata().map_err(failed("read", path))?.len();
        let mut magic = [0; FILE_MAGIC.len()];
        let read = read_up_to(&mut file, &mut magic).map_err(failed("read", path))?;
        if magic[..read] != FILE_MAGIC[..read] {
            return Err(LedgerError::Format {
                path: path.to_owned(),
            });
        }
        let mut scan = LogScan::new(&file, path, file_length)?;
        while let Some(record) = scan.next()? {
            visit(record)?;
        }
        let length = scan.offset;
        let stated = scan.synced_max;
        if read < magic.len() {
            // Torn before the first record: an empty log.
            file.seek(SeekFrom::Start(0))
                .map_err(failed("read", path))?;
            file.write_all(&FILE_MAGIC).map_err(failed("write", path))?;
        }
        file.set_len(length).map_err(failed("cut", path))?;
        file.seek(SeekFrom::Start(length))
            .map_err(failed("read", path))?;
        let mut log = Self {
            file,
            path: path.to_owned(),
            length,
            synced: 0,
            witnessed: 0,
            stated,
        };
        log.sync()?;
        Ok(log)
    }

    /// A reader of the same file.
    pub(crate) fn reader(&self) -> Result<LogReader, LedgerError> {
        let file = File::open(&self.path).map_err(failed("open", &self.path))?;
        Ok(LogReader {
            file: Arc::new(file),
            path: self.path.clone(),
        })
    }

    /// Appends a record. It is on disk after the next [`BlockLog::sync`].
    pub(crate) fn append(
        &mut self,
        number: u64,
        block: &[u8],
        private: &[u8],
    ) -> Result<RecordPlace, LedgerError> {
        let length = |part: &[u8]| {
            u32::try_from(part.len())
                .ok()
                .filter(|length| *length <= PART_LENGTH_MAX)
                .ok_or_else(|| failed("append to", &self.path)(io::ErrorKind::FileTooLarge.into()))
        };
        let place = RecordPlace {
            offset: self.length,
            block_length: length(block)?,
            private_length: length(private)?,
        };
        let header = RecordHeader {
            number,
            synced: self.synced,
            block_length: place.block_length,
            private_length: place.private_length,
            block_crc: crc32fast::hash(block),
            private_crc: crc32fast::hash(private),
        };
        let record = [&header.encode(), block, private].concat();
        self.file
            .write_all(&record)
            .map_err(failed("append to", &self.path))?;
        self.length = place.end();
        self.stated = self.synced;
        Ok(place)
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), LedgerError> {
        self.file.sync_data().map_err(failed("sync", &self.path))?;
        self.synced = self.length;
        self.witnessed = self.stated;
        Ok(())
    }

    /// Whether a record on disk says that this one is on disk. Only then may its private part be
    /// overwritten: a crash right after would otherwise look as if it had never been whole.
    pub(crate) fn may_overwrite(&self, place: RecordPlace) -> bool {
        place.end() <= self.witnessed
    }

    /// Overwrites part of a record's private bytes; `at` counts from their start.
    pub(crate) fn overwrite_private(
        &mut self,
        place: RecordPlace,
        at: usize,
        bytes: &[u8],
    ) -> Result<(), LedgerError> {
        let offset = place.private_offset() + at as u64;
        self.file
            .write_all_at(bytes, offset)
            .map_err(failed("overwrite", &self.path))
    }
}

impl LogReader {
    /// The bytes of a block.
    pub(crate) fn block(&self, place: RecordPlace) -> Result<Vec<u8>, LedgerError> {
        self.read(place.block_offset(), place.block_length)
    }

    /// The private part of a record.
    pub(crate) fn private(&self, place: RecordPlace) -> Result<Vec<u8>, LedgerError> {
        self.read(place.private_offset(), place.private_length)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, LedgerError> {
        let mut bytes = vec![0; length as usize];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(failed("read", &self.path))?;
        Ok(bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecordHeader {
    number: u64,
    synced: u64,
    block_length: u32,
    private_length: u32,
    block_crc: u32,
    private_crc: u32,
}

impl RecordHeader {
    fn encode(self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4..12].copy_from_slice(&self.number.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.synced.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.block_length.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.private_length.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.block_crc.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.private_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_LENGTH]) -> Option<Self> {
        let u32_at = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(word)
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes[..4] != RECORD_MAGIC || u32_at(36) != crc32fast::hash(&bytes[..36]) {
            return None;
        }
        Some(Self {
            number: u64_at(4),
            synced: u64_at(12),
            block_length: u32_at(20),
            private_length: u32_at(24),
            block_crc: u32_at(28),
            private_crc: u32_at(32),
        })
    }
}

/// Walks over the records from the start.
struct LogScan<'f> {
    file: &'f File,
    path: &'f Path,
    file_length: u64,
    offset: u64,
    next_number: u64,
    /// Bytes of the file that some record says were on disk.
    synced_max: u64,
}

impl<'f> LogScan<'f> {
    fn new(file: &'f File, path: &'f Path, file_length: u64) -> Result<Self, LedgerError> {
        let mut scan = Self {
            file,
            path,
            file_length,
            offset: FILE_MAGIC.len() as u64,
            next_number: 0,
            synced_max: 0,
        };
        scan.synced_max = scan.find_synced_max()?;
        Ok(scan)
    }

    /// The next intact record; `None` at the end, torn or not.
    fn next(&mut self) -> Result<Option<Recovered>, LedgerError> {
        if self.offset >= self.file_length {
            return Ok(None);
        }
        let Some(header) = self.header(self.offset)? else {
            return self.torn("record header");
        };
        let place = RecordPlace {
            offset: self.offset,
            block_length: header.block_length,
            private_length: header.private_length,
        };
        if header.number != self.next_number {
            return self.torn("block number");
        }
        if place.end() > self.file_length {
            return self.torn("record length");
        }
        let mut block = vec![0; header.block_length as usize];
        let mut private = vec![0; header.private_length as usize];
        let read = |bytes: &mut [u8], offset| {
            self.file
                .read_exact_at(bytes, offset)
                .map_err(failed("read", self.path))
        };
        read(&mut block, place.block_offset())?;
        read(&mut private, place.private_offset())?;
        if crc32fast::hash(&block) != header.block_crc {
            return self.torn("checksum of the block");
        }
        let private_intact = crc32fast::hash(&private) == header.private_crc;
        if !private_intact && self.synced_max < place.end() {
            return self.torn("checksum of the private part");
        }
        self.offset = place.end();
        self.next_number += 1;
        Ok(Some(Recovered {
            number: header.number,
            place,
            block,
            private,
            private_intact,
        }))
    }

    fn header(&self, offset: u64) -> Result<Option<RecordHeader>, LedgerError> {
        if offset + HEADER_LENGTH as u64 > self.file_length {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_LENGTH];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(failed("read", self.path))?;
        Ok(RecordHeader::decode(&bytes))
    }

    /// Ends the scan, unless a record says that these bytes had been on disk.
    fn torn(&self, reason: &'static str) -> Result<Option<Recovered>, LedgerError> {
        if self.synced_max > self.offset {
            return Err(LedgerError::Damaged {
                path: self.path.to_owned(),
                offset: self.offset,
                reason,
            });
        }
        Ok(None)
    }

    /// The highest `synced` of all record headers: of those that chain from the start, and of
    /// any that can be made out behind a break of the chain.
    fn find_synced_max(&self) -> Result<u64, LedgerError> {
        let mut synced = 0;
        let mut offset = self.offset;
        let mut number = 0;
        while let Some(header) = self.header(offset)?
            && header.number == number
        {
            synced = synced.max(header.synced);
            let parts = u64::from(header.block_length) + u64::from(header.private_length);
            offset += HEADER_LENGTH as u64 + parts;
            number += 1;
        }
        let length = self.file_length.saturating_sub(offset);
        let mut rest = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file
            .read_exact_at(&mut rest, offset.min(self.file_length))
            .map_err(failed("read", self.path))?;
        let headers = rest
            .windows(HEADER_LENGTH)
            .filter(|window| window.starts_with(&RECORD_MAGIC))
            .filter_map(|window| RecordHeader::decode(window.try_into().ok()?))
            .filter(|header| header.number >= number);
        Ok(headers.fold(synced, |synced, header| synced.max(header.synced)))
    }
}

fn read_up_to(file: &mut File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read(&mut bytes[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> LedgerError {
    move |source| LedgerError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Makes a new name in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), LedgerError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let file = File::open(folder).map_err(failed("open", folder))?;
    file.sync_all().map_err(failed("sync", folder))
}

#[cfg(test)]
mod tests;
