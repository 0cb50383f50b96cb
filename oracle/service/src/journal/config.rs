//! How the journal is set up.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::JournalConfig;

/// Bytes after which a new segment file is begun, unless the whole journal is small.
const FILE_BYTES: u64 = 16 << 20;
/// A small journal still has this many files, so that finished ones can be deleted.
const FILES_MIN: u64 = 8;
/// Messages whose fingerprint is remembered per device.
const REMEMBER_PER_DEVICE: usize = 1024;

/// The journal's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder of the journal; made if absent.
    pub dir: PathBuf,
    /// File with the journal's key; made if absent and the journal is new.
    pub key_file: PathBuf,
    /// Bytes of all segment files beyond which no reading is taken.
    pub max_bytes: u64,
    /// Bytes after which a new segment file is begun.
    pub file_bytes: u64,
    /// How long an append may wait for others to share its sync.
    pub fsync_window: Duration,
    /// Messages whose fingerprint is remembered per device, to recognise a repeated one.
    pub remember_per_device: usize,
}

impl From<&JournalConfig> for Config {
    fn from(section: &JournalConfig) -> Self {
        Self {
            dir: section.dir.clone(),
            key_file: section.dir.join("journal.key"),
            max_bytes: section.max_bytes,
            file_bytes: (section.max_bytes / FILES_MIN).min(FILE_BYTES),
            fsync_window: section.fsync_window,
            remember_per_device: REMEMBER_PER_DEVICE,
        }
    }
}
