//! What an operator may see of a journal: counts, never payloads.

use std::path::{Path, PathBuf};

use super::cipher::JournalKey;
use super::entry::{Entry, Refused};
use super::error::JournalError;
use super::files;
use super::last_values::{self, RETAINED};
use super::snapshot::Snapshot;
use super::state::{Counts, State};

/// Dead letters listed at most, the newest.
pub const REFUSED_LISTED_MAX: usize = 1000;

/// What a whole journal holds.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its segment files, oldest first.
    pub files: Vec<FileReport>,
    /// How much is in which state.
    pub counts: Counts,
    /// Dead letters still in the files, the newest last.
    pub refused: Vec<Refused>,
    /// What devices retained; none if none ever did.
    pub retained: Option<RetainedReport>,
}

/// What the file of the devices' retained messages holds.
#[derive(Debug, Clone)]
pub struct RetainedReport {
    /// The file.
    pub file: FileReport,
    /// Messages in force, also such as have expired since.
    pub messages: usize,
}

/// What one file of frames holds.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Whole frames in it.
    pub frames: u64,
    /// Bytes up to the end of the last whole frame.
    pub bytes: u64,
    /// Offset at which a torn write begins; the next start leaves it out.
    pub torn_at: Option<u64>,
}

/// Reads and checks every frame of a journal that no process has open. Changes nothing.
///
/// # Errors
///
/// [`JournalError`]: it is in use, the key does not fit, or a file is damaged (named, with offset).
pub fn inspect(dir: &Path, key_file: &Path) -> Result<Report, JournalError> {
    let _lock = files::lock(dir)?;
    let numbers = files::list_segments(dir)?;
    let key = JournalKey::load(key_file, false)?;
    let mut state = State::new(usize::MAX);
    if let Some(snapshot) = Snapshot::read(dir, &key)? {
        snapshot.restore(&mut state);
    }
    let mut report = Report {
        files: Vec::new(),
        counts: Counts::default(),
        refused: Vec::new(),
        retained: None,
    };
    for number in &numbers {
        let newest = Some(number) == numbers.last();
        let scanned = files::scan(dir, *number, newest, &key, |entry, location| {
            if let Entry::Refused(refused) = &entry {
                report.refused.push(refused.clone());
            }
            state.apply(entry, location);
        })?;
        report.files.push(FileReport {
            path: files::segment_path(dir, *number),
            frames: scanned.frames,
            bytes: scanned.segment.map_or(0, |segment| segment.bytes),
            torn_at: scanned.torn_at,
        });
    }
    let surplus = report.refused.len().saturating_sub(REFUSED_LISTED_MAX);
    report.refused.drain(..surplus);
    report.counts = state.counts();
    let retained = last_values::look(dir, RETAINED, &key)?;
    report.retained = retained.map(|(path, frames, messages)| RetainedReport {
        file: FileReport {
            path,
            frames: frames.count,
            bytes: frames.bytes as u64,
            torn_at: frames.torn_at,
        },
        messages,
    });
    Ok(report)
}
