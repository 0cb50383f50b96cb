//! Sizes with their unit, as people write them: `"64KiB"`.

use std::str::FromStr;

/// A number of bytes read from text with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// The text is not a number followed by `B`, `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a size is a whole number and one of the units B, KiB, MiB, GiB, for example \"64KiB\"")]
pub struct ByteSizeError;

/// Units and the bytes in one. Longer suffixes first, because all end in `B`.
const UNITS: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("B", 1),
];

impl ByteSize {
    /// The number of bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit_bytes) = UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)))
            .ok_or(ByteSizeError)?;
        let number = number.trim_end();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ByteSizeError);
        }
        let number: u64 = number.parse().map_err(|_| ByteSizeError)?;
        number
            .checked_mul(unit_bytes)
            .map(Self)
            .ok_or(ByteSizeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_with_their_unit() {
        let table = [
            ("0B", Some(0)),
            ("17B", Some(17)),
            ("64KiB", Some(64 << 10)),
            ("4 MiB", Some(4 << 20)),
            ("2GiB", Some(2 << 30)),
            ("64", None),
            ("KiB", None),
            ("", None),
            ("-1B", None),
            ("+1B", None),
            ("1.5GiB", None),
            ("64KB", None),
            ("99999999999999999999B", None),
            ("18446744073709551615GiB", None),
        ];
        for (text, expected) in table {
            let found = text.parse::<ByteSize>().ok().map(ByteSize::bytes);
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
