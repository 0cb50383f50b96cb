//! A small disk that can be full.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// Its size, MiB: room for all that a storm has on its way.
const SIZE_MIB: u32 = 64;

/// A file system in memory, of a limited size. Dropping it unmounts it.
pub(super) struct SmallDisk {
    mounted: TempDir,
}

impl SmallDisk {
    /// Mounts one; none where that is not permitted.
    pub(super) fn mount() -> Option<Self> {
        let mounted = tempfile::tempdir().unwrap();
        let size = format!("size={SIZE_MIB}m,mode=0700");
        let succeeded = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(mounted.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        succeeded.then_some(Self { mounted })
    }

    /// A folder on it.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.mounted.path().join(name)
    }

    /// Fills it to the last byte.
    pub(super) fn fill(&self) {
        static PIECE: [u8; 64 * 1024] = [0x5a; 64 * 1024];
        let mut file = File::create(self.filler()).unwrap();
        let mut length = PIECE.len();
        // Ever smaller pieces, until not one byte fits.
        while length > 0 {
            while file.write_all(&PIECE[..length]).is_ok() {}
            length /= 2;
        }
    }

    /// Makes room again.
    pub(super) fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.folder("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is about to be killed may still have a file open.
        let unmounted = Command::new("umount")
            .arg("--lazy")
            .arg(self.mounted.path())
            .status();
        assert!(
            std::thread::panicking() || unmounted.is_ok_and(|status| status.success()),
            "{} stays mounted",
            self.mounted.path().display()
        );
    }
}
