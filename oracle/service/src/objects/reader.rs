//! The content of a complete object, chunk by chunk: memory holds one.

use std::io::{self, Read};

use super::file::{Kind, ObjectFile};
use super::shelf::{Begun, Shelved};

/// Reads an object's content from its file. Each chunk is authenticated before a byte of it is handed out.
#[derive(Debug)]
pub(crate) struct ObjectReader {
    begun: Begun,
    file: ObjectFile,
    offsets: Vec<u64>,
    /// Number of the next chunk.
    next: u32,
    chunk: Vec<u8>,
    /// Bytes of it that were handed out.
    taken: usize,
}

impl ObjectReader {
    pub(super) fn new(object: &Shelved) -> Self {
        Self {
            begun: object.begun.clone(),
            file: object.file.clone(),
            offsets: object.offsets.clone(),
            next: 0,
            chunk: Vec::new(),
            taken: 0,
        }
    }

    /// What is known of the object.
    pub(crate) fn begun(&self) -> &Begun {
        &self.begun
    }

    /// One chunk; none if it is missing or damaged.
    pub(super) fn chunk(&self, number: u32) -> io::Result<Option<Vec<u8>>> {
        let place = self
            .offsets
            .get(number as usize)
            .filter(|offset| **offset != 0);
        match (place, self.begun.chunk_len(number)) {
            (Some(offset), Some(bytes)) => self.file.read(*offset, (Kind::Chunk, number), bytes),
            _ => Ok(None),
        }
    }
}

impl Read for ObjectReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.len() {
            if self.next == self.begun.chunks() {
                return Ok(0);
            }
            let number = self.next;
            let damaged = || io::Error::other(format!("chunk {number} of the object is damaged"));
            self.chunk = self.chunk(number)?.ok_or_else(damaged)?;
            self.taken = 0;
            self.next += 1;
        }
        let rest = &self.chunk[self.taken..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}
