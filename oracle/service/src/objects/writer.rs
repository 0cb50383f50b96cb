//! The one thread that writes objects' files: collects what waits, writes it, syncs each touched file once, then
//! answers them all and tells the devices.
//!
//! A manifest or chunk MUST NOT be answered before its bytes are synced. A disk without room refuses and the file is
//! cut back; anything else that the disk answers to a write or a sync means that nobody knows what is on it, and the
//! process has to end.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::error::ObjectError;
use super::file::{FILE_HEADER_BYTES, FRAME_OVERHEAD_BYTES, Kind, ObjectFile};
use super::finished::{Finished, FinishedBook};
use super::shelf::{Begun, ObjectName, Phase, Shelved};
use super::status;
use crate::ingest::dicom::{self, HEAD_BYTES, Verdict};
use crate::ingest::intake::Taken;
use crate::ingest::{decode, topic};
use crate::journal::cipher::JournalKey;
use crate::journal::disk::{Disk, is_out_of_room};
use crate::pipeline::object_receipt;

/// Requests taken into one sync at most.
const BATCH_MAX: usize = 64;
/// Bytes written before one sync at most.
const BATCH_BYTES_MAX: usize = 16 << 20;

type Answer<T> = oneshot::Sender<Result<T, ObjectError>>;

/// A request to the writer.
pub(super) enum Command {
    /// A manifest came.
    Begin(Box<Begun>, Answer<Taken>),
    /// A chunk came.
    Chunk(ObjectName, u32, Bytes, Answer<Taken>),
    /// The device asks how far an object is.
    Tell(ObjectName, Answer<Taken>),
    /// Chunks turned out damaged.
    Forget(ObjectName, Vec<u32>, Answer<()>),
    /// The journal has an object's reading.
    Keep(ObjectName, Answer<()>),
    /// An object is given up; the device is told why.
    Remove(ObjectName, Removal, Answer<()>),
    /// An object is on the ledger.
    Finish(Box<Finished>, Answer<()>),
}

/// Why an object is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// The same reading is kept already.
    Duplicate,
    /// For a named reason.
    Refused(&'static str),
    /// Nothing came for too long.
    Expired,
    /// Its record was dropped by an administrator.
    Dropped,
}

/// What is said when everything is durable.
enum Due {
    /// With the object, if the device is to be told how far it is.
    Taken(Answer<Taken>, Taken, Option<ObjectName>),
    Done(Answer<()>),
}

#[derive(Default)]
struct Batch {
    due: Vec<Due>,
    /// Objects whose files were written.
    touched: BTreeSet<ObjectName>,
    finished: Vec<Finished>,
    /// Whether names in the folder changed.
    names: bool,
    bytes: usize,
}

/// The writing side; owned by the writer's thread.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) key: Arc<JournalKey>,
    pub(super) book: FinishedBook,
    /// Objects that became complete.
    pub(super) complete_tx: mpsc::UnboundedSender<ObjectName>,
}

impl Writer {
    /// Runs until every sender is gone or the disk has failed.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            if let Err(error) = self.batch(first, &mut commands) {
                tracing::error!(%error, "the folder of objects has failed; the process must end");
                self.shared.failed.send_replace(true);
                commands.close();
                // Answers are dropped with the requests, which their askers notice.
                while commands.try_recv().is_ok() {}
                return;
            }
        }
    }

    fn batch(&mut self, first: Command, commands: &mut mpsc::Receiver<Command>) -> io::Result<()> {
        let mut batch = Batch::default();
        let mut next = Some(first);
        let mut count = 0;
        while let Some(command) = next.take() {
            self.take(command, &mut batch)?;
            count += 1;
            if count < BATCH_MAX && batch.bytes < BATCH_BYTES_MAX {
                next = commands.try_recv().ok();
            }
        }
        self.commit(batch)
    }

    fn take(&mut self, command: Command, batch: &mut Batch) -> io::Result<()> {
        match command {
            Command::Begin(begun, answer) => {
                let name = begun.name();
                let begun = self.begin(*begun, batch)?;
                due(begun, answer, Some(name), batch);
            }
            Command::Chunk(name, number, content, answer) => {
                let put = self.put(&name, number, &content, batch)?;
                due(put, answer, None, batch);
            }
            Command::Tell(name, answer) => due(Ok(Taken::Kept), answer, Some(name), batch),
            Command::Forget(name, chunks, answer) => {
                if let Some(object) = self.shared.shelf().objects.get_mut(&name) {
                    chunks.iter().for_each(|number| object.forget(*number));
                    self.tell(&name, status::of(object));
                }
                batch.due.push(Due::Done(answer));
            }
            Command::Keep(name, answer) => {
                if let Some(object) = self.shared.shelf().objects.get_mut(&name) {
                    object.phase = Phase::Kept;
                    self.tell(&name, status::of(object));
                }
                batch.due.push(Due::Done(answer));
            }
            Command::Remove(name, removal, answer) => {
                self.remove(&name, removal, batch)?;
                batch.due.push(Due::Done(answer));
            }
            Command::Finish(finished, answer) => match self.finish(&finished, batch)? {
                Ok(()) => batch.due.push(Due::Done(answer)),
                Err(error) => drop(answer.send(Err(error))),
            },
        }
        Ok(())
    }

    /// Makes an object's file, unless the same manifest came before.
    fn begin(&mut self, begun: Begun, batch: &mut Batch) -> io::Result<Result<Taken, ObjectError>> {
        let name = begun.name();
        if let Some(finished) = self.book.get(&name) {
            return Ok(same(finished.manifest == begun.manifest));
        }
        {
            let shelf = self.shared.shelf();
            if let Some(known) = shelf.objects.get(&name) {
                return Ok(same(known.begun.manifest == begun.manifest));
            }
            if let Err(error) = shelf.admit(&begun, &self.shared.limits) {
                return Ok(Err(error));
            }
        }
        let path = self.shared.path(&name);
        let made = self.make(&begun);
        let (file, end) = match made {
            Ok(made) => made,
            Err(error) if is_out_of_room(&error) => {
                if path.exists() {
                    self.disk.remove(&path)?;
                }
                return Ok(Err(ObjectError::DiskFull));
            }
            Err(error) => return Err(error),
        };
        let touched_ms = super::now_ms();
        let object = Shelved::new(begun, file, end, touched_ms);
        self.shared.shelf().objects.insert(name.clone(), object);
        batch.touched.insert(name);
        batch.names = true;
        Ok(Ok(Taken::Kept))
    }

    fn make(&self, begun: &Begun) -> io::Result<(ObjectFile, u64)> {
        let path = self.shared.path(&begun.name());
        let bytes = minicbor::to_vec(begun).expect("encoding into memory cannot fail");
        let file = ObjectFile::create(&*self.disk, &path, &self.key)?;
        let at = FILE_HEADER_BYTES as u64;
        let end = file.write(&*self.disk, (at, 0), (Kind::Begun, 0), &bytes)?;
        let overhead = u64::from(begun.chunks()) * FRAME_OVERHEAD_BYTES as u64;
        file.reserve(end + begun.bytes + overhead)?;
        Ok((file, end))
    }

    /// Writes a chunk at the end of its object's file.
    fn put(
        &mut self,
        name: &ObjectName,
        number: u32,
        content: &[u8],
        batch: &mut Batch,
    ) -> io::Result<Result<Taken, ObjectError>> {
        let (file, end, durable, mismatch) = {
            let shelf = self.shared.shelf();
            let Some(object) = shelf.objects.get(name) else {
                let known = self.book.get(name).is_some();
                return Ok(known
                    .then_some(Taken::Duplicate)
                    .ok_or(ObjectError::Unknown));
            };
            if object.begun.chunk_len(number) != Some(content.len()) {
                return Ok(Err(ObjectError::Chunk));
            }
            if object
                .offsets
                .get(number as usize)
                .is_none_or(|offset| *offset != 0)
            {
                return Ok(Ok(Taken::Duplicate));
            }
            let essence = decode::essence(&object.begun.reading.content_type);
            let mismatch = number == 0
                && content.len() >= HEAD_BYTES
                && dicom::judge(&essence, content) == Verdict::Mismatch;
            (object.file.clone(), object.end, object.durable, mismatch)
        };
        if mismatch {
            let error = ObjectError::ContentType;
            self.remove(name, Removal::Refused(error.name()), batch)?;
            return Ok(Err(error));
        }
        let written = file.write(&*self.disk, (end, durable), (Kind::Chunk, number), content);
        let next = match written {
            Ok(next) => next,
            Err(error) if is_out_of_room(&error) => {
                file.cut(&*self.disk, end)?;
                return Ok(Err(ObjectError::DiskFull));
            }
            Err(error) => return Err(error),
        };
        if let Some(object) = self.shared.shelf().objects.get_mut(name) {
            object.put(number, end);
            object.end = next;
            object.touched_ms = super::now_ms();
        }
        batch.bytes += content.len();
        batch.touched.insert(name.clone());
        Ok(Ok(Taken::Kept))
    }

    fn remove(&mut self, name: &ObjectName, removal: Removal, batch: &mut Batch) -> io::Result<()> {
        self.unlink(name, batch)?;
        let id = &name.id;
        match removal {
            Removal::Duplicate => self.tell(name, status::duplicate(id)),
            Removal::Refused(reason) => self.tell(name, status::refused(id, reason)),
            Removal::Expired => self.tell(name, status::expired(id)),
            Removal::Dropped => self.tell(name, status::refused(id, "dropped")),
        }
        Ok(())
    }

    fn unlink(&mut self, name: &ObjectName, batch: &mut Batch) -> io::Result<()> {
        let object = self.shared.shelf().objects.remove(name);
        batch.touched.remove(name);
        if object.is_some() {
            self.disk.remove(&self.shared.path(name))?;
            batch.names = true;
        }
        Ok(())
    }

    /// Writes an object into the book of finished ones. Its file goes when that is durable.
    fn finish(
        &mut self,
        finished: &Finished,
        batch: &mut Batch,
    ) -> io::Result<Result<(), ObjectError>> {
        if self.book.get(&finished.name()).is_some() {
            batch.finished.push(finished.clone());
            return Ok(Ok(()));
        }
        match self.book.write(&*self.disk, finished) {
            Ok(()) => {
                batch.finished.push(finished.clone());
                Ok(Ok(()))
            }
            Err(error) if is_out_of_room(&error) => Ok(Err(ObjectError::DiskFull)),
            Err(error) => Err(error),
        }
    }

    /// Makes a batch durable, then answers it and tells the devices.
    fn commit(&mut self, mut batch: Batch) -> io::Result<()> {
        for name in std::mem::take(&mut batch.touched) {
            let object = self
                .shared
                .shelf()
                .objects
                .get(&name)
                .map(|object| (object.file.clone(), object.end));
            let Some((file, end)) = object else { continue };
            file.sync(&*self.disk)?;
            let complete = self
                .shared
                .shelf()
                .objects
                .get_mut(&name)
                .is_some_and(|object| {
                    object.durable = end;
                    let complete = object.phase == Phase::Open && object.is_complete();
                    if complete {
                        object.phase = Phase::Checking;
                    }
                    complete
                });
            if complete {
                self.say_how_far(&name);
                // Without a receiver the process ends; a start finds the object complete.
                drop(self.complete_tx.send(name));
            }
        }
        if !batch.finished.is_empty() {
            self.book.sync(&*self.disk)?;
            for finished in std::mem::take(&mut batch.finished) {
                let name = finished.name();
                self.unlink(&name, &mut batch)?;
                self.tell(&name, status::done(&finished));
                self.book.remember(finished);
            }
            self.book.tidy(&*self.disk, &self.key).or_else(|error| {
                match is_out_of_room(&error) {
                    true => Ok(()),
                    false => Err(error),
                }
            })?;
        }
        if batch.names {
            self.disk.sync_dir(&self.shared.dir)?;
        }
        for due in batch.due {
            match due {
                // Who asked may have gone.
                Due::Done(answer) => drop(answer.send(Ok(()))),
                Due::Taken(answer, taken, to_tell) => {
                    if let Some(name) = to_tell {
                        self.say_how_far(&name);
                    }
                    drop(answer.send(Ok(taken)));
                }
            }
        }
        self.gauge();
        Ok(())
    }

    /// Tells a device how far its object is; of one on the ledger also the receipt.
    fn say_how_far(&self, name: &ObjectName) {
        if let Some(finished) = self.book.get(name) {
            self.tell(name, status::done(&finished));
            let receipt = object_receipt(&finished);
            self.publish(topic::receipts(&name.device), receipt);
            return;
        }
        let shelf = self.shared.shelf();
        let message = shelf
            .objects
            .get(name)
            .map_or_else(|| status::unknown(&name.id), status::of);
        drop(shelf);
        self.tell(name, message);
    }

    fn tell(&self, name: &ObjectName, message: Vec<u8>) {
        self.publish(topic::object_status(&name.device, &name.id), message);
    }

    /// A router that is gone ends the process elsewhere.
    fn publish(&self, topic: String, message: Vec<u8>) {
        if let Err(error) = self.shared.delivery.publish(topic, message) {
            tracing::error!(%error, "a device cannot be told of its object");
        }
    }

    fn gauge(&self) {
        let shelf = self.shared.shelf();
        let bytes: u64 = shelf
            .objects
            .values()
            .map(|object| object.begun.bytes)
            .sum();
        metrics::gauge!("salus_objects").set(shelf.objects.len() as f64);
        metrics::gauge!("salus_objects_bytes").set(bytes as f64);
    }
}

fn same(equal: bool) -> Result<Taken, ObjectError> {
    match equal {
        true => Ok(Taken::Duplicate),
        false => Err(ObjectError::Differs),
    }
}

/// A refusal is answered at once, everything else when the batch is durable.
fn due(
    taken: Result<Taken, ObjectError>,
    answer: Answer<Taken>,
    to_tell: Option<ObjectName>,
    batch: &mut Batch,
) {
    match taken {
        Ok(taken) => batch.due.push(Due::Taken(answer, taken, to_tell)),
        Err(error) => drop(answer.send(Err(error))),
    }
}
