//! The name of an MSP.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::MspIdError;

/// The ID of an organisation's MSP, such as `Org1MSP`; cheap to clone.
///
/// # Examples
/// ```
/// let id: fabric_msp::MspId = "Org1MSP".parse()?;
/// assert_eq!(id.as_ref(), "Org1MSP");
/// assert!("Org 1".parse::<fabric_msp::MspId>().is_err());
/// # Ok::<(), fabric_msp::MspIdError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MspId(Arc<str>);

impl MspId {
    /// Longest ID, in bytes. Fabric sets no limit; config keys and folder names do.
    pub const MAX_BYTES: usize = 255;

    /// Reads an ID.
    ///
    /// # Errors
    /// [`MspIdError`] unless it is 1 to 255 characters of `A-Z a-z 0-9 . - _`.
    pub fn parse(text: &str) -> Result<Self, MspIdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(allowed) {
            return Err(MspIdError);
        }
        Ok(Self(text.into()))
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MspId {
    type Err = MspIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for MspId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for MspId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_fabric_uses_and_refuses_the_rest() {
        for good in ["Org1MSP", "a", "hospital-1.example_x", &"a".repeat(255)] {
            assert_eq!(
                MspId::parse(good).map(|id| id.to_string()).as_deref(),
                Ok(good)
            );
        }
        for bad in ["", " ", "Org/1", "Örg", "a\0", "a\n", &"a".repeat(256)] {
            assert_eq!(MspId::parse(bad), Err(MspIdError), "{bad:?}");
        }
    }
}
