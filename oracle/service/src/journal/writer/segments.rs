//! The writer's files: written to and synced, begun, and given back when everything in them is done.

use std::time::Instant;

use super::super::disk::is_out_of_room;
use super::super::entry::{Entry, SealedRecord};
use super::super::error::JournalError;
use super::super::files;
use super::super::state::Stage;
use super::{Batch, Writer};

/// Live bytes of the oldest file that are worth writing again to free it: this share of it at most.
const COPY_SHARE: u64 = 2;

impl Writer {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let Some(current) = &mut self.current else {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(JournalError::DiskRefused { source });
        };
        let start = current.bytes;
        if let Err(source) = self.disk.write(&current.file, bytes, start) {
            if !is_out_of_room(&source) {
                tracing::error!(error = %source, "journal write failed");
                return Err(JournalError::Failed);
            }
            let undone = self
                .disk
                .cut(&current.file, start)
                .and_then(|()| self.disk.sync(&current.file));
            if let Err(error) = undone {
                tracing::error!(%error, "a refused journal write cannot be undone");
                return Err(JournalError::Failed);
            }
            self.shared.note_refused(&source);
            return Err(JournalError::DiskRefused { source });
        }
        let began = Instant::now();
        if let Err(source) = self.disk.sync(&current.file) {
            tracing::error!(error = %source, "journal sync failed");
            return Err(JournalError::Failed);
        }
        self.shared.note_written();
        current.bytes += bytes.len() as u64;
        if let Some(segment) = self.shared.segments().get_mut(&self.number) {
            segment.bytes = current.bytes;
        }
        metrics::histogram!("salus_journal_sync_bytes").record(bytes.len() as f64);
        metrics::histogram!("salus_journal_sync_seconds").record(began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Starts the file with this number. Whether it could; a disk without room leaves the old one, if there is
    /// one, in use.
    pub(super) fn begin(&mut self, number: u64) -> Result<bool, JournalError> {
        match files::create_segment(&*self.disk, &self.shared.dir, number, &self.key) {
            Ok(segment) => {
                self.number = number;
                self.shared.segments().insert(number, segment.clone());
                self.current = Some(segment);
                Ok(true)
            }
            Err(JournalError::DiskRefused { source }) => {
                self.shared.note_refused(&source);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Has the oldest files deleted as far as everything in them is done, and frees a file that is mostly done.
    pub(super) fn reclaim(&mut self) -> Result<(), JournalError> {
        let oldest = self.shared.segments().first_key_value().map(|(n, _)| *n);
        let Some(oldest) = oldest.filter(|number| *number < self.number) else {
            return Ok(());
        };
        if !self.shared.state().is_dead(oldest) && !self.copy_forward(oldest)? {
            return Ok(());
        }
        if self
            .keeper
            .is_worth_it(self.number, self.limits.total_bytes)
        {
            self.keeper_thread.wake(self.number);
        }
        Ok(())
    }

    /// Writes what lives in an old file again, if that is worth it. Whether the file is free now.
    fn copy_forward(&mut self, file: u64) -> Result<bool, JournalError> {
        if self.shared.bytes() < self.limits.total_bytes / COPY_SHARE {
            return Ok(false);
        }
        let file_bytes = self.shared.segments().get(&file).map_or(0, |s| s.bytes);
        if self.shared.state().live_bytes(file) > file_bytes / COPY_SHARE {
            return Ok(false);
        }
        self.copy(file, Vec::new())
    }

    /// The dead letters in a file, which an operator may not have seen yet.
    fn refused_in(&self, file: u64) -> Result<Vec<Entry>, JournalError> {
        let mut refused = Vec::new();
        files::scan(&self.shared.dir, file, false, &self.key, |entry, _| {
            if matches!(entry, Entry::Refused(_)) {
                refused.push(entry);
            }
        })?;
        Ok(refused)
    }

    /// Writes what lives in an old file, and `others`, again at the end. Whether the file is free
    /// now.
    fn copy(&mut self, file: u64, others: Vec<Entry>) -> Result<bool, JournalError> {
        if self.current.is_none() {
            return Ok(false);
        }
        let (entries, records) = self.shared.state().live_in(file);
        let mut batch = Batch::default();
        for entry in others {
            self.build_step(entry, &mut batch)?;
        }
        for (_, location) in entries {
            let entry = self.shared.read(location)?;
            self.build_step(entry, &mut batch)?;
        }
        for record in records {
            let key = record.sealed.record;
            self.build_step(
                Entry::Sealed(SealedRecord::clone(&record.sealed)),
                &mut batch,
            )?;
            match record.stage {
                Stage::Sealed => {}
                Stage::Pinned => self.build_step(Entry::Pinned(vec![key]), &mut batch)?,
                Stage::Committed(commitment) => {
                    let records = vec![key];
                    self.build_step(
                        Entry::Committed {
                            records,
                            commitment,
                        },
                        &mut batch,
                    )?;
                }
            }
        }
        if batch.bytes.is_empty() {
            return Ok(self.shared.state().is_dead(file));
        }
        match self.write(&batch.bytes) {
            Ok(()) => {}
            Err(JournalError::DiskRefused { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut state = self.shared.state();
        for (framed, location) in batch.frames {
            framed.apply(&mut state, location);
        }
        Ok(state.is_dead(file))
    }

    /// Leaves no file with a frame that is done: readings, and keys that were wrapped for their
    /// holders. The inner error is a disk that refuses; everything is as it was then.
    pub(super) fn tidy(&mut self) -> Result<Result<(), std::io::ErrorKind>, JournalError> {
        let full = std::io::ErrorKind::StorageFull;
        if self.shared.state().has_done(self.number) && !self.begin(self.number + 1)? {
            return Ok(Err(full));
        }
        let files: Vec<u64> = self.shared.segments().keys().copied().collect();
        let last_done = files
            .iter()
            .rposition(|file| self.shared.state().has_done(*file));
        let Some(last_done) = last_done else {
            return Ok(Ok(()));
        };
        // Files are deleted in order, so the older ones go, too.
        for file in &files[..=last_done] {
            let refused = self.refused_in(*file)?;
            if !self.copy(*file, refused)? {
                return Ok(Err(full));
            }
        }
        self.keeper.delete_dead(self.number)?;
        let oldest = self.shared.segments().first_key_value().map(|(n, _)| *n);
        Ok(if oldest > Some(files[last_done]) {
            Ok(())
        } else {
            Err(full)
        })
    }
}
