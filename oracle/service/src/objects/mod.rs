//! A device's large objects: bytes of any kind up to 1 GiB, which come over MQTT in chunks.
//!
//! An object has a life before it is a reading. Its manifest makes a file; each chunk is appended to it, encrypted
//! under a key derived from the journal's, and synced before its acknowledgement. When all chunks are there the
//! content is compared with the manifest and the journal gets a reading that names the file instead of holding the
//! content. From there on it goes the way of every reading, only streamed: sealed, pinned, registered, receipted.
//! When it is on the ledger it is written into the book of finished objects, and the file is removed.
//!
//! ```text
//! DIR/objects/HASH.object   one object, file.rs draws the format; HASH is of device and name
//! DIR/objects/finished      the last objects on the ledger
//! ```
//!
//! Each step may run twice. A start finds what the files say: objects that miss chunks wait for them, complete ones
//! are checked again, those whose reading the journal has stay until it is done.

mod checking;
mod error;
mod file;
mod finished;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod manifest;
mod reader;
mod shelf;
mod status;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

pub use checking::Parts;
pub use error::{FolderError, ObjectError, Whose};
pub use manifest::{
    CHUNK_BYTES_MAX, MANIFEST_BYTES_MAX, OBJECT_BYTES_MAX, ObjectId, ObjectIdError,
};
pub use shelf::ObjectLimits;

pub(crate) use finished::Finished;
pub(crate) use manifest::{Manifest, Signature};
pub(crate) use reader::ObjectReader;
pub(crate) use shelf::{Begun, ObjectName};

use crate::ingest::intake::Taken;
use crate::ingest::mqtt::Delivery;
use crate::journal::Journal;
use crate::journal::cipher::JournalKey;
use crate::journal::disk::{Disk, SystemDisk};
use file::{Kind, ObjectFile, Unusable};
use finished::{FinishedBook, Known};
use shelf::{Phase, Shelf, Shelved};
use writer::{Command, Writer};

/// Requests that may wait for the writer; more askers wait before it.
const COMMANDS_WAITING_MAX: usize = 256;
/// How an object's file ends.
const SUFFIX: &str = ".object";

/// The objects of one oracle. Cheap to clone; the writer ends when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Objects {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    /// Objects that became complete, until [`Objects::run`] takes the receiver.
    complete_rx: Arc<Mutex<Option<mpsc::UnboundedReceiver<ObjectName>>>>,
    /// Objects on the ledger.
    known: Known,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What the writer and the readers share.
#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    limits: ObjectLimits,
    delivery: Delivery,
    shelf: Mutex<Shelf>,
    failed: watch::Sender<bool>,
}

impl Shared {
    /// Held for look-ups and changes in memory, never across a write or an await.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name says nothing of the device or of its name for the object.
    fn path(&self, name: &ObjectName) -> PathBuf {
        let said = [name.device.as_bytes(), &[0], name.id.as_bytes()].concat();
        let hash = crate::journal::fingerprint(&said);
        self.dir
            .join(format!("{}{SUFFIX}", hex::encode(&hash[..16])))
    }
}

impl Objects {
    /// Opens or makes the folder beside a journal, and takes up what is in it.
    ///
    /// # Errors
    ///
    /// [`FolderError`] if the folder or a file of it cannot be used.
    pub fn open(
        journal: &Journal,
        limits: ObjectLimits,
        delivery: Delivery,
    ) -> Result<Self, FolderError> {
        Self::open_on(Arc::new(SystemDisk), journal, limits, delivery)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        journal: &Journal,
        limits: ObjectLimits,
        delivery: Delivery,
    ) -> Result<Self, FolderError> {
        let dir = journal.dir().join("objects");
        let key = journal.objects_key();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(FolderError::at("create", &dir))?;
        let book = FinishedBook::open(&*disk, &dir, &key)?;
        let shared = Shared {
            dir: dir.clone(),
            limits,
            delivery,
            shelf: Mutex::default(),
            failed: watch::Sender::new(false),
        };
        let (complete_tx, complete_rx) = mpsc::unbounded_channel();
        let shelf = shared.take_up(&*disk, &key, &journal.objects())?;
        for name in shelf.at(Phase::Checking) {
            // The receiver is a few lines above.
            drop(complete_tx.send(name));
        }
        *shared.shelf() = shelf;
        let shared = Arc::new(shared);
        let known = book.known();
        let (commands, receiver) = mpsc::channel(COMMANDS_WAITING_MAX);
        let writer = Writer {
            shared: Arc::clone(&shared),
            disk,
            key,
            book,
            complete_tx,
        };
        let thread = std::thread::Builder::new()
            .name("objects".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(FolderError::at("start the writer of", &dir))?;
        Ok(Self {
            shared,
            commands,
            complete_rx: Arc::new(Mutex::new(Some(complete_rx))),
            known,
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Ends the writer when it has done what waits, and when all other clones are gone.
    pub async fn close(self) {
        let Self {
            commands, thread, ..
        } = self;
        drop(commands);
        let handle = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            let joined = tokio::task::spawn_blocking(move || handle.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the objects' writer ended badly");
            }
        }
    }

    /// Puts a manifest in the writer's queue.
    pub(crate) async fn begin(&self, begun: Begun) -> Submitted {
        self.submit(|answer| Command::Begin(Box::new(begun), answer))
            .await
    }

    /// Puts a chunk in the writer's queue.
    pub(crate) async fn chunk(&self, name: ObjectName, number: u32, content: Bytes) -> Submitted {
        self.submit(|answer| Command::Chunk(name, number, content, answer))
            .await
    }

    /// Has the device told how far an object is.
    pub(crate) async fn tell(&self, name: ObjectName) -> Submitted {
        self.submit(|answer| Command::Tell(name, answer)).await
    }

    /// Writes down that an object is on the ledger, and removes its file. When this returns, both are durable.
    pub(crate) async fn finish(&self, finished: Finished) -> Result<(), ObjectError> {
        self.ask(|answer| Command::Finish(Box::new(finished), answer))
            .await
    }

    /// The content of an object whose reading the journal has.
    pub(crate) fn reader(&self, name: &ObjectName) -> Option<ObjectReader> {
        self.shared.shelf().objects.get(name).map(ObjectReader::new)
    }

    /// Whether an object of this name is coming in, waiting, or on the ledger.
    pub(crate) fn knows(&self, name: &ObjectName) -> bool {
        self.shared.shelf().objects.contains_key(name) || self.known.has(name)
    }

    /// Returns when the folder has failed; the process MUST then end.
    pub async fn failure(&self) {
        let mut failed = self.shared.failed.subscribe();
        // The sender lives in `shared`, which this borrows.
        drop(failed.wait_for(|failed| *failed).await);
    }

    async fn submit(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Taken, ObjectError>>) -> Command,
    ) -> Submitted {
        let (answer, answered) = oneshot::channel();
        // A writer that is gone drops the answer, which `outcome` notices.
        drop(self.commands.send(command(answer)).await);
        Submitted(answered)
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), ObjectError>>) -> Command,
    ) -> Result<(), ObjectError> {
        let (answer, answered) = oneshot::channel();
        drop(self.commands.send(command(answer)).await);
        answered.await.map_err(|_| ObjectError::NotDurable)?
    }
}

/// A manifest or chunk in the writer's queue.
#[derive(Debug)]
pub(crate) struct Submitted(oneshot::Receiver<Result<Taken, ObjectError>>);

impl Submitted {
    /// Waits until it is durable, or refused.
    pub(crate) async fn outcome(self) -> Result<Taken, ObjectError> {
        self.0.await.map_err(|_| ObjectError::NotDurable)?
    }
}

impl Shared {
    /// Reads the folder; `kept` are objects whose readings the journal has.
    fn take_up(
        &self,
        disk: &dyn Disk,
        key: &JournalKey,
        kept: &HashSet<(String, String)>,
    ) -> Result<Shelf, FolderError> {
        let mut shelf = Shelf::default();
        let listed = fs::read_dir(&self.dir).map_err(FolderError::at("list", &self.dir))?;
        for item in listed {
            let path = item.map_err(FolderError::at("list", &self.dir))?.path();
            if !path.to_string_lossy().ends_with(SUFFIX) {
                continue;
            }
            let taken = self.take_up_one(disk, key, &path);
            match taken.map_err(FolderError::at("read", &path))? {
                Some(mut object) => {
                    let name = object.begun.name();
                    if kept.contains(&(name.device.clone(), name.id.clone())) {
                        object.phase = Phase::Kept;
                    } else if object.is_complete() {
                        object.phase = Phase::Checking;
                    }
                    shelf.objects.insert(name, object);
                }
                None => disk
                    .remove(&path)
                    .map_err(FolderError::at("remove", &path))?,
            }
        }
        Ok(shelf)
    }

    /// One object from its file; none if nothing of it was acknowledged, or its beginning is lost.
    fn take_up_one(
        &self,
        disk: &dyn Disk,
        key: &JournalKey,
        path: &Path,
    ) -> std::io::Result<Option<Shelved>> {
        let file = match ObjectFile::open(path, key) {
            Ok(file) => file,
            Err(Unusable::Io(error)) => return Err(error),
            Err(Unusable::Unfinished) => return Ok(None),
            Err(Unusable::Foreign) => {
                tracing::error!(path = %path.display(), "an object's file is damaged, the device has to send it anew");
                return Ok(None);
            }
        };
        let named = |begun: &Begun| self.path(&begun.name()) == path;
        let Some(object) = taken_up(file, path, named)? else {
            return Ok(None);
        };
        object.file.cut(disk, object.end)?;
        object.file.sync(disk)?;
        Ok(Some(object))
    }
}

/// What an object's file holds; none without a whole beginning that is as it must be.
fn taken_up(
    file: ObjectFile,
    path: &Path,
    is_named: impl FnOnce(&Begun) -> bool,
) -> std::io::Result<Option<Shelved>> {
    let (frames, end) = file.scan()?;
    let Some(first) = frames.first().filter(|frame| frame.kind == Kind::Begun) else {
        return Ok(None);
    };
    let begun = file.read(first.offset, (first.kind, first.number), first.bytes)?;
    let begun = begun.and_then(|bytes| Begun::from_bytes(&bytes));
    let Some(begun) = begun.filter(is_named) else {
        tracing::error!(path = %path.display(), "an object's beginning is damaged, the device has to send it anew");
        return Ok(None);
    };
    let touched_ms = file.touched_ms();
    let mut object = Shelved::new(begun, file, end, touched_ms);
    object.durable = end;
    for frame in &frames[1..] {
        let right = object.begun.chunk_len(frame.number) == Some(frame.bytes);
        if frame.kind == Kind::Chunk && right {
            object.put(frame.number, frame.offset);
        }
    }
    Ok(Some(object))
}

/// The wall clock, milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}
