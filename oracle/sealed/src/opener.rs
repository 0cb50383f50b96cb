//! Decrypting an object, at once or as a stream.

use std::{
    io::{self, Read, Write},
    ops::Range,
};

use crate::{
    AssociatedData, DataKey, OpenError,
    buffer::{Buffer, read_full},
    frame::FrameReader,
    segment::{HEADER_LEN, Position, SegmentCipher},
};

/// Bytes of the buffer to begin with.
const FIRST_BUFFER_BYTES: usize = 4 << 10;

/// Decrypts an object read from another reader, holding one segment (1 MiB) at most.
///
/// What it hands out is authentic, but that nothing is missing is known only at the end: a caller
/// MUST throw away what it received when reading ends in an error. A refusal arrives as an
/// [`io::Error`] of kind `InvalidData`; [`OpenError::from`] turns it back into
/// [`OpenError::Refused`].
#[allow(missing_debug_implementations, reason = "it holds plaintext and keys")]
pub struct Opener<R: Read> {
    inner: R,
    cipher: SegmentCipher,
    frame: FrameReader,
    /// Ciphertext of the segment being read, afterwards its plaintext. It grows with the first
    /// segment, so that a short object does not take the memory of a long one.
    buffer: Buffer,
    /// The part of `buffer` that is data and not handed out yet.
    ready: Range<usize>,
    /// First byte of the next segment: a segment is the last when there is none.
    lookahead: Option<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Refused,
}

impl<R: Read> Opener<R> {
    /// Reads the object's header.
    ///
    /// # Errors
    /// [`OpenError::Refused`] when there is no header of this format, [`OpenError::Io`] when the
    /// reader fails.
    pub fn new(
        mut inner: R,
        data_key: &DataKey,
        associated_data: &AssociatedData,
    ) -> Result<Self, OpenError> {
        let mut header = [0; HEADER_LEN];
        inner.read_exact(&mut header).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                OpenError::Refused
            } else {
                OpenError::Io(error)
            }
        })?;
        let cipher =
            SegmentCipher::new(data_key, associated_data, &header).ok_or(OpenError::Refused)?;
        Ok(Self {
            inner,
            cipher,
            frame: FrameReader::new(),
            buffer: Buffer::zeroed(FIRST_BUFFER_BYTES),
            ready: 0..0,
            lookahead: None,
            state: State::Reading,
        })
    }

    /// Writes all that is left of the payload and gives the number of bytes. It is written from
    /// where it was decrypted, which spares the copy that [`Read`] takes.
    ///
    /// # Errors
    /// A refusal as [`Read`] gives it, or what reader or writer says. What was written before an
    /// error MUST be thrown away.
    pub fn write_to(&mut self, mut writer: impl Write) -> io::Result<u64> {
        let mut written = 0;
        while self.make_ready()? {
            let piece = &self.buffer[self.ready.clone()];
            writer.write_all(piece)?;
            written += piece.len() as u64;
            self.ready = 0..0;
        }
        Ok(written)
    }

    /// Decrypts until there is data to hand out; false at the end of the payload.
    fn make_ready(&mut self) -> io::Result<bool> {
        while self.ready.is_empty() {
            match self.state {
                State::Ended => return Ok(false),
                State::Refused => return Err(OpenError::Refused.into()),
                State::Reading => {}
            }
            if let Err(error) = self.open_segment() {
                // A segment that was read in part cannot be resumed, so every later read fails.
                self.state = State::Refused;
                self.ready = 0..0;
                return Err(error.into());
            }
        }
        Ok(true)
    }

    /// Reads and decrypts one segment; afterwards `ready` may still be empty, since a segment can
    /// hold padding only.
    fn open_segment(&mut self) -> Result<(), OpenError> {
        let full_len = self.cipher.full_ciphertext_len();
        let filled = self.fill(full_len + 1).map_err(OpenError::Io)?;
        let (segment_len, position) = if filled > full_len {
            self.lookahead = Some(self.buffer[full_len]);
            (full_len, Position::Inner)
        } else {
            (filled, Position::Last)
        };
        let plaintext = self
            .cipher
            .open(&mut self.buffer[..segment_len], position)?;
        self.ready = self.frame.advance(plaintext)?;
        if position == Position::Last {
            self.frame.finish()?;
            self.state = State::Ended;
        }
        Ok(())
    }

    /// Fills the buffer's first `wanted` bytes, as far as the source gives them.
    fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        let mut filled = 0;
        if let Some(byte) = self.lookahead.take() {
            self.buffer[0] = byte;
            filled = 1;
        }
        loop {
            let end = self.buffer.len().min(wanted);
            filled += read_full(&mut self.inner, &mut self.buffer[filled..end])?;
            if filled < end || filled == wanted {
                return Ok(filled);
            }
            self.buffer.grow(wanted.min(4 * end));
        }
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || !self.make_ready()? {
            return Ok(0);
        }
        let count = self.ready.len().min(out.len());
        let end = self.ready.start + count;
        out[..count].copy_from_slice(&self.buffer[self.ready.start..end]);
        self.ready.start = end;
        Ok(count)
    }
}

/// Opens an object that is in memory; the padding is gone from the result.
///
/// # Errors
/// [`OpenError::Refused`] when these bytes are not this record's object under this key.
pub fn open(
    data_key: &DataKey,
    associated_data: &AssociatedData,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let mut plaintext = Vec::with_capacity(sealed.len());
    Opener::new(sealed, data_key, associated_data)?.write_to(&mut plaintext)?;
    Ok(plaintext)
}

#[cfg(test)]
mod tests;
