//! A file as the journal writes it, under a known key, and what may happen to it.

use std::ops::Range;

use super::super::frame::{self, FILE_HEADER_BYTES, FRAME_HEADER_BYTES};
use super::key;
use crate::fuzzing::Input;

/// A file system's block, which a crash leaves unwritten as a whole.
const BLOCK_BYTES: usize = 512;

/// A file as the journal writes it.
pub(super) struct Written {
    pub(super) bytes: Vec<u8>,
    pub(super) bodies: Vec<Vec<u8>>,
    /// Where each frame begins.
    pub(super) starts: Vec<usize>,
    /// Up to where the file was synced when each frame was written.
    durable: Vec<usize>,
}

impl Written {
    /// A file with these bodies. Before those that `synced` says everything before was synced.
    pub(super) fn of(bodies: Vec<Vec<u8>>, synced: &[bool]) -> Self {
        let salt = [3; 32];
        let key = key().file_key(&salt);
        let mut bytes = frame::file_header(&salt).to_vec();
        let (mut starts, mut durable) = (Vec::new(), Vec::new());
        let mut until = bytes.len();
        for (at, body) in bodies.iter().enumerate() {
            if synced.get(at) == Some(&true) {
                until = bytes.len();
            }
            starts.push(bytes.len());
            durable.push(until);
            let offset = bytes.len() as u64;
            frame::encode(&key, offset, until as u64, body, &mut bytes)
                .expect("a small body fits a frame");
        }
        Self {
            bytes,
            bodies,
            starts,
            durable,
        }
    }

    /// A file that is whole.
    pub(super) fn parsed(bytes: Vec<u8>) -> Self {
        let mut starts = Vec::new();
        let mut at = FILE_HEADER_BYTES;
        while at < bytes.len() {
            starts.push(at);
            at += frame::parse(&bytes[at..]).expect("the file is whole").bytes;
        }
        Self {
            bodies: vec![Vec::new(); starts.len()],
            durable: vec![0; starts.len()],
            bytes,
            starts,
        }
    }

    /// With two frames in each other's place.
    fn swapped(&self, first: usize, second: usize) -> Vec<u8> {
        let (a, b) = (self.frame(first), self.frame(second));
        let between = &self.bytes[a.end..b.start];
        let parts = [
            &self.bytes[..a.start],
            &self.bytes[b.clone()],
            between,
            &self.bytes[a],
            &self.bytes[b.end..],
        ];
        parts.concat()
    }

    fn frame(&self, index: usize) -> Range<usize> {
        self.starts[index]..self.end_of(index + 1)
    }

    /// Where so many frames end.
    pub(super) fn end_of(&self, frames: usize) -> usize {
        let next = self.starts.get(frames);
        next.copied().unwrap_or(self.bytes.len())
    }

    /// Whether what follows the first `whole` frames may be taken for a write that a crash cut short: no later frame
    /// proves it durable, and it is short or lacks a block.
    pub(super) fn may_be_torn(&self, whole: usize, bytes: &[u8], harm: Harm) -> bool {
        let start = self.end_of(whole);
        match harm {
            Harm::None | Harm::Forged => false,
            Harm::Cut | Harm::Zeroed => true,
            Harm::Flipped => {
                let first = (BLOCK_BYTES - start % BLOCK_BYTES).min(bytes.len() - start);
                let (head, blocks) = bytes[start..].split_at(first);
                let zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
                let lacks = zero(head) || blocks.chunks(BLOCK_BYTES).any(zero);
                let mut behind = self.durable.iter().skip(whole + 1);
                lacks && !behind.any(|durable| *durable > start)
            }
        }
    }
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    None,
    /// Its end is missing.
    Cut,
    /// Its end was never written.
    Zeroed,
    /// A byte is another.
    Flipped,
    /// So is the checksum, or frames are in each other's place.
    Forged,
}

/// How a file is changed.
pub(super) struct Fault {
    kind: u8,
    at: usize,
    with: u8,
}

/// What a fault came to.
pub(super) struct Outcome {
    pub(super) harm: Harm,
    /// Frames before it.
    pub(super) whole: usize,
}

impl Fault {
    pub(super) fn read(input: &mut Input<'_>) -> Self {
        Self {
            kind: input.byte(),
            at: input.number() | usize::from(input.byte()) << 16,
            with: input.byte(),
        }
    }

    pub(super) fn apply(&self, written: &Written) -> (Vec<u8>, Outcome) {
        let mut bytes = written.bytes.clone();
        let count = written.starts.len();
        let at = self.at % bytes.len();
        let before = (0..count).take_while(|index| written.frame(*index).end <= at);
        let whole = before.count();
        let harm = match self.kind % 6 {
            1 => {
                bytes.truncate(at);
                Harm::Cut
            }
            2 => {
                bytes[at] ^= self.with;
                Harm::Flipped
            }
            3 => {
                bytes[at..].fill(0);
                Harm::Zeroed
            }
            4 if at >= FILE_HEADER_BYTES => {
                let frame = &mut bytes[written.frame(whole)];
                let sealed = &mut frame[FRAME_HEADER_BYTES..];
                sealed[at % sealed.len()] ^= self.with;
                mend_checksum(frame);
                Harm::Forged
            }
            5 if count > 1 => {
                let first = self.at % (count - 1);
                let second = first + 1 + usize::from(self.with) % (count - 1 - first);
                let outcome = Outcome {
                    harm: Harm::Forged,
                    whole: first,
                };
                return (written.swapped(first, second), outcome);
            }
            _ => Harm::None,
        };
        match bytes == written.bytes {
            true => (
                bytes,
                Outcome {
                    harm: Harm::None,
                    whole: count,
                },
            ),
            false => (bytes, Outcome { harm, whole }),
        }
    }
}

/// Writes the checksum of a frame anew.
fn mend_checksum(frame: &mut [u8]) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&frame[..FRAME_HEADER_BYTES - 4]);
    crc.update(&frame[FRAME_HEADER_BYTES..]);
    frame[FRAME_HEADER_BYTES - 4..FRAME_HEADER_BYTES]
        .copy_from_slice(&crc.finalize().to_le_bytes());
}
