//! When a batch of envelopes becomes a block: by count and by size. Time is the caller's.

/// Limits of a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BatchLimits {
    /// Envelopes in a block.
    pub(crate) messages: usize,
    /// Bytes after which a block is cut early.
    pub(crate) preferred_bytes: usize,
}

/// Collects envelopes until a limit is reached.
#[derive(Debug)]
pub(super) struct Cutter {
    limits: BatchLimits,
    pending: Vec<Vec<u8>>,
    pending_bytes: usize,
}

impl Cutter {
    pub(super) fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            pending: Vec::new(),
            pending_bytes: 0,
        }
    }

    /// Takes one envelope; gives the batches that are full now, at most two.
    pub(super) fn push(&mut self, envelope: Vec<u8>) -> Vec<Vec<Vec<u8>>> {
        let bytes = envelope.len();
        let mut cut = Vec::new();
        if bytes > self.limits.preferred_bytes {
            cut.extend(self.cut());
            cut.push(vec![envelope]);
            return cut;
        }
        if self.pending_bytes + bytes > self.limits.preferred_bytes {
            cut.extend(self.cut());
        }
        self.pending.push(envelope);
        self.pending_bytes += bytes;
        if self.pending.len() >= self.limits.messages {
            cut.extend(self.cut());
        }
        cut
    }

    /// What is pending, if anything.
    pub(super) fn cut(&mut self) -> Option<Vec<Vec<u8>>> {
        self.pending_bytes = 0;
        let batch = std::mem::take(&mut self.pending);
        (!batch.is_empty()).then_some(batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchLimits, Cutter};

    /// Pushes envelopes of these sizes; shows the sizes in each block, the rest last.
    fn cut(sizes: &[usize]) -> Vec<Vec<usize>> {
        let mut cutter = Cutter::new(BatchLimits {
            messages: 3,
            preferred_bytes: 10,
        });
        let mut batches = Vec::new();
        for size in sizes {
            batches.extend(cutter.push(vec![0; *size]));
        }
        batches.extend(cutter.cut());
        assert!(cutter.is_empty());
        let sizes = |batch: Vec<Vec<u8>>| batch.iter().map(Vec::len).collect();
        batches.into_iter().map(sizes).collect()
    }

    #[test]
    fn blocks_are_cut_by_count_and_size() {
        assert_eq!(cut(&[1]), [vec![1]]);
        assert_eq!(cut(&[1, 1, 1, 1]), [vec![1, 1, 1], vec![1]]);
        assert_eq!(cut(&[6, 6]), [vec![6], vec![6]]);
        assert_eq!(cut(&[1, 11, 1]), [vec![1], vec![11], vec![1]]);
        assert_eq!(cut(&[4, 6, 1]), [vec![4, 6], vec![1]]);
        assert!(cut(&[]).is_empty());
    }
}
