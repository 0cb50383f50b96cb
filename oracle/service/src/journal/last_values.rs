//! Last values: a small map beside the journal and under its key. A change is durable before it is answered.
//!
//! It is one file of the segments' format (`frame.rs`). Each frame is a name with its new value, or with none; of a
//! name the last frame counts. When more of the file is outdated than not, it is written anew beside the old one and
//! renamed. As with segments, a file of an earlier process is read and never appended to: it has a key of its own.
//! Waiting changes share a sync.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use tokio::sync::{mpsc, oneshot};

use super::cipher::{FileKey, JournalKey, random};
use super::config::Config;
use super::disk::{Disk, SystemDisk, is_out_of_room};
use super::error::JournalError;
use super::files::{self, Ending, Frames};
use super::frame;

/// Name of the map of what devices retained.
pub const RETAINED: &str = "retained";
/// Changes taken into one sync at most.
const BATCH_MAX: usize = 256;
/// Changes that may wait for the writer; more callers wait before it.
const WAITING_MAX: usize = 1024;
/// Bytes of all names and values.
const BYTES_MAX: usize = 64 << 20;
/// Bytes a file may have beyond twice what is in force, so that a small one is not written anew all the time.
const SLACK_BYTES: u64 = 1 << 20;

/// What is in force.
pub(super) type Values = HashMap<String, Arc<[u8]>>;

/// One frame.
#[derive(Debug, Encode, Decode)]
pub(super) struct Change {
    #[n(0)]
    pub(super) name: String,
    #[n(1)]
    pub(super) value: Option<ByteVec>,
}

type Answer = oneshot::Sender<Result<(), JournalError>>;

/// The map. Reading it asks no disk.
#[derive(Debug)]
pub struct LastValues {
    values: Arc<Mutex<Values>>,
    /// None once it is closed.
    commands: Option<mpsc::Sender<(Change, Answer)>>,
    writer: Option<JoinHandle<()>>,
}

impl LastValues {
    /// Reads the map of this name in an open journal's folder, or begins an empty one.
    ///
    /// # Errors
    ///
    /// [`JournalError`]: the key or the file cannot be used, or durable bytes are damaged.
    pub fn open(config: &Config, name: &str) -> Result<Self, JournalError> {
        Self::open_on(Arc::new(SystemDisk), config, name)
    }

    fn open_on(disk: Arc<dyn Disk>, config: &Config, name: &str) -> Result<Self, JournalError> {
        let key = JournalKey::load(&config.key_file, false)?;
        let path = path(&config.dir, name);
        let (values, _) = read(&path, &key)?;
        let bytes = values.iter().map(|(name, value)| size(name, Some(value)));
        let bytes = bytes.sum();
        let values = Arc::new(Mutex::new(values));
        let (commands, receiver) = mpsc::channel(WAITING_MAX);
        let writer = Writer {
            dir: config.dir.clone(),
            path,
            disk,
            key,
            values: Arc::clone(&values),
            bytes,
            current: None,
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(JournalError::file("start the writer of", &config.dir))?;
        Ok(Self {
            values,
            commands: Some(commands),
            writer: Some(thread),
        })
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        lock(&self.values).get(name).cloned()
    }

    /// Names that have a value.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.values).len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets or removes a value. When this returns, the change is durable and in force.
    ///
    /// # Errors
    ///
    /// [`JournalError::Full`] beyond 64 MiB of values, [`JournalError::DiskRefused`] when the disk is full; nothing
    /// changed then. [`JournalError::Failed`] when the disk is broken.
    pub async fn put(&self, name: &str, value: Option<Vec<u8>>) -> Result<(), JournalError> {
        let change = Change {
            name: name.to_owned(),
            value: value.map(ByteVec::from),
        };
        let (answer, answered) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(JournalError::Failed)?;
        let sent = commands.send((change, answer)).await;
        sent.map_err(|_| JournalError::Failed)?;
        answered.await.map_err(|_| JournalError::Failed)?
    }
}

impl Drop for LastValues {
    /// What waits for the writer is written.
    fn drop(&mut self) {
        self.commands = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of last values panicked");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A map of whole values is whole after a panic, too.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file of the map of this name.
fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.journal"))
}

/// What a name with its value counts, bytes.
fn size(name: &str, value: Option<&[u8]>) -> usize {
    value.map_or(0, |value| name.len() + value.len())
}

/// What lies in a folder that no process has open: the file, its frames, how many values are in force. None if no
/// value was ever set.
pub(super) fn look(
    dir: &Path,
    name: &str,
    key: &JournalKey,
) -> Result<Option<(PathBuf, Frames, usize)>, JournalError> {
    let path = path(dir, name);
    let (values, frames) = read(&path, key)?;
    Ok(frames.map(|frames| (path, frames, values.len())))
}

/// Reads a whole file, if there is one; it may end in a torn frame.
fn read(path: &Path, key: &JournalKey) -> Result<(Values, Option<Frames>), JournalError> {
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((Values::new(), None)),
        Err(error) => Err(JournalError::file("read", path)(error)),
        Ok(bytes) => {
            let (values, frames) = read_bytes(path, &bytes, key)?;
            Ok((values, Some(frames)))
        }
    }
}

/// Reads a file's bytes.
pub(super) fn read_bytes(
    path: &Path,
    bytes: &[u8],
    key: &JournalKey,
) -> Result<(Values, Frames), JournalError> {
    let mut values = Values::new();
    let frames = files::read_frames(path, bytes, key, Ending::Torn, |body, _, _| {
        apply(&mut values, minicbor::decode(body).ok()?);
        Some(())
    })?;
    Ok((values, frames))
}

pub(super) fn apply(values: &mut Values, Change { name, value }: Change) {
    match value {
        Some(value) => drop(values.insert(name, Vec::from(value).into())),
        None => drop(values.remove(&name)),
    }
}

/// The file being appended to.
struct Current {
    file: fs::File,
    key: FileKey,
    /// All of them are durable.
    bytes: u64,
}

/// The writing side; owned by its thread.
struct Writer {
    dir: PathBuf,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    key: JournalKey,
    /// Changed only here.
    values: Arc<Mutex<Values>>,
    /// Bytes of its names and values.
    bytes: usize,
    /// None before the first change, and after a write that could not be finished.
    current: Option<Current>,
}

impl Writer {
    fn run(mut self, mut commands: mpsc::Receiver<(Change, Answer)>) {
        while let Some(first) = commands.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX {
                match commands.try_recv() {
                    Ok(more) => batch.push(more),
                    Err(_) => break,
                }
            }
            if let Err(error) = self.commit(batch) {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, path = %self.path.display(), "last values cannot be kept");
                return;
            }
        }
    }

    /// Makes a batch durable, applies and answers it. An error means that nobody knows what is on the disk; the
    /// answers are dropped then, which says the same.
    fn commit(&mut self, batch: Vec<(Change, Answer)>) -> Result<(), JournalError> {
        let mut bytes = self.bytes;
        let mut bodies = Vec::with_capacity(batch.len());
        let mut accepted = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        // What names in this batch count after its changes so far.
        let mut sizes: HashMap<String, usize> = HashMap::new();
        for (change, answer) in batch {
            let name = change.name.as_str();
            let new = size(name, change.value.as_ref().map(|value| value.as_slice()));
            let old = sizes.get(name).copied();
            let old = old.unwrap_or_else(|| {
                let values = lock(&self.values);
                size(name, values.get(name).map(AsRef::as_ref))
            });
            let body = minicbor::to_vec(&change).expect("encoding into memory cannot fail");
            if bytes - old + new > BYTES_MAX || !frame::fits(body.len()) {
                drop(answer.send(Err(JournalError::Full)));
                continue;
            }
            bytes = bytes - old + new;
            sizes.insert(name.to_owned(), new);
            bodies.push(body);
            accepted.push(change);
            answers.push(answer);
        }
        let written = match self.append(&bodies, bytes as u64)? {
            Some(refused) => Err(refused),
            None => Ok(()),
        };
        if written.is_ok() {
            self.bytes = bytes;
            let mut values = lock(&self.values);
            for change in accepted {
                apply(&mut values, change);
            }
        }
        for answer in answers {
            // Who asked may have gone.
            drop(answer.send(match &written {
                Ok(()) => Ok(()),
                Err(kind) => Err(JournalError::DiskRefused {
                    source: (*kind).into(),
                }),
            }));
        }
        Ok(())
    }

    /// Appends frames, or writes the whole file anew. The inner answer is a disk without room, which changed nothing.
    fn append(
        &mut self,
        changes: &[Vec<u8>],
        in_force: u64,
    ) -> Result<Option<std::io::ErrorKind>, JournalError> {
        let worn = |current: &Current| current.bytes > 2 * in_force + SLACK_BYTES;
        if self.current.as_ref().is_none_or(worn) {
            match self.rewrite() {
                Ok(()) => {}
                Err(source) if is_out_of_room(&source) => return Ok(Some(source.kind())),
                Err(source) => return Err(JournalError::file("write", &self.path)(source)),
            }
        }
        let Some(current) = &mut self.current else {
            return Err(JournalError::Failed);
        };
        let mut bytes = Vec::new();
        for body in changes {
            let offset = current.bytes + bytes.len() as u64;
            frame::encode(&current.key, offset, current.bytes, body, &mut bytes)?;
        }
        if let Err(source) = self.disk.write(&current.file, &bytes, current.bytes) {
            if !is_out_of_room(&source) {
                return Err(JournalError::file("write", &self.path)(source));
            }
            let undone = self
                .disk
                .cut(&current.file, current.bytes)
                .and_then(|()| self.disk.sync(&current.file));
            undone.map_err(JournalError::file("cut", &self.path))?;
            return Ok(Some(source.kind()));
        }
        let synced = self.disk.sync(&current.file);
        synced.map_err(JournalError::file("sync", &self.path))?;
        current.bytes += bytes.len() as u64;
        Ok(None)
    }

    /// Writes what is in force into a new file and puts it in the place of the old one.
    fn rewrite(&mut self) -> std::io::Result<()> {
        let salt = random().map_err(std::io::Error::other)?;
        let key = self.key.file_key(&salt);
        let mut bytes = frame::file_header(&salt).to_vec();
        for (name, value) in &*lock(&self.values) {
            let change = Change {
                name: name.clone(),
                value: Some(value.to_vec().into()),
            };
            let body = minicbor::to_vec(&change).expect("encoding into memory cannot fail");
            let at = bytes.len() as u64;
            // All of the file is synced before its name is: no frame of it can be torn.
            frame::encode(&key, at, at, &body, &mut bytes).map_err(std::io::Error::other)?;
        }
        let new = self.path.with_extension("journal.new");
        match self.disk.remove(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = self.disk.create(&new).and_then(|file| {
            self.disk.write(&file, &bytes, 0)?;
            self.disk.sync(&file)?;
            self.disk.rename(&new, &self.path)?;
            Ok(file)
        });
        let file = written.inspect_err(|_| drop(self.disk.remove(&new)))?;
        self.current = Some(Current {
            file,
            key,
            bytes: bytes.len() as u64,
        });
        self.disk.sync_dir(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::frame::FILE_HEADER_BYTES;
    use super::*;

    fn config(dir: &Path) -> Config {
        Config {
            dir: dir.to_path_buf(),
            key_file: dir.join("journal.key"),
            max_bytes: 1 << 20,
            file_bytes: 1 << 17,
            fsync_window: Duration::ZERO,
            remember_per_device: 8,
        }
    }

    fn opened(dir: &Path) -> LastValues {
        drop(JournalKey::load(&dir.join("journal.key"), true).unwrap());
        LastValues::open(&config(dir), "last").unwrap()
    }

    #[tokio::test]
    async fn the_last_value_of_each_name_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let values = opened(dir.path());
        assert!(values.is_empty());
        for round in 0..3_u8 {
            for name in ["a", "b", "c"] {
                values.put(name, Some(vec![round; 9])).await.unwrap();
            }
        }
        values.put("b", None).await.unwrap();
        values.put("absent", None).await.unwrap();
        assert_eq!(values.get("b"), None);
        drop(values);
        let bytes = fs::read(dir.path().join("last.journal")).unwrap();
        assert!(!bytes.windows(9).any(|w| w == [2; 9]), "it is encrypted");
        for _ in 0..3 {
            // The second opening reads what the first wrote anew.
            let values = opened(dir.path());
            assert_eq!(values.len(), 2);
            assert_eq!(&*values.get("a").unwrap(), [2; 9]);
            assert_eq!(&*values.get("c").unwrap(), [2; 9]);
            values.put("a", Some(vec![2; 9])).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_torn_end_is_as_if_it_was_never_written_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let values = opened(dir.path());
        values.put("a", Some(vec![1; 40])).await.unwrap();
        values.put("b", Some(vec![2; 40])).await.unwrap();
        drop(values);
        let path = dir.path().join("last.journal");
        let whole = fs::read(&path).unwrap();
        let second = FILE_HEADER_BYTES + (whole.len() - FILE_HEADER_BYTES) / 2;
        for length in [second, second + 1, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let values = opened(dir.path());
            assert!(values.get("a").is_some() && values.get("b").is_none());
        }
        for at in [0, FILE_HEADER_BYTES + 30, second + 30] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            let opened = LastValues::open(&config(dir.path()), "last");
            let damaged = matches!(opened, Err(JournalError::Damaged { .. }));
            assert!(damaged, "{at}");
        }
    }

    #[tokio::test]
    async fn the_file_stays_small_however_often_a_value_changes() {
        let dir = tempfile::tempdir().unwrap();
        let values = opened(dir.path());
        for round in 0..600_u32 {
            let value = round.to_le_bytes().repeat(1024);
            values.put("a", Some(value)).await.unwrap();
        }
        let bytes = fs::metadata(dir.path().join("last.journal")).unwrap().len();
        assert!(bytes <= SLACK_BYTES + 4 * 4096, "{bytes}");
        drop(values);
        let values = opened(dir.path());
        assert_eq!(
            &*values.get("a").unwrap(),
            599_u32.to_le_bytes().repeat(1024)
        );
    }

    #[tokio::test]
    async fn too_much_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let values = opened(dir.path());
        let half = BYTES_MAX / 2;
        values.put("a", Some(vec![0; half])).await.unwrap();
        let refused = values.put("b", Some(vec![0; half + 1])).await;
        assert!(matches!(refused, Err(JournalError::Full)));
        assert_eq!(values.len(), 1);
        values.put("a", Some(vec![0; half + 1])).await.unwrap();
        // What was replaced or removed counts no more, also after a restart.
        drop(values);
        let values = opened(dir.path());
        values.put("a", Some(vec![0; half])).await.unwrap();
        let refused = values.put("b", Some(vec![0; half])).await;
        assert!(matches!(refused, Err(JournalError::Full)));
        values.put("b", Some(vec![0; half - 2])).await.unwrap();
        let refused = values.put("c", Some(Vec::new())).await;
        assert!(matches!(refused, Err(JournalError::Full)));
        values.put("a", None).await.unwrap();
        values.put("c", Some(vec![0; half])).await.unwrap();
        values.put("c", None).await.unwrap();
        values.put("b", None).await.unwrap();
        // The names and values would be few enough, and too many for one frame.
        let refused = values.put("a", Some(vec![0; BYTES_MAX - 1])).await;
        assert!(matches!(refused, Err(JournalError::Full)));
        values.put("a", Some(vec![0; half])).await.unwrap();
    }

    /// What waits for a sync is judged as if what comes before it in the same batch were in force.
    #[tokio::test]
    async fn changes_of_one_batch_count_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let values = opened(dir.path());
        let third = vec![0; BYTES_MAX / 3];
        let commands = values.commands.clone().unwrap();
        let mut answers = Vec::new();
        // The first is large, and is being written while the others gather behind it.
        for (name, value) in [
            ("a", Some(third.clone())),
            ("b", Some(third.clone())),
            ("c", Some(third.clone())),
            ("b", None),
            ("c", Some(third.clone())),
            ("b", Some(vec![1])),
        ] {
            let (answer, answered) = oneshot::channel();
            let change = Change {
                name: name.to_owned(),
                value: value.map(ByteVec::from),
            };
            commands.send((change, answer)).await.unwrap();
            answers.push(answered);
        }
        drop(commands);
        let mut outcomes = Vec::new();
        for answer in answers {
            outcomes.push(answer.await.unwrap().is_ok());
        }
        assert_eq!(outcomes, [true, true, false, true, true, true]);
        assert_eq!(values.len(), 3);
        assert_eq!(&*values.get("b").unwrap(), [1]);
        drop(values);
        let values = opened(dir.path());
        assert_eq!((values.len(), values.get("b").unwrap().len()), (3, 1));
    }
}
