//! Writing, checking and reading the log; blocking.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use contract_interface::{Digest, UtcTime};

use super::budget::Budget;
use super::file_set::FileSet;
use super::line::{Chain, Line};
use super::{Refusal, RefusalLogState};

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Bytes of one line that is read; a longer one is no line of this log.
const LINE_BYTES_MAX: usize = 16 << 10;

/// The log, open to append.
#[derive(Debug)]
pub(super) struct Log {
    files: FileSet,
    /// None while the current file cannot be opened.
    current: Option<File>,
    /// Whole lines in the current file, bytes.
    bytes: u64,
    file_bytes_max: u64,
    chain: Chain,
    budget: Budget,
    writable: bool,
    unsynced: bool,
    /// Lost since the last line.
    lost: u64,
    /// Lost since the start.
    lost_in_all: u64,
}

/// Some lines, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// The lines.
    pub(crate) lines: Vec<Line>,
    /// Whether there are more.
    pub(crate) more: bool,
    /// The first line that does not fit the one before it, if there is one.
    pub(crate) broken_at: Option<u64>,
    /// Hash of the last line of all: who keeps it elsewhere notices a log that was cut off.
    pub(crate) head: Digest,
    /// How the log stands.
    pub(crate) state: RefusalLogState,
}

impl Log {
    /// Opens the log and checks every line that is kept.
    pub(super) fn open(path: PathBuf) -> Self {
        Self::open_with(path, FILE_BYTES_MAX)
    }

    pub(super) fn open_with(path: PathBuf, file_bytes_max: u64) -> Self {
        let mut log = Self {
            files: FileSet::new(path),
            current: None,
            bytes: 0,
            file_bytes_max,
            chain: Chain::new(false),
            budget: Budget::default(),
            writable: true,
            unsynced: false,
            lost: 0,
            lost_in_all: 0,
        };
        if let Err(error) = log.check() {
            log.failed("checked", &error);
        }
        if let Some(seq) = log.chain.broken_at {
            tracing::error!(seq, "the log of refusals was changed at this line");
        }
        if let Err(error) = log.current() {
            log.failed("opened", &error);
        }
        log
    }

    /// Walks along all lines and cuts off a last one that a crash left without its end.
    fn check(&mut self) -> io::Result<()> {
        self.chain = Chain::new(self.files.is_full());
        for path in self.files.existing() {
            let whole = walk(&path, |bytes| {
                self.chain.follow(bytes);
                true
            })?;
            if path == self.files.current() {
                let file = File::options().write(true).open(&path)?;
                if file.metadata()?.len() > whole {
                    tracing::warn!("the last line of the log of refusals was cut short; dropped");
                    file.set_len(whole)?;
                }
            }
        }
        Ok(())
    }

    /// The current file, opened if it is not.
    fn current(&mut self) -> io::Result<&mut File> {
        if self.current.is_none() {
            let file = self.files.open()?;
            self.bytes = file.metadata()?.len();
            self.current = Some(file);
        }
        self.current
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes a line, or counts it as lost.
    pub(super) fn append(&mut self, refusal: Refusal) {
        let is_known = refusal.msp_id.is_some();
        if !self.budget.take(refusal.time.unix_seconds(), is_known) {
            self.lose();
            return;
        }
        let line = Line::new(self.chain.seq + 1, refusal, self.lost, self.chain.head());
        match self.write(&line) {
            Ok(()) => {
                self.lost = 0;
                self.writable = true;
                self.unsynced = true;
            }
            Err(error) => {
                self.lose();
                self.failed("written", &error);
            }
        }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = line.encode()?;
        let head = Digest::of(&bytes);
        bytes.push(b'\n');
        let length = bytes.len() as u64;
        self.current()?;
        if self.bytes > 0 && self.bytes + length > self.file_bytes_max {
            self.sync();
            self.files.rotate()?;
            self.current = None;
        }
        let whole = self.bytes;
        let file = self.current()?;
        if let Err(error) = file.write_all(&bytes) {
            // Half a line must not stand before the next one.
            if file.set_len(whole).is_err() {
                self.current = None;
            }
            return Err(error);
        }
        self.bytes += length;
        self.chain.seq = line.seq;
        self.chain.head = Some(head);
        Ok(())
    }

    fn lose(&mut self) {
        self.lost += 1;
        self.lost_in_all += 1;
        metrics::counter!("salus_refusals_lost_total").increment(1);
    }

    fn failed(&mut self, what: &'static str, error: &io::Error) {
        if self.writable {
            tracing::error!(%error, "the log of refusals cannot be {what}; refusals are lost");
        }
        self.writable = false;
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&mut self) {
        if !std::mem::take(&mut self.unsynced) {
            return;
        }
        if let Some(Err(error)) = self.current.as_ref().map(File::sync_data) {
            self.failed("brought to the disk", &error);
        }
    }

    /// Lines after the one numbered `after`, of `from` or later.
    pub(super) fn page(&self, after: u64, from: Option<UtcTime>, items: usize) -> io::Result<Page> {
        let mut lines = Vec::new();
        let mut more = false;
        for path in self.files.existing() {
            walk(&path, |bytes| {
                // A line that does not read is reported by `broken_at`, not shown.
                let line = serde_json::from_slice::<Line>(bytes).ok();
                let wanted = line
                    .filter(|line| line.seq > after && from.is_none_or(|from| line.time >= from));
                match wanted {
                    Some(_) if lines.len() == items => more = true,
                    Some(line) => lines.push(line),
                    None => {}
                }
                !more
            })?;
            if more {
                break;
            }
        }
        Ok(Page {
            lines,
            more,
            broken_at: self.chain.broken_at,
            head: self.chain.head(),
            state: self.state(),
        })
    }

    pub(super) fn state(&self) -> RefusalLogState {
        RefusalLogState {
            writable: self.writable,
            intact: self.chain.broken_at.is_none(),
            lost: self.lost_in_all,
        }
    }
}

/// Calls `each` with every whole line of a file, without its line feed, until it says no. Gives the
/// bytes up to the end of the last whole line seen.
fn walk(path: &Path, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut whole = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read =
            io::Read::take(&mut reader, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        let is_whole = line.last() == Some(&b'\n');
        if read == 0 || (!is_whole && read < LINE_BYTES_MAX) {
            return Ok(whole);
        }
        whole += read as u64;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if !each(text) {
            return Ok(whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_loses_lines_and_the_log_goes_on_after_it() {
        let folder = tempfile::tempdir().expect("temp dir");
        let mut log = Log::open(folder.path().join("refusals.ndjson"));
        let refusal = |code: &str| Refusal {
            time: "2026-01-02T03:04:05Z".parse().expect("a time"),
            method: "POST".to_owned(),
            path: "/v1/grants".to_owned(),
            status: 401,
            code: code.to_owned(),
            caller: None,
            msp_id: None,
            trace_id: "cd".repeat(16),
        };
        log.append(refusal("A"));
        log.current = Some(File::options().write(true).open("/dev/full").expect("open"));
        log.append(refusal("B"));
        assert_eq!((log.state().writable, log.state().lost), (false, 1));
        log.append(refusal("C"));
        assert_eq!((log.state().writable, log.state().lost), (true, 1));
        let page = log.page(0, None, 10).expect("read");
        let seen: Vec<_> = page
            .lines
            .iter()
            .map(|line| (line.seq, line.lost))
            .collect();
        assert_eq!((seen, page.broken_at), (vec![(1, 0), (2, 1)], None));
    }
}
