//! Memory for one segment that is wiped when it is dropped.

use std::{
    io::{self, Read},
    ops::{Deref, DerefMut},
};

/// Bytes that may be plaintext. Growing moves them, and the memory they leave is wiped as well.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// `len` zero bytes.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self(vec![0; len])
    }

    /// Grows with zero bytes to `len`, if it is shorter.
    pub(crate) fn grow(&mut self, len: usize) {
        if len > self.0.len() {
            let mut grown = vec![0; len];
            grown[..self.0.len()].copy_from_slice(&self.0);
            // The old memory is dropped, and thereby wiped, as a buffer of its own.
            drop(Self(std::mem::replace(&mut self.0, grown)));
        }
    }

    /// Says that nothing in it is secret any more, so that wiping it would be wasted.
    pub(crate) fn holds_no_secret(&mut self) {
        self.0 = Vec::new();
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // `zeroize` writes byte by byte, which takes as long as decrypting does; the barrier keeps
        // the compiler from leaving the quick way out.
        self.0.fill(0);
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

/// Reads until `out` is full or the source ends, and gives the number of bytes.
pub(crate) fn read_full(reader: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match reader.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_keeps_what_is_there() {
        let mut buffer = Buffer::zeroed(2);
        buffer.copy_from_slice(&[1, 2]);
        buffer.grow(4);
        buffer.grow(3);
        assert_eq!(&*buffer, [1, 2, 0, 0]);
    }

    #[test]
    fn reading_stops_at_the_end_of_either() {
        let mut out = [0; 4];
        assert_eq!(read_full(&mut &b"abc"[..], &mut out).unwrap(), 3);
        assert_eq!(read_full(&mut &b"abcde"[..], &mut out).unwrap(), 4);
        assert_eq!(&out, b"abcd");
    }
}
