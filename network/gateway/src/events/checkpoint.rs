//! Where to go on reading events.
//!
//! A peer asked for events after a transaction that emitted none delivers nothing, ever. So a
//! checkpoint names a transaction only if it came from an event: [`Checkpointer::event`] is the
//! one way in, and [`Checkpointer::block`] names none.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::chaincode::ChaincodeEvent;
use crate::error::EventsError;

/// Where a stream of events begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With the next block that is committed.
    #[default]
    NextCommit,
    /// With a block.
    Block(u64),
    /// Behind a checkpoint.
    After(Checkpoint),
}

/// A position between events: in a block, and if something of it was dealt with already, behind
/// the transaction whose event was the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    block_number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
}

impl Checkpoint {
    /// Behind an event.
    pub fn behind_event(event: &ChaincodeEvent) -> Self {
        Self {
            block_number: event.block_number,
            transaction_id: Some(event.transaction_id.clone()),
        }
    }

    /// Behind a block.
    pub fn behind_block(block_number: u64) -> Self {
        Self {
            block_number: block_number.saturating_add(1),
            transaction_id: None,
        }
    }

    /// The block to go on with.
    pub fn block_number(&self) -> u64 {
        self.block_number
    }

    /// The last transaction of that block whose event was dealt with.
    pub fn transaction_id(&self) -> Option<&str> {
        self.transaction_id.as_deref()
    }
}

/// Remembers how far a consumer of events has come. Mark an event when it has been dealt with;
/// one that was dealt with but not marked is delivered again after a restart.
pub trait Checkpointer {
    /// The last mark, if there is one.
    fn checkpoint(&self) -> Option<&Checkpoint>;

    /// Marks a position.
    ///
    /// # Errors
    /// [`EventsError::Checkpoint`] if it cannot be kept.
    fn mark(
        &mut self,
        checkpoint: Checkpoint,
    ) -> impl Future<Output = Result<(), EventsError>> + Send;

    /// Marks an event as dealt with.
    ///
    /// # Errors
    /// As [`Checkpointer::mark`].
    fn event(
        &mut self,
        event: &ChaincodeEvent,
    ) -> impl Future<Output = Result<(), EventsError>> + Send {
        self.mark(Checkpoint::behind_event(event))
    }

    /// Marks a whole block as dealt with.
    ///
    /// # Errors
    /// As [`Checkpointer::mark`].
    fn block(&mut self, number: u64) -> impl Future<Output = Result<(), EventsError>> + Send {
        self.mark(Checkpoint::behind_block(number))
    }

    /// Where to start: behind the last mark, or else as given.
    fn start_or(&self, otherwise: Start) -> Start {
        self.checkpoint().cloned().map_or(otherwise, Start::After)
    }
}

/// Remembers as long as the process lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InMemoryCheckpointer {
    checkpoint: Option<Checkpoint>,
}

impl Checkpointer for InMemoryCheckpointer {
    fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    async fn mark(&mut self, checkpoint: Checkpoint) -> Result<(), EventsError> {
        self.checkpoint = Some(checkpoint);
        Ok(())
    }
}

/// Remembers in a file of JSON. A mark is on disk when [`Checkpointer::mark`] returns, and after
/// a crash the file holds either the last mark or the one before.
#[derive(Debug)]
pub struct FileCheckpointer {
    path: PathBuf,
    checkpoint: Option<Checkpoint>,
}

impl FileCheckpointer {
    /// Opens a file, which need not exist yet.
    ///
    /// # Errors
    /// [`EventsError::Checkpoint`] if it cannot be read or holds no checkpoint.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, EventsError> {
        let path = path.into();
        let read = {
            let path = path.clone();
            blocking(move || read(&path)).await
        };
        match read {
            Ok(checkpoint) => Ok(Self { path, checkpoint }),
            Err(source) => Err(EventsError::Checkpoint { path, source }),
        }
    }
}

impl Checkpointer for FileCheckpointer {
    fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    async fn mark(&mut self, checkpoint: Checkpoint) -> Result<(), EventsError> {
        let written = {
            let path = self.path.clone();
            let checkpoint = checkpoint.clone();
            blocking(move || write(&path, &checkpoint)).await
        };
        written.map_err(|source| EventsError::Checkpoint {
            path: self.path.clone(),
            source,
        })?;
        self.checkpoint = Some(checkpoint);
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn read(path: &Path) -> io::Result<Option<Checkpoint>> {
    match fs::read(path) {
        Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(checkpoint)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> ChaincodeEvent {
        ChaincodeEvent {
            block_number: 7,
            transaction_id: "ab".to_owned(),
            chaincode: "salus".to_owned(),
            name: "ReadDenied".to_owned(),
            payload: Vec::new(),
        }
    }

    async fn check(checkpointer: &mut impl Checkpointer) {
        assert_eq!(checkpointer.start_or(Start::Block(3)), Start::Block(3));
        checkpointer.event(&event()).await.unwrap();
        let behind = checkpointer.checkpoint().unwrap().clone();
        assert_eq!(
            (behind.block_number(), behind.transaction_id()),
            (7, Some("ab"))
        );
        checkpointer.block(7).await.unwrap();
        let behind = checkpointer.checkpoint().unwrap().clone();
        assert_eq!((behind.block_number(), behind.transaction_id()), (8, None));
        assert_eq!(
            checkpointer.start_or(Start::NextCommit),
            Start::After(behind)
        );
    }

    #[tokio::test]
    async fn both_checkpointers_keep_the_last_mark() {
        check(&mut InMemoryCheckpointer::default()).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.json");
        check(&mut FileCheckpointer::open(&path).await.unwrap()).await;
        let reopened = FileCheckpointer::open(&path).await.unwrap();
        assert_eq!(reopened.checkpoint(), Some(&Checkpoint::behind_block(7)));
    }

    #[tokio::test]
    async fn a_damaged_file_is_an_error_and_not_a_fresh_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.json");
        for content in ["", "{", "{\"block_number\":-1}", "[]"] {
            fs::write(&path, content).unwrap();
            assert!(FileCheckpointer::open(&path).await.is_err(), "{content:?}");
        }
    }
}
