//! Disks that can be full, without room for one more file, or broken. To mount them takes root.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// Files that a small one has room for.
const FILES: u32 = 4_000;
/// Size of a disk that breaks, bytes.
const BREAKING_BYTES: u64 = 32 << 20;

/// A file system in memory, of a limited size. Dropping it unmounts it.
pub(crate) struct SmallDisk {
    mounted: TempDir,
}

impl SmallDisk {
    /// Mounts one of so many MiB; none where that is not permitted.
    pub(crate) fn mount(mib: u32) -> Option<Self> {
        let mounted = tempfile::tempdir().unwrap();
        let limits = format!("size={mib}m,nr_inodes={FILES},mode=0700");
        let mount = ["mount", "-t", "tmpfs", "-o", &limits, "tmpfs"].map(str::to_owned);
        runs(&mount, mounted.path()).then_some(Self { mounted })
    }

    /// A folder on it.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.mounted.path().join(name)
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        static PIECE: [u8; 64 * 1024] = [0x5a; 64 * 1024];
        fs::create_dir_all(self.filler()).unwrap();
        let mut file = File::create(self.filler().join("bytes")).unwrap();
        let mut length = PIECE.len();
        // Ever smaller pieces, until not one byte fits.
        while length > 0 {
            while file.write_all(&PIECE[..length]).is_ok() {}
            length /= 2;
        }
    }

    /// Leaves bytes, but no room for one more file.
    pub(crate) fn fill_with_files(&self) {
        fs::create_dir_all(self.filler()).unwrap();
        let full = (0..FILES).find_map(|number| {
            let made = File::create(self.filler().join(number.to_string()));
            made.err()
        });
        let kind = full.map(|error| error.kind());
        assert_eq!(kind, Some(io::ErrorKind::StorageFull));
    }

    /// Makes room again.
    pub(crate) fn free(&self) {
        fs::remove_dir_all(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.folder("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.mounted.path());
    }
}

/// A disk in a file, with ext4 on it, that becomes unwritable all at once as one does of which the
/// system finds that it cannot be trusted. Dropping it unmounts it.
pub(crate) struct BreakingDisk {
    folder: TempDir,
    mounted: bool,
}

impl BreakingDisk {
    /// Makes one and mounts it; none where that is not permitted.
    pub(crate) fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image)
            .unwrap()
            .set_len(BREAKING_BYTES)
            .unwrap();
        let mut disk = Self {
            folder,
            mounted: false,
        };
        let mkfs = ["mkfs.ext4", "-q", "-F"].map(str::to_owned);
        fs::create_dir(disk.at()).unwrap();
        disk.mounted = runs(&mkfs, &image) && disk.attach();
        // Without the file in which the kernel takes the order there is nothing to break it with.
        (disk.mounted && disk.trigger().is_file()).then_some(disk)
    }

    /// A folder on it.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.at().join(name)
    }

    /// Nothing more can be written; open files stay open.
    pub(crate) fn break_down(&self) {
        fs::write(self.trigger(), "broken by a test").unwrap();
    }

    /// Checks and mounts it again, after whatever used it has ended.
    pub(crate) fn mend(&self) {
        unmount(&self.at());
        let image = self.folder.path().join("image");
        // Exit status 1: errors were corrected.
        let checked = Command::new("e2fsck")
            .args(["-p", "-f"])
            .arg(&image)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(matches!(checked.code(), Some(0 | 1)), "{checked}");
        assert!(self.attach(), "the disk cannot be mounted again");
    }

    fn attach(&self) -> bool {
        let mut mount = ["mount", "-t", "ext4", "-o", "loop,errors=remount-ro"]
            .map(str::to_owned)
            .to_vec();
        mount.push(self.folder.path().join("image").display().to_string());
        runs(&mount, &self.at())
    }

    fn at(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Where the kernel takes the order that there be an error.
    fn trigger(&self) -> PathBuf {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let at = format!(" {} ", self.at().display());
        let line = mounts.lines().find(|line| line.contains(&at));
        let device = line.and_then(|line| line.split(' ').next());
        let name = device.and_then(|device| device.rsplit('/').next());
        Path::new("/sys/fs/ext4")
            .join(name.unwrap_or("none"))
            .join("trigger_fs_error")
    }
}

impl Drop for BreakingDisk {
    fn drop(&mut self) {
        if self.mounted {
            unmount(&self.at());
        }
    }
}

/// Runs a command on a path; whether it succeeded.
fn runs(command: &[String], path: &Path) -> bool {
    Command::new(&command[0])
        .args(&command[1..])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Lazily: a process that is about to be killed may still have a file open.
fn unmount(at: &Path) {
    let unmounted = runs(&["umount".to_owned(), "--lazy".to_owned()], at);
    assert!(
        std::thread::panicking() || unmounted,
        "{} stays mounted",
        at.display()
    );
}
