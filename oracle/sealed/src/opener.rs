//! Decrypting an object, at once or as a stream.

use std::{
    io::{self, Read},
    ops::Range,
};

use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    AssociatedData, DataKey, OpenError,
    frame::FrameReader,
    segment::{HEADER_LEN, Position, SegmentCipher},
};

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
    /// Ciphertext of the segment being read, afterwards its plaintext.
    buffer: Zeroizing<Vec<u8>>,
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
            buffer: Zeroizing::new(Vec::new()),
            ready: 0..0,
            lookahead: None,
            state: State::Reading,
        })
    }

    /// Reads and decrypts one segment; afterwards `ready` may still be empty, since a segment can
    /// hold padding only.
    fn open_segment(&mut self) -> Result<(), OpenError> {
        let full_len = self.cipher.full_ciphertext_len();
        // Wiped, not only cleared: growing may move the buffer and leave the old memory behind.
        self.buffer.zeroize();
        self.buffer.extend(self.lookahead.take());
        let wanted = (full_len - self.buffer.len()) as u64;
        self.inner
            .by_ref()
            .take(wanted)
            .read_to_end(&mut self.buffer)
            .map_err(OpenError::Io)?;
        if self.buffer.len() == full_len {
            self.lookahead = read_byte(&mut self.inner).map_err(OpenError::Io)?;
        }
        let position = match self.lookahead {
            Some(_) => Position::Inner,
            None => Position::Last,
        };
        self.cipher.open(&mut self.buffer, position)?;
        self.ready = self.frame.advance(&self.buffer)?;
        if position == Position::Last {
            self.frame.finish()?;
            self.state = State::Ended;
        }
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() && !out.is_empty() {
            match self.state {
                State::Ended => return Ok(0),
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
        let count = self.ready.len().min(out.len());
        let end = self.ready.start + count;
        out[..count].copy_from_slice(&self.buffer[self.ready.start..end]);
        self.ready.start = end;
        Ok(count)
    }
}

fn read_byte(reader: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match reader.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
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
    Opener::new(sealed, data_key, associated_data)?.read_to_end(&mut plaintext)?;
    Ok(plaintext)
}

#[cfg(test)]
mod tests;
