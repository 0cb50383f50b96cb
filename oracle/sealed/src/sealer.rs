//! Encrypting a payload, at once or as a stream.

use std::io::{self, Read, Write};

use aws_lc_rs::rand;

use crate::{
    AssociatedData, DataKey,
    aead::TAG_LEN,
    buffer::{Buffer, read_full},
    frame::{LENGTH_LEN, MAX_PLAINTEXT_BYTES, padded_len},
    segment::{self, HEADER_LEN, Position, SegmentCipher},
};

/// Encrypts what is written to it into another writer, holding one segment (1 MiB) at most.
///
/// The plaintext's length is declared first, since the padding frame begins with it. The object
/// is complete only after [`Sealer::finish`]; a sealer that is dropped leaves a truncated object,
/// which opens nowhere.
#[allow(missing_debug_implementations, reason = "it holds plaintext and keys")]
pub struct Sealer<W: Write> {
    inner: W,
    cipher: SegmentCipher,
    /// Plaintext of the current segment with room for its tag. A full one waits until more
    /// follows, because the last segment is marked.
    buffer: Buffer,
    /// Bytes of plaintext in `buffer`.
    filled: usize,
    /// Bytes of data that were declared and not yet written.
    remaining: u64,
    padding: u64,
}

impl<W: Write> Sealer<W> {
    /// Begins an object for exactly `plaintext_len` bytes and writes its header.
    ///
    /// # Errors
    /// `InvalidInput` when `plaintext_len` exceeds [`MAX_PLAINTEXT_BYTES`]; otherwise what the
    /// writer says.
    ///
    /// # Panics
    /// When the operating system has no random source.
    pub fn new(
        inner: W,
        data_key: &DataKey,
        associated_data: &AssociatedData,
        plaintext_len: u64,
    ) -> io::Result<Self> {
        let mut random = [0; HEADER_LEN - 1];
        rand::fill(&mut random).expect("the system's random source answers");
        Self::with_random(inner, data_key, associated_data, plaintext_len, &random)
    }

    /// Like [`Sealer::new`] with a given salt and nonce prefix. Sealing two payloads with the same
    /// key and random part gives both away, so only tests may call it.
    pub(crate) fn with_random(
        mut inner: W,
        data_key: &DataKey,
        associated_data: &AssociatedData,
        plaintext_len: u64,
        random: &[u8; HEADER_LEN - 1],
    ) -> io::Result<Self> {
        if plaintext_len > MAX_PLAINTEXT_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "plaintext is longer than a sealed object holds",
            ));
        }
        let header = segment::header(random);
        let cipher = SegmentCipher::new(data_key, associated_data, &header)
            .expect("a header made here is well formed");
        let frame_len = padded_len(plaintext_len);
        let full_len = cipher.full_ciphertext_len() + HEADER_LEN;
        let capacity = usize::try_from(frame_len)
            .map_or(full_len, |frame_len| full_len.min(frame_len + TAG_LEN));
        inner.write_all(&header)?;
        let mut sealer = Self {
            inner,
            cipher,
            buffer: Buffer::zeroed(capacity),
            filled: 0,
            remaining: plaintext_len,
            padding: frame_len - LENGTH_LEN as u64 - plaintext_len,
        };
        sealer.push(&plaintext_len.to_be_bytes())?;
        Ok(sealer)
    }

    /// Writes what `reader` gives, until it ends or the declared length is reached, and gives the
    /// number of bytes. It is read into place, which spares the copy that [`Write`] takes.
    ///
    /// # Errors
    /// What the reader or the writer says. Bytes that were read before are part of the object.
    pub fn read_from(&mut self, mut reader: impl Read) -> io::Result<u64> {
        let before = self.remaining;
        while self.remaining > 0 {
            let room = self.room()?;
            let wanted = usize::try_from(self.remaining).map_or(room, |left| left.min(room));
            let free = &mut self.buffer[self.filled..self.filled + wanted];
            let count = read_full(&mut reader, free)?;
            self.filled += count;
            self.remaining -= count as u64;
            if count < wanted {
                break;
            }
        }
        Ok(before - self.remaining)
    }

    /// Writes padding and the last segment and gives the writer back, not flushed.
    ///
    /// # Errors
    /// `InvalidInput` when fewer bytes were written than declared; otherwise what the writer says.
    pub fn finish(mut self) -> io::Result<W> {
        if self.remaining != 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "fewer bytes were written than declared",
            ));
        }
        while self.padding > 0 {
            let room = self.room()?;
            let count = usize::try_from(self.padding).map_or(room, |left| left.min(room));
            self.buffer[self.filled..self.filled + count].fill(0);
            self.filled += count;
            self.padding -= count as u64;
        }
        self.write_segment(Position::Last)?;
        self.buffer.holds_no_secret();
        Ok(self.inner)
    }

    /// Adds plaintext, writing each full segment once more follows it.
    fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
        }
        Ok(())
    }

    /// Bytes of plaintext that the current segment still takes, at least one: a full segment is
    /// written, since something follows it.
    fn room(&mut self) -> io::Result<usize> {
        if self.filled == self.cipher.full_plaintext_len() {
            self.write_segment(Position::Inner)?;
        }
        Ok(self.cipher.full_plaintext_len() - self.filled)
    }

    /// Afterwards nothing but ciphertext is in the buffer.
    fn write_segment(&mut self, position: Position) -> io::Result<()> {
        let segment = &mut self.buffer[..self.filled + TAG_LEN];
        self.cipher
            .seal(segment, position)
            .expect("the declared length keeps segment numbers in range");
        self.inner.write_all(segment)?;
        self.filled = 0;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    /// Takes all of `bytes`, or none with `InvalidInput` when they exceed the declared length.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(remaining) = self.remaining.checked_sub(bytes.len() as u64) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "more bytes were written than declared",
            ));
        };
        self.push(bytes)?;
        self.remaining = remaining;
        Ok(bytes.len())
    }

    /// Flushes the writer beneath; a segment that is not full stays here.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Seals a payload that is in memory.
///
/// # Panics
/// When the operating system has no random source.
#[must_use]
pub fn seal(data_key: &DataKey, associated_data: &AssociatedData, plaintext: &[u8]) -> Vec<u8> {
    let plaintext_len = plaintext.len() as u64;
    let mut sealed = Vec::with_capacity(sealed_len(plaintext_len) as usize);
    Sealer::new(&mut sealed, data_key, associated_data, plaintext_len)
        .and_then(|mut sealer| {
            sealer.write_all(plaintext)?;
            sealer.finish()
        })
        .expect("memory takes every write and holds less than the longest plaintext");
    sealed
}

/// Length in bytes of the sealed object for a payload of `plaintext_len` bytes.
#[must_use]
pub fn sealed_len(plaintext_len: u64) -> u64 {
    segment::ciphertext_len(padded_len(plaintext_len))
}
