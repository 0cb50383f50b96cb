//! One payload, its sealed object and what came out of that again, in memory and as files.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use sealed_object::{AssociatedData, DataKey, Opener, Sealer};

const ASSOCIATED_DATA: AssociatedData = AssociatedData {
    record_id: [0x17; 16],
    commitment: [0x2a; 32],
};

/// The same in memory, as if the files were mapped into it.
pub(crate) struct Mapped {
    payload: Vec<u8>,
    sealed: Vec<u8>,
    opened: Vec<u8>,
    data_key: DataKey,
}

impl Mapped {
    /// Makes the payload and memory for the rest.
    pub(crate) fn new(length: u64) -> Result<Self> {
        let sealed_len = usize::try_from(sealed_object::sealed_len(length))?;
        let length = usize::try_from(length)?;
        let mut mapped = Self {
            payload: (0..=u8::MAX).cycle().take(length).collect(),
            // Written, so that the measurement does not wait for the system to find the pages.
            sealed: vec![1; sealed_len],
            opened: vec![1; length],
            data_key: DataKey::from_bytes([0x5c; 32]),
        };
        mapped.seal()?;
        mapped.open()?;
        Ok(mapped)
    }

    /// From the payload to the object.
    pub(crate) fn seal(&mut self) -> Result<()> {
        let length = self.payload.len() as u64;
        let sealed = self.sealed.as_mut_slice();
        let mut sealer = Sealer::new(sealed, &self.data_key, &ASSOCIATED_DATA, length)?;
        sealer.read_from(self.payload.as_slice())?;
        ensure!(
            sealer.finish()?.is_empty(),
            "a shorter object than foretold"
        );
        Ok(())
    }

    /// From the object to the payload.
    pub(crate) fn open(&mut self) -> Result<()> {
        let sealed = self.sealed.as_slice();
        let mut opener = Opener::new(sealed, &self.data_key, &ASSOCIATED_DATA)?;
        opener.write_to(self.opened.as_mut_slice())?;
        Ok(())
    }

    /// That the payload came back: a measurement of something else is worth nothing.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.opened == self.payload, "the payload came back changed");
        Ok(())
    }
}

/// Where the files are; they are written over again and again, so that no run but the first waits
/// for the system to find memory for them.
pub(crate) struct Object {
    pub(crate) folder: PathBuf,
    pub(crate) length: u64,
    data_key: DataKey,
}

impl Object {
    /// Makes the payload's file.
    pub(crate) fn new(folder: &Path, length: u64) -> Result<Self> {
        let block: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
        let mut file = File::create(folder.join("payload"))?;
        let mut rest = length;
        while rest > 0 {
            let count = rest.min(block.len() as u64);
            file.write_all(&block[..usize::try_from(count)?])?;
            rest -= count;
        }
        let object = Self::existing(folder, length);
        object.seal()?;
        object.open()?;
        Ok(object)
    }

    /// Takes the files that are there.
    pub(crate) fn existing(folder: &Path, length: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            length,
            data_key: DataKey::from_bytes([0x5c; 32]),
        }
    }

    /// From the payload's file to the object's.
    pub(crate) fn seal(&self) -> Result<()> {
        let payload = File::open(self.folder.join("payload"))?;
        let sealed = self.written_over("sealed")?;
        let mut sealer = Sealer::new(sealed, &self.data_key, &ASSOCIATED_DATA, self.length)?;
        sealer.read_from(payload)?;
        sealer.finish()?;
        Ok(())
    }

    /// From the object's file to that of the opened payload.
    pub(crate) fn open(&self) -> Result<()> {
        let sealed = File::open(self.folder.join("sealed"))?;
        let mut opener = Opener::new(sealed, &self.data_key, &ASSOCIATED_DATA)?;
        opener.write_to(self.written_over("opened")?)?;
        Ok(())
    }

    /// That the payload came back: a measurement of something else is worth nothing.
    pub(crate) fn check(&self) -> Result<()> {
        let mut payload = File::open(self.folder.join("payload"))?;
        let mut opened = File::open(self.folder.join("opened"))?;
        let (mut one, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut rest = self.length;
        while rest > 0 {
            let count = usize::try_from(rest.min(1 << 16))?;
            payload.read_exact(&mut one[..count])?;
            opened.read_exact(&mut other[..count])?;
            ensure!(
                one[..count] == other[..count],
                "the payload came back changed"
            );
            rest -= count as u64;
        }
        ensure!(
            opened.read(&mut other)? == 0,
            "more than the payload came back"
        );
        Ok(())
    }

    fn written_over(&self, name: &str) -> Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        Ok(options.open(self.folder.join(name))?)
    }
}
