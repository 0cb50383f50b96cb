//! What is odd about a reading that is kept nevertheless.

use minicbor::{Decode, Encode};

/// One oddity. Its name is stable; receipts and metrics spell it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mark {
    /// What it names as its code, or as a LOINC code, cannot be one: other form or wrong check digit.
    CodeNotLoinc,
    /// A number's unit is no UCUM code.
    UnitNotUcum,
    /// The device's clock is ahead of the oracle's.
    ClockAhead,
    /// The reading is older than a device usually keeps one; its clock may be behind.
    ClockBehind,
    /// The device's time cannot be right; the record has the time at which the oracle received the reading.
    TimeOfReceipt,
    /// It is signed in a way that a record has no place for; the signature was right.
    SignatureNotKept,
}

impl Mark {
    /// Every mark there is.
    pub const ALL: [Self; 6] = [
        Self::CodeNotLoinc,
        Self::UnitNotUcum,
        Self::ClockAhead,
        Self::ClockBehind,
        Self::TimeOfReceipt,
        Self::SignatureNotKept,
    ];

    /// The mark's stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CodeNotLoinc => "code-not-loinc",
            Self::UnitNotUcum => "unit-not-ucum",
            Self::ClockAhead => "clock-ahead",
            Self::ClockBehind => "clock-behind",
            Self::TimeOfReceipt => "time-of-receipt",
            Self::SignatureNotKept => "signature-not-kept",
        }
    }

    /// Its bit in the journal; never used for another mark.
    fn bit(self) -> u16 {
        match self {
            Self::CodeNotLoinc => 1,
            Self::UnitNotUcum => 2,
            Self::ClockAhead => 4,
            Self::ClockBehind => 8,
            Self::TimeOfReceipt => 16,
            Self::SignatureNotKept => 32,
        }
    }
}

/// The marks of one reading. As CBOR: an unsigned integer, one bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Marks(#[n(0)] u16);

impl Marks {
    /// Adds a mark.
    pub fn add(&mut self, mark: Mark) {
        self.0 |= mark.bit();
    }

    /// Adds a mark where `wrong` says so.
    pub fn add_if(&mut self, wrong: bool, mark: Mark) {
        if wrong {
            self.add(mark);
        }
    }

    /// Adds the marks of another.
    pub fn add_all(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether a mark is there.
    #[must_use]
    pub fn has(self, mark: Mark) -> bool {
        self.0 & mark.bit() != 0
    }

    /// The marks, in the order of [`Mark::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Mark> {
        Mark::ALL.into_iter().filter(move |mark| self.has(*mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_stands_for_itself_and_survives_the_journal() {
        for mark in Mark::ALL {
            let mut marks = Marks::default();
            marks.add(mark);
            let bytes = minicbor::to_vec(marks).unwrap();
            let back: Marks = minicbor::decode(&bytes).unwrap();
            assert_eq!(back.iter().collect::<Vec<_>>(), [mark]);
        }
        assert_eq!(Marks::default().iter().count(), 0);
    }
}
