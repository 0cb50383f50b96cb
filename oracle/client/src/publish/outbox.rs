//! A device's readings on its own disk, from being accepted until their receipt.
//!
//! One append-only file. A reading is written and synced before it counts as accepted; what settles it (its receipt, or
//! a refusal) is appended behind it. When most of the file is settled it is written anew. Every write is synced before
//! the next one, so that a crash can tear the last frame only.
//!
//! ```text
//! DIR/lock        held while the outbox is open
//! DIR/readings    "SALOUT1\n", then frames
//! frame           "SOF1"  length: u32  CRC-32: u32 of the body  body (length bytes); integers little-endian
//! body            0  id: u64  has a number: u8, number: u64  length: u16, content type  payload      a reading
//!                 1  ids: u64 each                                                                   receipts
//!                 2  id: u64  reason                                                                 a refusal
//!                 3  id: u64                                                                         the next ID
//! ```
//!
//! The file is its owner's alone (mode 600) and as secret as the readings in it. An end that a crash left torn was
//! never accepted and is cut off; any other damage is an error that names the place, and nothing is skipped.

mod frame;

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use self::frame::{Entry, HEAD_BYTES, frame, has_frame};
use super::{Message, PACKET_BYTES_MAX, ReadingName};

/// How the file begins.
const MAGIC: &[u8; 8] = b"SALOUT1\n";
/// Bytes of what is settled that are worth writing the rest anew.
const WASTE_BYTES: u64 = 1 << 20;
/// Bytes of a content type.
const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// Default limit of an outbox, bytes.
pub const OUTBOX_BYTES: u64 = 64 << 20;

/// Why readings cannot be kept, or what is kept cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// Another process has it open.
    #[error("the outbox {} is in use by another process", dir.display())]
    InUse {
        /// Its folder.
        dir: PathBuf,
    },
    /// No room: the readings were not accepted.
    #[error(
        "the outbox {} is full: {held} of {limit} bytes wait for their receipts; nothing more is accepted until some come",
        dir.display()
    )]
    Full {
        /// Its folder.
        dir: PathBuf,
        /// Bytes that wait.
        held: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// A reading that no packet could carry.
    #[error("a reading of {bytes} bytes is larger than a packet may be")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The file is not as it was written.
    #[error("{} is damaged at byte {offset}: move it away, and find out what happened to the disk", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
    },
    /// The disk failed; what is on it is unknown, so the outbox must be opened again.
    #[error("the outbox cannot be written any more")]
    Failed,
    /// A file cannot be used.
    #[error("{} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A reading that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    seq: Option<u64>,
    content_type: String,
    /// Where its payload is.
    payload: (u64, usize),
    frame_bytes: u64,
    name: ReadingName,
    refused: Option<String>,
}

/// A reading to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its media type.
    pub content_type: String,
    /// Number and payload.
    pub message: Message,
}

/// An open outbox.
#[derive(Debug)]
pub struct Outbox {
    dir: PathBuf,
    file: File,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// Bytes of the file.
    end: u64,
    /// Bytes of frames of waiting readings.
    held: u64,
    limit: u64,
    failed: bool,
    _lock: File,
}

impl Outbox {
    /// Opens or makes an outbox of at most `limit` bytes of waiting readings.
    ///
    /// # Errors
    /// [`OutboxError::InUse`], [`OutboxError::Damaged`] or [`OutboxError::File`].
    pub fn open(dir: &Path, limit: u64) -> Result<Self, OutboxError> {
        let path = dir.join("readings");
        let failed = |source| OutboxError::File {
            path: path.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?;
        let lock = options()
            .create(true)
            .open(dir.join("lock"))
            .map_err(failed)?;
        lock.try_lock().map_err(|_| OutboxError::InUse {
            dir: dir.to_owned(),
        })?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let mut outbox = Self {
            dir: dir.to_owned(),
            file: options().create(true).open(&path).map_err(failed)?,
            waiting: BTreeMap::new(),
            next: 1,
            end: 0,
            held: 0,
            limit,
            failed: false,
            _lock: lock,
        };
        outbox.take_up(&bytes)?;
        Ok(outbox)
    }

    /// Reads the frames, cuts a torn end off, and begins a file that has none.
    fn take_up(&mut self, bytes: &[u8]) -> Result<(), OutboxError> {
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) {
            self.file.set_len(0).map_err(|e| self.broken(e))?;
            self.write_at_end(MAGIC)?;
            return self.sync_with_folder();
        }
        let damaged = |offset: usize| OutboxError::Damaged {
            path: self.path(),
            offset: offset as u64,
        };
        if !bytes.starts_with(MAGIC) {
            return Err(damaged(0));
        }
        let mut at = MAGIC.len();
        let mut entries = Vec::new();
        while at < bytes.len() {
            match frame(&bytes[at..]) {
                Some(body) => {
                    let entry = Entry::read(body).ok_or_else(|| damaged(at))?;
                    entries.push((at, body.len(), entry));
                    at += HEAD_BYTES + body.len();
                }
                // A write that a crash cut short is the last one.
                None if has_frame(&bytes[at + 1..]) => return Err(damaged(at)),
                None => break,
            }
        }
        for (at, length, entry) in entries {
            self.apply(at as u64, length, entry);
        }
        self.end = at as u64;
        if at < bytes.len() {
            tracing::warn!(at, "the outbox ends in a torn write, which is cut off");
            self.file.set_len(self.end).map_err(|e| self.broken(e))?;
            self.file.sync_all().map_err(|e| self.broken(e))?;
        }
        Ok(())
    }

    fn apply(&mut self, at: u64, body_bytes: usize, entry: Entry) {
        match entry {
            Entry::Reading {
                id,
                seq,
                content_type,
                payload,
                payload_at,
            } => {
                let message = Message {
                    seq,
                    payload: payload.into(),
                };
                let waiting = Waiting {
                    seq,
                    payload: (at + (HEAD_BYTES + payload_at) as u64, message.payload.len()),
                    frame_bytes: (HEAD_BYTES + body_bytes) as u64,
                    name: ReadingName::of(&content_type, &message),
                    content_type,
                    refused: None,
                };
                self.held += waiting.frame_bytes;
                self.waiting.insert(id, waiting);
                self.next = self.next.max(id + 1);
            }
            Entry::Settled(ids) => ids.iter().for_each(|id| self.forget(*id)),
            Entry::Refused { id, reason } => {
                if let Some(waiting) = self.waiting.get_mut(&id) {
                    waiting.refused = Some(reason);
                }
            }
            Entry::Next(id) => self.next = self.next.max(id),
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(waiting) = self.waiting.remove(&id) {
            self.held -= waiting.frame_bytes;
        }
    }

    /// Accepts readings: when this returns, they survive a crash. Returns their IDs, which are in order.
    ///
    /// # Errors
    /// [`OutboxError::Full`], [`OutboxError::TooLarge`], [`OutboxError::Failed`] or [`OutboxError::File`]; none of
    /// them was accepted then.
    pub fn accept(&mut self, readings: &[Outgoing]) -> Result<Vec<u64>, OutboxError> {
        let mut bytes = Vec::new();
        let mut places = Vec::with_capacity(readings.len());
        for (reading, id) in readings.iter().zip(self.next..) {
            let size = reading.message.payload.len();
            if size > PACKET_BYTES_MAX || reading.content_type.len() > CONTENT_TYPE_BYTES_MAX {
                return Err(OutboxError::TooLarge { bytes: size });
            }
            let start = bytes.len();
            frame::reading(&mut bytes, id, reading);
            places.push((start, bytes.len() - start, id));
        }
        if self.held + bytes.len() as u64 > self.limit {
            return Err(OutboxError::Full {
                dir: self.dir.clone(),
                held: self.held,
                limit: self.limit,
            });
        }
        let end = self.end;
        self.write_at_end(&bytes)?;
        self.sync()?;
        for ((start, length, id), reading) in places.iter().zip(readings) {
            let body_bytes = length - HEAD_BYTES;
            let entry = Entry::Reading {
                id: *id,
                seq: reading.message.seq,
                content_type: reading.content_type.clone(),
                payload: reading.message.payload.to_vec(),
                payload_at: body_bytes - reading.message.payload.len(),
            };
            self.apply(end + *start as u64, body_bytes, entry);
        }
        Ok(places.into_iter().map(|(_, _, id)| id).collect())
    }

    /// Settles every waiting reading that a receipt names. Returns their IDs.
    ///
    /// # Errors
    /// [`OutboxError::Failed`] or [`OutboxError::File`].
    pub fn settle(&mut self, names: &[ReadingName]) -> Result<Vec<u64>, OutboxError> {
        let named = |waiting: &Waiting| names.contains(&waiting.name);
        let ids: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| named(waiting))
            .map(|(id, _)| *id)
            .collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        let mut bytes = Vec::new();
        frame::settled(&mut bytes, &ids);
        self.write_at_end(&bytes)?;
        // Each write is on the disk before the next one, so that only the last frame can be torn.
        self.sync()?;
        ids.iter().for_each(|id| self.forget(*id));
        if self.end > 2 * self.held + WASTE_BYTES {
            self.write_anew()?;
        }
        Ok(ids)
    }

    /// Notes that the oracle refuses a reading for good. It stays, and is sent again only when asked for.
    ///
    /// # Errors
    /// [`OutboxError::Failed`] or [`OutboxError::File`].
    pub fn refuse(&mut self, id: u64, reason: &str) -> Result<(), OutboxError> {
        let mut bytes = Vec::new();
        frame::refusal(&mut bytes, id, reason);
        self.write_at_end(&bytes)?;
        self.sync()?;
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.refused = Some(reason.to_owned());
        }
        Ok(())
    }

    /// Has readings that were refused sent again.
    pub fn retry_refused(&mut self) {
        let refused = self.waiting.values_mut();
        refused.for_each(|waiting| waiting.refused = None);
    }

    /// The first waiting reading after `id` that is not refused.
    #[must_use]
    pub fn after(&self, id: u64) -> Option<u64> {
        let mut later = self.waiting.range(id + 1..);
        later
            .find(|(_, waiting)| waiting.refused.is_none())
            .map(|(id, _)| *id)
    }

    /// A waiting reading.
    ///
    /// # Errors
    /// [`OutboxError::File`] if it cannot be read back.
    pub fn read(&self, id: u64) -> Result<Option<Outgoing>, OutboxError> {
        let Some(waiting) = self.waiting.get(&id) else {
            return Ok(None);
        };
        let (offset, length) = waiting.payload;
        let mut payload = vec![0; length];
        self.file
            .read_exact_at(&mut payload, offset)
            .map_err(|source| self.broken(source))?;
        Ok(Some(Outgoing {
            content_type: waiting.content_type.clone(),
            message: Message {
                seq: waiting.seq,
                payload: Bytes::from(payload),
            },
        }))
    }

    /// Readings that wait for their receipt.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len() - self.refused()
    }

    /// Whether no reading waits for its receipt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Readings that the oracle refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        let refused = self.waiting.values();
        refused.filter(|waiting| waiting.refused.is_some()).count()
    }

    /// The number that the next reading gets if it is numbered, which no earlier one had.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.next
    }

    /// Begins numbering no lower than at `id`.
    ///
    /// # Errors
    /// [`OutboxError::Failed`] or [`OutboxError::File`].
    pub fn begin_at(&mut self, id: u64) -> Result<(), OutboxError> {
        if id <= self.next {
            return Ok(());
        }
        let mut bytes = Vec::new();
        frame::next(&mut bytes, id);
        self.write_at_end(&bytes)?;
        self.sync()?;
        self.next = id;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.join("readings")
    }

    fn broken(&self, source: io::Error) -> OutboxError {
        OutboxError::File {
            path: self.path(),
            source,
        }
    }

    /// Appends; what was written in part is cut off again.
    fn write_at_end(&mut self, bytes: &[u8]) -> Result<(), OutboxError> {
        if self.failed {
            return Err(OutboxError::Failed);
        }
        if let Err(source) = self.file.write_all_at(bytes, self.end) {
            self.failed = self.file.set_len(self.end).is_err();
            return Err(self.broken(source));
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), OutboxError> {
        self.file.sync_data().map_err(|source| {
            // A later sync that works would prove nothing.
            self.failed = true;
            self.broken(source)
        })
    }

    fn sync_with_folder(&mut self) -> Result<(), OutboxError> {
        self.sync()?;
        File::open(&self.dir)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| self.broken(source))
    }

    /// Writes what waits into a new file and puts it in the old one's place.
    fn write_anew(&mut self) -> Result<(), OutboxError> {
        let mut bytes = MAGIC.to_vec();
        frame::next(&mut bytes, self.next);
        let mut waiting = BTreeMap::new();
        for (id, old) in &self.waiting {
            let Some(reading) = self.read(*id)? else {
                continue;
            };
            let start = bytes.len();
            frame::reading(&mut bytes, *id, &reading);
            let frame_bytes = (bytes.len() - start) as u64;
            let (_, length) = old.payload;
            let payload = (bytes.len() - length) as u64;
            if let Some(reason) = &old.refused {
                frame::refusal(&mut bytes, *id, reason);
            }
            let new = Waiting {
                payload: (payload, length),
                frame_bytes,
                ..old.clone()
            };
            waiting.insert(*id, new);
        }
        let (path, new) = (self.path(), self.dir.join("readings.new"));
        let written = || {
            let file = options().create(true).truncate(true).open(&new)?;
            (&file).write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.dir)?.sync_all()?;
            Ok(file)
        };
        match written() {
            Ok(file) => {
                self.held = waiting.values().map(|waiting| waiting.frame_bytes).sum();
                self.file = file;
                self.end = bytes.len() as u64;
                self.waiting = waiting;
            }
            // The old file serves as well: whether the new one is in its place is not known only if the rename
            // was done, and then the next start reads the new one.
            Err(error) if !new.exists() => {
                self.failed = true;
                return Err(self.broken(error));
            }
            Err(error) => tracing::warn!(%error, "the outbox cannot be written anew, it goes on"),
        }
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests;
