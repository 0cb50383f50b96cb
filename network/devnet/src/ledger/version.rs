//! The version of a committed value: the place of the transaction that wrote it.

use std::fmt;

use fabric_protos::kvrwset;

/// Place of a transaction on the channel; the version of what it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Block number.
    pub block: u64,
    /// Index of the transaction in its block.
    pub tx: u64,
}

impl Version {
    /// A version from block number and index of the transaction.
    #[must_use]
    pub fn new(block: u64, tx: u64) -> Self {
        Self { block, tx }
    }

    /// The wire form used in read sets.
    #[must_use]
    pub fn to_proto(self) -> kvrwset::Version {
        kvrwset::Version {
            block_num: self.block,
            tx_num: self.tx,
        }
    }

    /// Reads the wire form.
    #[must_use]
    pub fn from_proto(version: kvrwset::Version) -> Self {
        Self::new(version.block_num, version.tx_num)
    }

    /// Order-preserving bytes, as the commit hash takes them: for each number a length byte and
    /// the big-endian number without its leading zero bytes.
    #[must_use]
    pub fn ordered_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(18);
        for number in [self.block, self.tx] {
            let significant = &number.to_be_bytes()[number.leading_zeros() as usize / 8..];
            let length = u8::try_from(significant.len()).unwrap_or(u8::MAX);
            bytes.push(length);
            bytes.extend_from_slice(significant);
        }
        bytes
    }
}

/// Prints a version, or its absence, in the words Fabric's error texts use.
#[derive(Clone, Copy, Debug)]
pub struct DisplayVersion(pub Option<Version>);

impl fmt::Display for DisplayVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(version) => write!(f, "{{BlockNum: {}, TxNum: {}}}", version.block, version.tx),
            None => write!(f, "<nil>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_bytes_drop_leading_zeros_and_state_the_length() {
        assert_eq!(Version::new(0, 0).ordered_bytes(), [0, 0]);
        assert_eq!(Version::new(1, 255).ordered_bytes(), [1, 1, 1, 255]);
        assert_eq!(Version::new(256, 0).ordered_bytes(), [2, 1, 0, 0]);
        assert_eq!(
            Version::new(u64::MAX, 1).ordered_bytes(),
            [8, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1]
        );
    }

    #[test]
    fn an_absent_version_prints_as_nil() {
        assert_eq!(DisplayVersion(None).to_string(), "<nil>");
        assert_eq!(
            DisplayVersion(Some(Version::new(3, 1))).to_string(),
            "{BlockNum: 3, TxNum: 1}"
        );
    }
}
