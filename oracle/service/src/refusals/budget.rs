//! How many lines a second may be written, so that nobody fills the log at will.

/// Lines a second for callers whose certificate an MSP accepts.
const KNOWN_PER_SECOND: u32 = 100;
/// Lines a second for all others together: they cannot crowd out the known ones.
const STRANGERS_PER_SECOND: u32 = 20;

/// What is left of this second.
#[derive(Debug, Default)]
pub(super) struct Budget {
    second: i64,
    known: u32,
    strangers: u32,
}

impl Budget {
    /// Whether one more line may be written in this second.
    pub(super) fn take(&mut self, unix_seconds: i64, is_known: bool) -> bool {
        if self.second != unix_seconds {
            *self = Self {
                second: unix_seconds,
                known: 0,
                strangers: 0,
            };
        }
        let (used, max) = if is_known {
            (&mut self.known, KNOWN_PER_SECOND)
        } else {
            (&mut self.strangers, STRANGERS_PER_SECOND)
        };
        *used = used.saturating_add(1);
        *used <= max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_crowd_out_the_known() {
        let mut budget = Budget::default();
        let strangers = (0..1000).filter(|_| budget.take(7, false)).count();
        let known = (0..1000).filter(|_| budget.take(7, true)).count();
        assert_eq!((strangers, known), (20, 100));
        assert!(budget.take(8, false), "the next second");
    }
}
