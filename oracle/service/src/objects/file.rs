//! The file of one object while it comes in: what the device sent, encrypted, in the order in which it came.
//!
//! ```text
//! file   = header frame*
//! header = magic "SALOBJT\0" (8) | version u16 | 6 zero bytes | salt (32)                                  = 48 bytes
//! frame  = marker "SOF1" (4) | length u32 | kind u8 | 3 zero bytes | number u32 | durable u64 | sealed (length bytes)
//! sealed = nonce (12) | AES-256-GCM ciphertext of (kind u8 | 3 zero bytes | number u32 | content) | tag (16)
//! ```
//!
//! Numbers are little-endian. The file's key is derived from the journal's key and the salt; each frame has a random
//! nonce and is bound to its place. `durable` is the offset up to which the file was synced when the frame was
//! written: what lies before it was acknowledged and is found by walking from frame to frame; what lies behind is
//! opened at the start and cut off where it is torn. Every frame is opened before its content is used, so a frame
//! damaged later is noticed then, and the device is asked for that chunk again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::journal::cipher::{FileKey, JournalKey, KEY_BYTES, NONCE_BYTES, TAG_BYTES, random};
use crate::journal::disk::Disk;

const FILE_MAGIC: &[u8; 8] = b"SALOBJT\0";
const FORMAT_VERSION: u16 = 1;
/// Bytes of a file's header.
pub(super) const FILE_HEADER_BYTES: usize = 48;
const MARKER: &[u8; 4] = b"SOF1";
const FRAME_HEADER_BYTES: usize = 24;
/// Kind and number, once more, inside.
const INNER_BYTES: usize = 8;
/// Bytes of a frame beside its content.
pub(super) const FRAME_OVERHEAD_BYTES: usize =
    FRAME_HEADER_BYTES + NONCE_BYTES + INNER_BYTES + TAG_BYTES;
/// Bytes of a frame's content: the largest chunk.
const CONTENT_BYTES_MAX: usize = 1 << 20;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the oracle knows of the object; the first frame.
    Begun,
    /// A chunk, with its number.
    Chunk,
    /// A line of the book of finished objects.
    Finished,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Begun => 0,
            Self::Chunk => 1,
            Self::Finished => 2,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Begun),
            1 => Some(Self::Chunk),
            2 => Some(Self::Finished),
            _ => None,
        }
    }
}

/// Where a frame begins and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) offset: u64,
    pub(super) kind: Kind,
    pub(super) number: u32,
    /// Bytes of its content.
    pub(super) bytes: usize,
    durable: u64,
}

/// An open file. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ObjectFile {
    file: Arc<File>,
    key: Arc<FileKey>,
}

/// Why an existing file is not used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// The process ended while it was made; nothing of it was acknowledged.
    Unfinished,
    /// Its first bytes are no header of this version.
    Foreign,
    /// It cannot be read.
    Io(io::Error),
}

impl ObjectFile {
    /// Makes a file with its header.
    pub(super) fn create(disk: &dyn Disk, path: &Path, key: &JournalKey) -> io::Result<Self> {
        let salt: [u8; KEY_BYTES] = random().map_err(io::Error::other)?;
        let mut header = [0; FILE_HEADER_BYTES];
        header[..8].copy_from_slice(FILE_MAGIC);
        header[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        header[16..].copy_from_slice(&salt);
        let file = disk.create(path)?;
        disk.write(&file, &header, 0)?;
        Ok(Self {
            file: Arc::new(file),
            key: Arc::new(key.file_key(&salt)),
        })
    }

    /// Opens a file that is there.
    pub(super) fn open(path: &Path, key: &JournalKey) -> Result<Self, Unusable> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        Self::of(opened.map_err(Unusable::Io)?, key)
    }

    /// Takes a file that is open.
    pub(super) fn of(file: File, key: &JournalKey) -> Result<Self, Unusable> {
        let length = file.metadata().map_err(Unusable::Io)?.len();
        if length < FILE_HEADER_BYTES as u64 {
            return Err(Unusable::Unfinished);
        }
        let mut header = [0; FILE_HEADER_BYTES];
        file.read_exact_at(&mut header, 0).map_err(Unusable::Io)?;
        if header == [0; FILE_HEADER_BYTES] {
            return Err(Unusable::Unfinished);
        }
        let (head, salt) = header.split_at(FILE_HEADER_BYTES - KEY_BYTES);
        if head[..8] != FILE_MAGIC[..] || head[8..10] != FORMAT_VERSION.to_le_bytes() {
            return Err(Unusable::Foreign);
        }
        let salt: [u8; KEY_BYTES] = salt.try_into().expect("the header's rest is the salt");
        Ok(Self {
            file: Arc::new(file),
            key: Arc::new(key.file_key(&salt)),
        })
    }

    /// Writes a frame at `offset` and says where the next one goes. It is durable after a sync.
    pub(super) fn write(
        &self,
        disk: &dyn Disk,
        (offset, durable): (u64, u64),
        (kind, number): (Kind, u32),
        content: &[u8],
    ) -> io::Result<u64> {
        let frame = self.frame((offset, durable), (kind, number), content)?;
        disk.write(&self.file, &frame, offset)?;
        Ok(offset + frame.len() as u64)
    }

    /// A frame's bytes.
    pub(super) fn frame(
        &self,
        (offset, durable): (u64, u64),
        (kind, number): (Kind, u32),
        content: &[u8],
    ) -> io::Result<Vec<u8>> {
        let inner = inner(kind, number);
        let body = [&inner[..], content].concat();
        let sealed = self.key.seal(offset, &body).map_err(io::Error::other)?;
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + sealed.len());
        frame.extend_from_slice(MARKER);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&inner);
        frame.extend_from_slice(&durable.to_le_bytes());
        frame.extend_from_slice(&sealed);
        Ok(frame)
    }

    pub(super) fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.sync(&self.file)
    }

    pub(super) fn cut(&self, disk: &dyn Disk, bytes: u64) -> io::Result<()> {
        disk.cut(&self.file, bytes)
    }

    /// Has the disk set room aside, where it can: a full disk is known before the first chunk.
    pub(super) fn reserve(&self, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(&*self.file, FallocateFlags::KEEP_SIZE, 0, bytes) {
            Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)) => Err(error.into()),
            // Not every file system can; then the chunks find out.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// When something was last written, milliseconds since 1970.
    pub(super) fn touched_ms(&self) -> u64 {
        let modified = self
            .file
            .metadata()
            .and_then(|metadata| metadata.modified());
        let since = modified
            .ok()
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
    }

    /// The content of the frame at `offset`; none if it is damaged or another.
    pub(super) fn read(
        &self,
        offset: u64,
        (kind, number): (Kind, u32),
        bytes: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut sealed = vec![0; NONCE_BYTES + INNER_BYTES + bytes + TAG_BYTES];
        match self
            .file
            .read_exact_at(&mut sealed, offset + FRAME_HEADER_BYTES as u64)
        {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let Some(mut body) = self.key.open(offset, &sealed) else {
            return Ok(None);
        };
        if body.get(..INNER_BYTES) != Some(&inner(kind, number)[..]) {
            return Ok(None);
        }
        body.drain(..INNER_BYTES);
        Ok(Some(body))
    }

    /// Finds the whole frames and where the next one goes.
    pub(super) fn scan(&self) -> io::Result<(Vec<Frame>, u64)> {
        let length = self.file.metadata()?.len();
        let mut frames = Vec::new();
        let mut offset = FILE_HEADER_BYTES as u64;
        while let Some(frame) = self.frame_at(offset, length)? {
            offset += (FRAME_OVERHEAD_BYTES + frame.bytes) as u64;
            frames.push(frame);
        }
        let durable = frames.iter().map(|frame: &Frame| frame.durable).max();
        let durable = durable.unwrap_or(0);
        for index in 0..frames.len() {
            let frame = frames[index];
            if frame.offset >= durable
                && self
                    .read(frame.offset, (frame.kind, frame.number), frame.bytes)?
                    .is_none()
            {
                frames.truncate(index);
                return Ok((frames, frame.offset));
            }
        }
        Ok((frames, offset))
    }

    fn frame_at(&self, offset: u64, length: u64) -> io::Result<Option<Frame>> {
        let body = offset + FRAME_HEADER_BYTES as u64;
        if body > length {
            return Ok(None);
        }
        let mut head = [0; FRAME_HEADER_BYTES];
        self.file.read_exact_at(&mut head, offset)?;
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let sealed = word(4) as usize;
        let bytes = sealed.checked_sub(NONCE_BYTES + INNER_BYTES + TAG_BYTES);
        let bytes = bytes.filter(|bytes| *bytes <= CONTENT_BYTES_MAX);
        let (Some(kind), Some(bytes)) = (Kind::of(head[8]), bytes) else {
            return Ok(None);
        };
        let durable = u64::from(word(16)) | u64::from(word(20)) << 32;
        let whole = head[..4] == MARKER[..] && body + sealed as u64 <= length && durable <= offset;
        Ok(whole.then_some(Frame {
            offset,
            kind,
            number: word(12),
            bytes,
            durable,
        }))
    }
}

fn inner(kind: Kind, number: u32) -> [u8; INNER_BYTES] {
    let mut inner = [0; INNER_BYTES];
    inner[0] = kind.byte();
    inner[4..].copy_from_slice(&number.to_le_bytes());
    inner
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk::SystemDisk;

    struct Bench {
        dir: tempfile::TempDir,
        key: JournalKey,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let key = JournalKey::load(&dir.path().join("k"), true).unwrap();
            Self { dir, key }
        }

        fn path(&self) -> std::path::PathBuf {
            self.dir.path().join("o")
        }

        /// A file with a beginning and chunks, each synced before the next.
        fn written(&self, chunks: &[&[u8]]) -> Vec<u64> {
            let file = ObjectFile::create(&SystemDisk, &self.path(), &self.key).unwrap();
            let mut at = FILE_HEADER_BYTES as u64;
            let mut ends = vec![at];
            at = file
                .write(&SystemDisk, (at, at), (Kind::Begun, 0), b"begun")
                .unwrap();
            for (number, chunk) in chunks.iter().enumerate() {
                ends.push(at);
                let name = (Kind::Chunk, u32::try_from(number).unwrap());
                at = file.write(&SystemDisk, (at, at), name, chunk).unwrap();
            }
            ends.push(at);
            ends
        }

        fn scanned(&self) -> (Vec<u32>, u64) {
            let file = ObjectFile::open(&self.path(), &self.key).unwrap();
            let (frames, end) = file.scan().unwrap();
            let chunks = frames.iter().filter(|frame| frame.kind == Kind::Chunk);
            (chunks.map(|frame| frame.number).collect(), end)
        }
    }

    #[test]
    fn what_was_written_is_found_and_read() {
        let bench = Bench::new();
        let ends = bench.written(&[b"one", b"", b"three"]);
        assert_eq!(bench.scanned(), (vec![0, 1, 2], ends[4]));
        let file = ObjectFile::open(&bench.path(), &bench.key).unwrap();
        assert_eq!(
            file.read(ends[1], (Kind::Chunk, 0), 3).unwrap().unwrap(),
            b"one"
        );
        assert_eq!(
            file.read(ends[3], (Kind::Chunk, 2), 5).unwrap().unwrap(),
            b"three"
        );
        assert_eq!(file.read(ends[3], (Kind::Chunk, 1), 5).unwrap(), None);
        assert_eq!(file.read(ends[1], (Kind::Chunk, 0), 2).unwrap(), None);
        assert_eq!(file.read(ends[4], (Kind::Chunk, 3), 5).unwrap(), None);
        let bytes = std::fs::read(bench.path()).unwrap();
        assert!(!bytes.windows(5).any(|window| window == b"three"));
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_and_nothing_before_it() {
        let bench = Bench::new();
        let ends = bench.written(&[b"one", b"two"]);
        let whole = std::fs::read(bench.path()).unwrap();
        for length in usize::try_from(ends[2]).unwrap()..whole.len() {
            std::fs::write(bench.path(), &whole[..length]).unwrap();
            assert_eq!(bench.scanned(), (vec![0], ends[2]), "cut at {length}");
            let mut zeros = whole.clone();
            zeros[length..].fill(0);
            std::fs::write(bench.path(), &zeros).unwrap();
            let (chunks, end) = bench.scanned();
            // A last byte that is zero anyway makes the whole frame.
            let expected = if zeros == whole {
                (vec![0, 1], ends[3])
            } else {
                (vec![0], ends[2])
            };
            assert_eq!((chunks, end), expected, "zeros from {length}");
        }
        for length in 0..FILE_HEADER_BYTES {
            std::fs::write(bench.path(), &whole[..length]).unwrap();
            let opened = ObjectFile::open(&bench.path(), &bench.key);
            assert!(matches!(opened, Err(Unusable::Unfinished)), "{length}");
        }
    }

    #[test]
    fn damage_before_the_tail_is_found_when_it_is_read() {
        let bench = Bench::new();
        let ends = bench.written(&[b"one", b"two", b"three"]);
        let mut bytes = std::fs::read(bench.path()).unwrap();
        let at = usize::try_from(ends[1]).unwrap() + FRAME_HEADER_BYTES + NONCE_BYTES;
        bytes[at] ^= 1;
        std::fs::write(bench.path(), &bytes).unwrap();
        assert_eq!(bench.scanned(), (vec![0, 1, 2], ends[4]));
        let file = ObjectFile::open(&bench.path(), &bench.key).unwrap();
        assert_eq!(file.read(ends[1], (Kind::Chunk, 0), 3).unwrap(), None);
        assert!(file.read(ends[2], (Kind::Chunk, 1), 3).unwrap().is_some());
        bytes[0] ^= 1;
        std::fs::write(bench.path(), &bytes).unwrap();
        let opened = ObjectFile::open(&bench.path(), &bench.key);
        assert!(matches!(opened, Err(Unusable::Foreign)));
    }
}
